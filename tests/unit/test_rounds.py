"""What residents would miss of a scheduler that leads: that who asks is placed, offered, awaited and let go."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import Inventory
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.planning import _weight, is_time_to_offer
from scheduler.quiet import QuietHours
from tests.rounds import SITE, Neighbourhood

ONE, TWO = f"{SITE}/pile-01/1", f"{SITE}/pile-02/1"
HOUR_MS = 3_600_000


def promised(street, *said, **more):
    """The id of a turn that was asked for, offered and accepted."""
    turn = street.asks(*said, **more)
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    return turn


def test_from_the_wish_to_the_end():
    street = Neighbourhood()
    turn = street.asks(kwh=7.0, earliest_ms=street.now_ms + 2 * 60_000)
    street.later(1)
    offered = street.turn(turn)
    assert (offered.state, offered.place.start_ms) == ("offered", (bucket_at(street.now_ms) + 1) * BUCKET_MS)
    assert offered.place.energy_kwh == 7.0
    street.desk.accept(turn, street.now_ms)
    street.later(16)
    street.says(offered.place.connector, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "active"
    street.says(offered.place.connector, "charging", kwh=6.5, since_ms=street.turn(turn).plugged_ms)
    street.later(30)
    street.says(offered.place.connector, "available")
    street.later(1)
    assert street.turn(turn).state == "done"
    [delivery] = street.ledger.deliveries(["h1"], 0)
    assert (delivery.energy_kwh, delivery.unplugged_ms - delivery.plugged_ms) == (6.5, 31 * 60_000)
    assert not street.ledger.imbalance()


def test_a_plug_that_is_free_is_offered_from_now_on():
    street = Neighbourhood()
    turn = street.asks(kwh=7.0)
    street.later(1)
    offered = street.turn(turn)
    assert (offered.state, offered.place.first) == ("offered", bucket_at(street.now_ms))
    assert (offered.place.watts[0], offered.place.energy_kwh) == (0, 7.0), "what is left of a bucket promises nothing"


def test_a_part_of_the_need_is_offered_where_the_whole_does_not_fit_and_does_not_lower_the_next_one():
    street = Neighbourhood(piles=1)
    turn = street.asks(kwh=13.0, hours=2, flexible=True)
    street.later(20)
    street.desk.cancel(turn, street.now_ms)
    turn = promised(street, kwh=9.0, hours=4 / 3, flexible=True)
    place = street.turn(turn).place
    assert 3.0 <= place.energy_kwh < 9.0
    street.says(place.connector, "charging", kwh=0.0)
    street.later(1)
    street.says(place.connector, "charging", kwh=4.0, since_ms=street.turn(turn).plugged_ms)
    street.later(30)
    street.says(place.connector, "available")
    street.later(1)
    assert street.turn(turn).state == "done"
    assert street.turn(street.asks(kwh=9.0)).energy_kwh == 9.0


def test_a_larger_need_weighs_more_though_not_in_proportion():
    street = Neighbourhood()
    small, large = (street.turn(street.asks(one, kwh=kwh)) for one, kwh in (("h1", 5.0), ("h2", 20.0)))
    assert _weight(small, 1_000) < _weight(large, 1_000) < 4 * _weight(small, 1_000)


def test_who_was_given_less_goes_first():
    street = Neighbourhood(piles=1)
    had = street.asks("h1", kwh=7.0)
    street.later(1)
    street.desk.accept(had, street.now_ms)
    street.later(15)
    street.says(ONE, "charging", kwh=7.0)
    street.later(60)
    street.says(ONE, "available")
    street.later(1)
    again, fresh = street.asks("h1"), street.asks("h2")
    street.later(1)
    assert street.turn(fresh).place.start_ms < street.turn(again).place.start_ms
    assert street.planning.decision(street.turn(again)).rank > 1


def test_what_was_offered_and_not_answered_goes_to_the_next():
    street = Neighbourhood(piles=1)
    first = street.asks("h1", kwh=3.5, hours=2)
    street.later(1)
    second = street.asks("h2", kwh=3.5, hours=2)
    street.later(12)
    assert street.turn(first).snoozes == 1
    street.desk.cancel(first, street.now_ms)
    street.later(20)
    assert street.turn(second).state == "offered"


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


def test_a_car_beside_a_promise_that_already_runs_is_taken_for_the_one_it_was_made_to():
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "active"


def test_a_car_that_was_there_before_the_scheduler_is_a_walk_in_once():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=3.0, since_ms=street.now_ms - HOUR_MS)
    street.later(2)
    street.lead()
    street.later(2)
    assert [turn.kind for turn in street.ledger.turns()] == ["walk_in"]


def test_a_car_that_comes_between_two_looks_ends_the_turn_before_it():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    street.later(5)
    street.says(ONE, "charging", kwh=0.1)
    street.later(1)
    assert [turn.state for turn in street.ledger.turns()] == ["done", "active"]


def test_a_pile_that_says_nothing_ends_no_turn_and_is_offered_to_nobody():
    street = Neighbourhood()
    street.says(ONE, "charging", kwh=1.0)
    street.later(1)
    street.later(30, f"{SITE}/pile-01", f"{SITE}/pile-02")
    [active] = street.ledger.turns(states=["active"])
    waits = street.asks()
    street.later(5, f"{SITE}/pile-01", f"{SITE}/pile-02")
    assert (street.turn(active.id).state, street.turn(waits).state) == ("active", "requested")
    assert street.planning.decision(street.turn(waits)).bound_by == "no_connector"


def test_while_nothing_may_be_believed_nobody_is_taken_to_have_left():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    street.later(1)
    street.believed = False
    street.says(ONE, "available")
    street.later(5)
    assert [turn.state for turn in street.ledger.turns()] == ["active"]


def test_who_was_promised_a_plug_that_breaks_is_moved():
    street = Neighbourhood()
    turn = promised(street)
    was = street.turn(turn).place.connector
    street.says(was, "faulted")
    street.later(1)
    assert street.turn(turn).state == "reserved"
    assert street.turn(turn).place.connector != was


def test_a_car_that_comes_into_the_bay_and_is_not_plugged_at_once_is_who_was_awaited():
    street = Neighbourhood()
    turn = promised(street, earliest_ms=street.now_ms + 2 * 60_000)
    place = street.turn(turn).place
    street.later(18)
    street.says(place.connector, "available", bay_occupied=True)
    street.later(2)
    street.says(place.connector, "preparing", kwh=0.0, bay_occupied=True)
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


def test_a_car_that_stays_for_days_has_one_turn():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    for _ in range(30):
        street.later(60)
    assert [turn.state for turn in street.ledger.turns()] == ["active"]


def test_the_site_is_planned_within_its_power():
    street = Neighbourhood(piles=2, limit_kw=7.0)
    turns = [street.asks(f"h{no}", kwh=7.0, hours=8) for no in (1, 2)]
    street.later(1)
    places = [street.turn(turn).place for turn in turns]
    assert not set(places[0].buckets) & set(places[1].buckets)


def test_a_wish_for_next_week_waits_until_it_is_within_a_day():
    street = Neighbourhood()
    turn = street.asks(earliest_ms=street.now_ms + 30 * HOUR_MS, depart_by_ms=street.now_ms + 40 * HOUR_MS)
    street.later(2)
    assert street.turn(turn).state == "requested"
    for _ in range(7):
        street.later(60)
    assert street.turn(turn).state == "queued"


@pytest.mark.parametrize(
    ("starts", "now", "is_time"),
    [("12:00", "11:29", False), ("12:00", "11:30", True), ("23:30", "21:29", False), ("23:30", "21:30", True)],
)
def test_an_offer_is_made_half_an_hour_before_or_before_the_night(starts, now, is_time):
    def at(text):
        hours, minutes = map(int, text.split(":"))
        return 1_795_276_800_000 + hours * HOUR_MS + minutes * 60_000  # midnight in Shanghai

    assert is_time_to_offer(at(starts), QuietHours(22 * 60, 7 * 60), at(now)) is is_time


def test_the_next_leader_goes_on_where_the_last_one_ended():
    street = Neighbourhood()
    turn = promised(street)
    place = street.turn(turn).place
    assert isinstance(place, Place)
    street.lead()
    street.later(1)
    assert street.turn(turn).place == place
    street.says(place.connector, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "active"


def test_a_round_in_which_nothing_may_be_believed_moves_and_fails_nobody():
    street = Neighbourhood()
    turn = promised(street)
    was = street.turn(turn)
    street.believed = False
    street.later(50)
    street.believed = True
    street.later(1)
    now = street.turn(turn)
    assert (now.state, now.place, now.moved_from) == ("reserved", was.place, None)


def test_piles_that_have_not_reported_since_ingest_came_back_are_not_taken_for_silent():
    street = Neighbourhood()
    turn = promised(street)
    street.believed = False
    street.later(17, *street.said)
    street.believed = True
    street.later(2, *street.said)
    assert street.turn(turn).moved_from is None
    street.later(3, f"{SITE}/pile-01")
    assert street.turn(turn).place.connector == TWO


def test_who_stands_in_the_bay_when_the_hold_ends_is_awaited():
    street = Neighbourhood(piles=1)
    turn = promised(street, earliest_ms=street.now_ms + 2 * 60_000)
    street.later(28)
    street.says(ONE, "available", bay_occupied=True)
    street.later(3)
    assert street.turn(turn).state == "reserved"
    street.says(ONE, "preparing", kwh=0.0, bay_occupied=True)
    street.later(1)
    assert street.turn(turn).state == "active"


def test_a_pile_that_is_taken_out_of_the_inventory_moves_its_turns():
    street = Neighbourhood()
    turn = promised(street)
    was = street.turn(turn).place.connector
    devices = {name: one for name, one in street.inventory.devices.items() if not was.startswith(f"{name}/")}
    street.inventory = Inventory(sites=street.inventory.sites, devices=devices)
    street.later(1)
    assert street.turn(turn).place.connector != was


def test_a_car_that_comes_after_a_promise_has_run_out_is_not_taken_for_that_one():
    """The hold pauses at night, but the place does not last longer for it."""
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, quiet=QuietHours(17 * 60 + 10, 9 * 60)), 1, "p", street.now_ms)
    turn = promised(street, kwh=3.5, hours=1)
    street.later(60)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "no_show"
    assert [turn.kind for turn in street.ledger.turns(states=["active"])] == ["walk_in"]


def test_the_likely_start_is_learnt_from_how_late_turns_began():
    street = Neighbourhood(piles=1)
    waits = street.asks("h1", earliest_ms=street.now_ms + 4 * HOUR_MS)
    street.later(1)
    decision = street.planning.decision(street.turn(waits))
    assert decision.p90_ms - decision.p50_ms == HOUR_MS, "while nothing is learnt"
    street.desk.cancel(waits, street.now_ms)
    for no in range(10):
        turn = promised(street, "h1", kwh=1.75, earliest_ms=street.now_ms + 2 * 60_000)
        street.later((street.turn(turn).place.start_ms - street.now_ms) / 60_000 + (5 if no else 10))
        street.says(ONE, "charging", kwh=0.0)
        street.later(1)
        street.says(ONE, "available")
        street.later(1)
    waits = street.asks("h2", earliest_ms=street.now_ms + 8 * HOUR_MS, hours=12)
    street.later(1)
    decision = street.planning.decision(street.turn(waits))
    assert decision.p90_ms - decision.p50_ms == 11 * 60_000
