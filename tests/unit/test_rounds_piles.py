"""What a pile that breaks, falls silent or has a wrong clock does to the turns at it."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ingest.assets import Inventory
from ingest.clock import rfc3339
from scheduler.explain import said_in
from scheduler.quiet import QuietHours
from tests.rounds import ONE, QUARTER_MS, SITE, TWO, Neighbourhood, promised


@pytest.mark.parametrize("ahead_s", [2, 30, 240])
def test_a_pile_whose_clock_is_ahead_ends_no_turn(ahead_s):
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.comes(turn, since_ms=street.now_ms + ahead_s * 1_000)
    street.later(10)
    assert [(one.id, one.state) for one in street.ledger.turns()] == [(turn, "active")]
    street.lead()
    street.later(2)
    assert street.turn(turn).state == "active"


@pytest.mark.parametrize("trouble", ["broken", "silent"])
def test_who_drives_away_from_a_pile_that_broke_or_fell_silent_can_say_so_and_ask_again(trouble):
    street = Neighbourhood()
    turn = promised(street)
    street.later(15)
    street.comes(turn)
    street.later(5)
    device = street.turn(turn).place.connector.rpartition("/")[0]
    if trouble == "broken":
        street.says(street.turn(turn).place.connector, "faulted")
    silent = [device] if trouble == "silent" else []
    street.later(20, *silent)
    assert street.turn(turn).state == "active"
    street.desk.finish(turn, street.now_ms)
    street.later(1, *silent)
    assert street.turn(turn).state == "done"
    assert street.turn(street.asks()).state == "requested"


def notices_of(street, turn):
    said = [said_in(item.body) for item in street.ledger.outgoing(["pending", "sent"]) if item.turn == turn]
    return [(one.what, one.said.get("had_kwh")) for one in said]


@pytest.mark.parametrize(("trouble", "says"), [("broken", "stopped"), ("silent", "unheard")])
def test_who_is_charged_by_a_pile_that_breaks_or_falls_silent_is_told_once_with_what_it_has(trouble, says):
    street = Neighbourhood()
    turn = promised(street)
    street.later(15)
    street.comes(turn)
    street.later(1)
    connector = street.turn(turn).place.connector
    street.says(connector, "charging", kwh=2.5, since_ms=street.turn(turn).plugged_ms)
    street.later(4)
    if trouble == "broken":
        street.says(connector, "faulted")
    silent = [connector.rpartition("/")[0]] if trouble == "silent" else []
    street.later(9, *silent)
    assert notices_of(street, turn)[-1][0] not in ("stopped", "unheard"), "it may be back in a moment"
    street.later(6, *silent)
    assert notices_of(street, turn)[-1] == (says, "2.5")
    street.lead()
    street.later(30, *silent)
    street.says(connector, "charging", kwh=2.5, since_ms=street.turn(turn).plugged_ms)
    street.later(5)
    street.says(connector, "faulted")
    street.later(20)
    assert [what for what, _ in notices_of(street, turn) if what in ("stopped", "unheard")] == [says]
    assert street.turn(turn).state == "active"


def test_a_new_leader_that_never_heard_what_the_car_was_given_says_nothing_of_it():
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.comes(turn)
    street.later(1)
    street.lead()
    street.says(ONE, "faulted")
    street.later(15)
    assert notices_of(street, turn)[-1] == ("stopped", None)


@pytest.mark.parametrize("why", ["a blip", "nothing is believed", "finished", "charged"])
def test_who_need_not_act_is_not_told_that_its_pile_stopped(why):
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.comes(turn)
    street.later(5)
    if why == "finished":
        street.desk.finish(turn, street.now_ms)
    elif why == "charged":
        street.says(ONE, "finishing", kwh=7.0, since_ms=street.turn(turn).plugged_ms)
        street.later(1)
    street.believed = why != "nothing is believed"
    street.says(ONE, "faulted")
    street.later(5 if why == "a blip" else 30)
    street.believed = True
    street.says(ONE, "charging", kwh=1.0, since_ms=street.turn(turn).plugged_ms)
    street.later(8)
    assert [what for what, _ in notices_of(street, turn) if what in ("stopped", "unheard")] == []


def test_at_night_nobody_is_told_that_a_pile_stopped_and_in_the_morning_who_still_has_to_know_it():
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, quiet=QuietHours(17 * 60 + 25, 19 * 60)), 1, "p", street.now_ms)
    turn = promised(street)
    street.later(15)
    street.comes(turn)
    street.later(5)
    street.says(ONE, "faulted")
    street.later(90)
    assert notices_of(street, turn)[-1][0] != "stopped"
    street.later(15)
    assert notices_of(street, turn)[-1][0] == "stopped"


def test_a_pile_that_says_nothing_ends_no_turn_and_is_offered_to_nobody():
    street = Neighbourhood()
    street.says(ONE, "charging", kwh=1.0)
    street.later(1)
    street.later(30, f"{SITE}/pile-01", f"{SITE}/pile-02")
    [active] = street.ledger.turns(states=["active"])
    waits = street.asks()
    street.later(5, f"{SITE}/pile-01", f"{SITE}/pile-02")
    assert (street.turn(active.id).state, street.turn(waits).state) == ("active", "requested")
    assert street.decision(waits).bound_by == "no_connector"


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


@pytest.mark.parametrize(("behind_s", "state"), [(None, "requested"), (600.0, "offered")])
def test_a_plug_of_a_pile_whose_clock_is_known_to_be_behind_is_offered(behind_s, state):
    street = Neighbourhood(piles=1)
    street.later(5)
    turn = street.asks(earliest_ms=street.now_ms + QUARTER_MS)
    for _ in range(3):
        street.now_ms += 60_000
        ago = rfc3339(street.now_ms - 600_000)
        [(name, said)] = street.said.items()
        plugs = [replace(one, observed_at=ago) for one in said.connectors]
        street.said[name] = replace(said, observed_at=ago, connectors=plugs, clock_behind_s=behind_s or UNSET)
        street.mono_s += 3.0
        street.rounds.round(street.now_ms, street.mono_s)
    assert street.turn(turn).state == state
    assert not behind_s or not street.ground.plug(ONE).may_have_fallen_back


def test_a_pile_that_is_taken_out_of_the_inventory_moves_its_turns():
    street = Neighbourhood()
    turn = promised(street)
    was = street.turn(turn).place.connector
    devices = {name: one for name, one in street.inventory.devices.items() if not was.startswith(f"{name}/")}
    street.inventory = Inventory(sites=street.inventory.sites, devices=devices)
    street.later(1)
    assert street.turn(turn).place.connector != was
