"""Quiet hours: nobody is expected to act in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest.clock import to_ms
from scheduler.quiet import QuietHours

NIGHT = QuietHours(22 * 60, 7 * 60)
NOON = QuietHours(12 * 60, 14 * 60)
MINUTE_MS = 60_000


def at(hour, minute=0, day=22):
    """Shanghai's time, in November 2026."""
    return to_ms(datetime(2026, 11, day, hour, minute, tzinfo=UTC) - timedelta(hours=8))


@pytest.mark.parametrize(
    ("quiet", "hour", "minute", "is_quiet"),
    [
        (NIGHT, 21, 59, False),
        (NIGHT, 22, 0, True),
        (NIGHT, 3, 0, True),
        (NIGHT, 6, 59, True),
        (NIGHT, 7, 0, False),
        (NOON, 12, 0, True),
        (NOON, 14, 0, False),
        (QuietHours(600, 600), 10, 0, False),
    ],
)
def test_it_is_quiet_from_the_start_to_before_the_end(quiet, hour, minute, is_quiet):
    assert quiet.quiet_at(at(hour, minute)) == is_quiet


@pytest.mark.parametrize(
    ("quiet", "since", "minutes", "then"),
    [
        (NIGHT, at(12), 10, at(12, 10)),
        (NIGHT, at(21, 50), 10, at(22)),
        (NIGHT, at(21, 55), 10, at(7, 5, day=23)),
        (NIGHT, at(23), 10, at(7, 10, day=23)),
        (NIGHT, at(3), 10, at(7, 10)),
        (NIGHT, at(21), 16 * 60, at(7, day=24) - 9 * 60 * MINUTE_MS),
        (NIGHT, at(21), 16 * 60 + 1, at(7, 1, day=24)),
        (NOON, at(11, 55), 10, at(14, 5)),
        (QuietHours(0, 0), at(23), 10, at(23, 10)),
    ],
)
def test_minutes_pass_outside_quiet_hours_alone(quiet, since, minutes, then):
    assert quiet.after(since, minutes) == then


def test_quiet_hours_keep_to_the_local_clock_over_its_changes():
    berlin = QuietHours(22 * 60, 7 * 60, "Europe/Berlin")
    before_the_change = to_ms(datetime(2026, 10, 24, 20, 30, tzinfo=UTC))
    assert berlin.quiet_at(before_the_change)
    assert berlin.after(before_the_change, 1) == to_ms(datetime(2026, 10, 25, 6, 1, tzinfo=UTC))


@given(st.integers(0, 1_439), st.integers(0, 1_439), st.integers(0, 3_000), st.integers(0, 300))
def test_exactly_so_many_minutes_are_not_quiet_until_then(start, end, since_min, minutes):
    assume((start - end) % 1_440 > 60 or start == end)
    quiet, since = QuietHours(start, end), at(0) + since_min * MINUTE_MS
    then = quiet.after(since, minutes)
    assert sum(not quiet.quiet_at(minute) for minute in range(since, then, MINUTE_MS)) == minutes
