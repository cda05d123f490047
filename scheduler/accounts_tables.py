"""Floor 3 · The ledger's tables of accounts and what belongs to them, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, PrimaryKeyConstraint, String, Table, Text

from scheduler.ledger_tables import metadata

account = Table(
    "account",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("household", String),
    Column("language", String, nullable=False),
    Column("password", String, nullable=False),
    Column("mail", String),
    Index(None, "household"),
)

login = Table(
    "login",
    metadata,
    Column("token_hash", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
    Index(None, "account"),
)

vehicle = Table(
    "vehicle",
    metadata,
    Column("household", String, nullable=False),
    Column("id", String, nullable=False),
    Column("connector_types", Text, nullable=False),  # JSON
    Column("max_ac_kw", Float, nullable=False),
    Column("max_dc_kw", Float, nullable=False),
    Column("battery_kwh", Float, nullable=False),
    PrimaryKeyConstraint("household", "id"),
)

review = Table(
    "review",
    metadata,
    Column("id", String, primary_key=True),
    Column("turn", String, nullable=False),
    Column("household", String, nullable=False),
    Column("note", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("answer", Text),
    Column("answered_by", String),
    Column("answered_ms", BigInteger),
    Index(None, "household"),
)

watch = Table(
    "watch",
    metadata,
    Column("id", String, primary_key=True),
    Column("household", String, nullable=False),
    Column("site", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index(None, "household"),
)
