"""Cars without a turn, those that come before theirs, and what is left to them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import Window
from ingest.clock import rfc3339
from scheduler.quiet import QuietHours
from tests.rounds import HOUR_MS, ONE, QUARTER_MS, SITE, TWO, Neighbourhood, promised, said_to


def test_a_car_without_a_turn_is_a_walk_in_until_the_next_promise_and_no_longer():
    street = Neighbourhood(piles=1)
    turn = promised(street, "h1", earliest_ms=street.now_ms + HOUR_MS // 2)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    [walk_in] = street.ledger.turns(states=["active"])
    assert (walk_in.kind, walk_in.place.end_ms) == ("walk_in", street.turn(turn).place.start_ms)
    street.says(ONE, "available")
    street.later(1)
    assert street.turn(walk_in.id).state == "done"


@pytest.mark.parametrize("kwh", [0.0, None])
def test_who_came_before_the_site_opened_and_checks_in_when_its_place_begins_is_not_in_its_own_way(kwh):
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, opening=(Window("all", 17 * 60 + 30, 24 * 60),)), 1, "p", street.now_ms)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    street.says(ONE, "preparing", kwh)
    street.later(20)
    assert street.arrivals.refused() == {ONE}
    street.desk.check_in(turn, street.now_ms)
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place.connector) == ("active", ONE)
    assert street.arrivals.refused() == set()


def test_who_comes_while_another_leaves_has_the_power_that_is_free_then():
    street = Neighbourhood(piles=2, limit_kw=7.0)
    street.says(TWO, "charging", kwh=0.0)
    street.later(1)
    street.says(TWO, "available")
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    [walk_in] = street.ledger.turns(states=["active"])
    assert walk_in.place.connector == ONE


def test_a_car_that_nobody_says_is_theirs_costs_the_promise_its_plug_and_not_the_promise():
    street = Neighbourhood(piles=2)
    turn = promised(street)
    was = street.turn(turn).place.connector
    street.later(15)
    street.says(was, "preparing", kwh=0.0)
    street.later(9)
    assert street.turn(turn).place.connector == was
    street.later(4)
    moved = street.turn(turn)
    assert (moved.state, moved.moved_from) == ("reserved", was)
    assert said_to(street, turn) == ["offer", "reserved", "soon", "asked", "moved"]
    street.comes(turn)
    street.later(1)
    assert {(one.kind, one.state) for one in street.ledger.turns()} == {("asked", "active"), ("walk_in", "active")}


def test_a_household_is_asked_once_while_no_session_is_known_yet():
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.says(ONE, "preparing")
    street.later(5)
    street.says(ONE, "preparing", kwh=0.0, since_ms=street.now_ms + 90_000)
    street.later(3)
    assert said_to(street, turn).count("asked") == 1


def test_a_car_that_left_while_nobody_looked_counts_until_it_left():
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=7.0)
    street.later(15)
    street.comes(turn)
    street.later(30)
    left_ms = street.now_ms + 60_000
    street.now_ms += 5 * HOUR_MS
    street.says(ONE, "available", since=rfc3339(left_ms))
    street.later(1)
    [given] = street.ledger.deliveries(["h1"], 0)
    assert given.unplugged_ms == left_ms


def test_nobody_starts_charging_without_a_turn_while_the_site_is_closed():
    street = Neighbourhood(piles=1)
    street.rules = replace(street.rules, opening=(Window("all", 0, 17 * 60 + 30),))
    street.ledger.adopt(street.rules, after=1, by="p", now_ms=street.now_ms)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    [walk_in] = street.ledger.turns(states=["active"])
    assert len(walk_in.place.watts) == 2, "it closes at half past five"
    street.says(ONE, "available")
    street.later(40)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    assert street.ledger.turns(states=["active"]) == []
    assert street.arrivals.refused() == {ONE}


def test_the_next_car_at_a_held_plug_is_asked_about_anew():
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=7.0)
    street.later(15)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(5)
    street.says(ONE, "available")
    street.later(2)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(8)
    assert said_to(street, turn).count("asked") == 2
    assert (street.turn(turn).state, street.turn(turn).place.connector) == ("reserved", ONE)


def test_who_comes_before_its_place_begins_and_is_not_known_may_have_what_is_free_until_then():
    street = Neighbourhood(piles=1)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    street.later(15)
    street.says(ONE, "charging", kwh=0.0)
    street.later(12)
    [walk_in] = street.ledger.turns(states=["active"])
    assert (walk_in.kind, walk_in.place.end_ms) == ("walk_in", street.turn(turn).place.start_ms)


def test_a_car_that_was_there_before_the_scheduler_is_a_walk_in_once():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=3.0, since_ms=street.now_ms - HOUR_MS)
    street.later(2)
    street.lead()
    street.later(2)
    assert [turn.kind for turn in street.ledger.turns()] == ["walk_in"]


def test_a_car_that_comes_between_two_looks_is_not_taken_for_the_one_that_was_refused():
    street = Neighbourhood(piles=1)
    street.ledger.cut(SITE, "smoke", street.now_ms)
    street.says(ONE, "preparing")
    street.later(1)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    street.ledger.reset(SITE)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    assert [turn.state for turn in street.ledger.turns()] == ["active"]


def test_a_car_that_comes_into_the_bay_and_is_not_plugged_at_once_is_who_was_awaited():
    street = Neighbourhood()
    turn = promised(street, earliest_ms=street.now_ms + 2 * 60_000)
    place = street.turn(turn).place
    street.later(18)
    street.says(place.connector, "available", bay_occupied=True)
    street.later(2)
    street.comes(turn, "preparing", bay_occupied=True)
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place) == ("active", place)


def test_a_car_that_stands_in_the_bay_and_is_never_plugged_is_somebody_else_s():
    street = Neighbourhood()
    turn = promised(street)
    place = street.turn(turn).place
    street.says(place.connector, "available", bay_occupied=True)
    street.later(18)
    moved = street.turn(turn)
    assert (moved.state, moved.moved_from) == ("reserved", place.connector)
    assert moved.place.connector != place.connector


def test_a_car_that_comes_after_a_promise_has_run_out_is_not_taken_for_that_one():
    """The hold pauses at night, but the place does not last longer for it."""
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, quiet=QuietHours(17 * 60 + 10, 9 * 60)), 1, "p", street.now_ms)
    turn = promised(street, kwh=3.5, hours=1, earliest_ms=street.now_ms)
    street.later(60)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "no_show"
    assert [turn.kind for turn in street.ledger.turns(states=["active"])] == ["walk_in"]
