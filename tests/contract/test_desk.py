"""The desk and the watch over each ledger: what a resident, and who waits for a plug, would miss."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import Window
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.desk import UnknownSite, UnknownTurn
from scheduler.ledger import Household, OverLimit, Taken, UnknownHousehold
from scheduler.quiet import QuietHours
from scheduler.rules import GUESTS, Quota, RuleSet
from scheduler.turns import NotNow, age_ms
from tests.desks import HOUR_MS, PLUGS, SITE, World
from tests.ledgers import NO_QUIET

ONE, TWO, THREE = PLUGS


@pytest.fixture
def world(ledger):
    made = World(ledger)
    yield made
    assert not ledger.imbalance()


def place(world, plug=ONE, in_buckets=0, buckets=4, watts=7_000):
    return Place(plug, bucket_at(world.now_ms) + in_buckets, (watts,) * buckets)


def offered(world, where, household="h1", **said):
    asked = world.desk.ask(world.wish(household, **said), world.now_ms)
    assert asked.state == "requested", asked.refused_by
    world.desk.plan(asked.id, where, world.now_ms)
    return world.desk.offer(asked.id, where, world.now_ms)


def promised(world, where, household="h1", **said):
    return world.desk.accept(offered(world, where, household, **said).id, world.now_ms)


def charging(world, where, household="h1", **said):
    turn = promised(world, where, household, **said)
    world.at[where.connector] = turn.id
    return world.desk.plug_in(turn.id, world.now_ms)


def now(world, turn):
    return world.desk.turn(turn.id)


def said_to(world, turn):
    return [item.id.rpartition(":")[2] for item in world.ledger.outgoing(["pending"]) if item.turn == turn.id]


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


# --- at the plug -----------------------------------------------------------------------------------------------------


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


# --- promises are kept, whatever the ground does ---------------------------------------------------------------------


def test_the_car_before_stays_and_who_waits_is_moved_at_once(world):
    stays = charging(world, place(world, ONE, buckets=2))
    waits = promised(world, place(world, ONE, in_buckets=2), "h2")
    world.later(30)
    moved = now(world, waits)
    assert (moved.state, moved.place.connector, moved.place.start_ms) == ("reserved", TWO, world.now_ms)
    assert (moved.moved_from, moved.delayed_ms) == (ONE, None)
    assert said_to(world, waits)[-1] == "moved"
    assert now(world, stays).place.end_ms == world.now_ms + BUCKET_MS


def test_where_every_other_plug_is_taken_who_waits_is_delayed_and_told(world):
    stays = charging(world, place(world, ONE, buckets=2))
    waits = promised(world, place(world, ONE, in_buckets=2, watts=3_500), "h2")
    for plug, household in ((TWO, "h3"), (THREE, "h4")):
        charging(world, place(world, plug, buckets=20, watts=3_500), household, hours=9)
    world.later(30)
    delayed = now(world, waits)
    assert (delayed.state, delayed.place.connector, delayed.delayed_ms) == ("reserved", ONE, world.now_ms)
    assert delayed.place.start_ms == world.now_ms + BUCKET_MS
    world.at[ONE] = None
    world.desk.unplug(stays.id, world.now_ms)
    world.later(29)
    assert now(world, waits).state == "reserved"
    assert said_to(world, waits) == ["offer", "reserved", "soon", "delayed", "soon"]


def test_where_nothing_is_free_before_it_must_leave_we_say_that_we_failed(world):
    charging(world, place(world, ONE, buckets=2))
    for plug, household in ((TWO, "h3"), (THREE, "h4")):
        charging(world, place(world, plug, buckets=20, watts=3_500), household, hours=9)
    waits = promised(world, place(world, ONE, in_buckets=2, watts=7_000), "h2", hours=1.5)
    world.later(30)
    assert (now(world, waits).state, now(world, waits).cause) == ("failed", "BLOCKED")
    assert said_to(world, waits)[-1] == "failed"
    [again] = world.ledger.turns(household="h2", states=["requested"])
    assert (again.instead_of, again.vehicle, again.energy_kwh) == (waits.id, waits.vehicle, waits.energy_kwh)
    assert age_ms(again, world.now_ms) == age_ms(now(world, waits), world.now_ms) == 30 * 60_000
    assert again.depart_by_ms == world.now_ms + 24 * HOUR_MS


def test_a_car_that_stays_for_hours_while_nobody_looks_takes_the_places_of_all_behind_it(world):
    stays = charging(world, place(world, ONE, buckets=2))
    behind = [promised(world, place(world, ONE, in_buckets=2 + 4 * no), f"h{2 + no}", hours=12) for no in range(3)]
    world.later(240)
    assert now(world, stays).place.end_ms == world.now_ms + BUCKET_MS
    for turn in behind:
        assert now(world, turn).state == "reserved"
        assert now(world, turn).place.connector != ONE or now(world, turn).place.start_ms > world.now_ms
    assert not world.ledger.imbalance()


def test_a_foreign_car_in_the_bay_makes_nobody_a_no_show(world):
    waits = promised(world, place(world, ONE, in_buckets=1))
    world.at[ONE] = "foreign"
    world.later(15)
    assert (now(world, waits).state, now(world, waits).place.connector) == ("reserved", TWO)


def test_a_broken_pile_moves_its_turns_and_offers(world):
    soon, later = promised(world, place(world, ONE)), offered(world, place(world, ONE, in_buckets=5), "h2")
    world.at[ONE] = "broken"
    world.later(0)
    assert now(world, soon).place == replace(soon.place, connector=TWO)
    assert (now(world, later).state, now(world, later).place) == ("offered", replace(later.place, connector=TWO))


@pytest.mark.parametrize(
    ("there", "cause"),
    [
        (("broken", "broken", "broken"), "POWER_OUTAGE"),
        (("silent", "broken", "silent"), "POWER_OUTAGE"),
        (("silent", "taken", "silent"), "BROKEN_CHARGER"),
        (("silent", "unknown", "silent"), "BROKEN_CHARGER"),
    ],
)
def test_an_outage_of_a_whole_site_is_not_told_as_a_broken_pile(world, there, cause):
    waits = promised(world, place(world, ONE), hours=1)
    world.at |= dict(zip(PLUGS, there, strict=True))
    world.later(0)
    assert (now(world, waits).state, now(world, waits).cause) == ("failed", cause)


def test_one_pile_that_is_the_whole_site_is_a_broken_pile_when_it_breaks(world):
    world.facts = replace(world.facts, connectors=world.facts.connectors[:1])
    waits = promised(world, place(world, ONE), hours=1)
    world.at[ONE] = "broken"
    world.later(0)
    assert now(world, waits).cause == "BROKEN_CHARGER"


def test_a_plug_that_breaks_for_a_moment_costs_nobody_a_promise_of_the_afternoon(world):
    waits = promised(world, place(world, ONE, in_buckets=12))
    for plug in PLUGS:
        world.at[plug] = "broken"
    world.later(1)
    assert now(world, waits) == waits
    world.at[ONE] = None
    world.later(179)
    assert now(world, waits).place == waits.place


def test_nobody_is_sent_from_one_broken_plug_to_another_and_back(world):
    waits = promised(world, place(world, ONE, in_buckets=6), hours=8)
    world.at |= {ONE: "broken", TWO: "broken"}
    for _ in range(5):
        world.later(1)
    assert now(world, waits).place.connector == THREE
    assert said_to(world, waits).count("moved") == 1


def test_a_car_that_stays_is_kept_whatever_its_compound_may_hold(world):
    """The quota ends while the car is there: that it stays is a fact, and no reason to move anybody else for ever."""
    from_six = (Window("all", 18 * 60, 23 * 60),)
    world.rules = replace(world.rules, quotas=(Quota(compound="k-02", connectors=0, hours=from_six),))
    world.ledger.adopt(world.rules, after=1, by="p", now_ms=world.now_ms)
    stays = charging(world, place(world, ONE, buckets=4), hours=1)
    waits = promised(world, place(world, ONE, in_buckets=4), "h2", hours=4)
    world.later(60)
    assert now(world, stays).place.end_ms == world.now_ms + BUCKET_MS
    assert (now(world, waits).state, now(world, waits).place.connector) == ("reserved", TWO)


def test_nobody_is_moved_to_a_plug_that_does_not_fit(ledger):
    world = World(ledger, types=("GBT_AC", "GBT_DC", "GBT_AC"))
    waits = promised(world, place(world, ONE))
    world.at[ONE] = "broken"
    world.later(0)
    assert now(world, waits).place.connector == THREE


def test_nobody_is_moved_into_hours_in_which_the_site_is_closed_or_to_the_middle_of_the_night(ledger):
    """At 17:00 in Shanghai; the site closes at 18:30, and in the other case everybody sleeps from then on."""
    closes = RuleSet(
        site=SITE, compounds=("k-01", "k-02"), quiet=NO_QUIET, opening=(Window("all", 7 * 60, 18 * 60 + 30),)
    )
    sleeps = RuleSet(site=SITE, compounds=("k-01", "k-02"), quiet=QuietHours(18 * 60 + 30, 7 * 60))
    for site, rules in enumerate((closes, sleeps)):
        world = World(ledger if not site else None, rules=rules)
        waits = promised(world, place(world, ONE), hours=12)
        other = [
            charging(world, place(world, plug, buckets=8, watts=1_000), household, hours=9)
            for plug, household in ((TWO, "h3"), (THREE, "h4"))
        ]
        world.at[ONE] = "broken"
        world.later(0)
        assert [now(world, turn).state for turn in (waits, *other)] == ["failed", "active", "active"]


def test_while_nothing_is_known_of_a_plug_nobody_is_moved_failed_or_missed(world):
    waits = promised(world, place(world, ONE))
    stays = charging(world, place(world, TWO, buckets=2), "h2")
    world.at |= dict.fromkeys(PLUGS, "unknown")
    world.later(40)
    assert now(world, waits).place == waits.place
    assert (now(world, waits).state, now(world, stays).place) == ("reserved", stays.place)
    world.at[ONE] = None
    world.later(16)
    assert now(world, waits).state == "no_show"


def test_of_a_place_that_passed_while_nothing_was_known_we_do_not_say_that_it_was_missed(world):
    waits = promised(world, place(world, ONE))
    world.at[ONE] = "unknown"
    world.later(60)
    assert now(world, waits).state == "failed"


def test_who_stands_in_the_bay_at_the_end_of_the_hold_has_not_missed_it(world):
    waits = promised(world, place(world, ONE))
    world.at[ONE] = "arriving"
    world.later(16)
    assert (now(world, waits).state, now(world, waits).place) == ("reserved", waits.place)
    world.at[ONE] = None
    world.later(16)
    assert now(world, waits).state == "no_show"


def test_an_offer_that_nobody_was_told_of_is_no_snooze(world):
    offer = offered(world, place(world, ONE, in_buckets=2))
    world.later(30)
    waits = now(world, offer)
    assert (waits.state, waits.snoozes, waits.place, waits.waiting_ms) == ("queued", 0, None, offer.waiting_ms)
    assert said_to(world, waits) == ["offer"]


def test_an_offer_at_a_plug_that_breaks_is_taken_back_and_that_is_no_snooze(world):
    offer = offered(world, place(world, ONE), hours=1.2)
    world.desk.told(offer.id, world.now_ms)
    world.at |= dict.fromkeys(PLUGS, "broken")
    world.later(1)
    assert (now(world, offer).state, now(world, offer).snoozes) == ("queued", 0)
    assert said_to(world, offer) == ["offer", "withdrawn"]


def test_who_answers_late_has_the_whole_hold_to_come(world):
    offer = offered(world, place(world, ONE))
    world.desk.told(offer.id, world.now_ms)
    world.later(9)
    assert world.desk.accept(offer.id, world.now_ms).due_ms == world.now_ms + 15 * 60_000


def test_an_offer_whose_time_is_over_turns_no_car_away(world):
    offer = offered(world, place(world, ONE))
    world.desk.told(offer.id, world.now_ms)
    world.now_ms += 11 * 60_000
    assert world.desk.walk_in(ONE, SITE, world.now_ms).state == "active"
    assert now(world, offer).state == "queued"


def test_what_is_offered_keeps_to_the_rules_in_force_and_not_to_those_of_the_request(world):
    asked = world.desk.ask(world.wish(), world.now_ms)
    world.rules = replace(world.rules, quotas=(Quota(compound="k-02", connectors=0),))
    world.ledger.adopt(world.rules, after=1, by="p", now_ms=world.now_ms)
    world.desk.plan(asked.id, place(world), world.now_ms)
    with pytest.raises(OverLimit):
        world.desk.offer(asked.id, place(world), world.now_ms)


def test_a_car_that_left_unheard_counts_until_it_was_last_heard_of(world):
    stays = charging(world, place(world, ONE, buckets=2))
    world.now_ms += HOUR_MS
    world.desk.heard([stays], world.now_ms)
    world.later(24 * 60)
    [given] = world.ledger.deliveries(["h1"], 0)
    assert (now(world, stays).state, given.unplugged_ms - given.plugged_ms) == ("done", HOUR_MS)


def test_a_car_that_stays_holds_its_plug_until_it_leaves(world):
    stays = charging(world, place(world, ONE, buckets=2))
    world.later(24 * 60 - 1)
    assert now(world, stays).place.end_ms > world.now_ms
    asked = world.desk.ask(world.wish("h2"), world.now_ms)
    with pytest.raises(Taken):
        world.desk.offer(world.desk.plan(asked.id, place(world), world.now_ms).id, place(world), world.now_ms)
    world.later(1)
    assert now(world, stays).state == "done"
