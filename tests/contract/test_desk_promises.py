"""Promises are kept over each ledger, whatever the ground does."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import Window
from scheduler.buckets import BUCKET_MS
from scheduler.ledger import OverLimit, Taken
from scheduler.quiet import QuietHours
from scheduler.rules import Quota, RuleSet
from scheduler.turns import age_ms
from tests.desks import HOUR_MS, ONE, PLUGS, SITE, THREE, TWO, World, charging, now, offered, place, promised, said_to
from tests.ledgers import NO_QUIET


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
