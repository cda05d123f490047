"""The planner's benchmark in small: plans keep to their site's rules, and no plan is worth more than its bound."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.planner import planned
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


def test_a_plan_within_its_limit_is_at_least_the_greedy_one():
    found = planned(0, 0.3, 1.0)
    assert found.greedy_ratio <= found.ratio <= 1.0


def test_the_command_prints_its_figures_as_one_line_of_json():
    command = [sys.executable, "-m", "benchmarks.planner", "--cases", "1", "--limit-s", "0.2", "--bound-s", "1"]
    run = subprocess.run(
        [*command, "--sites", "4", "--requests", "30"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    figures = json.loads(run.stdout.splitlines()[-1])
    assert (figures["cases"], figures["sites"]) == (1, 4)
    assert figures["greedy_ratio_min"] <= figures["ratio_min"] <= 1.0
    assert figures["thousand_sites_s"] > 0
