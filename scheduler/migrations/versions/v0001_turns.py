"""Floor 3 · Turns, what they claim, what leaves because of them, and who leads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

LIVE = sa.text("state IN ('active', 'offered', 'queued', 'requested', 'reserved')")


def upgrade() -> None:
    op.create_table(
        "turn",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("household", sa.String()),
        sa.Column("compound", sa.String()),
        sa.Column("vehicle", sa.String()),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rev", sa.Integer(), nullable=False),
        sa.Column("energy_kwh", sa.Float(), nullable=False),
        sa.Column("max_w", sa.Integer(), nullable=False),
        sa.Column("earliest_ms", sa.BigInteger(), nullable=False),
        sa.Column("depart_by_ms", sa.BigInteger(), nullable=False),
        sa.Column("requested_ms", sa.BigInteger(), nullable=False),
        sa.Column("waiting_ms", sa.BigInteger()),
        sa.Column("waited_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("connector", sa.String()),
        sa.Column("first_bucket", sa.Integer()),
        sa.Column("watts", sa.Text()),
        sa.Column("snoozes", sa.Integer(), nullable=False),
        sa.Column("flexible", sa.Boolean(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.Column("call", sa.String(), nullable=False),
        sa.Column("code", sa.String()),
        sa.Column("delayed_ms", sa.BigInteger()),
        sa.Column("moved_from", sa.String()),
        sa.Column("plugged_ms", sa.BigInteger()),
        sa.Column("ended_ms", sa.BigInteger()),
        sa.Column("cause", sa.String()),
        sa.Column("refused_by", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_turn"),
    )
    op.create_index("ix_turn_site_state", "turn", ["site", "state"])
    op.create_index("ix_turn_state_due_ms", "turn", ["state", "due_ms"])
    op.create_index("ix_turn_household", "turn", ["household"])
    op.create_index("ux_turn_vehicle", "turn", ["vehicle"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_table(
        "claim",
        sa.Column("connector", sa.String(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("turn", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("connector", "bucket", name="pk_claim"),
        sa.ForeignKeyConstraint(["turn"], ["turn.id"], name="fk_claim_turn"),
    )
    op.create_index("ix_claim_site_bucket", "claim", ["site", "bucket"])
    op.create_index("ix_claim_turn", "claim", ["turn"])
    op.create_table(
        "site_bucket",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("reserved_w", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "bucket", name="pk_site_bucket"),
        sa.CheckConstraint("reserved_w >= 0", name="ck_site_bucket_not_below_0"),
    )
    op.create_table(
        "quota_use",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("compound", sa.String(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "compound", "bucket", name="pk_quota_use"),
        sa.CheckConstraint("used >= 0", name="ck_quota_use_not_below_0"),
    )
    op.create_table(
        "household_use",
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("household", name="pk_household_use"),
        sa.CheckConstraint("live >= 0", name="ck_household_use_not_below_0"),
    )
    op.create_table(
        "request_key",
        sa.Column("household", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("turn", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("household", "key", name="pk_request_key"),
    )
    op.create_table(
        "outgoing",
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("to", sa.String(), nullable=False),
        sa.Column("turn", sa.String()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_outgoing"),
        sa.UniqueConstraint("id", name="uq_outgoing_id"),
    )
    op.create_index("ix_outgoing_state_no", "outgoing", ["state", "no"])
    op.create_table(
        "audit",
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("turn", sa.String(), nullable=False),
        sa.Column("before", sa.String()),
        sa.Column("after", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_audit"),
    )
    op.create_index("ix_audit_turn", "audit", ["turn"])
    op.create_table(
        "lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )


def downgrade() -> None:
    for table in (
        "lease", "audit", "outgoing", "request_key", "household_use", "quota_use", "site_bucket", "claim", "turn",
    ):  # fmt: skip
        op.drop_table(table)
