"""Floor 3 · A better plan than the greedy one within a limit: exchanges first, then parts of it anew with CP-SAT."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec import Struct

from scheduler.buckets import Place
from scheduler.plan import Plan, Problem, Request, faults, value, worth
from scheduler.plan_greedy import explained, greedy
from scheduler.plan_part import Part
from scheduler.plan_room import Room
from scheduler.plan_ruin import Ruin

STEP_COST = 0.0004
"""What one exchange counts in deterministic time, for as many seconds as it takes or so."""
PART_S = 0.25
"""No part is tried for longer."""


class Limit(Struct, frozen=True, kw_only=True):
    """How long a plan may be improved: seconds by `clock_s`, or CP-SAT's deterministic time where there is no clock.

    Only without a clock does the same seed give the same plan. `exchanges` is the share of the time for exchanges.
    """

    seconds: float = 1.0
    clock_s: Callable[[], float] | None = None
    exchanges: float = 0.5


class _Spent:
    """How much of a limit is used."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.counted = limit, 0.0
        self._began_s = limit.clock_s() if limit.clock_s else 0.0

    def share(self) -> float:
        spent = self.limit.clock_s() - self._began_s if self.limit.clock_s else self.counted
        return spent / self.limit.seconds if self.limit.seconds > 0 else 1.0

    def left_s(self) -> float:
        return self.limit.seconds * (1 - self.share())


def improved(problem: Problem, limit: Limit, seed: int = 0) -> Plan:
    """The best plan found; never one that the checker refuses, and never one worth less than the greedy one."""
    spent = _Spent(limit)
    plan = greedy(problem)
    if not plan.reasons and all(one.published is None for one in problem.requests) and len(problem.requests) < 2:
        return plan
    ruin = Ruin(problem, plan.places, seed)
    for places in ruin.orders():
        if sum(worth(problem, ruin.site.requests[name], place) for name, place in places.items()) > ruin.best:
            ruin.start_from(places)
    while (gone := spent.share()) < limit.exchanges:
        ruin.step(gone / limit.exchanges)
        spent.counted += STEP_COST
    places = _parts(problem, ruin, spent, seed)
    better = explained(problem, places)
    if value(problem, better) <= value(problem, plan) or faults(problem, better):
        return plan
    return better


def _parts(problem: Problem, ruin: Ruin, spent: _Spent, seed: int) -> dict[str, Place]:
    """The plan with parts of it made anew while time is left; each time around another bucket."""
    draw, size = random.Random(seed), 20
    places, site = dict(ruin.places), ruin.site
    while spent.share() < 1:
        chosen = _chosen(problem, places, draw, size)
        room = Room(site)
        inside = {one.id for one in chosen}
        for name, place in places.items():
            if name not in inside:
                room.take(site.requests[name], place)
        now = {name: place for name, place in places.items() if name in inside}
        left_s = min(PART_S, spent.left_s())
        answer = Part(room, chosen, now).solve(left_s if spent.limit.clock_s else None, left_s, seed)
        spent.counted += answer.deterministic + 0.02
        was = sum(worth(problem, site.requests[name], place) for name, place in now.items())
        if sum(worth(problem, site.requests[name], place) for name, place in answer.places.items()) > was:
            places = {name: place for name, place in places.items() if name not in inside} | answer.places
        size = min(size + 4, 200) if answer.proven else max(8, size - 4)
        if answer.proven and len(chosen) == len(problem.requests):
            break
    return places


def _chosen(problem: Problem, places: dict[str, Place], draw: random.Random, size: int) -> list[Request]:
    """Requests around one bucket: those that have a place near it, and as many that have none and could be there."""
    pivot = draw.randrange(problem.first, problem.end)
    far = {name: abs(place.first + place.end - 2 * pivot) + draw.random() for name, place in places.items()}
    near = set(sorted(far, key=far.__getitem__)[:size])
    outside = [one for one in problem.requests if one.id not in places]

    def off(one: Request) -> float:
        return max(one.earliest - pivot, pivot - one.depart_by, 0) + one.need_wh / 4_000 * draw.random()

    also = {one.id for one in sorted(outside, key=off)[:size]}
    return [one for one in problem.requests if one.id in near or one.id in also]
