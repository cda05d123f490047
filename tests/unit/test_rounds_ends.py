"""When a turn is over, charged or overstayed, and what another leader makes of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler.buckets import Place
from tests.rounds import ONE, Neighbourhood, promised, said_to


@pytest.mark.parametrize(
    "charged",
    [
        {"state": "charging", "kwh": 7.0},
        {"state": "finishing", "kwh": 5.0},
        {"state": "suspended", "kwh": 5.0, "suspended_by": "ev"},
    ],
)
def test_a_car_that_has_what_was_planned_or_wants_no_more_is_charged(charged):
    street = Neighbourhood()
    turn = promised(street, kwh=7.0)
    street.later(15)
    street.comes(turn)
    street.later(30)
    assert street.turn(turn).charged_ms is None
    street.says(street.turn(turn).place.connector, since_ms=street.turn(turn).plugged_ms, **charged)
    street.later(1)
    told = street.turn(turn)
    assert (told.charged_ms, said_to(street, turn)[-1]) == (street.now_ms, "charged")
    assert told.leave_by_ms == street.now_ms + 30 * 60_000


def test_a_session_that_began_long_after_a_car_came_is_another_car_s_though_none_was_known_before():
    street = Neighbourhood(piles=1)
    street.says(ONE, "preparing")
    street.later(1)
    [walk_in] = street.ledger.turns(states=["active"])
    street.later(30)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(walk_in.id).state == "done"


def test_a_session_that_is_only_said_late_is_the_car_s_own():
    street = Neighbourhood(piles=1)
    street.says(ONE, "preparing")
    street.later(1)
    [walk_in] = street.ledger.turns(states=["active"])
    street.later(30)
    street.says(ONE, "charging", kwh=0.0, since_ms=walk_in.plugged_ms)
    street.later(1)
    assert street.turn(walk_in.id).state == "active"


def test_a_car_that_pauses_of_its_own_was_not_charged_and_does_not_overstay():
    street = Neighbourhood(piles=1)
    turn = promised(street, kwh=14.0)
    street.later(15)
    street.comes(turn)
    street.later(5)
    since_ms = street.turn(turn).plugged_ms
    street.says(ONE, "suspended", kwh=0.5, since_ms=since_ms, suspended_by="ev")
    street.later(1)
    assert street.turn(turn).charged_ms is not None
    street.says(ONE, "charging", kwh=2.0, since_ms=since_ms, power_kw=7.0)
    street.later(4)
    assert street.turn(turn).charged_ms is not None  # it may only be keeping its battery warm
    street.later(3)
    assert (street.turn(turn).charged_ms, street.turn(turn).leave_by_ms) == (None, None)
    street.later(60)
    street.says(ONE, "available")
    street.later(1)
    [delivery] = street.ledger.deliveries(["h1"], 0)
    assert delivery.overstay_ms == 0


def test_a_car_that_is_only_waking_up_is_not_told_to_move():
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.comes(turn, "suspended", suspended_by="ev")
    street.later(3)
    assert street.turn(turn).charged_ms is None
    street.later(5)
    assert street.turn(turn).charged_ms is not None


def test_a_site_may_leave_more_time_before_staying_is_overstay():
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, overstay_grace_min=120), after=1, by="p", now_ms=street.now_ms)
    turn = promised(street)
    street.later(15)
    street.comes(turn, "finishing", kwh=7.0)
    street.later(2)
    told = street.turn(turn)
    assert told.leave_by_ms == told.charged_ms + 120 * 60_000


def test_a_car_that_comes_between_two_looks_ends_the_turn_before_it():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    street.later(5)
    street.says(ONE, "charging", kwh=0.1)
    street.later(1)
    assert [turn.state for turn in street.ledger.turns()] == ["done", "active"]


def test_a_car_that_stays_for_days_has_one_turn():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    for _ in range(30):
        street.later(60)
    assert [turn.state for turn in street.ledger.turns()] == ["active"]


def test_the_next_leader_goes_on_where_the_last_one_ended():
    street = Neighbourhood()
    turn = promised(street)
    place = street.turn(turn).place
    assert isinstance(place, Place)
    street.lead()
    street.later(1)
    assert street.turn(turn).place == place
    street.comes(turn)
    street.later(1)
    assert street.turn(turn).state == "active"
