"""What a row is asked, and what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeVar

T = TypeVar("T")

On = Literal["embedded", "production"]
"""The parts that a row runs on: NATS and DuckDB, or mosquitto and InfluxDB."""


class NotInTime(Exception):
    """Something that had to happen did not, within its deadline."""


@dataclass(frozen=True)
class Asked:
    """How a row is run. `short` is the form that runs in the tests; everything random is drawn from `rng`."""

    seed: int
    short: bool = False
    times: int = 1
    on: On = "embedded"

    @property
    def rng(self) -> Random:
        return Random(self.seed)

    def pick(self, whole: float, short: float) -> float:
        return short if self.short else whole


@dataclass
class Outcome:
    """`lost` and `duplicates` are the tally's words; `missed` says in a line each what did not hold."""

    lost: int = 0
    duplicates: int = 0
    recovered_s: list[float] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def must(self, holds: bool, else_say: str) -> None:
        if not holds:
            self.missed.append(else_say)

    def count(self, lost: int, duplicates: int) -> None:
        self.lost += lost
        self.duplicates += duplicates
        self.must(lost == 0, f"{lost} messages are lost")
        self.must(duplicates == 0, f"{duplicates} messages are stored twice")

    def recovered(self, took_s: float, within_s: float) -> None:
        self.recovered_s.append(round(took_s, 2))
        self.must(took_s <= within_s, f"it took {took_s:.1f} s to recover, {within_s:g} are allowed")


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """The first true value of `condition`. Raises NotInTime."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise NotInTime(f"{what}: not within {within_s:g} s")
        time.sleep(0.01)
    return value
