"""Floor 0 · Better plans by taking a few turns out and putting others in, again and again (ruin and recreate).

What is put in goes where it is charged first; only the order differs. Worse plans are accepted now and then, less and
less often (simulated annealing). The same seed gives the same steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from math import exp

from scheduler.buckets import Place
from scheduler.plan import BUCKETS_PER_HOUR, Problem, Request
from scheduler.plan_room import Room, site_of

HOTTEST, COLDEST = 300.0, 5.0
"""Points that are given up lightly at the beginning and the end, for each point of the heaviest weight."""
MOST_OUT = 8

Order = Callable[[Request], float]


class Ruin:
    """A plan that is being improved. `places` is the best so far, worth `best`."""

    def __init__(self, problem: Problem, places: dict[str, Place], seed: int = 0) -> None:
        self.problem, self.site = problem, site_of(problem)
        self._draw, self._heaviest = random.Random(seed), problem.heaviest
        shortest_of = {name: min((g[1] for g in self._sizes(name)), default=1) for name in self.site.requests}
        self._orders: list[Order] = [
            lambda one: -one.weight / shortest_of[one.id],
            lambda one: -one.weight / one.need_wh,
            lambda one: one.depart_by,
            lambda one: -one.weight,
            lambda _: self._draw.random(),
        ]
        self.start_from(places)

    def start_from(self, places: dict[str, Place]) -> None:
        """Go on with another plan."""
        self.room, self._now = Room(self.site), dict(places)
        self._points = {name: self.site.worth(self.site.requests[name], place) for name, place in places.items()}
        for name, place in places.items():
            self.room.take(self.site.requests[name], place)
        self._worth = sum(self._points.values())
        self.places, self.best = dict(places), self._worth

    def in_order(self, order: Order) -> dict[str, Place]:
        """All requests, one after another."""
        room = Room(self.site)
        return self._put(room, sorted(self.problem.requests, key=order))

    def orders(self) -> Iterable[dict[str, Place]]:
        """Plans that do without priorities, as beginnings."""
        return (self.in_order(order) for order in self._orders[:3])

    def step(self, gone: float) -> None:
        """One exchange; `gone` is how much of the time is over, from 0 to 1."""
        pivot = self._pivot()
        out = self._near(pivot)
        old = {name: self._now.pop(name) for name in out}
        for name, place in old.items():
            self.room.give_back(self.site.requests[name], place)
        order, blur = self._draw.choice(self._orders), self._draw.random()
        outside = [
            one
            for one in self.problem.requests
            if one.id not in self._now and one.depart_by > pivot - 16 and one.earliest < pivot + 48
        ]
        outside.sort(key=lambda one: order(one) * (1 + blur * self._draw.random()))
        new = self._put(self.room, outside)
        points = {name: self.site.worth(self.site.requests[name], place) for name, place in new.items()}
        more = sum(points.values()) - sum(self._points[name] for name in out)
        heat = self._heaviest * HOTTEST * (COLDEST / HOTTEST) ** gone
        if more >= 0 or self._draw.random() < exp(more / heat):
            self._now |= new
            self._points |= points
            self._worth += more
            if self._worth > self.best:
                self.best, self.places = self._worth, dict(self._now)
            return
        for name, place in new.items():
            self.room.give_back(self.site.requests[name], place)
        for name, place in old.items():
            self.room.take(self.site.requests[name], place)
            self._now[name] = place

    def _put(self, room: Room, order: Iterable[Request]) -> dict[str, Place]:
        found: dict[str, Place] = {}
        for request in order:
            if (place := room.find(request)) is not None:
                room.take(request, place)
                found[request.id] = place
        return found

    def _pivot(self) -> int:
        """A bucket around which something is changed: where somebody is, or could be."""
        one = self._draw.choice(self.problem.requests)
        if one.id in self._now:
            return self._now[one.id].first
        low, high = max(one.earliest, self.problem.first), min(one.depart_by, self.problem.end)
        return self._draw.randrange(low, max(low + 1, high))

    def _near(self, pivot: int) -> list[str]:
        far = {
            name: abs(place.first + place.end - 2 * pivot) + 24 * self._draw.random()
            for name, place in self._now.items()
        }
        return sorted(far, key=far.__getitem__)[: self._draw.randrange(1, MOST_OUT)]

    def _sizes(self, name: str) -> list[tuple[int, int]]:
        request = self.site.requests[name]
        most = [min(request.max_w, plugs[0].max_w) for plugs in self.site.fitting[name]]
        return [(watts, -(-request.need_wh * BUCKETS_PER_HOUR // watts)) for watts in most]
