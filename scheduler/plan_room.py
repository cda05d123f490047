"""Floor 0 · What is left at a site: plugs as bits by bucket, power and quotas as numbers; and the best place in it.

Bit and index 0 stand for the problem's first bucket.
"""

from __future__ import annotations

from collections.abc import Iterator

from scheduler.buckets import Place
from scheduler.plan import BUCKETS_PER_HOUR, Plug, Problem, Request, fastest, fitting, full_w, shortest, worth_by
from scheduler.plan_bits import (
    awake,
    bits_between,
    bits_of,
    can_take,
    filled,
    latest,
    leaving,
    open_bits,
    runs,
    stretches,
)

PAST_HORIZON = 96
"""So many buckets after the horizon a car may stay that was planned until its end."""


class Site:
    """What does not change while one problem is planned."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first, self.buckets = problem.first, len(problem.limit_w)
        self.all_bits = (1 << self.buckets + PAST_HORIZON) - 1
        self.open_bits = open_bits(problem.open)
        self.requests = {one.id: one for one in problem.requests}
        by_kinds: dict[tuple[str, ...], list[list[Plug]]] = {}
        for one in problem.requests:
            if one.kinds not in by_kinds:
                by_kinds[one.kinds] = _alike(fitting(problem, one))
        self.fitting = {one.id: by_kinds[one.kinds] for one in problem.requests}
        self._heaviest = problem.heaviest
        self._fastest: dict[str, int] = {}
        self._leaves: dict[int, tuple[int, ...]] = {}
        self.wakes, self.awake = awake(problem.quiet)
        self.unplanned: Room | None = None
        """The room before anything is planned. The first room that is made keeps a copy here, as one problem begins
        from it many times.
        """
        self._same = tuple(range(self.buckets + 1))
        self._after_awake = self.all_bits ^ ((1 << self.wakes[0]) - 1)

    def window(self, request: Request) -> int:
        """The buckets between its earliest one and when it leaves."""
        low = max(request.earliest - self.first, 0)
        high = min(request.depart_by - self.first, self.buckets)
        return (1 << high) - (1 << low) if high > low else 0

    def worth(self, request: Request, place: Place) -> float:
        """`plan.worth`."""
        if request.id not in self._fastest:
            self._fastest[request.id] = fastest(self.problem, request)
        return worth_by(self.problem, request, place, self._fastest[request.id], self._heaviest)

    def comes(self, request: Request) -> tuple[int, ...]:
        """When it is plugged in, by when its power begins (in one of `begins`)."""
        return self._same if request.moves_at_night else self.awake

    def begins(self, request: Request) -> int:
        """The buckets in which its power may begin: all but those of a night that nobody can come before."""
        return self.all_bits if request.moves_at_night else self._after_awake

    def leaves(self, request: Request) -> tuple[int, ...]:
        """When it is driven away, by when it is charged."""
        key = 0 if request.moves_at_night else request.depart_by
        if key not in self._leaves:
            if request.moves_at_night:
                self._leaves[key] = tuple(range(self.buckets + 1))
            else:
                self._leaves[key] = leaving(self.problem.quiet, min(request.depart_by - self.first, self.buckets))
        return self._leaves[key]


def site_of(problem: Problem) -> Site:
    """The site of a problem; the last one is kept, as the steps of one plan ask for it one after another."""
    global _last  # noqa: PLW0603
    kept = _last
    if kept is None or kept.problem is not problem:
        kept = _last = Site(problem)
    return kept


_last: Site | None = None


class Room:
    """What is left of a site. It can be copied, taken from and given back to."""

    def __init__(self, site: Site) -> None:
        self.site = site
        if site.unplanned is not None:
            self.copy_from(site.unplanned)
            return
        problem = site.problem
        self.free = {plug.id: site.all_bits for plug in problem.plugs}
        self.left_w = list(problem.limit_w)
        self.quota = {compound: list(quota) for compound, quota in problem.quotas.items()}
        self.masks: dict[str, int] = {}
        self.powered: dict[int, int] = {}
        self.can: dict[tuple[int, int], list[int]] = {}
        for one in problem.fixed:
            self._change(one.place, one.compound, one.turnover, -1)
        for request in problem.requests:
            for plugs in site.fitting[request.id] if request.flexible else ():
                most = full_w(request, plugs[0])
                self.can_w(most, min(plugs[0].min_w, most))
        site.unplanned = self.copy()

    def copy(self) -> Room:
        twin = Room.__new__(Room)
        twin.copy_from(self)
        return twin

    def copy_from(self, other: Room) -> None:
        """Take over all that another room knows; what changes in one from then on does not change the other."""
        self.site, self.free, self.left_w = other.site, dict(other.free), list(other.left_w)
        self.quota = {compound: list(quota) for compound, quota in other.quota.items()}
        self.masks, self.powered = dict(other.masks), dict(other.powered)
        self.can = {car: list(can_w) for car, can_w in other.can.items()}

    def without_quotas(self) -> Room:
        twin = self.copy()
        twin.quota, twin.masks = {}, {}
        return twin

    def with_power(self, watts: int) -> Room:
        """The same, with so much power left in each bucket."""
        twin = self.copy()
        twin.left_w, twin.powered, twin.can = [watts] * self.site.buckets, {}, {}
        return twin

    def take(self, request: Request, place: Place) -> None:
        self._change(place, request.compound, request.turnover, -1)

    def give_back(self, request: Request, place: Place) -> None:
        self._change(place, request.compound, request.turnover, 1)

    def quota_bits(self, compound: str | None) -> int:
        """The buckets in which a compound may hold one more connector."""
        if compound is None or compound not in self.quota:
            return self.site.all_bits
        if compound not in self.masks:
            self.masks[compound] = bits_of(left > 0 for left in self.quota[compound])
        return self.masks[compound]

    def power_bits(self, watts: int) -> int:
        """The buckets in which so much power is left."""
        if watts not in self.powered:
            self.powered[watts] = bits_of(left >= watts for left in self.left_w)
        return self.powered[watts]

    def fits(self, request: Request, place: Place) -> bool:
        """Whether what it takes is left; the place itself must be one that the request may have."""
        at, held = place.first - self.site.first, len(place.watts)
        if at < 0 or at + held > self.site.buckets:
            return False
        bits = ((1 << held) - 1) << at
        plug_bits = ((1 << held + request.turnover) - 1) << at
        if bits & ~(self.quota_bits(request.compound) & self.site.open_bits) or plug_bits & ~self.free[place.connector]:
            return False
        return all(watts <= self.left_w[at + no] for no, watts in enumerate(place.watts) if watts)

    def find(self, request: Request) -> Place | None:
        """The place in which it is charged first; of those the one in the tightest gap."""
        seek = self._flexible if request.flexible else self._steady
        best: tuple[int, int, int] | None = None
        found: tuple[Plug, int, list[int]] | None = None
        for plug, at, watts, charged in seek(request):
            rank = (charged, plug.max_w, self._gap(plug.id, at, at + len(watts)))
            if best is None or rank < best:
                best, found = rank, (plug, at, watts)
        return found and Place(found[0].id, self.site.first + found[1], tuple(found[2]))

    def _change(self, place: Place, compound: str | None, turnover: int, sign: int) -> None:
        at, buckets = place.first - self.site.first, self.site.buckets
        held = len(place.watts)
        bits = (
            ((1 << held + turnover) - 1) << at if at >= 0 else (1 << max(0, held + turnover + at)) - 1
        ) & self.site.all_bits
        if place.connector in self.free:
            free = self.free[place.connector]
            self.free[place.connector] = free | bits if sign > 0 else free & ~bits
        span = range(max(0, at), min(buckets, at + held))
        drawn = [(bucket, place.watts[bucket - at]) for bucket in span if place.watts[bucket - at]]
        left_w = self.left_w
        for bucket, watts in drawn:
            left_w[bucket] += sign * watts
        if compound in self.quota and compound is not None:
            quota = self.quota[compound]
            for bucket in span:
                quota[bucket] += sign
            self.masks.pop(compound, None)
        if drawn:
            self.powered.clear()
        for (most, least), can_w in self.can.items():
            for bucket, _ in drawn:
                left = left_w[bucket]
                can_w[bucket] = most if left >= most else 0 if left < least or left < 1 else left

    def _gap(self, plug: str, at: int, end: int) -> int:
        """Buckets that stay free right before and after."""
        free, site = self.free[plug], self.site
        before = ~free & ((1 << at) - 1)
        after = ~(free >> end) & ((1 << site.buckets) - 1)
        return (
            at
            - before.bit_length()
            + min(site.buckets - end, (after & -after).bit_length() - 1 if after else site.buckets)
        )

    def _steady(self, request: Request) -> Iterator[tuple[Plug, int, list[int], int]]:
        """For each plug the first place at full power: plug, first bucket, watts, charged by."""
        site = self.site
        ok = site.window(request) & self.quota_bits(request.compound) & site.open_bits
        leaves, comes, begins = site.leaves(request), site.comes(request), site.begins(request)
        for plugs in site.fitting[request.id]:
            watts, takes = full_w(request, plugs[0]), shortest(request, plugs[0])
            powered = runs(ok & self.power_bits(watts), takes)
            if not powered:
                continue
            for plug in plugs:
                free = self.free[plug.id]
                starts = powered & runs(free, takes + request.turnover) & begins
                while starts:
                    at = (starts & -starts).bit_length() - 1
                    charged = at + takes
                    end, begin = leaves[charged], comes[at]
                    held, plug_held = bits_between(begin, end), bits_between(begin, end + request.turnover)
                    if not held & ~ok and not plug_held & ~free:
                        yield plug, begin, [0] * (at - begin) + [watts] * takes + [0] * (end - charged), charged
                        break
                    starts &= starts - 1

    def can_w(self, most: int, least: int) -> list[int]:
        """What a car that takes so much at most, and at least, can be given in each bucket."""
        if (most, least) not in self.can:
            self.can[most, least] = [can_take(most, least, left) for left in self.left_w]
        return self.can[most, least]

    def _flexible(self, request: Request) -> Iterator[tuple[Plug, int, list[int], int]]:
        """For each plug the place that is charged first and holds it no longer than that takes."""
        site = self.site
        ok = site.window(request) & self.quota_bits(request.compound) & site.open_bits
        leaves, need, first_charged = site.leaves(request), request.need_wh * BUCKETS_PER_HOUR, site.buckets
        for plugs in site.fitting[request.id]:
            most = full_w(request, plugs[0])
            least = min(plugs[0].min_w, most)
            can_w = self.can_w(most, least)
            seen: set[int] = set()
            for plug in plugs:
                free = self.free[plug.id]
                if free in seen:
                    continue
                seen.add(free)
                for low, high in stretches(ok & free):
                    low = low if request.moves_at_night else site.wakes[low]
                    if low >= first_charged:
                        break
                    if not (charged := filled(can_w, low, min(high, first_charged), need, most)):
                        continue
                    at, watts = latest(can_w, charged, need, least, most)
                    if not request.moves_at_night and site.awake[at] < at:
                        at, watts = site.awake[at], [0] * (at - site.awake[at]) + watts
                    end = leaves[charged]
                    if charged < end <= high:  # over night: power that others want before it is left to them
                        late, watts = latest(can_w, end, need, least, most)
                        watts = [0] * (late - at) + watts
                    if not bits_between(at, end) & ~ok and not bits_between(at, end + request.turnover) & ~free:
                        first_charged = charged
                        yield plug, at, watts + [0] * (end - at - len(watts)), charged
                        break


def _alike(plugs: list[Plug]) -> list[list[Plug]]:
    """In groups of those that differ by their id alone."""
    groups: dict[tuple[int, int], list[Plug]] = {}
    for plug in plugs:
        groups.setdefault((plug.max_w, plug.min_w), []).append(plug)
    return list(groups.values())
