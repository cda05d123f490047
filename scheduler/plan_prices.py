"""Floor 3 · Prices for what is scarce at a site (plugs, power and quotas, bucket by bucket), and the bound they give.

Where all that is scarce has a price, each request takes what is best for itself. What all gain so, and what all that is
scarce would sell for, no plan can pass together, whatever the prices (Lagrange). Good ones come from a linear program
over what was taken so far (column generation), mixed with the best before. A flexible car may draw less here than its
plug can hold, so more passes than a plan may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp

from scheduler.plan import Plug, Problem, Request
from scheduler.plan_room import Room, Site
from scheduler.plan_takes import Choice, Take

Row = NDArray[np.float64]
POINTS = 1e6
"""The linear program counts in so many points, and in kW."""
KEPT = 0.7
"""Share of the best prices so far in those that are tried next."""
CLOSE = 2e-4
"""Nearer than that to what the linear program allows, a bound is not worked on."""


class Prices(NamedTuple):
    """Points for a bucket at a plug by kind, for a kW in a bucket, for a bucket of a compound's quota."""

    plug: dict[str, Row]
    kw: Row
    quota: dict[str, Row]

    def toward(self, other: Prices, share: float) -> Prices:
        def mix(mine: Row, its: Row) -> Row:
            return mine * (1 - share) + its * share

        return Prices(
            {kind: mix(row, other.plug[kind]) for kind, row in self.plug.items()},
            mix(self.kw, other.kw),
            {name: mix(row, other.quota[name]) for name, row in self.quota.items()},
        )

    def sell(self, left: Prices) -> float:
        """What is left of everything, at these prices."""
        rows = [(row, left.plug[kind]) for kind, row in self.plug.items()]
        rows += [(self.kw, left.kw)] + [(row, left.quota[name]) for name, row in self.quota.items()]
        return sum(float(row @ much) for row, much in rows)

    def gains(self, choice: Choice) -> Row:
        """Of each begin and end what is gained, less what is paid."""
        quota = self.quota.get(choice.request.compound or "")
        return choice.gains(self.plug[choice.kind], self.kw, quota)


class Priced:
    """A problem's best prices so far, the bound they give, and what was taken at any."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.room = problem, Room(Site(problem))
        self.kinds: dict[str, list[Plug]] = {}
        for plug in problem.plugs:
            self.kinds.setdefault(kind_of(plug), []).append(plug)
        free, buckets = self.room.free, range(len(problem.limit_w))
        self.left = Prices(
            {
                kind: np.array([sum(free[plug.id] >> at & 1 for plug in plugs) for at in buckets], float)
                for kind, plugs in self.kinds.items()
            },
            np.maximum(0, self.room.left_w) / 1_000,
            {name: np.maximum(0.0, left) for name, left in self.room.quota.items()},
        )
        choices = (
            Choice(no, request, kind, plugs, self.room)
            for no, request in enumerate(problem.requests)
            for kind, plugs in self.kinds.items()
            if plugs[0].kind in request.kinds
        )
        self.choices = [one for one in choices if one.some]
        self.takes: dict[tuple[object, ...], Take] = {}
        self.prices = Prices(
            {kind: row * 0 for kind, row in self.left.plug.items()},
            self.left.kw * 0,
            {name: row * 0 for name, row in self.left.quota.items()},
        )
        self._program = _Program(self.left, problem.requests)
        self.points = self.bound(self.prices)

    def better(self, gone: Callable[[], bool]) -> None:
        """Look for better prices until that is over, or nothing more is to be gained."""
        unmixed = True
        while not gone():
            if (solved := self._program.solve()) is None:
                return
            allowed, prices = solved
            if self.points - allowed <= CLOSE * self.points:
                return
            known = len(self.takes)
            used = self._use(prices if unmixed else self.prices.toward(prices, 1 - KEPT))
            stuck = not used and len(self.takes) == known
            if stuck and unmixed:
                return
            unmixed = stuck

    def _use(self, prices: Prices) -> bool:
        points = self.bound(prices)
        if points >= self.points:
            return False
        self.points, self.prices = points, prices
        return True

    def bound(self, prices: Prices) -> float:
        """The bound by some prices; what is taken at them joins the linear program."""
        best: dict[int, tuple[float, Choice, int, int]] = {}
        for choice in self.choices:
            gains = prices.gains(choice)
            begin, end = divmod(int(gains.argmax()), gains.shape[1])
            gained = float(gains[begin, end])
            if gained > best.get(choice.no, (0.0,))[0]:
                best[choice.no] = gained, choice, begin, end
        for _, choice, begin, end in best.values():
            take = choice.take(begin, end, prices.kw)
            if self.takes.setdefault(take.key, take) is take:
                self._program.add(take)
        return prices.sell(self.left) + sum(one[0] for one in best.values())


class _Program:
    """Shares of what was taken so far, each request at most once, within what is left."""

    def __init__(self, left: Prices, requests: tuple[Request, ...]) -> None:
        self.solver = pywraplp.Solver.CreateSolver("GLOP")
        self.solver.Objective().SetMaximization()
        self.requests = requests
        self.once = self.rows([1.0] * len(requests))
        self.plug = {kind: self.rows(row) for kind, row in left.plug.items()}
        self.kw = self.rows(left.kw)
        self.quota = {name: self.rows(row) for name, row in left.quota.items()}

    def rows(self, most: Row | list[float]) -> list[pywraplp.Constraint]:
        return [self.solver.Constraint(0, float(one)) for one in most]

    def add(self, take: Take) -> None:
        share = self.solver.NumVar(0, self.solver.infinity(), "")
        self.solver.Objective().SetCoefficient(share, take.points / POINTS)
        self.once[take.request].SetCoefficient(share, 1)
        for row in self.plug[take.kind][take.at : take.plugged]:
            row.SetCoefficient(share, 1)
        for row in self.quota.get(self.requests[take.request].compound or "", [])[take.at : take.held]:
            row.SetCoefficient(share, 1)
        for no, watts in enumerate(take.watts):
            if watts:
                self.kw[take.at + no].SetCoefficient(share, watts / 1_000)

    def solve(self) -> tuple[float, Prices] | None:
        """What it allows, and its prices; nothing where numbers got in the way, and prices stay as they are."""
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None

        def prices(rows: list[pywraplp.Constraint]) -> Row:
            return np.array([max(0.0, row.dual_value()) * POINTS for row in rows], float)

        return self.solver.Objective().Value() * POINTS, Prices(
            {kind: prices(rows) for kind, rows in self.plug.items()},
            prices(self.kw),
            {name: prices(rows) for name, rows in self.quota.items()},
        )


def kind_of(plug: Plug) -> str:
    return f"{plug.kind}/{plug.max_w}/{plug.min_w}"
