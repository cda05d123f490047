"""Prices of what is scarce: no plan passes the bound they give, and whole places are chosen by them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks.planner_cases import case
from scheduler.plan import Plan, faults, value
from scheduler.plan_columns import chosen
from scheduler.plan_greedy import explained, greedy
from scheduler.plan_prices import Priced, Prices
from scheduler.plan_solver import Limit, improved


def small(seed):
    return case(seed, plugs=4, requests=20)


def priced(problem, rounds=200):
    found, gone = Priced(problem), iter([False] * rounds)
    found.better(lambda: next(gone, True))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_plan_is_worth_more_than_any_prices_allow(seed):
    problem, draw = small(seed), random.Random(seed)
    plans = [greedy(problem), improved(problem, Limit(seconds=0.1), seed)]
    found = priced(problem, rounds=5)
    for _ in range(5):
        prices = Prices(
            {kind: draw.random() * 2 * row for kind, row in found.prices.plug.items()},
            np.array([draw.uniform(0, 30_000) for _ in found.prices.kw]),
            {name: draw.random() * 2 * row for name, row in found.prices.quota.items()},
        )
        most = min(found.points, found.bound(prices))
        assert all(value(problem, plan) <= most for plan in plans)


@pytest.mark.parametrize("seed", range(3))
def test_more_rounds_never_raise_the_bound(seed):
    bounds = [priced(small(seed), rounds).points for rounds in (0, 3, 10, 200)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < bounds[0]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_chosen_by_prices_may_be_carried_out(seed):
    problem = small(seed)
    now = greedy(problem).places
    places = chosen(priced(problem), now, None, 0.3, seed)
    assert faults(problem, explained(problem, places)) == []
    assert set(places) <= {one.id for one in problem.requests}


def test_choosing_among_whole_places_serves_more_than_by_priority():
    problem = small(1)
    plan = explained(problem, chosen(priced(problem), greedy(problem).places, None, 1.0, 0))
    assert value(problem, plan) > value(problem, greedy(problem))


def test_without_time_to_choose_the_places_of_now_stay():
    problem = small(0)
    now = greedy(problem).places
    assert chosen(priced(problem, 0), now, 0.0, 0.0, 0) == now


def test_where_nobody_can_be_served_nothing_is_gained_at_any_price():
    problem = small(0)
    nobody = type(problem)(
        first=problem.first, limit_w=problem.limit_w, open=(False,) * len(problem.open), quiet=problem.quiet,
        tariff_fen_kwh=problem.tariff_fen_kwh, plugs=problem.plugs, requests=problem.requests,
    )  # fmt: skip
    assert priced(nobody).points == 0 == value(nobody, Plan({}))
