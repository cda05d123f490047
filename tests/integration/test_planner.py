"""The planner's benchmark in small: plans keep to their site's rules, and no plan is worth more than its bound."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from msgspec.structs import replace

from benchmarks.planner import by, planned
from benchmarks.planner_bound import bound
from benchmarks.planner_cases import case
from scheduler.plan import value
from scheduler.plan_greedy import greedy
from scheduler.plan_solver import Limit, improved
from tests.processes import ROOT


@pytest.mark.parametrize("seed", range(3))
def test_a_bound_is_never_below_what_a_plan_is_worth(seed):
    problem = case(seed, plugs=4, requests=30)
    most = bound(problem, 2.0)
    for plan in (greedy(problem), improved(problem, Limit(seconds=0.2), seed)):
        assert 0 < value(problem, plan) <= most.points * (1 + 1e-9)
    assert most.best <= most.points * (1 + 1e-9)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_plan_within_its_limit_is_at_least_the_greedy_one_and_no_more_than_its_bound(seed):
    found = planned(seed, 0.3, 1.0)
    assert 0 < found.greedy_ratio <= found.ratio <= 1.0


def test_what_cp_sat_finds_to_the_end_is_no_more_than_prices_allow():
    most = bound(case(0, plugs=4, requests=20), 10.0)
    assert most.proven
    assert most.best <= most.points <= most.by_prices


def test_a_bound_has_no_more_time_than_it_is_given_and_is_still_a_bound():
    problem = case(10)
    assert value(problem, greedy(problem)) <= bound(problem, 0.02).points < float("inf")


def test_a_bound_knows_that_nobody_whose_car_can_wait_comes_at_night():
    problem = case(2, plugs=4, requests=20)
    sleeping = tuple(replace(one, flexible=True, moves_at_night=False) for one in problem.requests)
    most = bound(replace(problem, quiet=(True,) * len(problem.quiet), requests=sleeping), 2.0)
    assert (most.points, most.by_prices, most.best) == (0, 0, 0)


def test_a_plan_that_serves_nobody_is_the_best_where_nobody_can_be_served():
    assert by(0.0, 0.0) == 1.0
    assert by(1.0, 4.0) == 0.25


def test_the_command_prints_its_figures_as_one_line_of_json():
    command = [sys.executable, "-m", "benchmarks.planner", "--cases", "2", "--limit-s", "0.2", "--bound-s", "2"]
    run = subprocess.run(
        [*command, "--sites", "4", "--requests", "30"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    figures = json.loads(run.stdout.splitlines()[-1])
    assert set(figures) == {
        "cases", "limit_s", "bound_s", "bounds_proven", "ratio_min", "ratio_median", "greedy_ratio_min",
        "greedy_ratio_median", "cp_sat_found_more", "longest_s", "sites", "site_limit_s", "thousand_sites_s",
    }  # fmt: skip
    assert (figures["cases"], figures["sites"]) == (2, 4)
    assert figures["greedy_ratio_min"] <= figures["ratio_min"] <= figures["ratio_median"] <= 1.0
    assert figures["thousand_sites_s"] > 0
