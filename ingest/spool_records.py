"""Floor 3 · The records of devices in the spool: what a commit changed is put down as one small piece, folded in later.

A busy commit changes the record of every device. Written over in its own row each would make the commit, which
everybody waits for, five times as large; packed together, so much alike, they take a tenth.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping

from msgspec import msgpack

TABLES = """
CREATE TABLE IF NOT EXISTS device (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changed (no INTEGER PRIMARY KEY, records BLOB NOT NULL);
"""
FOLD_EVERY = 64
"""Commits after which the pieces are folded into the rows of their devices."""

_pieces = msgpack.Decoder(dict[str, bytes])


class SpooledRecords:
    """In the spool's database, in whose transactions `write` takes part."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Raises zlib.error or MsgspecError where a piece is damaged."""
        self._db = db
        self._changed: dict[str, bytes] = {}
        """What the pieces say together: the newest of each device in them."""
        self._pieces = 0
        for (piece,) in db.execute("SELECT records FROM changed ORDER BY no"):
            self._changed.update(_pieces.decode(zlib.decompress(piece)))
            self._pieces += 1

    def load(self) -> list[bytes]:
        """The newest record of every device."""
        rows = dict(self._db.execute("SELECT name, record FROM device"))
        return list((rows | self._changed).values())

    def write(self, no: int, records: Mapping[str, bytes]) -> None:
        """Within the transaction of commit `no`, which may still fail."""
        if not records:
            return
        if self._is_fold():
            newest = self._changed | dict(records)
            self._db.executemany("INSERT OR REPLACE INTO device VALUES (?, ?)", newest.items())
            self._db.execute("DELETE FROM changed")
        else:
            piece = zlib.compress(msgpack.encode(records), 1)
            self._db.execute("INSERT INTO changed VALUES (?, ?)", (no, piece))

    def written(self, records: Mapping[str, bytes]) -> None:
        """The transaction in which they were written stands."""
        if not records:
            return
        if self._is_fold():
            self._changed, self._pieces = {}, 0
        else:
            self._changed.update(records)
            self._pieces += 1

    def _is_fold(self) -> bool:
        return self._pieces + 1 >= FOLD_EVERY
