"""Whether a place is open: windows past midnight, working Saturdays, and long holidays."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ingest.assets import Window
from ingest.opening import next_change, open_at
from ingest.workdays import is_workday

SHANGHAI = ZoneInfo("Asia/Shanghai")
NIGHTS = [Window("workday", 18 * 60, 32 * 60)]
OFFICE = [Window("workday", 8 * 60, 21 * 60), Window("restday", 9 * 60, 19 * 60)]


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def is_open(windows, text):
    return open_at(windows, at(text), is_workday)


def changes(windows, text):
    found = next_change(windows, at(text), is_workday)
    return found and found.strftime("%Y-%m-%d %H:%M")


def test_a_place_without_windows_is_always_open():
    assert is_open([], "2026-11-23 03:00")
    assert changes([], "2026-11-23 03:00") is None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23 17:59", False),
        ("2026-11-23 18:00", True),
        ("2026-11-24 07:59", True),
        ("2026-11-24 08:00", False),
        ("2026-11-28 07:59", True),  # Saturday morning still belongs to Friday's window
        ("2026-11-28 18:00", False),
    ],
)
def test_a_window_may_end_on_the_next_day(moment, expected):
    assert is_open(NIGHTS, moment) is expected


def test_a_saturday_that_makes_up_for_a_holiday_is_a_workday():
    assert is_workday(at("2026-10-10 12:00").date())
    assert is_open(OFFICE, "2026-10-10 08:30")
    assert not is_open(OFFICE, "2026-10-17 08:30")


def test_national_day_is_a_rest_day_in_the_middle_of_the_week():
    assert not is_open(OFFICE, "2026-10-01 08:30")
    assert is_open(OFFICE, "2026-10-01 09:30")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23 12:00", "2026-11-23 18:00"),
        ("2026-11-23 20:00", "2026-11-24 08:00"),
        ("2026-11-28 12:00", "2026-11-30 18:00"),
        ("2026-09-30 20:00", "2026-10-01 08:00"),
        ("2026-10-01 09:00", "2026-10-08 18:00"),
    ],
)
def test_the_next_change_is_found_over_weekends_and_holidays(moment, expected):
    assert changes(NIGHTS, moment) == expected


def test_windows_that_touch_are_one_opening():
    assert changes([Window("all", 0, 720), Window("all", 720, 1440)], "2026-11-23 06:00") is None
