"""The desk over each ledger: what a resident who asks, and answers an offer, would miss."""

from __future__ import annotations

import pytest

from scheduler.desk import UnknownSite, UnknownTurn
from scheduler.ledger import Household, UnknownHousehold
from scheduler.rules import GUESTS, RuleSet
from scheduler.turns import NotNow
from tests.desks import HOUR_MS, ONE, SITE, TWO, charging, now, offered, place, promised, said_to
from tests.ledgers import NO_QUIET

# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_wish_becomes_a_turn_with_a_call_name_and_a_code(world):
    asked = world.desk.ask(world.wish(), world.now_ms)
    assert (asked.state, asked.household, asked.compound, asked.rules) == ("requested", "h1", "k-02", 1)
    assert asked.call.count(" ") == 2
    assert len(asked.code) == 6
    assert asked.due_ms == asked.depart_by_ms - HOUR_MS


def test_a_wish_that_a_rule_refuses_is_kept_with_the_rule(world):
    refused = world.desk.ask(world.wish(hours=0.5), world.now_ms)
    assert (refused.state, refused.refused_by, refused.due_ms) == ("rejected", "time", None)
    assert now(world, refused) == refused


def test_a_request_sent_twice_is_one_turn_also_where_it_was_refused(world):
    asked = world.desk.ask(world.wish(), world.now_ms, key="k1")
    assert world.desk.ask(world.wish(), world.now_ms, key="k1") == asked
    refused = world.desk.ask(world.wish("h2", hours=0.5), world.now_ms, key="k1")
    assert world.desk.ask(world.wish("h2"), world.now_ms, key="k1") == refused
    assert len(world.ledger.turns()) == 2


def test_who_is_not_known_cannot_ask_nor_where_nothing_is_given_nor_change_what_is_not_there(world):
    with pytest.raises(UnknownHousehold, match="nobody"):
        world.desk.ask(world.wish("nobody"), world.now_ms)
    with pytest.raises(UnknownSite, match="jn-09"):
        world.desk.ask(world.wish(site="jn-09"), world.now_ms)
    with pytest.raises(UnknownTurn, match="t99"):
        world.desk.cancel("t99", world.now_ms)


def test_a_guest_counts_in_the_quota_of_all_guests(world):
    rules = RuleSet(site=SITE, compounds=("k-01",), guests=1, quiet=NO_QUIET)
    world.ledger.adopt(rules, after=1, by="p", now_ms=world.now_ms)
    guest = offered(world, place(world, ONE), "h1")
    assert (guest.compound, guest.rules) == (GUESTS, 2)
    other = world.desk.ask(world.wish("h3"), world.now_ms)
    with pytest.raises(Exception, match="a quota of jn-01"):
        world.desk.offer(world.desk.plan(other.id, place(world, TWO), world.now_ms).id, place(world, TWO), world.now_ms)
    offered(world, place(world, TWO), "h2")


# --- nothing is gained by tricks -------------------------------------------------------------------------------------


def test_asking_twice_for_one_car_gains_nothing(world):
    world.desk.ask(world.wish(), world.now_ms)
    again = world.desk.ask(world.wish(), world.now_ms)
    assert (again.state, again.refused_by) == ("rejected", "one_turn_a_vehicle")


def test_a_third_car_of_a_household_waits_for_the_first_two(world):
    for car in ("a", "b"):
        world.desk.ask(world.wish(vehicle=car), world.now_ms)
    third = world.desk.ask(world.wish(vehicle="c"), world.now_ms)
    assert (third.state, third.refused_by) == ("rejected", "one_turn_a_household")


def test_a_dwelling_cannot_be_split_into_two_households(world):
    with pytest.raises(Exception, match="household h1's"):
        world.ledger.register(Household(id="h1b", compound="k-02", dwelling="1"))


def test_cancelling_and_asking_again_gives_the_waiting_up(world):
    asked = world.desk.ask(world.wish(), world.now_ms)
    world.later(60)
    world.desk.cancel(asked.id, world.now_ms)
    again = world.desk.ask(world.wish(), world.now_ms)
    assert again.waiting_ms == world.now_ms
    assert now(world, asked).waited_ms == HOUR_MS


def test_overstating_a_need_is_cut_to_what_was_needed_before(world):
    turn = charging(world, place(world))
    world.later(60)
    world.desk.unplug(turn.id, world.now_ms, energy_kwh=5.0)
    assert world.desk.ask(world.wish(energy_kwh=60.0, hours=20), world.now_ms).energy_kwh == 6.0


# --- answering -------------------------------------------------------------------------------------------------------


def test_an_offer_is_told_answered_and_promised(world):
    turn = offered(world, place(world, in_buckets=8))
    world.desk.told(turn.id, world.now_ms)
    world.later(9)
    assert world.desk.accept(turn.id, world.now_ms, by="h1").state == "reserved"
    assert said_to(world, turn) == ["offer", "reserved"]


def test_an_answer_that_comes_too_late_is_none(world):
    turn = offered(world, place(world, in_buckets=8))
    world.desk.told(turn.id, world.now_ms)
    world.now_ms += 10 * 60_000
    with pytest.raises(NotNow):
        world.desk.accept(turn.id, world.now_ms)
    world.later(0)
    assert (now(world, turn).state, now(world, turn).snoozes) == ("queued", 1)
    assert said_to(world, turn) == ["offer", "snoozed"]


def test_a_snooze_gives_the_place_to_the_next(world):
    turn = offered(world, place(world))
    assert world.desk.snooze(turn.id, world.now_ms).state == "queued"
    promised(world, place(world), "h2")


def test_who_cannot_be_served_any_more_is_told(world):
    asked = world.desk.ask(world.wish(hours=2), world.now_ms)
    world.later(59)
    assert now(world, asked).state == "requested"
    world.later(1)
    assert now(world, asked).state == "expired"
    assert said_to(world, asked) == ["expired"]


def test_who_does_not_come_for_fifteen_minutes_is_a_no_show(world):
    turn = promised(world, place(world, in_buckets=1))
    world.later(29)
    assert now(world, turn).state == "reserved"
    world.later(1)
    assert now(world, turn).state == "no_show"
    assert said_to(world, turn) == ["offer", "reserved", "soon", "missed"]
    assert world.ledger.no_shows(["h1"], 0) != []
