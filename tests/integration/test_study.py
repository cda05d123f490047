"""What the study says of one seed and seven days: the same demand, nothing above the limit, books that balance."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from math import inf
from pathlib import Path

import pytest
from msgspec.structs import replace

from lunchong.study import BEGIN_MS, OTHER_PEOPLE, QUICK, _Kind, live, place_of, study, wishes_of
from scheduler.ledger_memory import MemoryLedger
from scheduler.plan_greedy import greedy
from scheduler.study import POLICIES
from scheduler.study_turns import Ideas, Service
from scheduler.study_world import DAY_MS, MINUTE_MS
from tests.brokers import until
from tests.processes import COMMAND, environment

pytestmark = pytest.mark.timeout(600)  # a week is lived in a minute on a core that is free, in three on one that is not

KIND = _Kind(8, "as_told", False, 0.35)
HEADLINE = ("demand_met_gain_points", "gap_closed", "jain", "wait_p90_ratio", "calibration")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    return study(QUICK, out), out


@pytest.mark.slow
def test_the_figures_of_a_week_make_sense(quick):
    found, _ = quick
    [by_policy] = found["policies"].values()
    assert list(by_policy) == list(POLICIES)
    for figures in by_policy.values():
        assert 0 < figures["demand_met"]["median"] <= found["bound"]["median"] <= 1
        assert 0 < figures["peak_kw"]["median"] <= place_of(8).limit_w / 1_000 + 1e-6
        assert figures["wait_p50_min"]["median"] <= figures["wait_p90_min"]["median"]
        assert 0 < figures["jain"]["median"] <= 1
    assert all(found[name]["low"] <= found[name]["median"] <= found[name]["high"] for name in HEADLINE)
    assert "exchanges" in found["solver_limit"]
    assert 0 < found["wait_p90_ratio_bound"]["median"] <= found["wait_p90_ratio"]["median"]
    assert all(found[f"gap_closed_if_{name}"]["median"] <= 1 for name in OTHER_PEOPLE)


@pytest.mark.slow
def test_a_study_that_is_killed_leaves_nothing_running():
    with subprocess.Popen([*COMMAND, "study", "--processes", "2"], env=environment()) as run:
        until(lambda: len(_living(run.pid)) == 2)
        living = _living(run.pid)
        run.kill()
    until(lambda: not any(_lives(pid) for pid in living))


def _living(parent):
    """The processes in which it lives its seeds."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [pid for pid in pids if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def _lives(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.slow
def test_careless_people_ask_as_often_as_others():
    found = study(replace(QUICK, days=1, sets=("as_told", "careless")), None)
    as_told, careless = json.loads(json.dumps(found["conditions"]))
    assert as_told["scale"] == careless["scale"] > 0.1
    assert careless["first_come_met"]["median"] < as_told["first_come_met"]["median"]


@pytest.mark.slow
def test_the_report_has_its_figures_and_says_where_lunchong_is_worse(quick):
    _, out = quick
    report = (out / "report.md").read_text()
    assert "Where Lunchong is worse" in report
    drawn = re.findall(r"\]\((\S+\.svg)\)", report)
    assert drawn
    assert all((out / name).read_text().startswith("<svg") for name in drawn)


@pytest.mark.slow
def test_two_lives_of_one_seed_are_the_same_and_the_books_balance():
    one, bound = live(KIND, 3, 1)
    assert (one, bound) == live(KIND, 3, 1)
    assert not one.books_wrong


def test_other_people_want_the_same_and_do_as_told():
    usual, prompt = (wishes_of(replace(KIND, other_people=name), 3, 7) for name in ("", "all_do_at_once"))
    assert [(one.asks_ms, one.energy_kwh) for one in prompt[:1]] == [(one.asks_ms, one.energy_kwh) for one in usual[:1]]
    assert any(inf in (one.late_min, one.leaves_told_min) for one in usual)
    assert not any(one.late_min or one.leaves_told_min or one.beyond_min for one in prompt)
    assert all(all(one.accepts) for one in prompt)


def test_under_lunchong_nobody_stands_where_another_does_and_nobody_gets_more_than_it_asked_for():
    wishes, end_ms = wishes_of(KIND, 2, 2), BEGIN_MS + 3 * DAY_MS
    service = Service(place_of(8), MemoryLedger(lambda: 0), BEGIN_MS, greedy, Ideas())
    lived = service.live(wishes, end_ms, 5 * MINUTE_MS)
    assert len(lived.world.stays) > 0.5 * len(wishes)
    assert all(one.given_kwh <= one.wish.energy_kwh + 1e-6 for one in lived.world.stays)
    assert all(one.plugged_ms >= one.wish.earliest_ms for one in lived.world.stays)
    assert not lived.imbalance
