"""What people would miss in places for a part of the need, and in nights that begin before them."""

from __future__ import annotations

from msgspec.structs import replace

from scheduler.plan import Plan
from scheduler.plan_greedy import greedy
from scheduler.plan_parts import with_parts
from tests.unit.test_plan import FIRST, at, site, wants

NIGHT = tuple(8 <= bucket < 20 for bucket in range(24))


def flexible(name="a", hours=1.0, **more):
    return wants(name, hours, flexible=True, moves_at_night=False, **more)


def parts(problem, least_wh=3_000):
    return with_parts(problem, greedy(problem), least_wh)


def test_who_cannot_have_the_whole_gets_what_fits_and_still_hears_why_not_all():
    plan = parts(site(flexible("a", 2, stay=8, weight=2_000), flexible("b", 3, stay=12)))
    assert at(plan.places["b"]) == (8, 12)
    assert plan.places["b"].energy_kwh == 7.0
    assert plan.reasons["b"] == "taken"


def test_nobody_is_asked_to_come_for_less_than_is_worth_it_nor_given_a_part_unasked():
    problem = site(flexible("a", 2, stay=8, weight=2_000), flexible("b", 3, stay=9))
    assert "b" not in parts(problem).places
    steady = replace(problem, requests=(problem.requests[0], wants("b", 3, stay=12)))
    assert "b" not in parts(steady).places


def test_a_part_takes_nothing_from_whom_the_plan_serves():
    problem = site(*(flexible(str(no), 1 + no, weight=1_000 + no) for no in range(6)), limit_w=(7_000,) * 24, plugs=2)
    plan, whole = parts(problem), greedy(problem)
    assert {name: plan.places[name] for name in whole.places} == whole.places
    for bucket in range(FIRST, FIRST + 24):
        there = [one for one in plan.places.values() if bucket in one.buckets]
        assert sum(one.watts[bucket - one.first] for one in there) <= 7_000
        assert len({one.connector for one in there}) == len(there)


def test_no_part_begins_or_ends_at_night():
    plan = with_parts(site(flexible(hours=9, start=10, stay=14), quiet=NIGHT), Plan(places={}), 3_000)
    assert at(plan.places["a"]) == (20, 24)
    plan = with_parts(site(flexible(hours=9, stay=12), quiet=NIGHT), Plan(places={}), 3_000)
    _, end = at(plan.places["a"])
    assert end <= 7 or end == 12


def test_who_is_served_at_night_comes_before_it_and_leaves_power_to_who_goes_before_it():
    plan = greedy(site(flexible(hours=2, start=4, stay=20), quiet=NIGHT))
    place = plan.places["a"]
    assert at(place) == (4, 20)
    assert place.watts[:8] == (0,) * 8


def test_who_would_have_to_leave_as_the_night_begins_stays():
    plan = greedy(site(flexible(hours=1, start=4, stay=20), quiet=NIGHT))
    assert at(plan.places["a"]) == (4, 20)
