"""Floor 3 · A better plan than the greedy one within a limit: exchanges, whole places by prices, parts anew."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec import Struct

from scheduler.buckets import Place
from scheduler.plan import Plan, Problem, Request, faults, value
from scheduler.plan_columns import chosen
from scheduler.plan_greedy import explained, greedy
from scheduler.plan_part import Part
from scheduler.plan_prices import Priced
from scheduler.plan_room import Room
from scheduler.plan_ruin import Ruin

STEP_COST = 0.0004
"""What one exchange counts in deterministic time, for as many seconds as it takes or so."""
PART_S = 0.25
"""No part is tried for longer."""
EXCHANGED, PRICED, CHOSEN = 0.05, 0.3, 0.85
"""Shares of the time that are over after exchanges, prices, and the choice of whole places; the rest is exchanges."""
PART_SIZE = 20
"""So many that have a place are in the first part, and as many that have none."""
BUILT_S = 0.007
"""What one flexible request takes to be put into a part; no part is begun that cannot be built in the time left."""
PRICES_COST = 0.02
"""What one round of prices counts in deterministic time."""
COLD = 0.9
"""Exchanges after the choice are as near their end as that."""


class Limit(Struct, frozen=True, kw_only=True):
    """How long a plan may be improved: seconds by `clock_s`, or CP-SAT's deterministic time where there is no clock.

    Only without a clock does the same seed give the same plan. `exchanges` is the share of the time for exchanges
    where most requests are flexible; where they are not, whole places are chosen among by prices.
    """

    seconds: float = 1.0
    clock_s: Callable[[], float] | None = None
    exchanges: float = 0.8


class _Spent:
    """How much of a limit is used; by the clock, what the plan's reasons will take is used from the beginning."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.counted = limit, 0.0
        self._began_s = limit.clock_s() if limit.clock_s else 0.0
        self._kept_s = 0.0

    def keep(self) -> None:
        """As much time as is used now is kept for the end, but not more than a quarter of all."""
        if self.limit.clock_s:
            self._kept_s = min(self.limit.clock_s() - self._began_s, self.limit.seconds / 4)

    def share(self) -> float:
        spent = self.limit.clock_s() - self._began_s + self._kept_s if self.limit.clock_s else self.counted
        return spent / self.limit.seconds if self.limit.seconds > 0 else 1.0

    def left_s(self, share: float = 1.0) -> float:
        """Until that share is used."""
        return self.limit.seconds * max(0.0, share - self.share())


def improved(problem: Problem, limit: Limit, seed: int = 0) -> Plan:
    """The best plan found; never one that the checker refuses, and never one worth less than the greedy one."""
    spent = _Spent(limit)
    plan = greedy(problem)
    if not plan.reasons and all(one.published is None for one in problem.requests) and len(problem.requests) < 2:
        return plan
    spent.keep()
    ruin = Ruin(problem, plan.places, seed)
    for places in ruin.orders():
        if sum(ruin.site.worth(ruin.site.requests[name], place) for name, place in places.items()) > ruin.best:
            ruin.start_from(places)
    flexible = sum(one.flexible for one in problem.requests)
    if 2 * flexible > len(problem.requests):
        no_parts = limit.clock_s and limit.seconds * (1 - limit.exchanges) < BUILT_S * min(flexible, 2 * PART_SIZE)
        _exchange(ruin, spent, 1.0 if no_parts else limit.exchanges, 0.0)
    else:
        _by_prices(problem, ruin, spent, seed)
    places = _parts(problem, ruin, spent, seed)
    better = explained(problem, places)
    if value(problem, better) <= value(problem, plan) or faults(problem, better):
        return plan
    return better


def _exchange(ruin: Ruin, spent: _Spent, until: float, gone: float) -> None:
    """Exchanges until that share is used, as if so much of the time were over at the beginning."""
    began = spent.share()
    while (share := spent.share()) < until:
        ruin.step(gone + (1 - gone) * (share - began) / (until - began))
        spent.counted += STEP_COST


def _by_prices(problem: Problem, ruin: Ruin, spent: _Spent, seed: int) -> None:
    """Some exchanges, prices, whole places chosen among by them, and exchanges again from there."""
    _exchange(ruin, spent, EXCHANGED, 0.0)
    priced = Priced(problem)

    def gone() -> bool:
        spent.counted += PRICES_COST
        return spent.share() >= PRICED

    priced.better(gone)
    left_s = spent.left_s(CHOSEN)
    before = ruin.places, ruin.best
    places = chosen(priced, ruin.places, left_s if spent.limit.clock_s else None, left_s, seed)
    if not spent.limit.clock_s:
        spent.counted += left_s
    ruin.start_from(places)
    _exchange(ruin, spent, 1.0, COLD)
    if ruin.best < before[1]:
        ruin.start_from(before[0])


def _parts(problem: Problem, ruin: Ruin, spent: _Spent, seed: int) -> dict[str, Place]:
    """The plan with parts of it made anew while time is left; each time around another bucket."""
    draw, size = random.Random(seed), PART_SIZE
    places, site = dict(ruin.places), ruin.site
    while spent.share() < 1:
        around = _around(problem, places, draw, size)
        if spent.limit.clock_s and spent.left_s() < BUILT_S * sum(one.flexible for one in around):
            break
        room = Room(site)
        inside = {one.id for one in around}
        for name, place in places.items():
            if name not in inside:
                room.take(site.requests[name], place)
        now = {name: place for name, place in places.items() if name in inside}
        part = Part(room, around, now)
        left_s = min(PART_S, spent.left_s())
        answer = part.solve(left_s if spent.limit.clock_s else None, left_s, seed)
        spent.counted += answer.deterministic + 0.02
        was = sum(site.worth(site.requests[name], place) for name, place in now.items())
        if sum(site.worth(site.requests[name], place) for name, place in answer.places.items()) > was:
            places = {name: place for name, place in places.items() if name not in inside} | answer.places
        size = min(size + 4, 200) if answer.proven else max(8, size - 4)
        if answer.proven and len(around) == len(problem.requests):
            break
    return places


def _around(problem: Problem, places: dict[str, Place], draw: random.Random, size: int) -> list[Request]:
    """Requests around one bucket: those that have a place near it, and as many that have none and could be there."""
    pivot = draw.randrange(problem.first, problem.end)
    far = {name: abs(place.first + place.end - 2 * pivot) + draw.random() for name, place in places.items()}
    near = set(sorted(far, key=far.__getitem__)[:size])
    outside = [one for one in problem.requests if one.id not in places]

    def off(one: Request) -> float:
        return max(one.earliest - pivot, pivot - one.depart_by, 0) + one.need_wh / 4_000 * draw.random()

    also = {one.id for one in sorted(outside, key=off)[:size]}
    return [one for one in problem.requests if one.id in near or one.id in also]
