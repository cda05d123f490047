"""Floor 0 · Places for a part of the need: for whom the whole does not fit, as much as does."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from scheduler.buckets import Place
from scheduler.plan import BUCKETS_PER_HOUR, Plan, Problem, Request, full_w
from scheduler.plan_bits import stretches
from scheduler.plan_room import Room, site_of


def with_parts(problem: Problem, plan: Plan, least_wh: int) -> Plan:
    """The plan, and in what it leaves free a place for each other request that could have so much of its need there.

    Of those that are flexible, by weight, the heaviest first; each is given as much as it can be, and of equal places
    the earliest. None begins in quiet hours. A request that has a part keeps the reason why it has not the whole.
    """
    without = [one for one in problem.requests if one.flexible and one.id not in plan.places]
    if not without:
        return plan
    site = site_of(problem)
    room = Room(site)
    for name, place in plan.places.items():
        room.take(site.requests[name], place)
    places = dict(plan.places)
    for request in sorted(without, key=lambda one: -one.weight):
        found = most_of(room, request, min(least_wh, request.need_wh))
        if found is not None:
            room.take(request, found)
            places[request.id] = found
    return replace(plan, places=places)


def most_of(room: Room, request: Request, least_wh: int) -> Place | None:
    """The place there that gives a request most of its need; None where no place gives `least_wh`."""
    best: tuple[int, int, int] | None = None
    found: Place | None = None
    for place in _parts(room, request):
        rank = (-min(sum(place.watts), request.need_wh * BUCKETS_PER_HOUR), place.first, len(place.watts))
        if sum(place.watts) >= least_wh * BUCKETS_PER_HOUR and (best is None or rank < best):
            best, found = rank, place
    return found


def _parts(room: Room, request: Request) -> Iterator[Place]:
    """Of each plug, and each stretch of it that is free: as much as fits, from its first bucket outside quiet hours."""
    site, quiet = room.site, room.site.problem.quiet
    ok = site.window(request) & room.quota_bits(request.compound) & site.open_bits
    leaves = site.leaves(request)
    seen: set[int] = set()
    for plugs in site.fitting[request.id]:
        most, least = full_w(request, plugs[0]), min(plugs[0].min_w, full_w(request, plugs[0]))
        can_w = room.can_w(most, least)
        for plug in plugs:
            free = room.free[plug.id]
            if free in seen:
                continue
            seen.add(free)
            for low, high in stretches(ok & free):
                at = low
                while at < high and quiet[at]:
                    at += 1
                last = _last(free, at, high, request.turnover, leaves)
                if last > at and (watts := _as_much(request, can_w[at:last], most, least)):
                    end = leaves[at + len(watts)]
                    yield Place(plug.id, site.first + at, tuple(watts) + (0,) * (end - at - len(watts)))


def _last(free: int, at: int, high: int, turnover: int, leaves: tuple[int, ...]) -> int:
    """Until when it may charge there so that its car is driven away, and its plug kept free, in that stretch."""
    for last in range(high, at, -1):
        end = leaves[last]
        if end <= high and not ((1 << end + turnover) - (1 << end)) & ~free:
            return last
    return at


def _as_much(request: Request, can_w: list[int], most: int, least: int) -> list[int]:
    """The power of each bucket until the need is met, or nothing more can be given."""
    watts: list[int] = []
    need = request.need_wh * BUCKETS_PER_HOUR
    for one in can_w:
        if need <= 0 or (one < most and not request.flexible):
            break
        watts.append(min(one, max(need, least)) if request.flexible else one)
        need -= watts[-1]
    while watts and not watts[-1]:
        watts.pop()
    return watts
