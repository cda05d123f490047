"""Whose car it is that came: what a check-in and a code that is typed at a pile say of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import ConnectorSpec, Window
from scheduler.buckets import Place, bucket_at
from scheduler.turns import LIVE, NotNow
from tests.rounds import ONE, QUARTER_MS, TWO, Neighbourhood, given, promised, said_to


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


def test_nobody_is_moved_to_a_plug_where_a_stranger_s_car_stands():
    street = Neighbourhood(piles=2)
    place = Place(ONE, bucket_at(street.now_ms) + 1, (7_000,) * 4)
    turn = given(street, "h1", place)
    other = given(street, "h2", replace(place, connector=TWO))
    street.later(12)
    street.says(ONE, "charging", kwh=0.0)
    street.later(3)
    street.tokens[TWO] = street.turn(turn).code
    street.says(TWO, "preparing", kwh=0.0)
    street.later(1)
    assert street.turn(other).place == replace(place, connector=TWO)
    assert "moved" not in said_to(street, other)


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
