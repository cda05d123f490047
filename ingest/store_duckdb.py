"""Floor 3 · The telemetry store in one DuckDB file, for the all-in-one process.

A batch is one transaction with its own number, so that a batch given twice is stored once. Whatever a batch changes,
however late, marks its hours in the same transaction, and the next rollup renews exactly these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from ingest import duckdb_reads as reads
from ingest.duckdb_append import append, append_rows
from ingest.duckdb_file import Cursor, DuckFile
from ingest.duckdb_rollup import DirtyHours, Mark, days, expire, hours, roll_up
from ingest.duckdb_schema import RAW
from ingest.facts import Batch, Cell, DeadLetter, Level, Reading, Session
from ingest.paging import place
from ingest.store import HistoryPoint, RollupRow, SessionPage

DEFAULT_TIMEZONE = "Asia/Shanghai"


class DuckStore:
    """`TelemetryStore` over one file. Hours are those of UTC; a day is a local day of `timezone`.

    Raises StoreLocked when another process has the file open, StoreTooNew when a later version wrote it, and
    StoreUnusable for a file that cannot be opened. Afterwards trouble with the disk is StoreUnavailable.
    """

    def __init__(self, path: Path, timezone: str = DEFAULT_TIMEZONE) -> None:
        self._zone = ZoneInfo(timezone)
        self._file = DuckFile(path)
        with self._file.reading() as cursor:
            self._dirty = DirtyHours(cursor)

    def write(self, batch: Batch) -> list[DeadLetter]:
        marked: set[Mark] = set()
        with self._file.writing(lambda: self._dirty.remember(marked)) as cursor:
            drained = reads.drained(cursor, batch.spool)
            if drained is not None and batch.no <= drained:
                return []
            for table, rows in (("pile", batch.pile), ("station", batch.station), ("event", batch.event)):
                append_rows(cursor, table, batch.spool, batch.no, rows)
            _replace(cursor, "session", batch.sessions, batch.withdrawn)
            _replace(cursor, "dead_letter", batch.dead, batch.revived)
            found_skewed = _mark_skewed(cursor, batch)
            marked |= self._dirty.mark(cursor, batch, found_skewed)
            if drained is None:
                cursor.execute("INSERT INTO spool VALUES (?, ?)", [batch.spool, batch.no])
            else:
                cursor.execute("UPDATE spool SET drained = ? WHERE id = ?", [batch.no, batch.spool])
        return []

    def drained(self, spool: str) -> int:
        with self._file.reading() as cursor:
            return reads.drained(cursor, spool) or 0

    def latest(self) -> list[dict[str, Cell]]:
        with self._file.reading() as cursor:
            return reads.latest(cursor)

    def history(
        self, site: str, device: str, connector: int | None, start_ms: int, end_ms: int, every_ms: int
    ) -> list[HistoryPoint]:
        if every_ms <= 0:
            raise ValueError("a step lasts at least a millisecond")
        with self._file.reading() as cursor:
            return reads.history(cursor, site, device, connector, start_ms, end_ms, every_ms)

    def sessions(self, *, site: str | None = None, device: str | None = None, connector: int | None = None,
                 start_ms: int | None = None, end_ms: int | None = None, cursor: str | None = None, limit: int = 100) -> SessionPage:  # fmt: skip  # noqa: E501
        after = place(cursor)
        with self._file.reading() as db:
            return reads.sessions(
                db, {"site": site, "device": device, "connector": connector}, start_ms, end_ms, after, limit
            )

    def open_sessions(self) -> list[Session]:
        with self._file.reading() as cursor:
            return reads.some_sessions(cursor, "ended_ms IS NULL", [])

    def sessions_after(self, site: str, device: str, since_ms: int) -> list[Session]:
        wanted = "site = ? AND device = ? AND (ended_ms IS NULL OR ended_ms >= ?)"
        with self._file.reading() as cursor:
            return reads.some_sessions(cursor, wanted, [site, device, since_ms])

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        with self._file.reading() as cursor:
            return reads.readings(cursor, site, device, connector, since_ms)

    def roll_up(self, before_ms: int, limit_hours: int = 2_000) -> int:
        return roll_up(self._file, self._dirty, before_ms, limit_hours)

    def rollups(
        self, level: Level, start_ms: int, end_ms: int, *, site: str | None = None, device: str | None = None
    ) -> list[RollupRow]:
        with self._file.reading() as cursor:
            if level == "hour":
                return hours(cursor, start_ms, end_ms, site, device)
            return days(cursor, start_ms, end_ms, site, device, self._zone)

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:
        with self._file.reading() as cursor:
            return reads.stored(cursor, since_batch)

    def dead_letters(self, *, limit: int = 100, after: str | None = None) -> list[DeadLetter]:
        with self._file.reading() as cursor:
            return reads.dead_letters(cursor, limit, after)

    def count_dead(self) -> int:
        with self._file.reading() as cursor:
            return reads.count(cursor, "SELECT count(*) FROM dead_letter", [])

    def purge_dead(self, ids: list[str] | None = None, before_ms: int | None = None) -> int:
        """Delete dead letters that are among `ids` and older than `before_ms`, where given; how many went."""
        with self._file.writing() as cursor:
            return reads.count(
                cursor,
                "DELETE FROM dead_letter WHERE ($ids IS NULL OR id IN (SELECT unnest($ids::VARCHAR[])))"
                " AND ($before IS NULL OR received_ms < $before)",
                {"ids": ids, "before": before_ms},
            )

    def expire(self, before_ms: int) -> int:
        """Delete raw rows of the whole hours before `before_ms`, once their rollups are made; how many rows went."""
        return expire(self._file, self._dirty, before_ms)

    def close(self) -> None:
        """End the queries under way and let the file go. Calls afterwards raise StoreUnavailable."""
        self._file.close()


def _replace(cursor: Cursor, table: str, values: Collection[Session | DeadLetter], gone: Iterable[str] = ()) -> None:
    newest = {value.id: value for value in values}
    ids = [*newest, *gone]
    if ids:
        cursor.execute(f"DELETE FROM {table} WHERE id IN (SELECT unnest(?::VARCHAR[]))", [ids])
        append(cursor, table, [msgspec.structs.astuple(value) for value in newest.values()])


def _mark_skewed(cursor: Cursor, batch: Batch) -> set[tuple[str, str, int]]:
    """Flag stored rows; the (site, device, at_ns) of those that are no longer where a reader looks for them."""
    moved: set[tuple[str, str, int]] = set()
    for mark in batch.skewed:
        for table in RAW:
            moved.update(
                cursor.execute(
                    f"UPDATE {table} SET skewed = true WHERE site = ? AND device = ? AND boot = ?"
                    " AND seq BETWEEN ? AND ? AND NOT skewed RETURNING site, device, at_ns",
                    [mark.site, mark.device, mark.boot, mark.lo, mark.hi],
                ).fetchall()
            )
    return moved
