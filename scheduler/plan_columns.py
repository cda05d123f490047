"""Floor 3 · A plan put together from whole places: those that good prices would have taken, and those of now.

CP-SAT chooses among them, with no power or time of its own to find, and no presolve, which would take longer than the
choice. Plugs of a kind are counted; a place for which there is no single plug in the end is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from ortools.sat.python import cp_model
from ortools.sat.python.cp_model import CpModel, CpSolver, IntVar, LinearExpr

from scheduler.buckets import Place
from scheduler.plan import full_w, worth
from scheduler.plan_prices import Priced, kind_of
from scheduler.plan_room import Room
from scheduler.plan_takes import Take

WORST = -20_000.0
"""Points that a place at full power may lose by the prices and still be among those that are chosen from."""


def chosen(
    priced: Priced, now: dict[str, Place], limit_s: float | None, deterministic: float, seed: int
) -> dict[str, Place]:
    """The best choice that is found; `now` is one of them, and a hint."""
    mine = {take.key: take for take in _now(priced, now)}
    takes = list((mine | {take.key: take for take in _offers(priced)}).values())
    model = CpModel()
    taken = [model.new_bool_var("") for _ in takes]
    for var, take in zip(taken, takes, strict=True):
        model.add_hint(var, take.key in mine)
    _limit(model, priced, list(zip(taken, takes, strict=True)))
    model.maximize(LinearExpr.weighted_sum(taken, [round(take.points) for take in takes]))
    solver = CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.cp_model_presolve = False
    solver.parameters.max_deterministic_time = deterministic
    if limit_s is not None:
        solver.parameters.max_time_in_seconds = max(limit_s, 0.001)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return now
    return _placed(priced, [take for var, take in zip(taken, takes, strict=True) if solver.value(var)])


def _now(priced: Priced, now: dict[str, Place]) -> Iterator[Take]:
    problem = priced.problem
    kinds = {plug.id: kind_of(plug) for plug in problem.plugs}
    for no, request in enumerate(problem.requests):
        if (place := now.get(request.id)) is not None:
            at, held = place.first - problem.first, place.end - problem.first
            plugged = min(held + request.turnover, len(problem.limit_w))
            points = worth(problem, request, place)
            yield Take(no, kinds[place.connector], at, plugged, held, place.watts, points)


def _offers(priced: Priced) -> Iterator[Take]:
    """What was taken at any prices by flexible requests, and all that others would nearly take at the best ones."""
    for take in priced.takes.values():
        request = priced.problem.requests[take.request]
        plug = priced.kinds[take.kind][0]
        if request.flexible:
            least = min(plug.min_w, full_w(request, plug))
            watts = tuple(max(one, least) if one else 0 for one in take.watts)
            yield take._replace(watts=(*watts, *(0,) * (take.held - take.at - len(watts))))
    for choice in priced.choices:
        if not choice.request.flexible:
            for begin, end in np.argwhere(priced.prices.gains(choice) > WORST):
                take = choice.take(int(begin), int(end), priced.prices.kw)
                yield take._replace(watts=take.watts + (0,) * (take.held - take.at - len(take.watts)))


def _limit(model: CpModel, priced: Priced, offers: list[tuple[IntVar, Take]]) -> None:
    once, plugged, held, drawn = (defaultdict[object, list[tuple[IntVar, int]]](list) for _ in range(4))
    room, requests = priced.room, priced.problem.requests
    for var, take in offers:
        compound = requests[take.request].compound
        once[take.request].append((var, 1))
        for bucket in range(take.at, take.plugged):
            plugged[take.kind, bucket].append((var, 1))
        for bucket in range(take.at, take.held) if compound in room.quota else ():
            held[compound, bucket].append((var, 1))
        for no, watts in enumerate(take.watts):
            if watts:
                drawn[take.at + no].append((var, watts))
    for alike in once.values():
        model.add_at_most_one([var for var, _ in alike])
    left = priced.left
    for kind, row in left.plug.items():
        _rows(model, (plugged[kind, bucket] for bucket in range(len(row))), row.tolist())
    for name in left.quota:
        _rows(model, (held[name, bucket] for bucket in range(len(left.kw))), room.quota[name])
    _rows(model, (drawn[bucket] for bucket in range(len(left.kw))), room.left_w)


def _rows(model: CpModel, rows: Iterable[list[tuple[IntVar, int]]], most: Iterable[float]) -> None:
    for row, much in zip(rows, most, strict=True):
        if row:
            terms = LinearExpr.weighted_sum([var for var, _ in row], [factor for _, factor in row])
            model.add(terms <= max(0, int(much)))


def _placed(priced: Priced, takes: list[Take]) -> dict[str, Place]:
    """On single plugs, the earliest first, each on its published one where that is free."""
    problem, room = priced.problem, Room(priced.room.site)
    found: dict[str, Place] = {}
    for take in sorted(takes, key=lambda one: (one.at, one.request)):
        request = problem.requests[take.request]
        told = request.published.connector if request.published else None
        for plug in sorted(priced.kinds[take.kind], key=lambda one: one.id != told):
            place = Place(plug.id, problem.first + take.at, take.watts)
            if room.fits(request, place):
                room.take(request, place)
                found[request.id] = place
                break
    return found
