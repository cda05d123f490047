"""What becomes of a promise whose plug is not free in time: it is held, waits, moves, or has us to blame."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler.buckets import Place, bucket_at
from scheduler.turns import LIVE
from tests.rounds import HOUR_MS, ONE, Neighbourhood, given, promised, said_to


def test_a_site_that_leaves_the_inventory_fails_a_promise_ten_minutes_before_and_not_where_it_was_a_slip():
    street = Neighbourhood(piles=1)
    turn, place = street.asks("h1", kwh=7.0), Place(ONE, bucket_at(street.now_ms) + 5, (7_000,) * 4)
    street.desk.plan(turn, place, street.now_ms)
    street.desk.offer(turn, place, street.now_ms)
    street.desk.accept(turn, street.now_ms)
    with_site, start_ms = street.inventory, place.start_ms
    street.inventory = replace(with_site, sites={}, devices={})
    street.later(30)
    street.inventory = with_site
    street.later(5)
    assert street.turn(turn).state == "reserved", "somebody put it back"
    street.inventory = replace(with_site, sites={}, devices={})
    street.later((start_ms - street.now_ms) / 60_000 - 11)
    assert street.turn(turn).state == "reserved"
    street.later(2)
    assert (street.turn(turn).state, said_to(street, turn)[-1]) == ("failed", "failed")
    assert street.ledger.turns(states=LIVE) == []


def test_whom_we_failed_is_offered_the_next_free_place_before_all_others():
    street = Neighbourhood(piles=1)
    turn = promised(street, "h1", kwh=7.0, hours=1.5)
    street.later(14)
    street.says(ONE, "faulted")
    street.later(40)
    assert street.turn(turn).state == "failed"
    others = [street.asks(f"h{no}", kwh=7.0) for no in (2, 3)]
    street.says(ONE, "available")
    street.later(3)
    [again] = street.ledger.turns(household="h1", states=["offered"])
    assert again.instead_of == turn
    assert all(street.turn(other).place.first >= again.place.end for other in others)
    assert said_to(street, turn)[-1] == "failed"
    assert said_to(street, again.id) == ["offer"]


@pytest.mark.parametrize("why", ["a car", "nothing is believed", "a car in the bay"])
def test_a_hold_begins_anew_when_its_plug_is_there_again(why):
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=7.0)
    street.later(15)
    if why == "a car":
        street.says(ONE, "preparing", kwh=0.0)
    elif why == "a car in the bay":
        street.says(ONE, "available", bay_occupied=True)
    street.believed = why != "nothing is believed"
    street.later(4 if why == "a car in the bay" else 9)
    street.says(ONE, "available")
    street.believed = True
    street.later(14)
    assert street.turn(turn).state == "reserved"
    street.later(2)
    assert street.turn(turn).state == "no_show"


def test_who_was_kept_from_the_plug_until_the_place_was_over_has_not_missed_it():
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=1.75)
    assert len(street.turn(turn).place.watts) == 1
    street.later(14)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(9)
    street.says(ONE, "available")
    street.later(7)
    assert (street.turn(turn).state, street.turn(turn).cause) == ("failed", "BLOCKED")
    [again] = street.ledger.turns(household="h1", states=LIVE)
    assert again.instead_of == turn


def test_who_is_moved_into_what_is_left_of_a_place_behind_a_car_that_stays_has_not_missed_it():
    street = Neighbourhood()
    turn = promised(street, kwh=1.75)
    was = street.turn(turn).place
    assert len(was.watts) == 1
    street.says(was.connector, "charging", kwh=0.0)
    street.later(13)
    street.now_ms = was.start_ms
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place.first) == ("reserved", was.first)
    assert street.turn(turn).moved_from == was.connector
    street.later(14)
    assert (street.turn(turn).state, street.turn(turn).cause) == ("failed", "BLOCKED")


def behind_a_car_that_overstays(street):
    """A turn that begins in half an hour at a plug whose car was to leave, and stays."""
    stays = promised(street)
    street.later(15)
    street.comes(stays)
    street.later(1)
    connector = street.turn(stays).place.connector
    street.says(connector, "finishing", kwh=7.0, since_ms=street.turn(stays).plugged_ms)
    street.later(60)
    place = Place(connector, bucket_at(street.now_ms) + 2, (7_000,) * 4)
    return given(street, "h2", place), place


def test_ten_minutes_before_its_start_a_turn_is_moved_away_from_a_car_that_overstays():
    street = Neighbourhood()
    turn, place = behind_a_car_that_overstays(street)
    street.later((place.start_ms - street.now_ms) / 60_000 - 11)
    assert street.turn(turn).place == place
    street.later(1)
    moved = street.turn(turn).place
    assert (moved.connector != place.connector, moved.start_ms) == (True, place.start_ms)


def test_where_no_other_plug_is_free_in_time_it_waits_until_its_start():
    street = Neighbourhood(piles=1)
    turn, place = behind_a_car_that_overstays(street)
    street.later((place.start_ms - street.now_ms) / 60_000 - 1)
    assert street.turn(turn).place == place
    street.says(ONE, "available")
    street.later(2)
    assert street.turn(turn).place == place


def test_who_is_delayed_behind_a_car_is_not_told_again_and_again_that_the_turn_begins_soon():
    street = Neighbourhood(piles=1)
    turn = promised(street, hours=9)
    street.says(ONE, "available", bay_occupied=True)
    street.later(120)
    said = said_to(street, turn)
    assert (said.count("soon"), said.count("delayed") > 3) == (1, True)


def test_who_stands_in_the_bay_when_the_hold_ends_is_awaited():
    street = Neighbourhood(piles=1)
    turn = promised(street, earliest_ms=street.now_ms + 2 * 60_000)
    street.later(28)
    street.says(ONE, "available", bay_occupied=True)
    street.later(3)
    assert street.turn(turn).state == "reserved"
    street.comes(turn, "preparing", bay_occupied=True)
    street.later(1)
    assert street.turn(turn).state == "active"


def test_who_stands_in_the_bay_when_the_place_is_over_has_not_missed_it():
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=1.75)
    street.later(28)
    street.says(ONE, "available", bay_occupied=True)
    street.later(3)
    assert (street.turn(turn).state, street.turn(turn).cause) == ("failed", "BLOCKED")


def test_the_likely_start_is_learnt_from_how_late_turns_began():
    street = Neighbourhood(piles=1)
    waits = street.asks("h1", earliest_ms=street.now_ms + 4 * HOUR_MS)
    street.later(1)
    decision = street.decision(waits)
    assert decision.p90_ms - decision.p50_ms == HOUR_MS, "while nothing is learnt"
    street.desk.cancel(waits, street.now_ms)
    for no in range(10):
        turn = promised(street, "h1", kwh=1.75, earliest_ms=street.now_ms + 2 * 60_000)
        street.later((street.turn(turn).place.start_ms - street.now_ms) / 60_000 + (5 if no else 10))
        street.comes(turn)
        street.later(1)
        street.says(ONE, "available")
        street.later(1)
    waits = street.asks("h2", earliest_ms=street.now_ms + 8 * HOUR_MS, hours=12)
    street.later(1)
    decision = street.decision(waits)
    assert decision.p90_ms - decision.p50_ms == 11 * 60_000
