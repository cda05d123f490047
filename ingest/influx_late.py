"""Floor 3 · How far InfluxDB's rollups are, and which hours before that came to be untrue.

Readings that come in their order need no marks: hours from `rolled_ms` on are simply not rolled up yet. What changes an
hour before that, however late, puts the hour into a log first; `late_done` says how far the log has been worked off.
"""

from __future__ import annotations

from collections.abc import Iterable

from ingest.influx_http import FIRST_NS, Influx, in_bucket
from ingest.influx_lines import field_text, quoted
from ingest.influx_parts import HOUR_MS
from ingest.rows import NANOS

SWEPT_AFTER = 20_000
"""Marks that are left in the log after they were worked off, before they are deleted."""

Hour = tuple[str, str, int]
"""Site, device, and where the hour begins in milliseconds."""

_LEVELS = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "level") |> last()
"""
_LATE = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "late")
"""


class Progress:
    """Levels and the log of late hours. Not for two threads at once, and only for the one process that writes."""

    def __init__(self, influx: Influx, bucket: str, zone: str) -> None:
        self._influx, self._bucket, self._zone = influx, bucket, zone
        self._loaded = False
        self._marks: dict[int, Hour] = {}
        self._known: set[Hour] = set()
        self._newest = self._swept = 0
        self.rolled_ms = self.expired_ms = self.days_ms = self.claimed_ms = self._late_done = 0
        """Hours before `rolled_ms` and local days before `days_ms` are rolled up; raw rows before `expired_ms` are
        gone. Hours before `claimed_ms` are being rolled up: what changes them from now on is late."""

    def load(self) -> None:
        """Read what an earlier process left. Raises StoreUnavailable; does nothing the second time."""
        if self._loaded:
            return
        asked = in_bucket(self._bucket)
        said = {row[0]: row[1] for row in self._influx.query(_LEVELS, ("_field", "_value"), asked)}
        zone = said.pop("zone", "")
        levels = {name: int(value) for name, value in said.items()}
        late_done = levels.get("late_done", 0)
        asked |= {"first_ns": late_done + 1}
        points: dict[int, dict[str, str]] = {}
        for name, value, time in self._influx.query(_LATE, ("_field", "_value", "_time"), asked):
            points.setdefault(self._influx.ns(time), {})[name] = value
        self.rolled_ms, self.expired_ms = levels.get("rolled_ms", 0), levels.get("expired_ms", 0)
        self.days_ms = levels.get("days_ms", 0) if zone == self._zone else 0  # days of another zone are other days
        self._late_done = late_done
        self.claimed_ms = self.rolled_ms
        self._marks = {
            mark: (field_text(said["site"]), field_text(said["device"]), int(said["hour_ms"]))
            for mark, said in sorted(points.items())
        }
        self._known = set(self._marks.values())
        self._newest = self._swept = max([late_done, *self._marks])
        self._loaded = True

    def mark(self, hours: Iterable[Hour]) -> None:
        """These are about to change. Marks only what is rolled up already."""
        new = [hour for hour in sorted(set(hours) - self._known) if hour[2] < self.claimed_ms]
        lines = [
            f"late site={quoted(site)},device={quoted(device)},hour_ms={hour_ms}i {self._newest + place}"
            for place, (site, device, hour_ms) in enumerate(new, 1)
        ]
        self._influx.note(self._bucket, lines)
        self._marks |= {self._newest + place: hour for place, hour in enumerate(new, 1)}
        self._known.update(new)
        self._newest += len(new)

    def take(self, limit_hours: int) -> tuple[set[Hour], int]:
        """The oldest marks, of at most so many different hours, and the number of the last of them. What changes these
        hours from now on is marked again."""
        taken: set[Hour] = set()
        times: set[int] = set()
        last = self._late_done
        for mark, hour in self._marks.items():
            if len(times) >= limit_hours and hour[2] not in times:
                break
            times.add(hour[2])
            taken.add(hour)
            last = mark
        self._known -= taken
        return {hour for hour in taken if hour[2] < self.rolled_ms}, last

    def late(self) -> bool:
        return bool(self._marks)

    def save(self, late_done: int | None = None, **levels: int) -> None:
        """Raise levels, for good."""
        raised = {name: max(value, int(getattr(self, name))) for name, value in levels.items()}
        late_done = self._late_done if late_done is None else late_done
        said = [f"{name}={value}i" for name, value in (raised | {"late_done": late_done}).items()]
        if "days_ms" in raised:
            said.append(f"zone={quoted(self._zone)}")
        self._influx.note(self._bucket, [f"level {','.join(said)} 0"])
        for name, value in raised.items():
            setattr(self, name, value)
        self._late_done = late_done
        self._marks = {mark: hour for mark, hour in self._marks.items() if mark > late_done}
        if not self._marks and late_done - self._swept > SWEPT_AFTER:
            self._influx.delete(self._bucket, FIRST_NS, late_done, '_measurement="late"')
            self._swept = late_done


def hour_of(at_ns: int) -> int:
    """Where the hour of a point begins, in milliseconds."""
    return at_ns // (HOUR_MS * NANOS) * HOUR_MS
