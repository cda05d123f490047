"""The desk and the watch over each ledger: what a car at the plug counts, and when it has to move."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler.quiet import QuietHours
from scheduler.turns import NotNow
from tests.desks import ONE, SITE, THREE, TWO, charging, now, place, promised, said_to


def test_what_a_turn_was_given_counts_for_its_household(world):
    turn = charging(world, place(world))
    world.later(45)
    world.desk.unplug(turn.id, world.now_ms, energy_kwh=5.1)
    [given] = world.ledger.deliveries(["h1"], 0)
    assert (given.unplugged_ms - given.plugged_ms, given.energy_kwh, given.overstay_ms) == (45 * 60_000, 5.1, 0)


def overstayed_min(world, minutes):
    """Of a car that is charged now and stays so long."""
    turn = charging(world, place(world, buckets=40), hours=12)
    world.desk.charged(turn.id, world.now_ms)
    yield turn
    world.later(minutes)
    world.desk.unplug(turn.id, world.now_ms)
    [given] = world.ledger.deliveries(["h1"], 0)
    yield given.overstay_ms / 60_000


def test_overstay_begins_half_an_hour_after_the_end_of_charging(world):
    lived = overstayed_min(world, 45)
    world.desk.told_charged(next(lived).id, world.now_ms)
    assert next(lived) == 15


def test_who_was_not_told_that_it_is_charged_does_not_overstay(world):
    lived = overstayed_min(world, 45)
    next(lived)
    assert next(lived) == 0


def test_who_was_told_late_has_until_then(world):
    lived = overstayed_min(world, 45)
    world.desk.told_charged(next(lived).id, world.now_ms + 40 * 60_000)
    assert next(lived) == 5


def test_nobody_has_to_move_a_charged_car_at_night(world):
    """Quiet from an hour after now to three hours later: who is charged in it has one bucket more to get up in."""
    nine = 17 * 60
    sleeps = replace(world.rules, quiet=QuietHours(nine + 60, nine + 240))
    world.ledger.adopt(sleeps, after=1, by="p", now_ms=world.now_ms)
    turn = charging(world, place(world, buckets=40), hours=12)
    world.later(90)
    world.desk.charged(turn.id, world.now_ms)
    told = world.desk.told_charged(turn.id, world.now_ms)
    assert told.leave_by_ms == world.now_ms + (150 + 15) * 60_000


def test_who_finishes_by_hand_is_charged_and_says_so_once(world):
    turn = charging(world, place(world))
    world.desk.finish(turn.id, world.now_ms, by="h1")
    world.desk.finish(turn.id, world.now_ms, by="h1")
    assert now(world, turn).charged_ms == world.now_ms
    assert said_to(world, turn)[-1:] == ["charged"]
    assert said_to(world, turn).count("charged") == 1


def test_who_is_not_near_its_place_cannot_check_in(world):
    turn = promised(world, place(world, in_buckets=4))
    with pytest.raises(NotNow):
        world.desk.check_in(turn.id, world.now_ms)
    world.later(46)
    assert world.desk.check_in(turn.id, world.now_ms).checked_in_ms == world.now_ms


def test_a_turn_is_said_to_be_soon_once_ten_minutes_before(world):
    turn = promised(world, place(world, in_buckets=2))
    world.later(19)
    assert said_to(world, turn) == ["offer", "reserved"]
    world.later(5)
    assert said_to(world, turn) == ["offer", "reserved", "soon"]


def test_who_accepts_a_place_that_is_soon_is_not_told_again_that_it_is(world):
    world.later(6)
    turn = promised(world, place(world, in_buckets=1))
    world.later(5)
    assert said_to(world, turn) == ["offer", "reserved"]


def test_a_walk_in_may_stay_until_the_next_promise(world):
    next_one = promised(world, place(world, in_buckets=6))
    came = world.desk.walk_in(ONE, SITE, world.now_ms)
    assert (came.kind, came.state, came.place.end_ms) == ("walk_in", "active", next_one.place.start_ms)
    assert world.desk.walk_in(ONE, SITE, world.now_ms) is None


def test_a_walk_in_gets_the_power_that_nobody_was_promised(world):
    promised(world, place(world, ONE, buckets=2))
    promised(world, place(world, TWO, buckets=1, watts=3_500), "h2")
    came = world.desk.walk_in(THREE, SITE, world.now_ms)
    assert came.place.watts[:3] == (3_500, 7_000, 7_000)
    assert len(came.place.watts) == 12 * 4


def test_where_no_power_is_left_nothing_starts(world):
    promised(world, place(world, ONE))
    promised(world, place(world, TWO), "h2")
    assert world.desk.walk_in(THREE, SITE, world.now_ms) is None
    assert world.desk.walk_in("jn-01/pile-99/1", SITE, world.now_ms) is None
