"""Floor 0 · When a place is open: windows of minutes after local midnight, by workday and rest day."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta

from ingest.assets import Window

DAY_MIN = 1_440
LOOK_AHEAD_DAYS = 15
"""The longest rest in China's calendar is ten days; what is not found in this time is not known."""


def open_at(windows: Sequence[Window], local: datetime, is_workday: Callable[[date], bool]) -> bool:
    """Whether a place with these windows is open at a local time; without windows it always is."""
    return not windows or any(start <= local < end for start, end in _around(windows, local, 1, is_workday))


def next_change(windows: Sequence[Window], local: datetime, is_workday: Callable[[date], bool]) -> datetime | None:
    """The next local time at which it opens or closes; None when that is not within a fortnight."""
    now_open = open_at(windows, local, is_workday)
    edges = sorted({edge for span in _around(windows, local, LOOK_AHEAD_DAYS, is_workday) for edge in span})
    return next((edge for edge in edges if edge > local and open_at(windows, edge, is_workday) != now_open), None)


def _around(
    windows: Sequence[Window], local: datetime, days: int, is_workday: Callable[[date], bool]
) -> list[tuple[datetime, datetime]]:
    """Spans of the windows that begin from the day before (a window may pass midnight) to `days` ahead."""
    spans = []
    for offset in range(-1, days + 1):
        day = local.date() + timedelta(days=offset)
        kind = "workday" if is_workday(day) else "restday"
        midnight = datetime.combine(day, time(), local.tzinfo)
        spans += [
            (midnight + timedelta(minutes=window.start_min), midnight + timedelta(minutes=window.end_min))
            for window in windows
            if window.days in ("all", kind)
        ]
    return spans
