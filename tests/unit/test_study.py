"""What the study would get wrong without these: its people, its physics, its plain lists, its figures."""

from __future__ import annotations

from math import inf

import pytest
from msgspec.structs import replace

from scheduler.estimate import Estimate
from scheduler.study_bound import least_wait_p90_min, most_kwh
from scheduler.study_figures import figures, interval, jain
from scheduler.study_plain import plain
from scheduler.study_svg import bars
from scheduler.study_world import HOUR_MS, MINUTE_MS, Place, Wished, World, is_night, shared

MIDNIGHT_MS = 1_772_380_800_000
NINE_MS = MIDNIGHT_MS + 9 * HOUR_MS
STEP_MS = 5 * MINUTE_MS


def wish(name="w", household=1, kwh=7.0, asks_ms=NINE_MS, hours=8.0, **said):
    usual = {
        "earliest_ms": asks_ms, "depart_ms": asks_ms + round(hours * HOUR_MS), "accepts": (True, True, True),
        "answers_min": 0.0, "late_min": 0.0, "late_untold_min": 0.0, "leaves_told_min": 0.0,
        "leaves_untold_min": 0.0, "beyond_min": 0.0,
    }  # fmt: skip
    return Wished(id=name, household=household, asks_ms=asks_ms, energy_kwh=kwh, **{**usual, **said})


def lived(*wishes, plugs=1, limit_w=7_000, rotation=False, hours=14):
    site = Place(plugs, 7_000, limit_w)
    return plain(wishes, site, NINE_MS, NINE_MS + hours * HOUR_MS, STEP_MS, rotation=rotation)


def test_cars_share_what_the_site_may_draw():
    world = lived(wish("a", 1), wish("b", 2), plugs=2)
    assert world.peak_w == pytest.approx(7_000)
    assert [one.left_ms - NINE_MS for one in world.stays] == [2 * HOUR_MS + STEP_MS] * 2


def test_who_asked_first_is_called_first_and_who_never_comes_holds_a_plug_for_a_quarter_of_an_hour():
    gone = wish("gone", 1, late_min=inf)
    world = lived(gone, wish("then", 2, asks_ms=NINE_MS + STEP_MS))
    assert world.no_shows == 1
    assert [(one.wish.id, one.plugged_ms - NINE_MS) for one in world.stays] == [("then", 20 * MINUTE_MS)]


def test_rotation_calls_who_had_a_turn_longest_ago():
    first = wish("first", 1)
    again = wish("again", 1, asks_ms=NINE_MS + 10 * MINUTE_MS, hours=12)
    fresh = wish("fresh", 2, asks_ms=NINE_MS + 20 * MINUTE_MS, hours=12)
    assert [one.wish.id for one in lived(first, again, fresh).stays] == ["first", "again", "fresh"]
    assert [one.wish.id for one in lived(first, again, fresh, rotation=True).stays] == ["first", "fresh", "again"]


def test_who_is_told_nothing_stays_until_it_must_leave():
    [stay] = lived(wish(leaves_untold_min=inf)).stays
    assert stay.left_ms == NINE_MS + 8 * HOUR_MS
    assert stay.overstay_ms == pytest.approx(7 * HOUR_MS, abs=STEP_MS)


def test_no_car_leaves_at_night():
    late = wish(asks_ms=MIDNIGHT_MS + 22 * HOUR_MS, kwh=14.0, hours=10)
    [stay] = plain([late], Place(1, 7_000, 7_000), late.asks_ms, late.asks_ms + 12 * HOUR_MS, STEP_MS,
                   rotation=False).stays  # fmt: skip
    assert stay.overstay_ms > 5 * HOUR_MS
    assert not is_night(stay.left_ms)


def test_power_that_is_not_wanted_goes_to_the_others():
    world = World(Place(2, 7_000, 7_000), NINE_MS, told=True)
    world.plug_in(0, wish("a", 1))
    assert shared(world) == [7_000, 0]
    world.plug_in(1, wish("b", 2))
    assert shared(world) == [3_500, 3_500]


@pytest.mark.parametrize(("limit_w", "most"), [(7_000, 7.0), (3_500, 3.5)])
def test_the_bound_keeps_to_power_and_time(limit_w, most):
    assert most_kwh([wish(kwh=20.0, hours=1 - 5 / 60)], Place(1, 7_000, limit_w)) == pytest.approx(most)


def test_in_the_depth_of_the_night_the_bound_has_so_many_plugs_and_no_more():
    night = {"asks_ms": MIDNIGHT_MS + 23.5 * HOUR_MS, "hours": 6.0, "kwh": 42.0}
    wishes = [wish(str(no), no, **{**night, "asks_ms": round(night["asks_ms"])}) for no in range(3)]
    assert most_kwh(wishes, Place(2, 7_000, 70_000)) == pytest.approx(2 * 6.5 * 7)  # until 06:00, when cars may leave


def test_the_bound_is_never_below_what_a_list_gives():
    wishes = [wish(str(no), no, kwh=20.0, hours=6) for no in range(6)]
    given = sum(one.given_kwh for one in lived(*wishes, plugs=2, limit_w=10_000).stays)
    assert given <= most_kwh(wishes, Place(2, 7_000, 10_000))


@pytest.mark.parametrize("said", [{"late_min": inf}, {"answers_min": 10.5}, {"accepts": (False, False, False)}])
def test_the_bound_gives_nothing_to_who_is_at_no_plug_under_any_policy(said):
    assert most_kwh([wish("gone", **said)], Place(1, 7_000, 7_000)) == 0
    assert not lived(wish("gone", **said)).stays


def test_who_finds_no_plug_for_the_night_waits_until_morning_at_the_least():
    evening_ms = MIDNIGHT_MS + 22 * HOUR_MS
    night = [wish(str(no), no, kwh=20.0, asks_ms=evening_ms, hours=10) for no in range(4)]
    assert least_wait_p90_min(night, Place(4, 7_000, 70_000)) == 0
    assert least_wait_p90_min(night, Place(3, 7_000, 70_000)) == 8 * 60
    done_before = [wish(str(no), no, kwh=7.0, asks_ms=evening_ms, hours=10) for no in range(4)]
    assert least_wait_p90_min(done_before, Place(3, 7_000, 70_000)) == 0
    assert least_wait_p90_min([wish(hours=5, late_min=inf)], Place(3, 7_000, 70_000)) == 5 * 60


def test_no_list_has_waits_below_the_least():
    evening_ms = MIDNIGHT_MS + 22 * HOUR_MS
    night = [wish(str(no), no, kwh=20.0, asks_ms=evening_ms, hours=10) for no in range(6)]
    world = lived(*night, plugs=2, limit_w=14_000, hours=30)
    assert figures(night, world, 86_400_000).wait_p90_min >= least_wait_p90_min(night, Place(2, 7_000, 14_000)) > 0


def test_jain_is_one_where_all_have_the_same_and_a_share_where_one_has_all():
    assert jain([0.5, 0.5]) == 1.0
    assert jain([1.0, 0.0, 0.0, 0.0]) == 0.25


def test_who_is_never_plugged_waited_all_its_time():
    wishes = [wish("had", 1, hours=2), wish("never", 2, hours=2, leaves_untold_min=inf)]
    world = lived(replace(wishes[0], leaves_untold_min=inf), wishes[1])
    found = figures(wishes, world, 86_400_000)
    assert found.demand_met == pytest.approx(0.5)
    assert found.wishes_met == 0.5
    assert found.wait_p90_min == 120


def test_an_interval_holds_its_median_and_is_the_same_each_time():
    found = interval([1.0, 2.0, 3.0, 4.0, 9.0])
    assert found.low <= found.median == 3.0 <= found.high
    assert found == interval([1.0, 2.0, 3.0, 4.0, 9.0])


def test_an_estimate_is_what_nine_of_ten_kept_to():
    estimate = Estimate()
    for minutes in range(100):
        estimate.learn(HOUR_MS // 2, minutes * MINUTE_MS)
    assert estimate.longer(0.9, HOUR_MS // 2) == 90 * MINUTE_MS
    assert estimate.longer(0.5, HOUR_MS // 2) == 50 * MINUTE_MS


def test_a_figure_has_each_name_and_number():
    drawn = bars("Demand met", "share", {"first_come": interval([0.7, 0.8]), "lunchong": interval([0.9])})
    assert drawn.startswith("<svg")
    assert all(text in drawn for text in ("first come", "lunchong", "0.75", "Demand met", "share"))
