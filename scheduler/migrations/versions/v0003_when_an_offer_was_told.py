"""Floor 3 · When the notice of an offer was delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("turn", sa.Column("told_ms", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("turn", "told_ms")
