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
CHECKS_IN = 0.4
"""Assumed: so many say that they are there without being asked: they scan the pile's QR code as they come."""
NEVER_SAYS = 0.03
"""Assumed: so many do not answer when they are asked whose the car at their plug is; all others do."""
FLEXIBLE = 0.3
ASKS_INSTEAD = 0.85
"""Assumed: where turns are given, so many of those who would have come without one ask for a turn."""


Grievance = Literal["failed", "missed", "moved", "delayed", "waited", "refused"]
"""What became of a turn that somebody may object to. `missed`: counted as missed, and the plug was not free."""
OBJECTS: dict[Grievance, float] = {
    "failed": 0.5, "missed": 0.7, "moved": 0.05, "delayed": 0.15, "waited": 0.2, "refused": 0.1,
}  # fmt: skip
"""Assumed: so many of those to whom it happens."""
LONG_WAIT_MIN = 240
"""Assumed: longer than that after it wanted to begin, the night aside, is very long."""
OBJECTS_AFTER_MIN = (2, 15, 120)
"""Assumed, as all three that follow: least, most usual, most."""
ANSWERED = 0.8
"""So many objections the person on duty answers."""
ANSWERED_AFTER_MIN = (5, 40, 360)
NOTES: dict[Grievance, tuple[str, ...]] = {
    "failed": ("说好的位置没有了，白跑一趟。", "到了才说充不了，请查一下。"),
    "missed": ("我到的时候桩被别的车占着，不应该算过号。",),
    "moved": ("临时换了桩，离得太远。", "换了地方也没有早一点说。"),
    "delayed": ("前面的车不走，让我一直等。", "时间改晚了，我的安排都乱了。"),
    "waited": ("等了这么久还没有轮到我。", "为什么总是轮不到我？"),
    "refused": ("为什么不让我申请？", "家里急用车，规则能不能通融一下？"),
}
ANSWERS = (
    "查过记录了，情况与您说的一致，很抱歉，我们会跟进。",
    "已转给片区段长核实，谢谢您告诉我们。",
    "查过记录，当时是按规则处理的，请您理解；如仍有异议，欢迎到驿站来谈。",
)


Says = Literal["unasked", "asked", "never"]
"""When a household says that it is there."""


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
        drawn = Random(f"{seed}/says").random()
        self.says: Says = "never" if drawn < NEVER_SAYS else "unasked" if drawn < NEVER_SAYS + CHECKS_IN else "asked"

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


class Words(NamedTuple):
    """What somebody says, and after how many milliseconds."""

    after_ms: int
    text: str


def objection(why: Grievance, turn: str, seed: object) -> Words | None:
    """None of who lets it pass."""
    rng = Random(f"{seed}/{turn}/{why}")
    return _words(rng, OBJECTS_AFTER_MIN, NOTES[why]) if rng.random() < OBJECTS[why] else None


def duty_answer(review: str, seed: object) -> Words | None:
    """What the person on duty answers to an objection; None of one that is left."""
    rng = Random(f"{seed}/{review}/answer")
    return _words(rng, ANSWERED_AFTER_MIN, ANSWERS) if rng.random() < ANSWERED else None


def _words(rng: Random, after_min: tuple[int, int, int], texts: tuple[str, ...]) -> Words:
    least, usual, most = after_min
    return Words(int(rng.triangular(least, most, usual) * MINUTE_MS), rng.choice(texts))
