"""Floor 1 · Hourly weather as it was, read from the CSV in simulators/data and laid over the time that is lived."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, timedelta, timezone

from ingest.clock import from_ms, to_ms
from simulators.room import Air

SHANGHAI = timezone(timedelta(hours=8))
"""The file's local time, which knows no clock changes."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ORDINARY_YEAR = 2014
"""The year shown where no date was asked for: the file has it whole."""


class Weather:
    """Hours of outdoor air; `at` reads between them. `shift_ms` is added to each time that is asked for."""

    def __init__(self, first_ms: int, hours: list[Air], shift_ms: int = 0) -> None:
        if not hours:
            raise ValueError("a weather file without hours")
        self._first_ms = first_ms
        self._hours = hours
        self._shift_ms = shift_ms

    def at(self, now_ms: int) -> Air:
        """The air at that time; before the first hour and after the last the file is read again from its other end."""
        before, after, share = self._around(now_ms)
        return Air(*(b + (a - b) * share for b, a in zip(before, after, strict=True)))

    def temp_c(self, now_ms: int) -> float:
        before, after, share = self._around(now_ms)
        return before.temp_c + (after.temp_c - before.temp_c) * share

    def _around(self, now_ms: int) -> tuple[Air, Air, float]:
        """The hours before and after, and how far in between."""
        hour, rest_ms = divmod(now_ms + self._shift_ms - self._first_ms, HOUR_MS)
        hours = self._hours
        return hours[hour % len(hours)], hours[(hour + 1) % len(hours)], rest_ms / HOUR_MS

    def mapped(self, day: date | None, start_ms: int) -> Weather:
        """The same weather so laid that `day` is lived on the local day of `start_ms`.

        Without a day it is the same day of an ordinary year. Raises ValueError for a day that the file has not whole.
        """
        lived = from_ms(start_ms).astimezone(SHANGHAI).date()
        if day is None:
            day = date(ORDINARY_YEAR, lived.month, min(lived.day, 28) if lived.month == 2 else lived.day)
        shift_ms = (day - lived).days * DAY_MS
        day_ms = to_ms(datetime.combine(day, datetime.min.time(), SHANGHAI))
        last_ms = self._first_ms + (len(self._hours) - 1) * HOUR_MS
        if day_ms < self._first_ms or day_ms + DAY_MS - HOUR_MS > last_ms:
            first, last = (from_ms(ms).astimezone(SHANGHAI).date() for ms in (self._first_ms + DAY_MS, last_ms))
            raise ValueError(f"no weather is known of {day}: give a date from {first} to {last}")
        return Weather(self._first_ms, self._hours, shift_ms)


def read(text: str) -> Weather:
    """The file's hours in order. An hour that was not measured is taken from the one before it."""
    first_ms: int | None = None
    hours: list[Air] = []
    last = Air(15.0, 70.0, 40.0)
    for row in csv.DictReader(text.splitlines()):
        if first_ms is None:
            start = datetime(int(row["year"]), int(row["month"]), int(row["day"]), int(row["hour"]), tzinfo=SHANGHAI)
            first_ms = to_ms(start.astimezone(UTC))
        last = Air(
            _number(row["TEMP"], last.temp_c), _number(row["HUMI"], last.rh_pct), _number(row["PM_US Post"], last.pm25)
        )
        hours.append(last)
    if first_ms is None:
        raise ValueError("a weather file without hours")
    return Weather(first_ms, hours)


def constant(temp_c: float = 20.0, rh_pct: float = 60.0, pm25: float = 35.0) -> Weather:
    """Weather that never changes, for loads and tests."""
    return Weather(0, [Air(temp_c, rh_pct, pm25)])


def _number(text: str, otherwise: float) -> float:
    return otherwise if text == "NA" else float(text)
