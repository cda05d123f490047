"""Floor 3 · Sites that are cut off until a person resets them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "cut",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", name="pk_cut"),
    )


def downgrade() -> None:
    op.drop_table("cut")
