"""Floor 3 · Where an account is sent its household's notices by mail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("account", sa.Column("mail", sa.String()))


def downgrade() -> None:
    op.execute("DELETE FROM outgoing WHERE kind = 'mail'")
    op.drop_column("account", "mail")
