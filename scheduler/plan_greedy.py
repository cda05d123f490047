"""Floor 0 · The greedy plan: one request after another, by priority, each where it is charged first."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler.buckets import Place
from scheduler.plan import Plan, Problem, Reason, Request, charged_by, fitting, own_faults, shortest
from scheduler.plan_bits import runs
from scheduler.plan_room import Room, site_of


def greedy(problem: Problem) -> Plan:
    """`greedy_places`, with the reason of each request that has none."""
    return explained(problem, greedy_places(problem))


def greedy_places(problem: Problem) -> dict[str, Place]:
    """By weight, the heaviest first; of equal ones who comes first in the problem.

    A published place is kept, unless its own request, or one before it in the order, gains more than its margin.
    """
    site = site_of(problem)
    order = sorted(problem.requests, key=lambda one: -one.weight)
    room, places = Room(site), dict[str, Place]()
    told = Told(room, order)
    for request in order:
        if (place := told.place(request)) is not None:
            places[request.id] = place
    return places


def explained(problem: Problem, places: dict[str, Place]) -> Plan:
    """A plan of these places, with the reason of each request that has none."""
    site = site_of(problem)
    room = Room(site)
    for name, place in places.items():
        room.take(site.requests[name], place)
    return Plan(
        places=places,
        reasons={one.id: why_not(room, one) for one in problem.requests if one.id not in places},
    )


def why_not(room: Room, request: Request) -> Reason:
    """What keeps a request from having a place in that room: the first that would have to be otherwise."""
    site = room.site
    plugs = fitting(site.problem, request)
    if not plugs:
        return "no_connector"
    takes = min(shortest(request, plug) for plug in plugs)
    window = site.window(request)
    if not runs(window, takes):
        return "time"
    if not runs(window & site.open_bits, takes):
        return "opening"
    if (room.without_quotas() if room.quota else room).find(request) is not None:
        return "quota"
    if room.with_power(len(plugs) * request.max_w).find(request) is not None:
        return "power"
    return "taken"


class Told:
    """Room as it is, and beside it room without what is published and not yet decided."""

    def __init__(self, room: Room, order: Sequence[Request]) -> None:
        self.room = room
        self._waiting = {one.id: one for one in order if one.published is not None}
        problem = room.site.problem
        self._published = {
            one.id: one.published
            for one in order
            if one.published is not None and not any(own_faults(problem, one, one.published))
        }
        """Those that may be kept at all, which no other place changes."""
        self._kept: dict[str, Place] = {}
        self._careful = room
        self._keep_what_fits()

    def place(self, request: Request) -> Place | None:
        """Where it goes; what it takes is taken."""
        mine = self._drop(request)
        best = self.room.find(request)
        if best is None:
            return None
        chosen, margin = mine, request.margin
        if mine is None or _gain(mine, best) > margin:
            beside = self._careful.find(request) if self._kept else best
            if mine is None or (beside is not None and _gain(mine, beside) > margin):
                chosen, margin = beside, 0
            margin += max((self._waiting[name].margin for name in self._kept), default=0)
            if chosen is None or _gain(chosen, best) > margin:
                chosen = best
        assert chosen is not None
        self.room.take(request, chosen)
        self._keep_beside(request, chosen, mine)
        return chosen

    def _keep_beside(self, request: Request, chosen: Place, mine: Place | None) -> None:
        """What was kept is kept again where it still fits and nothing was freed: more cannot be kept then."""
        if self._careful is self.room:
            return
        if not self._waiting:
            self._kept, self._careful = {}, self.room
        elif mine in (None, chosen) and self._careful.fits(request, chosen):
            self._careful.take(request, chosen)
        else:
            self._keep_what_fits()

    def _drop(self, request: Request) -> Place | None:
        self._waiting.pop(request.id, None)
        mine = self._kept.pop(request.id, None)
        if mine is not None:
            self._careful.give_back(request, mine)
        return mine

    def _keep_what_fits(self) -> None:
        self._kept, self._careful = {}, self.room.copy() if self._waiting else self.room
        for name, request in self._waiting.items():
            place = self._published.get(name)
            if place is not None and self._careful.fits(request, place):
                self._careful.take(request, place)
                self._kept[name] = place


def _gain(there: Place, here: Place) -> int:
    """Buckets that a car is charged earlier here."""
    return charged_by(there) - charged_by(here)
