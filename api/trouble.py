"""Floor 3 · The book of troubles: a small SQLite file in the data folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import get_args

import msgspec

from api.ports import BookUnavailable, Trouble, TroubleKind

KEPT = 10_000
"""Beyond this many the book takes no more until staff have cleared it: refusing says so, forgetting would not."""


class SqliteTroubleBook:
    """Thread-safe; each trouble is synced before `add` returns. Raises BookUnavailable for a file that is no book."""

    def __init__(self, path: Path | str) -> None:
        self._lock = Lock()
        kinds = ", ".join(f"'{kind}'" for kind in get_args(TroubleKind))
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS trouble (id TEXT PRIMARY KEY, reported_ms INTEGER NOT NULL, "
                f"connector TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ({kinds})), note TEXT NOT NULL)"
            )
        except sqlite3.Error as failed:
            raise BookUnavailable(f"{path} cannot be opened: {failed}") from failed

    def add(self, trouble: Trouble) -> None:
        with self._open() as book:
            if _count(book) >= KEPT:
                raise BookUnavailable(f"the book is full: {KEPT} troubles wait to be cleared")
            book.execute("INSERT INTO trouble VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(trouble))

    def newest(self, limit: int) -> list[Trouble]:
        with self._open() as book:
            rows = book.execute("SELECT * FROM trouble ORDER BY reported_ms DESC, id LIMIT ?", (limit,)).fetchall()
        return [Trouble(**dict(zip(Trouble.__struct_fields__, row, strict=True))) for row in rows]

    def clear(self, trouble_id: str) -> bool:
        with self._open() as book:
            return book.execute("DELETE FROM trouble WHERE id = ?", (trouble_id,)).rowcount > 0

    def count(self) -> int:
        with self._open() as book:
            return _count(book)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as failed:
                raise BookUnavailable(str(failed)) from failed


def _count(book: sqlite3.Connection) -> int:
    [[count]] = book.execute("SELECT count(*) FROM trouble")
    return int(count)
