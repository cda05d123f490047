"""Floor 3 · What happens to a turn within a state, and which turn it makes good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TIMES = ("soon_ms", "asked_ms", "checked_in_ms", "charged_ms", "finished_ms", "leave_by_ms")


def upgrade() -> None:
    for name in TIMES:
        op.add_column("turn", sa.Column(name, sa.BigInteger()))
    op.add_column("turn", sa.Column("instead_of", sa.String()))


def downgrade() -> None:
    for name in ("instead_of", *TIMES):
        op.drop_column("turn", name)
