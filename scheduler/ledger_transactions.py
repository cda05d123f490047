"""Floor 3 · Transactions of the ledger's database, tried again where that is all that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnection

from scheduler.ledger import LedgerUnavailable

ATTEMPTS = 10
"""A deadlock is tried again so often; nothing of a try that failed is kept."""
LOCKED_ATTEMPTS = 2
"""A lock that was not given in time, which each time takes all of that time."""

Answer = TypeVar("Answer")


class Transactions:
    """Safe to use from several threads. What a transaction refuses is raised as it is; else LedgerUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # SQLite lets one write at a time: threads that wait here are served in turn, where its own lock is polled.
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else None

    @property
    def dialect(self) -> str:
        return self._engine.dialect.name

    def read(self, do: Callable[[Connection], Answer], **options: Any) -> Answer:
        return self._tried(do, reads=True, **options)

    def write(self, do: Callable[[Connection], Answer]) -> Answer:
        with self._writing or nullcontext():
            return self._tried(do)

    def close(self) -> None:
        self._engine.dispose()

    def _tried(self, do: Callable[[Connection], Answer], **options: Any) -> Answer:
        """In one transaction; again where it lost against another, as a deadlock is."""
        for attempt in range(ATTEMPTS):
            try:
                with self._engine.connect().execution_options(**options) as connection, connection.begin():
                    return do(connection)
            except NoConnection as full:
                raise LedgerUnavailable("all connections to the ledger are in use") from full
            except (IntegrityError, DataError, ProgrammingError):  # what it refuses is no fault of the database
                raise
            except DBAPIError as error:
                if attempt >= _attempts(error) - 1:
                    raise LedgerUnavailable(f"the ledger does not answer: {error.orig}") from error
        raise AssertionError


def _attempts(error: DBAPIError) -> int:
    """How often to try where nothing is wrong but that another transaction was in the way; once for anything else."""
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate in ("40001", "40P01"):
        return ATTEMPTS
    is_locked = sqlstate == "55P03" or "database is locked" in str(error.orig)
    return LOCKED_ATTEMPTS if is_locked else 1
