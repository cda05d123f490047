"""Floor 3 · Accounts, logins, vehicles, reviews, and watches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("household", sa.String()),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_account"),
    )
    op.create_index("ix_account_household", "account", ["household"])
    op.create_table(
        "login",
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_login"),
    )
    op.create_index("ix_login_account", "login", ["account"])
    op.create_table(
        "vehicle",
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("connector_types", sa.Text(), nullable=False),
        sa.Column("max_ac_kw", sa.Float(), nullable=False),
        sa.Column("max_dc_kw", sa.Float(), nullable=False),
        sa.Column("battery_kwh", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("household", "id", name="pk_vehicle"),
    )
    op.create_table(
        "review",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("turn", sa.String(), nullable=False),
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("answered_by", sa.String()),
        sa.Column("answered_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
    )
    op.create_index("ix_review_household", "review", ["household"])
    op.create_table(
        "watch",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watch"),
    )
    op.create_index("ix_watch_household", "watch", ["household"])
    op.create_index("ix_outgoing_to", "outgoing", ["to"])


def downgrade() -> None:
    op.drop_index("ix_outgoing_to", "outgoing")
    for table in ("watch", "review", "vehicle", "login", "account"):
        op.drop_table(table)
