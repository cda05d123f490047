"""Floor 3 · Why each turn was placed as it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "decision",
        sa.Column("turn", sa.String(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["turn"], ["turn.id"], name="fk_decision_turn"),
        sa.PrimaryKeyConstraint("turn", name="pk_decision"),
    )


def downgrade() -> None:
    op.drop_table("decision")
