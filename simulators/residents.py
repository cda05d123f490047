"""Floor 0 · Residents with a car who ask for turns: when, for how much, how they answer, and how they come.

What no source says is assumed, and marked so.
"""

from __future__ import annotations

from math import log
from random import Random
from typing import Literal, NamedTuple

from simulators.habits import DAY_MS, HOUR_MS, MEDIAN_KWH, MINUTE_MS, SIGMA

FIRST_WITHIN_MS = 6 * HOUR_MS
MOST_KWH = 40.0
CAR_W = 7_000
ACCEPTS = 0.92
"""Assumed: the others snooze, or say nothing."""
SAYS_NOTHING = 0.3
"""Assumed: of those who do not accept."""
NEVER_COMES = 0.04
"""Assumed."""
OVERSTAYS = 0.1
"""Assumed: so many leave late, by up to `LATE_MIN`."""
LATE_MIN = 40
FLEXIBLE = 0.3
ASKS_INSTEAD = 0.85
"""Assumed: where turns are given, so many of those who would have come without one ask for a turn."""


class Ask(NamedTuple):
    """What is asked for, and from when to when the car can stand there."""

    energy_kwh: float
    earliest_ms: int
    depart_by_ms: int
    flexible: bool


class Resident:
    """One household. All that it does is drawn from its own seed."""

    def __init__(self, seed: object, begin_ms: int) -> None:
        self._rng = Random(str(seed))
        self.asks_ms = begin_ms + self._rng.randrange(FIRST_WITHIN_MS)
        """When it asks next."""

    def ask(self, now_ms: int) -> Ask:
        energy_kwh = min(MOST_KWH, max(3.0, self._rng.lognormvariate(log(MEDIAN_KWH), SIGMA)))
        earliest_ms = now_ms + self._rng.choice((0, 0, 1, 3)) * HOUR_MS
        hours = energy_kwh * 1_000 / CAR_W + self._rng.uniform(2, 10)
        self.asks_ms = now_ms + int(self._rng.uniform(0.7, 2.5) * DAY_MS)
        return Ask(round(energy_kwh, 1), earliest_ms, earliest_ms + int(hours * HOUR_MS), self._rng.random() < FLEXIBLE)

    def answer(self) -> tuple[Literal["accept", "snooze"] | None, int]:
        """What it says to an offer, and after how many milliseconds."""
        after_ms = int(self._rng.triangular(0.2, 8, 1.5) * MINUTE_MS)
        if self._rng.random() < ACCEPTS:
            return "accept", after_ms
        return (None if self._rng.random() < SAYS_NOTHING else "snooze"), after_ms


class Way(NamedTuple):
    """How somebody comes to a promised plug: after how long, and how long beyond its end the car stays."""

    after_ms: int
    longer_ms: int


def way(turn: str, seed: object) -> Way | None:
    """None for who never comes."""
    rng = Random(f"{seed}/{turn}")
    if rng.random() < NEVER_COMES:
        return None
    late_ms = rng.randrange(LATE_MIN * MINUTE_MS) if rng.random() < OVERSTAYS else -rng.randrange(8 * MINUTE_MS)
    return Way(int(rng.triangular(0, 10, 1.5) * MINUTE_MS), late_ms)
