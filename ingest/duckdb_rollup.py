"""Floor 3 · Rollups of the DuckDB store: hours that are no longer true, made anew; days are summed from hours.

Hours are those of UTC; a day is a local day, of the hours that begin in it. What a counter did between two readings
belongs to the hour of the later one, so an hour keeps where each counter stood before it, and that is set again when an
earlier hour changes. Once an hour's raw rows have expired, its rollup stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from itertools import chain, pairwise
from threading import Lock
from typing import Any
from zoneinfo import ZoneInfo

from ingest.clock import from_ms, to_ms
from ingest.duckdb_file import Cursor, DuckFile
from ingest.duckdb_reads import NS_PER_MS, count
from ingest.duckdb_rollup_sql import (
    BEFORE,
    CLEAN,
    DAYS,
    FORGET,
    FRESH,
    HOUR_MS,
    HOUR_NS,
    HOURS,
    INSERT,
    RENEWED,
    RESULTS,
    TAKEN,
)
from ingest.facts import Batch, Level
from ingest.store import RollupRow

REMEMBERED = 100_000
"""Marks kept in memory against writing them twice. Forgetting one costs a row, nothing else."""

Mark = tuple[str, str, int]


class DirtyHours:
    """Hours of a device whose rollup is not, or no longer, true. They stand in the file, marked with a rising number,
    so that a rollup under way clears only what it has seen."""

    def __init__(self, cursor: Cursor) -> None:
        [(newest,)] = cursor.execute("SELECT coalesce(max(mark), 0) FROM dirty").fetchall()
        self.newest: int = newest
        self._known: set[Mark] = set()
        self.renewing = Lock()
        """Held by whoever renews hours: two at once could put an older result over a newer one."""

    def mark(self, cursor: Cursor, batch: Batch, others: Iterable[tuple[str, str, int]] = ()) -> set[Mark]:
        """Mark, within the batch's transaction, the hours of its rows and of `others` (site, device, at_ns)."""
        rows: Iterable[Any] = chain(batch.pile, batch.station)
        found = {(row[1], row[2], row[0] // HOUR_NS) for row in rows}
        found |= {(site, device, at_ns // HOUR_NS) for site, device, at_ns in others}
        hours = {(site, device, hour * HOUR_MS) for site, device, hour in found} - self._known
        if hours:
            self.newest += 1
            appender = cursor.appender("dirty")
            appender.append_rows([(self.newest, *hour) for hour in hours])
            appender.flush()
        return hours

    def remember(self, hours: set[Mark]) -> None:
        """The marks are on disk now."""
        if len(self._known) > REMEMBERED:
            self._known = set()
        self._known |= hours

    def take(self, hours: Iterable[Mark]) -> int:
        """From now on these are marked again when they change. Returns the newest mark so far."""
        self._known.difference_update(hours)
        return self.newest


def roll_up(file: DuckFile, dirty: DirtyHours, before_ms: int, limit_hours: int) -> int:
    until_ms = before_ms // HOUR_MS * HOUR_MS
    with dirty.renewing, file.reading() as cursor:
        found = cursor.execute(
            "SELECT DISTINCT hour_ms FROM dirty WHERE hour_ms < ? ORDER BY hour_ms LIMIT ?", [until_ms, limit_hours]
        ).fetchall()
        newest = dirty.newest
        while found and _renew_some(file, cursor, dirty, found[-1][0], newest):
            pass
        if len(found) < limit_hours:
            with file.alone(cursor):
                _raise(cursor, "rolled_ms", until_ms)
    return len(found)


def expire(file: DuckFile, dirty: DirtyHours, before_ms: int) -> int:
    cut_ms = before_ms // HOUR_MS * HOUR_MS
    while roll_up(file, dirty, cut_ms, 2_000):
        pass
    with file.writing() as cursor:
        _raise(cursor, "expired_ms", cut_ms)
        return sum(
            count(cursor, f"DELETE FROM {table} WHERE at_ns < ?", [cut_ms * NS_PER_MS]) for table in ("pile", "station")
        )


def hours(cursor: Cursor, start_ms: int, end_ms: int, site: str | None, device: str | None) -> list[RollupRow]:
    """The hours that begin in [start_ms, end_ms), by time."""
    found = cursor.execute(HOURS, {"start": start_ms, "end": end_ms, "site": site, "device": device}).fetchall()
    return [_row("hour", row) for row in found]


def days(
    cursor: Cursor, start_ms: int, end_ms: int, site: str | None, device: str | None, zone: ZoneInfo
) -> list[RollupRow]:
    """The local days that begin in [start_ms, end_ms) and were over at the last rollup, by time."""
    rolled_ms = _level(cursor, "rolled_ms")
    begins = _midnights(start_ms, min(end_ms, rolled_ms), zone)
    wholes = [(day, after) for day, after in pairwise(begins) if start_ms <= day < end_ms and after <= rolled_ms]
    if not wholes:
        return []
    asked = {"start": wholes[0][0], "end": wholes[-1][1], "site": site, "device": device}
    found = cursor.execute(DAYS, asked | {"days": [day for day, _ in wholes]}).fetchall()
    return [_row("day", row) for row in found]


def _renew_some(file: DuckFile, cursor: Cursor, dirty: DirtyHours, last_hour_ms: int, last_mark: int) -> bool:
    with file.alone(cursor):
        cursor.execute(TAKEN, [last_hour_ms, last_mark])
        taken = cursor.execute("FROM taken").fetchall()
        newest = dirty.take(taken)
    if not taken:
        return False
    times = [hour_ms for _, _, hour_ms in taken]
    cursor.execute(FRESH, {"start": min(times) * NS_PER_MS, "end": max(times) * NS_PER_MS + HOUR_NS})
    with file.alone(cursor):
        cursor.execute(RENEWED, [_level(cursor, "expired_ms")])
        cursor.execute(FORGET)
        cursor.execute(INSERT)
        cursor.execute(BEFORE)
        cursor.execute(CLEAN, [newest])
    return True


def _level(cursor: Cursor, name: str) -> int:
    found = cursor.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchall()
    return int(found[0][0]) if found else 0


def _raise(cursor: Cursor, name: str, value: int) -> None:
    if value > _level(cursor, name):
        cursor.execute("DELETE FROM meta WHERE name = ?", [name])
        cursor.execute("INSERT INTO meta VALUES (?, ?)", [name, value])


def _midnights(start_ms: int, end_ms: int, zone: ZoneInfo) -> list[int]:
    """Local midnights from the one at or before `start_ms` to the first one after `end_ms`."""
    day = from_ms(start_ms).astimezone(zone).date()
    found = [to_ms(datetime.combine(day, time(), zone))]
    while found[-1] <= end_ms:
        day += timedelta(days=1)
        found.append(to_ms(datetime.combine(day, time(), zone)))
    return found


def _row(level: Level, row: Sequence[Any]) -> RollupRow:
    return RollupRow(level=level, **dict(zip(RESULTS, row, strict=True)))
