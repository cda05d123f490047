"""Floor 3 · The spool: one SQLite file in which a batch and the memory of it are committed and synced together.

A mark beside the file, synced after each commit and before any ack, says how far commits went; at start it tells what
a damaged file lost. A damaged file is never passed over: it is put aside, counted, and said.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from msgspec import MsgspecError, Struct, msgpack
from msgspec.structs import replace

from ingest.facts import Batch
from ingest.spool_records import TABLES, SpooledRecords
from ingest.spooling import Commit, Damage, DeadSeen, Kept, Lost, SpoolFull, SpoolSize, decode_record

SCHEMA_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch
    (no INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seen
    (device TEXT, boot TEXT, lo INTEGER, hi INTEGER, PRIMARY KEY (device, boot, lo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revived (letter TEXT PRIMARY KEY, no INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_seen
    (digest BLOB PRIMARY KEY, id TEXT NOT NULL, first_ms INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
"""
_MARK_BYTES = 128
MOST_READ_BYTES = 16 * 1024 * 1024
"""Of what waits, so much is read at a time: a few dead letters may be as large as thousands of rows."""
_SUMS = "SELECT count(*), coalesce(sum(rows), 0), coalesce(sum(bytes), 0) FROM batch"
WAL_PAGES = 4_000
"""Every checkpoint syncs the database too, while a commit waits: not every few commits of a full load."""
LEAP = 1_000_000_000
"""Batches that no installation commits between two starts."""

_batch = msgpack.Decoder(Batch)
_damages = msgpack.Decoder(list[Damage])
_lost = msgpack.Decoder(Lost)


class _Mark(Struct, frozen=True):
    spool: str
    no: int


_mark = msgpack.Decoder(_Mark)


class SqliteSpool:
    """The port `Spool` over `spool.db` and `spool.mark` in a folder. One thread commits; others may read."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        """Open or make the spool. Raises OSError when the folder cannot be written."""
        self._path = folder / "spool.db"
        self._mark_path = folder / "spool.mark"
        self.set_aside: Path | None = None
        """Where a file that could not be read was put; the spool is then a new one."""
        try:
            self._open()
        except _Unreadable:
            self.set_aside = _put_aside(self._path, now_ms)
            self._open()
        named = self._db.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()
        self.id = str(named[0]) if named else uuid4().hex
        newest = self._db.execute("SELECT max(no) FROM batch").fetchone()[0] or 0
        self.last_no = max(newest, self._meta_int("last_no"))
        self.starts = self._meta_int("starts") + 1
        kept = self._db.execute("SELECT value FROM meta WHERE key = 'damage'").fetchone()
        self.damage: list[Damage] = _damages.decode(kept[0]) if kept else []
        found = self._db.execute("SELECT value FROM meta WHERE key = 'lost'").fetchone()
        self.lost: Lost | None = _lost.decode(found[0]) if found else None
        """What was acknowledged and was not in the file, until `record_damage`."""
        self._compare_with_mark()
        self._leapt_from: int | None = None
        self._waiting = _Waiting(*self._db.execute(_SUMS).fetchone())
        self._mark = os.open(self._mark_path, os.O_RDWR | os.O_CREAT, 0o600)
        self._unmarked: tuple[Commit, Batch] | None = None
        self._keep_start()

    def _open(self) -> None:
        self._db = _connect(self._path)
        try:
            if (version := self._meta_int("version")) > SCHEMA_VERSION:
                raise OSError(f"{self._path} was written by a newer Lunchong (version {version}); use that one")
            self._records = SpooledRecords(self._db)
        except (zlib.error, MsgspecError):
            self._db.close()
            raise _Unreadable from None
        except OSError:
            self._db.close()
            raise

    def _compare_with_mark(self) -> None:
        try:
            mark = _mark.decode(self._mark_path.read_bytes().rstrip(b"\n"))
        except (FileNotFoundError, MsgspecError):
            return
        if mark.spool != self.id:
            self.lost = self.lost or Lost(mark.spool, 1, mark.no)
        elif mark.no > self.last_no:
            first_no = self.lost.first_no if self.lost and self.lost.spool == self.id else self.last_no + 1
            self.lost = Lost(self.id, first_no, mark.no)
            self.last_no = mark.no

    def _keep_start(self) -> None:
        with _said_as_full(self._path), self._db:
            self._put_meta("version", SCHEMA_VERSION)
            self._put_meta("id", self.id)
            self._put_meta("starts", self.starts)
            self._put_meta("last_no", self.last_no)
            if self.lost is not None:
                self._put_meta("lost", msgpack.encode(self.lost))
        with _said_as_full(self._path):
            self._sync_mark()

    def catch_up(self, stored_no: int) -> None:
        """The store has batches of this spool up to `stored_no`: what is missing here was lost, mark and all."""
        had_no = self.last_no if self._leapt_from is None else self._leapt_from
        if stored_no > had_no:
            first_no = self.lost.first_no if self.lost and self.lost.spool == self.id else had_no + 1
            self.lost = Lost(self.id, first_no, stored_no)
            self.last_no = max(self.last_no, stored_no)
            self._keep_start()
        self._leapt_from = None

    def leap(self) -> None:
        self._leapt_from = self.last_no
        self.last_no += LEAP
        self._keep_start()

    def load(self) -> Kept:
        with self._db as db:
            records = [decode_record(raw) for raw in self._records.load()]
            seen = list(db.execute("SELECT device, boot, lo, hi FROM seen"))
            dead = [DeadSeen(*row) for row in db.execute("SELECT digest, id, first_ms, count FROM dead_seen")]
        return Kept(records, seen, dead)

    def record_damage(self, damage: Damage) -> None:
        self.damage.append(damage)
        with _said_as_full(self._path), self._db:
            self._put_meta("damage", msgpack.encode(self.damage))
            self._db.execute("DELETE FROM meta WHERE key = 'lost'")
        self.lost = None

    def forget_damage(self) -> None:
        self.damage = []
        with _said_as_full(self._path), self._db:
            self._put_meta("damage", msgpack.encode(self.damage))

    def commit(self, commit: Commit, drained: int, now_ms: int) -> Batch:
        with _said_as_full(self._path):
            if self._unmarked is None or self._unmarked[0] is not commit:
                self._unmarked = (commit, self._write(commit, drained, now_ms))
            self._sync_mark()
        batch = self._unmarked[1]
        self._unmarked = None
        return batch

    def _write(self, commit: Commit, drained: int, now_ms: int) -> Batch:
        batch = replace(commit.batch, spool=self.id, no=self.last_no + 1)
        body = zlib.compress(msgpack.encode(batch), 1)
        rows = len(batch.pile) + len(batch.station) + len(batch.event)
        with self._db as db:
            db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", (batch.no, now_ms, rows, len(body), body))
            self._remember(commit)
            self._records.write(batch.no, commit.records)
            db.executemany(
                "INSERT OR REPLACE INTO dead_seen VALUES (?, ?, ?, ?)",
                [(dead.digest, dead.id, dead.first_ms, dead.count) for dead in commit.dead_seen],
            )
            db.executemany("INSERT OR REPLACE INTO revived VALUES (?, ?)", [(id_, batch.no) for id_ in batch.revived])
            gone = self._let_go(db, min(drained, batch.no - 1))
            self._put_meta("last_no", batch.no)
        self.last_no = batch.no
        self._records.written(commit.records)
        self._waiting = self._waiting.plus(1, rows, len(body)).minus(gone)
        return batch

    def _let_go(self, db: sqlite3.Connection, drained: int) -> _Waiting:
        gone = _Waiting(*db.execute(f"{_SUMS} WHERE no <= ?", (drained,)).fetchone())
        if gone.batches:
            db.execute("DELETE FROM batch WHERE no <= ?", (drained,))
            db.execute("DELETE FROM revived WHERE no <= ?", (drained,))
        return gone

    def _remember(self, commit: Commit) -> None:
        self._db.executemany(
            "DELETE FROM seen WHERE device = ? AND boot = ? AND lo >= ?",
            [(change.device, change.boot, change.from_lo) for change in commit.seen],
        )
        self._db.executemany(
            "INSERT INTO seen VALUES (?, ?, ?, ?)",
            [(change.device, change.boot, lo, hi) for change in commit.seen for lo, hi in change.ranges],
        )

    def forget(self, drained: int) -> None:
        with _said_as_full(self._path), self._db as db:
            gone = self._let_go(db, drained)
        self._waiting = self._waiting.minus(gone)

    def revived(self) -> dict[str, int]:
        return dict(self._db.execute("SELECT letter, no FROM revived"))

    def expire(self, dead_before_ms: int) -> None:
        with _said_as_full(self._path), self._db as db:
            db.execute("DELETE FROM dead_seen WHERE first_ms < ?", (dead_before_ms,))

    def pending(self, after: int, most_rows: int) -> list[Batch]:
        found: list[bytes] = []
        with closing(sqlite3.connect(self._path, timeout=10)) as db, closing(db.cursor()) as cursor:
            rows = size = 0
            for of_batch, body in cursor.execute("SELECT rows, body FROM batch WHERE no > ? ORDER BY no", (after,)):
                found.append(zlib.decompress(body))
                rows, size = rows + of_batch + 1, size + len(found[-1])
                if rows >= most_rows or size >= MOST_READ_BYTES:
                    break
        return [_batch.decode(body) for body in found]

    def size(self, drained: int) -> SpoolSize:
        with _said_as_full(self._path), closing(sqlite3.connect(self._path, timeout=10)) as db:
            done = _Waiting(*db.execute(f"{_SUMS} WHERE no <= ?", (drained,)).fetchone())
            oldest = db.execute("SELECT at_ms FROM batch WHERE no > ? ORDER BY no LIMIT 1", (drained,)).fetchone()
            waiting = self._waiting.minus(done)
        if oldest is None:
            return SpoolSize(0, 0, 0, None)
        return SpoolSize(max(1, waiting.batches), max(0, waiting.rows), max(0, waiting.bytes), oldest[0])

    def close(self) -> None:
        self._db.close()
        os.close(self._mark)

    def _meta_int(self, key: str) -> int:
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else 0

    def _put_meta(self, key: str, value: int | str | bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _sync_mark(self) -> None:
        os.pwrite(self._mark, msgpack.encode(_Mark(self.id, self.last_no)).ljust(_MARK_BYTES, b"\n"), 0)
        os.fdatasync(self._mark)


class _Waiting(Struct, frozen=True):
    """How much stands in the table of batches, kept as it changes: counting it takes long when much waits."""

    batches: int
    rows: int
    bytes: int

    def plus(self, batches: int, rows: int, size: int) -> _Waiting:
        return _Waiting(self.batches + batches, self.rows + rows, self.bytes + size)

    def minus(self, other: _Waiting) -> _Waiting:
        return _Waiting(self.batches - other.batches, self.rows - other.rows, self.bytes - other.bytes)


class _Unreadable(Exception):
    """The file is no database, or a damaged one."""


def _connect(path: Path) -> sqlite3.Connection:
    """Raises OSError when the disk or the rights are not there, _Unreadable when the file is not what it should be."""
    try:
        db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    except sqlite3.OperationalError as bad:
        raise OSError(f"{path}: {bad}") from None
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        whole = db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        if whole:
            db.executescript(_TABLES + TABLES)
            return db
    except sqlite3.DatabaseError as bad:
        db.close()
        if bad.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise OSError(f"{path}: {bad}") from None
    db.close()
    raise _Unreadable


@contextmanager
def _said_as_full(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as full:
        raise SpoolFull(f"{path}: {full}") from None


def _put_aside(path: Path, now_ms: int) -> Path:
    aside = path.with_name(f"{path.stem}.damaged-{now_ms}{path.suffix}")
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    return aside
