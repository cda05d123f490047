"""What no plan of a site can be worth more than: the lesser of a bound by prices and CP-SAT's on the whole problem.

Prices are in `scheduler.plan_prices`. CP-SAT's model is the checker's (`scheduler.plan.faults`) and the value's
(`scheduler.plan.value`), with all starts of all requests. Four things are left freer than they are, so that the bound
can only be too high: plugs of a kind are counted, not told apart; power below what a plug can hold is allowed; a
flexible car pays the cheapest tariff of its window; and who comes back to its published hour at another plug of the
kind counts as staying.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from math import ceil, inf

from msgspec import Struct
from ortools.sat.python import cp_model
from ortools.sat.python.cp_model import IntVar, LinearExpr

from scheduler.buckets import Place
from scheduler.plan import (
    BUCKETS_PER_HOUR,
    POINT_FEN,
    SERVED,
    Plug,
    Problem,
    Request,
    fitting,
    full_w,
    may_begin,
    shortest,
    worth,
)
from scheduler.plan_bits import bits_between, runs
from scheduler.plan_prices import Priced
from scheduler.plan_room import Room, Site

CLOSE = 1e-4
"""What is as near as that to a bound is called the best."""


class Bound(Struct, frozen=True):
    """`best` is what CP-SAT found in its model; where that is more than a plan's worth, the plan is at fault."""

    points: float
    by_prices: float
    best: float
    proven: bool
    took_s: float


class _Model:
    def __init__(self, problem: Problem) -> None:
        self.problem, self.site = problem, Site(problem)
        self.room = Room(self.site)
        self.model = cp_model.CpModel()
        self.plugged: dict[tuple[tuple[str, int, int], int], list[LinearExpr | IntVar]] = defaultdict(list)
        self.watts: dict[int, list[LinearExpr | IntVar]] = defaultdict(list)
        self.held: dict[tuple[str, int], list[LinearExpr | IntVar]] = defaultdict(list)
        self.points: list[LinearExpr | IntVar] = []
        self.kinds: dict[tuple[str, int, int], list[Plug]] = defaultdict(list)
        for plug in problem.plugs:
            self.kinds[_kind(plug)].append(plug)
        for request in problem.requests:
            (self.add_flexible if request.flexible else self.add_steady)(request)
        self.limit()

    def usable(self, request: Request) -> int:
        return self.site.window(request) & self.site.open_bits & self.room.quota_bits(request.compound)

    def add_steady(self, request: Request) -> None:
        chosen: list[IntVar] = []
        ok, leaves, comes = self.usable(request), self.site.leaves(request), self.site.comes(request)
        for kind, plugs in self.kinds.items():
            if kind[0] not in request.kinds:
                continue
            watts, takes = full_w(request, plugs[0]), shortest(request, plugs[0])
            starts = runs(ok & self.room.power_bits(watts), takes) & self.site.begins(request)
            while starts:
                at = (starts & -starts).bit_length() - 1
                starts &= starts - 1
                begin, end = comes[at], leaves[at + takes]
                held, plug_held = bits_between(begin, end), bits_between(begin, end + request.turnover)
                if held & ~ok or all(plug_held & ~self.room.free[plug.id] for plug in plugs):
                    continue
                told = request.published
                same = told is not None and told.connector in {plug.id for plug in plugs}
                name = told.connector if told is not None and same else plugs[0].id
                row = (0,) * (at - begin) + (watts,) * takes + (0,) * (end - at - takes)
                place = Place(name, self.site.first + begin, row)
                taken = self.model.new_bool_var("")
                chosen.append(taken)
                self.points.append(taken * ceil(worth(self.problem, request, place)))
                for bucket in range(begin, min(end + request.turnover, self.site.buckets)):
                    self.plugged[kind, bucket].append(taken)
                for bucket in range(begin, end):
                    self.held[request.compound or "", bucket].append(taken)
                for bucket in range(at, at + takes):
                    self.watts[bucket].append(taken * watts)
        if chosen:
            self.model.add_at_most_one(chosen)

    def add_flexible(self, request: Request) -> None:
        """Begins and ends as choices of their own; what is plugged between them may draw power."""
        ok, leaves, buckets = self.usable(request), self.site.leaves(request), self.site.buckets
        plugs_for = fitting(self.problem, request)
        if not plugs_for:
            return
        fastest = min(shortest(request, plug) for plug in plugs_for)
        ready = max(request.earliest - self.site.first, 0)
        tariffs = [fen for at, fen in enumerate(self.problem.tariff_fen_kwh) if ok >> at & 1]
        cost = request.need_wh * min(tariffs, default=0) / 1_000 / POINT_FEN
        begun: list[IntVar] = []
        drawn: list[IntVar] = []
        for kind, plugs in self.kinds.items():
            if kind[0] not in request.kinds:
                continue
            most, takes = full_w(request, plugs[0]), shortest(request, plugs[0])
            usable = ok & _any(self.room.free[plug.id] for plug in plugs)
            bits = runs(usable, takes)
            at_s = [at for at in range(buckets) if bits >> at & 1]
            first = self.site.first
            starts = {at: self.model.new_bool_var("") for at in at_s if may_begin(self.problem, request, first + at)}
            if not starts:
                continue
            ends = {at + takes: self.model.new_bool_var("") for at in at_s if at >= min(starts)}
            self.model.add(sum(starts.values()) == sum(ends.values()))
            begun += starts.values()
            self.stays_told(request, plugs, starts)
            for end, var in ends.items():
                self.points.append(var * ceil(request.weight * (SERVED - (end - ready - fastest)) - cost))
            drawing = self.between(starts, {end: [var] for end, var in ends.items()})
            for at, here in drawing.items():
                self.model.add(here >= sum(var for start, var in starts.items() if at - takes < start <= at))
                if usable >> at & 1:
                    power = self.model.new_int_var(0, most, "")
                    self.model.add(power <= most * here)
                    drawn.append(power)
                    self.watts[at].append(power)
            held = self.between(starts, _by((leaves[end], var) for end, var in ends.items()))
            for at, here in held.items():
                self.held[request.compound or "", at].append(here)
                if not ok >> at & 1:
                    self.model.add(here == 0)
            plugged = self.between(starts, _by((leaves[end] + request.turnover, var) for end, var in ends.items()))
            for at, here in plugged.items():
                self.plugged[kind, at].append(here)
        if begun:
            self.model.add_at_most_one(begun)
            self.model.add(sum(drawn) >= request.need_wh * BUCKETS_PER_HOUR * sum(begun))

    def stays_told(self, request: Request, plugs: list[Plug], starts: dict[int, IntVar]) -> None:
        """More points for the place that was published."""
        told = request.published
        if told is None or told.connector not in {one.id for one in plugs}:
            return
        start = starts.get(told.first - self.site.first)
        if start is not None:
            self.points.append(start * (request.margin * self.problem.heaviest))

    def between(self, starts: dict[int, IntVar], ends: dict[int, list[IntVar]]) -> dict[int, IntVar]:
        """By bucket whether something begun by `starts` goes on."""
        found: dict[int, IntVar] = {}
        for at in range(min(starts), min(max(ends), self.site.buckets)):
            found[at] = self.model.new_bool_var("")
            changes = starts.get(at, 0) - sum(ends.get(at, ()))
            self.model.add(found[at] == (found.get(at - 1, 0)) + changes)
        return found

    def limit(self) -> None:
        for (kind, bucket), using in self.plugged.items():
            free = sum(self.room.free[plug.id] >> bucket & 1 for plug in self.kinds[kind])
            self.model.add(sum(using) <= free)
        for bucket, using in self.watts.items():
            self.model.add(sum(using) <= max(0, self.room.left_w[bucket]))
        for (compound, bucket), using in self.held.items():
            if compound in self.room.quota:
                self.model.add(sum(using) <= max(0, self.room.quota[compound][bucket]))
        self.model.maximize(sum(self.points))


def bound(problem: Problem, limit_s: float, log: bool = False, level: int = 2) -> Bound:
    """The lesser of two bounds, after so many seconds with one worker, or as soon as it is proven.

    Prices may take half of the time, but are good after a few seconds; CP-SAT, which knows that nobody is served by
    halves, has the rest. CP-SAT's is lower where few ask, and that by prices where many do.
    """
    began_s = time.perf_counter()
    priced = Priced(problem)
    priced.better(lambda: time.perf_counter() - began_s > limit_s / 2)
    by_cp_sat = _by_cp_sat(problem, limit_s - (time.perf_counter() - began_s), log, level)
    points = min(priced.points, by_cp_sat.points)
    proven = by_cp_sat.best >= points * (1 - CLOSE)
    return Bound(points, priced.points, by_cp_sat.best, proven, time.perf_counter() - began_s)


def _by_cp_sat(problem: Problem, limit_s: float, log: bool, level: int) -> Bound:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = max(limit_s, 0.01)
    solver.parameters.log_search_progress = log
    solver.parameters.linearization_level = level
    solver.parameters.relative_gap_limit = CLOSE
    status = solver.solve(_Model(problem).model)
    found = solver.objective_value if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else -inf
    points = solver.best_objective_bound or inf  # 0 where there was no time
    return Bound(points, inf, found, status == cp_model.OPTIMAL, solver.wall_time)


def _kind(plug: Plug) -> tuple[str, int, int]:
    return plug.kind, plug.max_w, plug.min_w


def _by(pairs: Iterable[tuple[int, IntVar]]) -> dict[int, list[IntVar]]:
    found: dict[int, list[IntVar]] = defaultdict(list)
    for at, var in pairs:
        found[at].append(var)
    return found


def _any(bits: Iterable[int]) -> int:
    found = 0
    for one in bits:
        found |= one
    return found
