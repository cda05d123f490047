"""Floor 3 · A part of a plan as a model of CP-SAT: some requests anew, in the room that all others leave.

For a request at full power there is a choice (of 0 or 1) for each start at each group of plugs; for a flexible one a
choice of its begin, one of its end, and its power in each bucket between. Plugs that have the same buckets free are
one group, of which only the number in use is counted: whatever is counted so can be put on single plugs afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct
from ortools.sat.python import cp_model
from ortools.sat.python.cp_model import CpSolver, Domain, IntVar, LinearExpr

from scheduler.buckets import Place
from scheduler.plan import BUCKETS_PER_HOUR, Plug, Request, full_w, may_begin, shortest, worth
from scheduler.plan_bits import bits_between, runs
from scheduler.plan_room import Room


class Answer(Struct, frozen=True):
    places: dict[str, Place]
    deterministic: float
    proven: bool


class _Steady(Struct, frozen=True):
    chosen: IntVar
    group: int
    at: int
    watts: tuple[int, ...]


class _Flexible(Struct, frozen=True):
    group: int
    starts: dict[int, IntVar]
    ends: dict[int, IntVar]
    watts: dict[int, IntVar]


class Part:
    """`room` is what the others leave; `now` the places that the requests have so far, as a hint."""

    def __init__(self, room: Room, requests: Sequence[Request], now: dict[str, Place]) -> None:
        self.room, self.site, self.problem = room, room.site, room.site.problem
        self.requests, self.now = requests, now
        self.model = cp_model.CpModel()
        self.groups = _groups(self.problem.plugs, room)
        self._group_of = {plug.id: no for no, group in enumerate(self.groups) for plug in group}
        self._plugged, self._watts = (
            defaultdict[tuple[int, int], list[IntVar]](list),
            defaultdict[int, list[tuple[IntVar, int]]](list),
        )
        self._held = defaultdict[tuple[str, int], list[IntVar]](list)
        self._points: list[tuple[IntVar, int]] = []
        self._steady: dict[str, list[_Steady]] = {}
        self._flexible: dict[str, list[_Flexible]] = {}
        for request in requests:
            (self._add_flexible if request.flexible else self._add_steady)(request)
        self._limit()

    def solve(self, limit_s: float | None, deterministic: float, seed: int) -> Answer:
        """The best that is found within seconds, or within CP-SAT's deterministic time; no places if nothing is."""
        solver = CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_deterministic_time = deterministic
        if limit_s is not None:
            solver.parameters.max_time_in_seconds = max(limit_s, 0.001)
        status = solver.solve(self.model)
        spent = solver.response_proto.deterministic_time
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Answer({}, spent, False)
        return Answer(self._placed(solver), spent, status == cp_model.OPTIMAL)

    def _usable(self, request: Request) -> int:
        return self.site.window(request) & self.site.open_bits & self.room.quota_bits(request.compound)

    def _fitting(self, request: Request) -> Iterable[tuple[int, Plug, int]]:
        """Group, one of its plugs, and its free bits."""
        for no, plugs in enumerate(self.groups):
            if plugs[0].kind in request.kinds:
                yield no, plugs[0], self.room.free[plugs[0].id]

    def _add_steady(self, request: Request) -> None:
        ok, leaves, now = self._usable(request), self.site.leaves(request), self.now.get(request.id)
        comes = self.site.comes(request)
        found: list[_Steady] = []
        for group, plug, free in self._fitting(request):
            watts, takes = full_w(request, plug), shortest(request, plug)
            starts = runs(ok & self.room.power_bits(watts), takes) & runs(free, takes + request.turnover)
            starts &= self.site.begins(request)
            while starts:
                at = (starts & -starts).bit_length() - 1
                starts &= starts - 1
                begin, end = comes[at], leaves[at + takes]
                if bits_between(begin, end) & ~ok or bits_between(begin, end + request.turnover) & ~free:
                    continue
                chosen = self.model.new_bool_var("")
                row = (0,) * (at - begin) + (watts,) * takes + (0,) * (end - at - takes)
                found.append(_Steady(chosen, group, begin, row))
                place = Place(self._name(request, group, begin), self.site.first + begin, row)
                self._points.append((chosen, round(worth(self.problem, request, place))))
                for bucket in range(begin, min(end + request.turnover, self.site.buckets)):
                    self._plugged[group, bucket].append(chosen)
                for bucket in range(begin, end):
                    self._held[request.compound or "", bucket].append(chosen)
                for bucket in range(at, at + takes):
                    self._watts[bucket].append((chosen, watts))
                here = now is not None and (now.first, now.watts) == (place.first, row)
                self.model.add_hint(chosen, here and now is not None and self._group_of[now.connector] == group)
        if found:
            self.model.add_at_most_one([one.chosen for one in found])
        self._steady[request.id] = found

    def _add_flexible(self, request: Request) -> None:
        ok, leaves, now = self._usable(request), self.site.leaves(request), self.now.get(request.id)
        found: list[_Flexible] = []
        for group, plug, free in self._fitting(request):
            most, takes = full_w(request, plug), shortest(request, plug)
            usable = ok & free
            bits = runs(usable, takes)
            at_s = [at for at in range(self.site.buckets) if bits >> at & 1]
            first = self.site.first
            starts = {at: self.model.new_bool_var("") for at in at_s if may_begin(self.problem, request, first + at)}
            if not starts:
                continue
            mine = now is not None and self._group_of[now.connector] == group
            ends = {
                at + takes: self.model.new_bool_var("")
                for at in at_s
                if at >= min(starts)
                and not bits_between(at, leaves[at + takes]) & ~ok
                and not bits_between(at, leaves[at + takes] + request.turnover) & ~free
            }
            self.model.add(sum(starts.values()) == sum(ends.values()))
            drawing = self._between(starts, {end: [var] for end, var in ends.items()})
            held = self._between(starts, _by((leaves[end], var) for end, var in ends.items()))
            plugged = self._between(starts, _by((leaves[end] + request.turnover, var) for end, var in ends.items()))
            watts: dict[int, IntVar] = {}
            span = Domain.from_intervals([[0, 0], [max(1, min(plug.min_w, most)), most]])
            for at, here in drawing.items():
                self.model.add(here >= sum(var for start, var in starts.items() if at - takes < start <= at))
                if not usable >> at & 1:
                    self.model.add(here == 0)
                    continue
                watts[at] = self.model.new_int_var_from_domain(span, "")
                self.model.add(watts[at] <= most * here)
                self._watts[at].append((watts[at], 1))
            for at, here in held.items():
                self._held[request.compound or "", at].append(here)
                if not ok >> at & 1:
                    self.model.add(here == 0)
            for at, here in plugged.items():
                self._plugged[group, at].append(here)
                if not free >> at & 1:
                    self.model.add(here == 0)
            found.append(_Flexible(group, starts, ends, watts))
            self._hint(found[-1], now if mine else None)
            for end, var in ends.items():
                place = Place(plug.id, self.site.first + end - takes, (most,) * takes)
                self._points.append((var, round(worth(self.problem, request, place))))
            told = request.published
            if (
                told is not None
                and self._group_of.get(told.connector) == group
                and (told.first - self.site.first) in starts
            ):
                self._points.append((starts[told.first - self.site.first], request.margin * self.problem.heaviest))
        if found:
            begun = [var for one in found for var in one.starts.values()]
            self.model.add_at_most_one(begun)
            drawn = sum(watts for one in found for watts in one.watts.values())
            self.model.add(drawn >= request.need_wh * BUCKETS_PER_HOUR * sum(begun))
        self._flexible[request.id] = found

    def _hint(self, model: _Flexible, now: Place | None) -> None:
        first = None if now is None else now.first - self.site.first
        charged = (
            0 if now is None or first is None else first + max(no + 1 for no, watts in enumerate(now.watts) if watts)
        )
        for at, var in model.starts.items():
            self.model.add_hint(var, at == first)
        for at, var in model.ends.items():
            self.model.add_hint(var, at == charged)
        for at, var in model.watts.items():
            inside = now is not None and first is not None and first <= at < first + len(now.watts)
            self.model.add_hint(var, now.watts[at - first] if inside and now is not None and first is not None else 0)

    def _name(self, request: Request, group: int, at: int) -> str:
        """The plug of a group by which a start is judged: the published one where it is there, at that time."""
        told = request.published
        if told is not None and self._group_of.get(told.connector) == group and told.first - self.site.first == at:
            return told.connector
        return next(
            (plug.id for plug in self.groups[group] if told is None or plug.id != told.connector),
            self.groups[group][0].id,
        )

    def _between(self, starts: dict[int, IntVar], ends: dict[int, list[IntVar]]) -> dict[int, IntVar]:
        """By bucket whether something goes on that `starts` begin and `ends` end."""
        found: dict[int, IntVar] = {}
        for at in range(min(starts), min(max(ends, default=0), self.site.buckets)):
            found[at] = self.model.new_bool_var("")
            before: IntVar | int = found.get(at - 1, 0)
            self.model.add(found[at] == before + starts.get(at, 0) - sum(ends.get(at, ())))
        return found

    def _limit(self) -> None:
        for (group, _), using in self._plugged.items():
            if len(using) > len(self.groups[group]):
                self.model.add(sum(using) <= len(self.groups[group]))
        for bucket, drawn in self._watts.items():
            self.model.add(_sum(drawn) <= max(0, self.room.left_w[bucket]))
        for (compound, bucket), using in self._held.items():
            if compound in self.room.quota:
                self.model.add(sum(using) <= max(0, self.room.quota[compound][bucket]))
        self.model.maximize(_sum(self._points))

    def _placed(self, solver: CpSolver) -> dict[str, Place]:
        """On single plugs, the earliest first, each on its published one where that is free."""
        rows: list[tuple[int, int, tuple[int, ...], Request]] = []
        for request in self.requests:
            steady = self._steady.get(request.id, ())
            rows += [(one.at, one.group, one.watts, request) for one in steady if solver.value(one.chosen)]
            for model in self._flexible.get(request.id, ()):
                at = next((at for at, var in model.starts.items() if solver.value(var)), None)
                if at is not None:
                    charged = next(end for end, var in model.ends.items() if solver.value(var))
                    watts = [solver.value(model.watts[bucket]) for bucket in range(at, charged)]
                    while not watts[-1]:
                        watts.pop()
                    rest = self.site.leaves(request)[at + len(watts)] - at - len(watts)
                    rows.append((at, model.group, (*watts, *(0,) * rest), request))
        free_from = dict[str, int]()
        found: dict[str, Place] = {}
        for at, group, row, request in sorted(rows, key=lambda one: one[:2]):
            idle = [plug.id for plug in self.groups[group] if free_from.get(plug.id, 0) <= at]
            told = request.published
            plug = told.connector if told is not None and told.connector in idle else idle[0]
            free_from[plug] = at + len(row) + request.turnover
            found[request.id] = Place(plug, self.site.first + at, row)
        return found


def _groups(plugs: Iterable[Plug], room: Room) -> list[list[Plug]]:
    """Plugs that are alike and have the same buckets free."""
    found: dict[tuple[str, int, int, int], list[Plug]] = defaultdict(list)
    for plug in plugs:
        found[plug.kind, plug.max_w, plug.min_w, room.free[plug.id]].append(plug)
    return list(found.values())


def _by(pairs: Iterable[tuple[int, IntVar]]) -> dict[int, list[IntVar]]:
    found: dict[int, list[IntVar]] = defaultdict(list)
    for at, var in pairs:
        found[at].append(var)
    return found


def _sum(terms: Sequence[tuple[IntVar, int]]) -> LinearExpr:
    return LinearExpr.weighted_sum([var for var, _ in terms], [factor for _, factor in terms])
