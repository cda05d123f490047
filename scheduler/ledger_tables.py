"""Floor 3 · The ledger's tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from scheduler.turns import LIVE

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

IS_LIVE = text(f"state IN ({', '.join(repr(state) for state in sorted(LIVE))})")

turn = Table(
    "turn",
    metadata,
    Column("id", String, primary_key=True),
    Column("site", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("household", String),
    Column("compound", String),
    Column("vehicle", String),
    Column("state", String, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("energy_kwh", Float, nullable=False),
    Column("max_w", Integer, nullable=False),
    Column("earliest_ms", BigInteger, nullable=False),
    Column("depart_by_ms", BigInteger, nullable=False),
    Column("requested_ms", BigInteger, nullable=False),
    Column("waiting_ms", BigInteger),
    Column("waited_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger),
    Column("connector", String),
    Column("first_bucket", Integer),
    Column("watts", Text),  # JSON: one number a bucket
    Column("told_ms", BigInteger),
    Column("snoozes", Integer, nullable=False),
    Column("flexible", Boolean, nullable=False),
    Column("rules", Integer, nullable=False),
    Column("call", String, nullable=False),
    Column("code", String),
    Column("delayed_ms", BigInteger),
    Column("moved_from", String),
    Column("plugged_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("cause", String),
    Column("refused_by", String),
    Column("soon_ms", BigInteger),
    Column("asked_ms", BigInteger),
    Column("checked_in_ms", BigInteger),
    Column("charged_ms", BigInteger),
    Column("finished_ms", BigInteger),
    Column("leave_by_ms", BigInteger),
    Column("instead_of", String),
    Index(None, "site", "state"),
    Index(None, "state", "due_ms"),
    Index(None, "household"),
    Index("ux_turn_vehicle", "vehicle", unique=True, sqlite_where=IS_LIVE, postgresql_where=IS_LIVE),
)

claim = Table(
    "claim",
    metadata,
    Column("connector", String, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("site", String, nullable=False),
    Column("turn", String, ForeignKey("turn.id"), nullable=False),
    PrimaryKeyConstraint("connector", "bucket"),
    Index(None, "site", "bucket"),
    Index(None, "turn"),
)

site_bucket = Table(
    "site_bucket",
    metadata,
    Column("site", String, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("reserved_w", Integer, nullable=False),
    PrimaryKeyConstraint("site", "bucket"),
    CheckConstraint("reserved_w >= 0", name="not_below_0"),
)

quota_use = Table(
    "quota_use",
    metadata,
    Column("site", String, nullable=False),
    Column("compound", String, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    PrimaryKeyConstraint("site", "compound", "bucket"),
    CheckConstraint("used >= 0", name="not_below_0"),
)

household_use = Table(
    "household_use",
    metadata,
    Column("household", String, primary_key=True),
    Column("live", Integer, nullable=False),
    CheckConstraint("live >= 0", name="not_below_0"),
)

request_key = Table(
    "request_key",
    metadata,
    Column("household", String, nullable=False),
    Column("key", String, nullable=False),
    Column("turn", String, nullable=False),
    PrimaryKeyConstraint("household", "key"),
)

outgoing = Table(
    "outgoing",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("to", String, nullable=False),
    Column("turn", String),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index(None, "state", "no"),
    Index(None, "to"),
)

audit = Table(
    "audit",
    metadata,
    Column("no", Integer, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String, nullable=False),
    Column("turn", String, nullable=False),
    Column("before", String),
    Column("after", String, nullable=False),
    Index(None, "turn"),
)

rules = Table(
    "rules",
    metadata,
    Column("site", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("rules", Text, nullable=False),  # JSON
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String, nullable=False),
    PrimaryKeyConstraint("site", "version"),
)

household = Table(
    "household",
    metadata,
    Column("id", String, primary_key=True),
    Column("compound", String, nullable=False),
    Column("dwelling", String, nullable=False),
    Column("accessibility", Boolean, nullable=False),
    Column("essential", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("compound", "dwelling"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("turn", String, ForeignKey("turn.id"), primary_key=True),
    Column("household", String, nullable=False),
    Column("plugged_ms", BigInteger, nullable=False),
    Column("unplugged_ms", BigInteger, nullable=False),
    Column("overstay_ms", BigInteger, nullable=False),
    Column("energy_kwh", Float, nullable=False),
    Index(None, "household", "unplugged_ms"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

decision = Table(
    "decision",
    metadata,
    Column("turn", String, ForeignKey("turn.id"), primary_key=True),
    Column("decision", Text, nullable=False),  # JSON
)

cut = Table(
    "cut",
    metadata,
    Column("site", String, primary_key=True),
    Column("why", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
