"""Floor 3 · The connections to the ledger's database, with what each of them waits for at the most."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.engine import Engine

POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "options": "-c statement_timeout=15s -c lock_timeout=5s -c idle_in_transaction_session_timeout=4s",
}  # fmt: skip
"""For what the address itself does not say: a server that is cut off, or a lock that is kept, holds nobody for ever.
A process that is stopped in the middle of a transaction keeps its locks for less than the lease of who leads."""
SQLITE_WAITS_S = 10.0


def engine_of(url: str, connections: int = 20) -> Engine:
    """An engine whose transactions begin as the ledger needs them: on SQLite those that write, by taking the lock."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        waits = {name: value for name, value in POSTGRESQL.items() if name not in address.query}
        return create_engine(address, pool_size=connections, max_overflow=0, pool_pre_ping=True, connect_args=waits)
    engine = create_engine(address, pool_size=connections, max_overflow=0, connect_args={"timeout": SQLITE_WAITS_S})

    @event.listens_for(engine, "connect")
    def _opened(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine
