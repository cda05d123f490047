"""Floor 2 · What is planned for a turn: when, how much, at which plugs, and how much it weighs."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.buckets import BUCKET_MS, bucket_at
from scheduler.plan import BUCKETS_PER_HOUR, Request
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector
from scheduler.turns import LEAST_KWH, Turn, wants_from_ms

USUAL_KWH = 20.0
"""A need of so much weighs what its turn in the order does."""
NEED_COUNTS = 0.7
"""How much a larger need weighs more: 0 is not at all, 1 is in proportion."""
FASTEST_AC_W = 22_000
"""A car that takes more than this is one for direct current."""


def request(
    turn: Turn, plugs: Sequence[Connector], rules: RuleSet, weight: int, turnover: int, not_before: int
) -> Request:
    """What is planned for a turn. `not_before` is the first bucket with power: the one that runs is partly over."""
    earliest, depart_by = -(-wants_from_ms(turn) // BUCKET_MS), bucket_at(turn.depart_by_ms)
    return Request(
        id=turn.id,
        kinds=kinds(turn.max_w, plugs),
        earliest=earliest,
        depart_by=depart_by,
        need_wh=_need_wh(turn, depart_by - max(earliest, not_before), plugs),
        max_w=turn.max_w,
        weight=weight,
        flexible=turn.flexible,
        compound=turn.compound,
        turnover=turnover,
        published=turn.place,
        margin=-(-rules.move_margin_min * 60_000 // BUCKET_MS),
        moves_at_night=not rules.stay_until_morning,
    )


def _need_wh(turn: Turn, buckets: int, plugs: Sequence[Connector]) -> int:
    """Its need in Wh; of a flexible wish what its time still allows, so that it is planned in its turn, and not after
    all whose whole fits. Where even that is less than LEAST_KWH, the whole, for which no place is found.
    """
    need_wh = max(1, round(turn.energy_kwh * 1_000))
    fitting = kinds(turn.max_w, plugs)
    most_w = min(turn.max_w, max((one.max_w for one in plugs if one.type in fitting), default=0))
    most_wh = buckets * most_w // BUCKETS_PER_HOUR
    return most_wh if turn.flexible and LEAST_KWH * 1_000 <= most_wh < need_wh else need_wh


def weighed(turn: Turn, weight: int) -> int:
    """A larger need weighs more, though not in proportion, so that a plug over night goes to who can use it."""
    larger: float = (turn.energy_kwh / USUAL_KWH) ** NEED_COUNTS
    return max(1, round(weight * larger))


def kinds(max_w: int, plugs: Sequence[Connector]) -> tuple[str, ...]:
    """The plugs that a car fits, as far as its power tells: until its vehicle is known, no more does."""
    there = sorted({one.type for one in plugs})
    fitting = [one for one in there if (one == "GBT_DC") == (max_w > FASTEST_AC_W)]
    return tuple(fitting or there)
