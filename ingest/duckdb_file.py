"""Floor 3 · One DuckDB file: opened by one process, versioned, shared by threads, opened again after a fatal error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock

import duckdb

from ingest.duckdb_schema import SCHEMA, TABLES
from ingest.store import StoreUnavailable, StoreUnusable

Cursor = duckdb.DuckDBPyConnection

INSIST_S = 0.05
PATIENCE_S = 10.0
"""How long closing, or opening again, waits for queries under way; they are told to stop first."""

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "preserve_insertion_order": False,
    "checkpoint_threshold": "64MB",
    "autoinstall_known_extensions": False,
}
"""Bounded memory beside a broker and an API: what does not fit is sorted on disk, next to the file. A checkpoint holds
writers up, so it does not come with every third batch."""

_DEAD = (duckdb.FatalException, duckdb.InternalException)
"""After these the instance answers nothing any more."""
_AWAY = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.InterruptException,
    *_DEAD,
)
"""Errors of the disk and of the memory: the same call may succeed later."""


class StoreLocked(StoreUnusable):
    """Another process has the file open; `pid` is None where DuckDB does not say which."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        super().__init__(f"{path} is in use by process {pid or 'unknown'}: stop it, or ask the running server instead")


class StoreTooNew(StoreUnusable):
    """The file was written by a later version of this program."""


class DuckFile:
    """Cursors on one file. Readers do not wait for each other or for a writer; writers come one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers = Lock()
        self._change = Condition()
        self._readers: set[Cursor] = set()
        self._users = 0
        self._closed = False
        self._con: Cursor | None = _open(path)

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """A cursor of its own. Raises StoreUnavailable for whatever may be over the next time."""
        cursor = self._enter()
        with self._change:
            self._readers.add(cursor)
        try:
            with self._clear_errors():
                yield cursor
        finally:
            self._leave(cursor)

    @contextmanager
    def writing(self, once_kept: Callable[[], None] = lambda: None) -> Iterator[Cursor]:
        """One transaction: all of it is on disk when this ends, or none of it and an error is raised.

        `once_kept` is called when it is on disk, before anybody else may write.
        """
        with self._writers:
            cursor = self._enter()
            try:
                with self._clear_errors(), _transaction(cursor):
                    yield cursor
                once_kept()
            finally:
                self._leave(cursor)

    @contextmanager
    def alone(self, cursor: Cursor) -> Iterator[None]:
        """A transaction on a reader's cursor, for a result that was computed while others wrote."""
        with self._writers, _transaction(cursor):
            yield

    def close(self) -> None:
        with self._change:
            self._closed = True
            # An interrupt that arrives before its query has begun is lost, so it is said again.
            for _ in range(round(PATIENCE_S / INSIST_S)):
                for reader in self._readers:
                    reader.interrupt()
                if self._change.wait_for(lambda: self._users == 0, INSIST_S):
                    break
            self._drop()

    def _enter(self) -> Cursor:
        with self._change:
            if self._closed:
                raise StoreUnavailable(f"{self._path} is closed")
            with self._clear_errors():
                cursor = (self._con or self._open_again()).cursor()
            self._users += 1
            return cursor

    def _leave(self, cursor: Cursor) -> None:
        cursor.close()
        with self._change:
            self._readers.discard(cursor)
            self._users -= 1
            self._change.notify_all()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            if isinstance(error, _DEAD):
                with self._change:
                    self._drop()
            raise StoreUnavailable(f"{self._path}: {_first_line(error)}") from error

    def _drop(self) -> None:
        if self._con is not None:
            with suppress(duckdb.Error):  # a cursor that is still busy closes the instance when it ends
                self._con.close()
            self._con = None

    def _open_again(self) -> Cursor:
        # DuckDB gives the dead instance again for as long as anybody holds a cursor on it.
        if not self._change.wait_for(lambda: self._users == 0 or self._con is not None, PATIENCE_S):
            raise StoreUnavailable(f"{self._path} waits for a query to end before it can be opened again")
        if self._con is None:
            try:
                self._con = _open(self._path)
            except StoreUnusable as error:
                raise StoreUnavailable(str(error)) from error
        return self._con


@contextmanager
def _transaction(cursor: Cursor) -> Iterator[None]:
    cursor.execute("BEGIN")
    try:
        yield
        cursor.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):
            cursor.execute("ROLLBACK")
        raise


def _open(path: Path) -> Cursor:
    try:
        con = duckdb.connect(path, config=SETTINGS)
    except duckdb.Error as error:
        held = re.search(r"Conflicting lock is held.*?(?:PID (\d+)|$)", str(error))
        if held:
            raise StoreLocked(path, int(held[1]) if held[1] else None) from None
        raise StoreUnusable(f"{path} cannot be opened: {_first_line(error)}") from error
    try:
        _prepare(con, path)
    except duckdb.Error as error:
        con.close()
        raise StoreUnusable(f"{path} cannot be prepared: {_first_line(error)}") from error
    except StoreUnusable:
        con.close()
        raise
    return con


def _prepare(con: Cursor, path: Path) -> None:
    tables = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()}
    if not tables:
        with _transaction(con):
            con.execute(TABLES)
            con.execute("INSERT INTO meta VALUES ('schema', ?)", [SCHEMA])
        return
    if "meta" not in tables:
        raise StoreUnusable(f"{path} is a DuckDB file, but not one of Lunchong's: choose another data folder")
    [(schema,)] = con.execute("SELECT value FROM meta WHERE name = 'schema'").fetchall()
    if schema > SCHEMA:
        raise StoreTooNew(f"{path} has schema {schema}, this Lunchong knows up to {SCHEMA}: update Lunchong")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
