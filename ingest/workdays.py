"""Floor 1 · China's working days with their adjustments, from the holidays library.

Years that the State Council has not announced yet come without adjusted days, so they are provisional.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import holidays

_CHINA = holidays.country_holidays("CN")


@lru_cache(maxsize=4_096)
def is_workday(day: date) -> bool:
    """Whether people in China work on that day: weekends that make up for a holiday count, holidays do not."""
    return bool(_CHINA.is_working_day(day))
