"""Floor 1 · China's working days with their adjustments, from the holidays library.

Years that the State Council has not announced yet come without adjusted days, so they are provisional.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache, lru_cache


@lru_cache(maxsize=4_096)
def is_workday(day: date) -> bool:
    """Whether people in China work on that day: weekends that make up for a holiday count, holidays do not."""
    return _calendar()(day)


def is_announced(year: int) -> bool:
    """Whether the adjusted days of a year are known; each year has some, and without them its days are provisional."""
    return any(day.year == year for day in _working_weekends(year))


@cache
def _calendar() -> Callable[[date], bool]:
    """Read when it is first asked: the library takes longer to load than ingest takes to acknowledge again."""
    import holidays

    return holidays.country_holidays("CN").is_working_day


@cache
def _working_weekends(year: int) -> frozenset[date]:
    import holidays

    return frozenset(holidays.country_holidays("CN", years=year).weekend_workdays)
