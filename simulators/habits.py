"""Floor 0 · When households come to charge, with how empty a battery, and how long they stay.

The shares, hours and energies are those of docs/architecture.md, "Numbers of the place"; what no source says is marked
as assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from random import Random
from typing import Literal, TypeVar

from msgspec import Struct

from ingest.clock import from_ms
from simulators.car import EFFICIENCY, Car

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS
LOCAL_OFFSET_MS = 8 * HOUR_MS

T = TypeVar("T")
Habit = Literal["evening", "valley", "day"]

SHARES: dict[Habit, float] = {"evening": 0.40, "valley": 0.35, "day": 0.25}
MEDIAN_KWH, P90_KWH = 18.0, 40.0
SIGMA = log(P90_KWH / MEDIAN_KWH) / 1.2816
OVERNIGHT_H, BY_DAY_H = (8.0, 11.0), (2.0, 4.0)
EVENING_MOVES_ON = 0.65
"""Assumed: of those who plug in after work this share takes the car away after a daytime's stay, before the valley."""
CHARGES_A_DAY = 0.5
"""Assumed: a household with a car charges every second day."""
HOUSEHOLDS_A_CONNECTOR = 5
BATTERIES_KWH = ((30.0, 1), (45.0, 3), (55.0, 4), (62.0, 4), (77.0, 3), (100.0, 1))
CHARGERS_KW = ((3.3, 1), (6.6, 5), (7.0, 6), (11.0, 3), (22.0, 1))
TARGETS = ((1.0, 6), (0.9, 3), (0.8, 3))
DULL_CARS = 0.15
"""Assumed: share of cars that go on saying that they charge when they are full."""


class Visit(Struct, frozen=True):
    """A household's way to a plug: when it sets out, what it comes with, when it means to leave after plugging in."""

    arrives_ms: int
    stay_ms: int
    car: Car
    keeps_charging: bool


class Household:
    """One household with a car. Its days are drawn from its own randomness, so that others do not change them."""

    def __init__(self, seed: object) -> None:
        self._rng = Random(str(seed))
        self.habit: Habit = self._pick(tuple(SHARES.items()))
        self._battery_kwh = self._pick(BATTERIES_KWH)
        self._charger_kw = self._pick(CHARGERS_KW)
        self._target = self._pick(TARGETS)
        self._dull = self._rng.random() < DULL_CARS

    def visit(self, midnight_ms: int) -> Visit | None:
        """What it does on the local day that begins then; None on most second days."""
        if self._rng.random() >= CHARGES_A_DAY:
            return None
        habit = self.habit
        if is_weekend(midnight_ms) and habit != "day" and self._rng.random() < 0.3:
            habit = "day"
        hour_of_day, stay_h = self._when(habit)
        return Visit(midnight_ms + int(hour_of_day * HOUR_MS), int(stay_h * HOUR_MS), self.car(), self._dull)

    def _when(self, habit: Habit) -> tuple[float, float]:
        overnight_h, by_day_h = self._rng.uniform(*OVERNIGHT_H), self._rng.uniform(*BY_DAY_H)
        if habit == "valley":
            return self._rng.uniform(21 + 50 / 60, 22.5), overnight_h
        if habit == "day":
            return self._rng.triangular(7.0, 17.5, 13.0), by_day_h
        stays = self._rng.random() >= EVENING_MOVES_ON
        return self._rng.gauss(18.5, 0.5), overnight_h if stays else by_day_h

    def car(self) -> Car:
        """Its car as it comes to charge."""
        room_kwh = (self._target - 0.03) * self._battery_kwh / EFFICIENCY
        wanted_kwh = min(max(2.0, self._rng.lognormvariate(log(MEDIAN_KWH), SIGMA)), room_kwh)
        soc = max(0.0, self._target - wanted_kwh * EFFICIENCY / self._battery_kwh)
        return Car(self._battery_kwh, soc, self._target, self._charger_kw)

    def _pick(self, weighted: Sequence[tuple[T, float]]) -> T:
        [(value, _)] = self._rng.choices(weighted, [weight for _, weight in weighted])
        return value


def local_midnight(ms: int) -> int:
    """The last midnight of Shanghai at or before then."""
    return (ms + LOCAL_OFFSET_MS) // DAY_MS * DAY_MS - LOCAL_OFFSET_MS


def is_weekend(ms: int) -> bool:
    return from_ms(ms + LOCAL_OFFSET_MS).weekday() >= 5
