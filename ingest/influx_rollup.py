"""Floor 3 · The rollups' job in InfluxDB: hours that are over, or no longer true, made anew, and their days with them.

A step that is interrupted is done again from its beginning and gives the same: levels are raised last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, time, timedelta
from itertools import groupby
from threading import Lock
from zoneinfo import ZoneInfo

from ingest.clock import from_ms, to_ms
from ingest.facts import Level
from ingest.influx_fresh import Hours, first_hour, fresh_hours
from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param
from ingest.influx_late import Hour, Progress
from ingest.influx_lines import tag, tag_text, tag_value
from ingest.influx_parts import FIELDS, HOUR_MS, Key, Parts, all_of, of_point, results
from ingest.influx_reads import COUNTERS, Buckets
from ingest.rows import NANOS
from ingest.store import RollupRow

HOURS_AT_ONCE = 24
FEW_DEVICES = 3
"""Late hours of as many devices are asked for one device at a time; of more, for all at once."""

_LAST_BEFORE = """
from(bucket: bucket) |> range(start: time(v: 0), stop: time(v: first_ns))
  |> filter(fn: (r) => r._measurement == measurement and ({counters}))
"""
_ROLLUPS = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement)
"""
_SITE = "  |> filter(fn: (r) => r.site == wanted_site)\n"
_DEVICE = "  |> filter(fn: (r) => r.device == wanted_device)\n"
_ZONE = "  |> filter(fn: (r) => r.zone == zone)\n"
_NARROW = '  |> keep(columns: ["_time", "_field", "_value", "site", "device", "connector"])\n'
_WIDE = _NARROW + '  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")\n'
_ANY = " or ".join(f'r._field == "{name}_last"' for name in COUNTERS)


class Rollups:
    """Reads and renews the rollups of an installation. Hours are those of UTC, days are local ones of `zone`."""

    def __init__(self, influx: Influx, buckets: Buckets, zone: ZoneInfo, progress: Progress) -> None:
        self._influx, self._buckets, self._zone, self._progress = influx, buckets, zone, progress
        self._renewing = Lock()
        self._tidied = False

    def rows(self, level: Level, start_ms: int, end_ms: int, site: str | None, device: str | None) -> list[RollupRow]:
        """Of the hours or days that begin in [start, end), by time."""
        if max(start_ms, 0) * NANOS >= min(end_ms * NANOS, LAST_NS):
            return []
        found = self._read(level, max(start_ms, 0), end_ms, site, device)
        before: dict[Key, dict[str, float]] = {}
        if found:
            script, asked = self._script(level, max(start_ms, 0), end_ms, site, device, of=_LAST_BEFORE)
            columns = ("_field", "_value", "site", "device", "connector")
            for name, value, *tags in (
                self._influx.query(script + "  |> last()\n" + _NARROW, columns, asked) if start_ms > 0 else ()
            ):
                before.setdefault(_key(tags), {})[name.removesuffix("_last")] = float(value)
        ordered = sorted(
            ((key, at_ms, of_point(said)) for (key, at_ms), said in found.items()), key=lambda row: row[:2]
        )
        rows = results(level, ordered, before)
        return sorted(rows, key=lambda row: (row.start_ms, row.site, row.device, row.connector))

    def roll_up(self, before_ms: int, limit_hours: int, alone: Callable[[], AbstractContextManager[object]]) -> int:
        """See the port. While `alone()` is held, nobody writes."""
        until_ms = before_ms // HOUR_MS * HOUR_MS
        progress = self._progress
        with self._renewing:
            with alone():
                progress.load()
                if self._tidied and until_ms <= progress.rolled_ms and not progress.late():
                    return 0
                late, last_mark = progress.take(limit_hours)
                progress.claimed_ms = max(progress.rolled_ms, until_ms)
            self._tidy()
            self._tidied = False
            self._renew_late(late)
            done = {hour_ms for _site, _device, hour_ms in late}
            rolled_ms = self._go_on(until_ms, limit_hours, done)
            days_ms = self._days(rolled_ms, late)
            with alone():
                progress.save(last_mark, rolled_ms=rolled_ms, days_ms=days_ms)
                progress.claimed_ms = progress.rolled_ms
            self._tidied = True
            return len(done)

    def _tidy(self) -> None:
        """What an interrupted step left beyond the levels is in nobody's way when it is made anew."""
        if self._tidied:
            return
        levels: dict[Level, int] = {"hour": self._progress.rolled_ms, "day": self._progress.days_ms}
        for level, from_ms_ in levels.items():
            if self._first(level, from_ms_) is not None:
                self._influx.delete(self._buckets.rollups, from_ms_ * NANOS, LAST_NS, f'_measurement="{level}"')

    def _go_on(self, until_ms: int, limit_hours: int, done: set[int]) -> int:
        """Roll up from where it ended last; adds the hours to `done`. Returns where it ended now."""
        at_ms = self._progress.rolled_ms
        found = True
        while at_ms < until_ms and len(done) < limit_hours:
            if at_ms == 0 or not found:
                first_ms = first_hour(self._influx, self._buckets.raw, at_ms, until_ms)
                if first_ms is None:
                    return until_ms
                at_ms = first_ms
            end_ms = min(at_ms + HOURS_AT_ONCE * HOUR_MS, until_ms)
            fresh, hours = fresh_hours(self._influx, self._buckets.raw, at_ms, end_ms)
            found = bool(hours)
            allowed = sorted(hours)[: limit_hours - len(done)]
            if len(allowed) < len(hours):
                end_ms = allowed[-1] + HOUR_MS
            self._write("hour", {at: parts for at, parts in fresh.items() if at[1] < end_ms})
            done.update(allowed)
            at_ms = end_ms
        return at_ms

    def _renew_late(self, late: Iterable[Hour]) -> None:
        for first_ms, last_ms, device, wanted in _together(late):
            fresh, _hours = fresh_hours(self._influx, self._buckets.raw, first_ms, last_ms, device)
            fresh = {(key, at_ms): parts for (key, at_ms), parts in fresh.items() if (*key[:2], at_ms) in wanted}
            self._replace("hour", first_ms, last_ms, device, wanted, fresh)

    def _days(self, rolled_ms: int, late: Iterable[Hour]) -> int:
        """Make the days that are whole now, and those of late hours. Returns up to where days are made."""
        days_ms = self._progress.days_ms
        changed = {(site, device, self._midnight(hour_ms)) for site, device, hour_ms in late}
        for first_ms, last_ms, device, wanted in _together((day for day in changed if day[2] < days_ms), 0):
            self._replace("day", first_ms, first_ms + 1, device, wanted, self._day(first_ms, device))
            assert last_ms > first_ms
        while (hour_ms := self._first("hour", days_ms)) is not None:
            midnight_ms = self._midnight(hour_ms)
            next_ms = self._midnight(midnight_ms, days=1)
            if next_ms > rolled_ms:
                return midnight_ms
            self._write("day", self._day(midnight_ms, None))
            days_ms = next_ms
        return days_ms

    def _day(self, midnight_ms: int, device: tuple[str, str] | None) -> Hours:
        """The day's parts, of its hours."""
        hours = self._read("hour", midnight_ms, self._midnight(midnight_ms, days=1), *(device or (None, None)))
        ordered = sorted(
            ((key, at_ms, of_point(said)) for (key, at_ms), said in hours.items()), key=lambda row: row[:2]
        )
        return {
            (key, midnight_ms): all_of(parts for _key, _at_ms, parts in of_key)
            for key, of_key in groupby(ordered, key=lambda row: row[0])
        }

    def _replace(
        self, level: Level, first_ms: int, last_ms: int, device: tuple[str, str] | None, wanted: set[Hour], fresh: Hours
    ) -> None:
        """Put fresh parts in place of what stands there.

        A field cannot be taken back, so a row that would keep one that it has no longer goes first. An hour whose raw
        rows have expired keeps its rollup, unless more rows came afterwards than it was made of.
        """
        standing = self._read(level, first_ms, last_ms, *(device or (None, None)))
        fresh = {at: parts for at, parts in fresh.items() if (*at[0][:2], at[1]) in wanted}
        for (key, at_ms), said in standing.items():
            if (*key[:2], at_ms) not in wanted:
                continue
            parts = fresh.get((key, at_ms))
            samples = 0 if parts is None else parts.samples
            if level == "hour" and at_ms < self._progress.expired_ms and samples < int(said["samples"]):
                fresh.pop((key, at_ms), None)
            elif parts is None or not said.keys() <= parts.fields().keys():
                self._delete(level, key, at_ms)
        self._write(level, fresh)

    def _delete(self, level: Level, key: Key, at_ms: int) -> None:
        names = dict(zip(("site", "device", "connector"), map(str, key), strict=True))
        plain = [f'{name}="{value}"' for name, value in names.items()]
        at_ns = at_ms * NANOS
        self._influx.delete(self._buckets.rollups, at_ns, at_ns, " AND ".join([f'_measurement="{level}"', *plain]))

    def _write(self, level: Level, rows: Hours) -> None:
        lines = [self._line(level, key, at_ms, parts) for (key, at_ms), parts in rows.items()]
        self._influx.note(self._buckets.rollups, lines)

    def _line(self, level: Level, key: Key, at_ms: int, parts: Parts) -> str:
        site, device, connector = key
        zone = f",zone={tag(self._zone.key)}" if level == "day" else ""
        fields = ",".join(f"{name}={value}" for name, value in parts.fields().items())
        tags = f"connector={connector},device={tag(device)},site={tag(site)}{zone}"
        return f"{level},{tags} {fields} {at_ms * NANOS}"

    def _first(self, level: Level, from_ms_: int) -> int | None:
        """Where the first row at or after a time begins."""
        script, asked = self._script(level, from_ms_, LAST_NS // NANOS, None, None)
        script += '  |> filter(fn: (r) => r._field == "samples") |> first() |> keep(columns: ["_time"]) |> group()\n'
        times = self._influx.query(script + '  |> min(column: "_time")\n', ("_time",), asked)
        return min((self._influx.ns(time) // NANOS for (time,) in times), default=None)

    def _read(
        self, level: Level, start_ms: int, end_ms: int, site: str | None, device: str | None
    ) -> dict[tuple[Key, int], dict[str, str]]:
        """Fields of rows in [start, end)."""
        script, asked = self._script(level, start_ms, end_ms, site, device)
        found: dict[tuple[Key, int], dict[str, str]] = {}
        columns = ("_time", "site", "device", "connector", *FIELDS)
        for at, site_, device_, connector, *values in self._influx.query(script + _WIDE, columns, asked):
            said = {name: value for name, value in zip(FIELDS, values, strict=True) if value}
            found[_key((site_, device_, connector)), self._influx.ns(at) // NANOS] = said
        return found

    def _script(
        self, level: Level, start_ms: int, end_ms: int, site: str | None, device: str | None, of: str = _ROLLUPS
    ) -> tuple[str, dict[str, Param]]:
        script = of.replace("{counters}", _ANY)
        asked: dict[str, Param] = {
            "bucket": self._buckets.rollups, "measurement": level,
            "first_ns": max(start_ms * NANOS, FIRST_NS), "last_ns": min(end_ms * NANOS, LAST_NS),
        }  # fmt: skip
        if site is not None:
            script, asked = script + _SITE, asked | {"wanted_site": tag_value(site)}
        if device is not None:
            script, asked = script + _DEVICE, asked | {"wanted_device": tag_value(device)}
        if level == "day":
            script, asked = script + _ZONE, asked | {"zone": tag_value(self._zone.key)}
        return script, asked

    def _midnight(self, ms: int, days: int = 0) -> int:
        """The local midnight at or before a time, or so many days after that."""
        day = from_ms(ms).astimezone(self._zone).date() + timedelta(days=days)
        return to_ms(datetime.combine(day, time(), self._zone))


def _key(tags: Iterable[str]) -> Key:
    site, device, connector = tags
    return tag_text(site), tag_text(device), int(connector)


def _together(
    late: Iterable[Hour], apart_ms: int = HOURS_AT_ONCE * HOUR_MS
) -> Iterator[tuple[int, int, tuple[str, str] | None, set[Hour]]]:
    """(first, last, device or all, which of these) of few questions that cover all late hours."""
    hours = sorted(late, key=lambda hour: hour[2])
    start = 0
    for place in range(1, len(hours) + 1):
        if place == len(hours) or hours[place][2] - hours[start][2] >= max(apart_ms, 1):
            some = set(hours[start:place])
            first_ms, last_ms = hours[start][2], hours[place - 1][2] + HOUR_MS
            devices = sorted({hour[:2] for hour in some})
            for device in devices if len(devices) <= FEW_DEVICES else (None,):
                yield first_ms, last_ms, device, {hour for hour in some if device in (None, hour[:2])}
            start = place
