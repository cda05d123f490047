"""What residents would miss of a scheduler that leads: that who asks is placed, offered, awaited and let go."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ingest.assets import ConnectorSpec, Inventory, Window
from ingest.clock import rfc3339
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.explain import said_in
from scheduler.planning import _weight, is_time_to_offer
from scheduler.quiet import QuietHours
from scheduler.turns import LIVE, NotNow
from tests.rounds import SITE, Neighbourhood

ONE, TWO = f"{SITE}/pile-01/1", f"{SITE}/pile-02/1"
HOUR_MS = 3_600_000
QUARTER_MS = 900_000


def promised(street, *said, **more):
    """The id of a turn from the next quarter of an hour on that was asked for, offered and accepted."""
    turn = street.asks(*said, **{"earliest_ms": street.now_ms + QUARTER_MS, **more})
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    return turn


def given(street, household, place, **more):
    """The id of a household's turn that was promised that place, whatever a plan would give it."""
    turn = street.asks(household, kwh=place.energy_kwh, **more)
    for step in (street.desk.plan, street.desk.offer):
        step(turn, place, street.now_ms)
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
    street.comes(turn)
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
    turn = promised(street, kwh=9.0, hours=4 / 3, flexible=True, earliest_ms=street.now_ms)
    place = street.turn(turn).place
    assert 3.0 <= place.energy_kwh < 9.0
    street.comes(turn)
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
    had = promised(street, "h1", kwh=7.0)
    street.later(15)
    street.comes(had, kwh=7.0)
    street.later(60)
    street.says(ONE, "available")
    street.later(1)
    again, fresh = street.asks("h1"), street.asks("h2")
    street.later(1)
    assert street.turn(fresh).place.start_ms < street.turn(again).place.start_ms
    assert street.decision(again).rank > 1


def test_what_rules_give_for_accessibility_and_an_essential_vehicle_brings_forward_and_is_said():
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, accessibility_min=60, essential_min=90), 1, "p", street.now_ms)
    for no, more in ((2, {"accessibility": True}), (3, {"essential": True})):
        street.ledger.register(replace(street.ledger.household(f"h{no}"), **more))
    asked = [street.asks(f"h{no}", kwh=7.0) for no in (1, 2, 3)]
    street.later(1)
    decided = [street.decision(one) for one in asked]
    assert [(one.rank, one.accessibility_min, one.essential_min) for one in decided] == [
        (3, 0, 0), (2, 60, 0), (1, 0, 90),
    ]  # fmt: skip


@pytest.mark.parametrize("by_hand", [True, False])
def test_what_was_put_off_by_hand_or_by_silence_goes_to_the_next(by_hand):
    street = Neighbourhood(piles=1)
    first = street.asks("h1", kwh=3.5, hours=5)
    street.later(1)
    second = street.asks("h2", kwh=3.5, hours=5)
    street.later(2)
    if by_hand:
        street.desk.snooze(first, street.now_ms)
    street.later(20)
    assert (street.turn(first).state, street.turn(first).snoozes) == ("queued", 1)
    assert street.turn(second).state == "offered"


def test_who_puts_an_offer_off_is_offered_what_begins_an_hour_after_it_was_told():
    street = Neighbourhood(piles=2)
    turn = street.asks(kwh=3.5, hours=9)
    street.later(1)
    street.desk.snooze(turn, street.now_ms)
    street.later(25)
    assert (street.turn(turn).state, street.turn(turn).snoozes) == ("queued", 1)
    street.later(24)
    assert street.turn(turn).state == "offered"


def test_who_puts_off_what_is_the_last_that_fits_is_offered_it_again():
    street = Neighbourhood(piles=1)
    turn = street.asks(kwh=7.0, hours=1.5)
    street.later(1)
    street.desk.snooze(turn, street.now_ms)
    street.later(14)
    assert street.turn(turn).state == "offered"


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


def said_to(street, turn):
    return [item.id.rpartition(":")[2] for item in street.ledger.outgoing(["pending", "sent"]) if item.turn == turn]


@pytest.mark.parametrize("checked_in_min", [-4, 1, 9])
def test_a_car_beside_a_promise_is_its_own_when_somebody_checks_in_before_or_after(checked_in_min):
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    if checked_in_min < 0:
        street.desk.check_in(turn, street.now_ms)
        street.later(-checked_in_min)
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    if checked_in_min > 0:
        assert street.turn(turn).state == "reserved"
        assert said_to(street, turn)[-1] == "asked"
        street.later(checked_in_min - 1)
        street.desk.check_in(turn, street.now_ms)
        street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place.connector) == ("active", ONE)


@pytest.mark.parametrize("code", ["its own", "another"])
def test_a_code_that_is_typed_at_the_pile_says_whose_car_it_is(code):
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    street.tokens[ONE] = street.turn(turn).code if code == "its own" else "another"
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == ("active" if code == "its own" else "reserved")


@pytest.mark.parametrize("came_min", [5, 15, 20])
def test_a_code_that_is_typed_at_another_plug_takes_the_turn_there(came_min):
    """Who came before the quarter of an hour is a walk-in there until then."""
    street = Neighbourhood(piles=2, limit_kw=7.0)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    place = street.turn(turn).place
    other = TWO if place.connector == ONE else ONE
    street.later(came_min)
    street.tokens[other] = street.turn(turn).code
    street.says(other, "preparing", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == ("reserved" if came_min < 15 else "active")
    street.later(24 - came_min)
    now = street.turn(turn)
    assert (now.state, now.place, now.moved_from) == ("active", replace(place, connector=other), place.connector)
    assert [one.id for one in street.ledger.turns(states=LIVE)] == [turn]
    assert not street.ledger.imbalance()
    assert street.arrivals.refused() == set()


@pytest.mark.parametrize("why", ["no room there", "broken", "its car is there", "another type", "too little power"])
def test_a_code_that_is_typed_at_a_plug_that_is_not_free_for_it_takes_nothing_from_anybody(why):
    street = Neighbourhood(piles=2)
    if why in ("another type", "too little power"):
        spec = ConnectorSpec(1, type="GBT_DC") if why == "another type" else ConnectorSpec(1, max_kw=3.5)
        piles = street.inventory.devices
        changed = {
            name: replace(one, connectors=(spec,)) if name.endswith("02") else one for name, one in piles.items()
        }
        street.inventory = replace(street.inventory, devices=changed)
    first = bucket_at(street.now_ms) + 1
    turn = given(street, "h1", Place(ONE, first, (7_000,) * 4))
    others = []
    if why in ("no room there", "broken", "its car is there"):
        others += [(given(street, "h2", Place(TWO, first + 3 * (why != "its car is there"), (3_500,) * 4)), TWO)]
    if why == "no room there":
        others += [(given(street, "h3", Place(ONE, first + 5, (3_500,) * 4)), ONE)]
    street.later(5)
    if why == "its car is there":
        street.comes(others[0][0])
        street.later(1)
    else:
        street.says(TWO, "preparing", kwh=0.0)
    street.tokens[TWO] = street.turn(turn).code
    if why == "broken":
        street.says(ONE, "faulted")
    street.later(2)
    assert (street.turn(turn).state, street.turn(turn).place) != ("active", Place(TWO, first, (7_000,) * 4))
    assert [(other, street.turn(other).place.connector) for other, _ in others] == others
    assert not street.ledger.imbalance()


@pytest.mark.parametrize("buckets_later", [0, 3])
def test_who_cannot_have_the_plug_where_it_typed_its_code_costs_nobody_a_promise_if_it_goes_to_its_own(buckets_later):
    """The other's need is more than the plug of the first one gives."""
    street = Neighbourhood(piles=2)
    piles = street.inventory.devices
    weak = {name: replace(one, connectors=(ConnectorSpec(1, max_kw=3.5),)) for name, one in list(piles.items())[:1]}
    street.inventory = replace(street.inventory, devices={**piles, **weak})
    first = bucket_at(street.now_ms) + 1
    turn = given(street, "h1", Place(ONE, first, (3_500,) * 4))
    there = given(street, "h2", Place(TWO, first + buckets_later, (7_000,) * 4))
    street.later(17)
    street.tokens[TWO] = street.turn(turn).code
    street.says(TWO, "preparing", kwh=0.0)
    street.later(8)
    places = [street.turn(one).place for one in (turn, there)]
    assert [(place.connector, place.first) for place in places] == [(ONE, first), (TWO, first + buckets_later)]
    street.tokens[ONE] = street.tokens.pop(TWO)
    street.says(TWO, "available")
    street.says(ONE, "preparing", kwh=0.0)
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place.connector) == ("active", ONE)
    assert (street.turn(there).state, street.turn(there).place.connector) == ("reserved", TWO)


@pytest.mark.parametrize("buckets_later", [0, 3])
def test_who_was_promised_the_plug_where_another_typed_its_code_has_the_plug_of_that_one(buckets_later):
    street = Neighbourhood(piles=2)
    place = Place(ONE, bucket_at(street.now_ms) + 1, (7_000,) * 4)
    turn = given(street, "h1", place)
    there = Place(TWO, place.first + buckets_later, (3_500,) * 4)
    other = given(street, "h2", there)
    street.later(17)
    street.tokens[TWO] = street.turn(turn).code
    street.says(TWO, "preparing", kwh=0.0)
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place) == ("active", replace(place, connector=TWO))
    assert (street.turn(other).state, street.turn(other).place) == ("reserved", replace(there, connector=ONE))
    assert ("moved" in said_to(street, other), "asked" in said_to(street, other)) == (True, False)
    assert not street.ledger.imbalance()


@pytest.mark.parametrize("comes_later", [0, 3])
def test_two_who_plug_in_at_each_other_s_plug_have_both_their_turns(comes_later):
    street = Neighbourhood(piles=2)
    first = bucket_at(street.now_ms) + 1
    turns = {plug: given(street, f"h{no}", Place(plug, first, (7_000,) * 4)) for no, plug in ((1, ONE), (2, TWO))}
    street.later(17)
    for plug, other in ((ONE, TWO), (TWO, ONE)):
        street.tokens[plug] = street.turn(turns[other]).code
        street.says(plug, "preparing", kwh=0.0)
        street.later(comes_later)
    street.later(2)
    assert [(street.turn(turns[one]).state, street.turn(turns[one]).place.connector) for one in (ONE, TWO)] == [
        ("active", TWO), ("active", ONE),
    ]  # fmt: skip


@pytest.mark.parametrize("buckets", [1, 2])
def test_who_types_the_code_of_the_second_promise_is_not_taken_for_the_first(buckets):
    """Whoever is awaited there first is not asked whose car it is, but has the other plug at once."""
    street = Neighbourhood(piles=2)
    place = Place(ONE, bucket_at(street.now_ms) + 1, (3_500,) * buckets)
    first = given(street, "h1", place)
    second = given(street, "h2", Place(ONE, place.end, (7_000,) * 4))
    street.later(17)
    street.tokens[ONE] = street.turn(second).code
    street.says(ONE, "preparing", kwh=0.0)
    street.later(2)
    assert "asked" not in said_to(street, first)
    assert (street.turn(first).state, street.turn(first).place.connector) == ("reserved", TWO)
    street.later(15 * (buckets - 1))
    assert (street.turn(second).state, street.turn(second).place.connector) == ("active", ONE)


def test_a_car_that_types_the_code_of_another_household_is_not_whose_check_in_was_just_before():
    street = Neighbourhood(piles=2)
    place = Place(ONE, bucket_at(street.now_ms) + 1, (3_500,))
    first = given(street, "h1", place)
    second = given(street, "h2", Place(ONE, place.end, (7_000,) * 4))
    street.later(17)
    street.desk.check_in(first, street.now_ms)
    street.tokens[ONE] = street.turn(second).code
    street.says(ONE, "preparing", kwh=0.0)
    street.later(7)
    assert (street.turn(first).state, street.turn(first).place.connector) == ("reserved", TWO)
    assert (street.turn(second).state, street.turn(second).place.connector) == ("active", ONE)


def test_who_types_the_code_of_its_other_turn_is_asked_and_checks_in():
    street = Neighbourhood(piles=1)
    place = Place(ONE, bucket_at(street.now_ms) + 1, (3_500,) * 2)
    turn = given(street, "h1", place)
    later = given(street, "h1", Place(ONE, place.end + 8, (7_000,) * 4), vehicle="its other car")
    street.later(17)
    street.tokens[ONE] = street.turn(later).code
    street.says(ONE, "preparing", kwh=0.0)
    street.later(2)
    assert said_to(street, turn)[-1] == "asked"
    street.desk.check_in(turn, street.now_ms)
    street.later(1)
    assert (street.turn(turn).state, street.turn(later).state) == ("active", "reserved")


@pytest.mark.parametrize("typed_at", [ONE, TWO])
def test_who_was_refused_and_types_its_code_afterwards_has_its_turn(typed_at):
    street = Neighbourhood(piles=2)
    street.ledger.adopt(replace(street.rules, opening=(Window("all", 17 * 60 + 30, 24 * 60),)), 1, "p", street.now_ms)
    place = Place(ONE, bucket_at(street.now_ms) + 2, (7_000,) * 4)
    turn = given(street, "h1", place)
    street.says(typed_at, "preparing", kwh=0.0)
    street.later(10)
    assert street.arrivals.refused() == {typed_at}
    street.later(12)
    street.tokens[typed_at] = street.turn(turn).code
    street.later(1)
    assert (street.turn(turn).state, street.turn(turn).place) == ("active", replace(place, connector=typed_at))
    assert street.arrivals.refused() == set()


@pytest.mark.parametrize("opens_min", [0, 17 * 60 + 30])
def test_who_comes_early_and_types_its_code_has_its_own_turn_when_that_begins(opens_min):
    """Until then it is a walk-in, or waits where the site is closed."""
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, opening=(Window("all", opens_min, 24 * 60),)), 1, "p", street.now_ms)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    place = street.turn(turn).place
    street.tokens[ONE] = street.turn(turn).code
    street.says(ONE, "preparing", kwh=0.0)
    street.later(10)
    assert [one.kind for one in street.ledger.turns(states=["active"])] == ["walk_in"][: not opens_min]
    street.later(20)
    [active] = street.ledger.turns(states=["active"])
    assert (active.id, active.place) == (turn, place)
    assert street.arrivals.refused() == set()


@pytest.mark.parametrize("checks_in", [True, False])
def test_who_comes_early_without_a_code_and_checks_in_when_its_time_comes_has_its_own_turn(checks_in):
    street = Neighbourhood(piles=2)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    place = street.turn(turn).place
    street.says(place.connector, "preparing", kwh=0.0)
    street.later(20)
    [walk_in] = street.ledger.turns(states=["active"])
    assert walk_in.kind == "walk_in"
    if checks_in:
        street.desk.check_in(turn, street.now_ms)
    street.later(1)
    assert (street.turn(walk_in.id).state, street.turn(turn).state) == (
        ("done", "active") if checks_in else ("active", "reserved")
    )
    street.later(20)
    assert street.turn(turn).place == place if checks_in else street.turn(turn).moved_from == place.connector


def test_a_check_in_beside_the_car_of_another_turn_takes_nothing_from_it():
    street = Neighbourhood(piles=1)
    first = promised(street, "h1", kwh=3.5)
    second = given(street, "h2", Place(ONE, street.turn(first).place.end, (7_000,) * 2))
    street.later(15)
    street.comes(first)
    street.later((street.turn(second).place.start_ms - street.now_ms) / 60_000 - 5)
    street.desk.check_in(second, street.now_ms)
    street.later(2)
    assert (street.turn(first).state, street.turn(second).state) == ("active", "reserved")


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


def test_a_check_in_long_before_a_car_came_says_nothing_of_it():
    street = Neighbourhood(piles=2)
    turn = promised(street)
    was = street.turn(turn).place.connector
    street.later(14)
    street.desk.check_in(turn, street.now_ms)
    street.later(7)
    street.says(was, "preparing", kwh=0.0)
    street.later(1)
    assert (street.turn(turn).state, said_to(street, turn)[-1]) == ("reserved", "asked")
    street.later(8)
    assert street.turn(turn).place.connector == was
    street.later(4)
    assert street.turn(turn).moved_from == was


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


def test_who_comes_before_its_place_begins_and_is_not_known_may_have_what_is_free_until_then():
    street = Neighbourhood(piles=1)
    turn = promised(street, earliest_ms=street.now_ms + 2 * QUARTER_MS)
    street.later(15)
    street.says(ONE, "charging", kwh=0.0)
    street.later(12)
    [walk_in] = street.ledger.turns(states=["active"])
    assert (walk_in.kind, walk_in.place.end_ms) == ("walk_in", street.turn(turn).place.start_ms)


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


def test_a_check_in_during_a_look_is_not_taken_back_by_it():
    street = Neighbourhood(piles=1)
    turn = promised(street)
    street.later(15)
    seen = street.turn(turn)
    street.desk.check_in(turn, street.now_ms)
    with pytest.raises(NotNow):
        street.desk.whose(seen, street.now_ms, street.now_ms)
    assert street.turn(turn).checked_in_ms == street.now_ms
    assert said_to(street, turn)[-1] != "asked"


def test_a_site_may_leave_more_time_before_staying_is_overstay():
    street = Neighbourhood(piles=1)
    street.ledger.adopt(replace(street.rules, overstay_grace_min=120), after=1, by="p", now_ms=street.now_ms)
    turn = promised(street)
    street.later(15)
    street.comes(turn, "finishing", kwh=7.0)
    street.later(2)
    told = street.turn(turn)
    assert told.leave_by_ms == told.charged_ms + 120 * 60_000


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
    assert street.decision(waits).bound_by == "no_connector"


def test_while_nothing_may_be_believed_nobody_is_taken_to_have_left():
    street = Neighbourhood(piles=1)
    street.says(ONE, "charging", kwh=1.0)
    street.later(1)
    street.believed = False
    street.says(ONE, "available")
    street.later(5)
    assert [turn.state for turn in street.ledger.turns()] == ["active"]


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
    street.comes(turn)
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
    turn = promised(street, kwh=3.5, hours=1, earliest_ms=street.now_ms)
    street.later(60)
    street.says(ONE, "charging", kwh=0.0)
    street.later(1)
    assert street.turn(turn).state == "no_show"
    assert [turn.kind for turn in street.ledger.turns(states=["active"])] == ["walk_in"]


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
