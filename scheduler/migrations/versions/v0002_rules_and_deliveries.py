"""Floor 3 · Rules by version, households, and what each turn was given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "rules",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("site", "version", name="pk_rules"),
    )
    op.create_table(
        "household",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("compound", sa.String(), nullable=False),
        sa.Column("dwelling", sa.String(), nullable=False),
        sa.Column("accessibility", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_household"),
        sa.UniqueConstraint("compound", "dwelling", name="uq_household_compound"),
    )
    op.create_table(
        "delivery",
        sa.Column("turn", sa.String(), nullable=False),
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("plugged_ms", sa.BigInteger(), nullable=False),
        sa.Column("unplugged_ms", sa.BigInteger(), nullable=False),
        sa.Column("overstay_ms", sa.BigInteger(), nullable=False),
        sa.Column("energy_kwh", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("turn", name="pk_delivery"),
        sa.ForeignKeyConstraint(["turn"], ["turn.id"], name="fk_delivery_turn"),
    )
    op.create_index("ix_delivery_household_unplugged_ms", "delivery", ["household", "unplugged_ms"])


def downgrade() -> None:
    for table in ("delivery", "household", "rules"):
        op.drop_table(table)
