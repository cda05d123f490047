"""Floor 0 · Quiet hours: no time that somebody is expected to act in runs during them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from ingest.clock import from_ms, to_ms

DAY_MIN = 1_440


class QuietHours(Struct, frozen=True):
    """From `start_min` to `end_min` after local midnight, on every day; over midnight where the end is the smaller.

    Equal ends are no quiet hours at all.
    """

    start_min: int
    end_min: int
    timezone: str = "Asia/Shanghai"

    def quiet_at(self, at_ms: int) -> bool:
        return self._end_of_quiet(from_ms(at_ms)) is not None

    def after(self, from_at_ms: int, minutes: int) -> int:
        """When so many minutes outside quiet hours have passed since then, in milliseconds since 1970."""
        at, left = from_ms(from_at_ms), timedelta(minutes=minutes)
        while True:
            at = self._end_of_quiet(at) or at
            begins = self._next_start(at)
            if begins is None or at + left <= begins:
                return to_ms(at + left)
            left -= begins - at
            at = begins

    def _end_of_quiet(self, at: datetime) -> datetime | None:
        """When the quiet hours that run at that time end; None when none run."""
        return next((end for start, end in self._around(at) if start <= at < end), None)

    def _next_start(self, at: datetime) -> datetime | None:
        return next((start for start, _ in self._around(at) if start > at), None)

    def _around(self, at: datetime) -> list[tuple[datetime, datetime]]:
        """The quiet hours from the day before to two days after."""
        if self.start_min == self.end_min:
            return []
        today = at.astimezone(ZoneInfo(self.timezone)).date()
        longer = DAY_MIN if self.end_min < self.start_min else 0
        days = [today + timedelta(days=offset) for offset in (-1, 0, 1, 2)]
        return [(self._local(day, self.start_min), self._local(day, self.end_min + longer)) for day in days]

    def _local(self, day: date, minute: int) -> datetime:
        midnight = datetime.combine(day, time(), ZoneInfo(self.timezone))
        return (midnight + timedelta(minutes=minute)).astimezone(UTC)
