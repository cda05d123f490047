"""What residents would miss of a scheduler that leads: that who asks is placed, offered, awaited and let go."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.clock import rfc3339
from scheduler.buckets import BUCKET_MS, bucket_at
from scheduler.plan import Plug, shortest
from scheduler.planning import is_time_to_offer
from scheduler.planning_request import request, weighed
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector
from tests.ledgers import a_turn
from tests.rounds import HOUR_MS, ONE, Neighbourhood, promised, said_to
from tests.stores import NINE_MS


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


def test_who_no_longer_has_a_place_in_the_plan_is_shown_none():
    street = Neighbourhood(piles=1)
    turn = street.asks(kwh=14.0, hours=6, earliest_ms=street.now_ms + 2 * HOUR_MS)
    street.later(1)
    assert street.turn(turn).place is not None
    street.says(ONE, "faulted")
    street.later(6)
    assert (street.turn(turn).state, street.turn(turn).place) == ("queued", None)
    street.says(ONE, "available")
    street.later(6)
    assert street.turn(turn).place is not None


def test_who_waits_keeps_its_place_in_the_plan_while_its_pile_is_only_not_heard_of():
    street = Neighbourhood(piles=1)
    turn = street.asks(kwh=14.0, hours=6, earliest_ms=street.now_ms + 2 * HOUR_MS)
    street.later(1)
    place = street.turn(turn).place
    street.later(8, ONE.rpartition("/")[0])
    assert street.turn(turn).place == place


@pytest.mark.parametrize(
    ("max_w", "plugs", "need_wh"),
    [
        (7_000, [Connector("a", 7_000)], 14_000),
        (22_000, [Connector("a", 7_000), Connector("b", 60_000, type="GBT_DC")], 14_000),
        (6_930, [Connector("a", 7_000)], 13_860),
    ],
)
def test_a_flexible_wish_is_planned_with_what_its_own_plugs_give_in_its_time(max_w, plugs, need_wh):
    start_ms = NINE_MS // BUCKET_MS * BUCKET_MS
    turn = a_turn(
        energy_kwh=20.0, max_w=max_w, flexible=True, earliest_ms=start_ms, depart_by_ms=start_ms + 8 * BUCKET_MS
    )
    asked = request(turn, plugs, RuleSet(site="jn-01", compounds=("k-01",)), 1_000, 0, bucket_at(start_ms))
    assert asked.need_wh == need_wh
    assert all(shortest(asked, Plug(id=one.id, kind=one.type, max_w=one.max_w)) <= 8 for one in plugs)


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
    street.says(place.connector, "available", since=rfc3339(street.now_ms - 40_000))
    street.later(1)
    assert street.turn(turn).state == "done"
    assert street.turn(street.asks(kwh=9.0)).energy_kwh == 9.0


def test_who_was_given_a_part_is_told_to_move_when_its_time_is_over():
    street = Neighbourhood(piles=1)
    turn = street.asks(kwh=8.5, hours=1.25, flexible=True)
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    street.comes(turn)
    street.later(1)
    place, since_ms = street.turn(turn).place, street.turn(turn).plugged_ms
    assert place.energy_kwh == 7.0
    street.says(ONE, "charging", kwh=6.95, since_ms=since_ms, power_kw=7.0)
    street.later((place.end_ms - street.now_ms) // 60_000 - 1)
    assert street.turn(turn).charged_ms is None
    street.later(2)
    assert (street.turn(turn).charged_ms is None, said_to(street, turn)[-1]) == (False, "charged")


def test_whose_time_is_short_for_its_need_is_planned_in_its_turn_with_what_fits():
    street = Neighbourhood(piles=1)
    short = street.asks("h1", kwh=8.5, hours=1.25, flexible=True)
    later = street.asks("h2", kwh=7.0, hours=1.25)
    street.later(1)
    assert (street.turn(short).state, street.turn(short).place.energy_kwh) == ("offered", 7.0)
    assert street.turn(later).place is None


def test_a_larger_need_weighs_more_though_not_in_proportion():
    street = Neighbourhood()
    small, large = (street.turn(street.asks(one, kwh=kwh)) for one, kwh in (("h1", 5.0), ("h2", 20.0)))
    assert weighed(small, 1_000) < weighed(large, 1_000) < 4 * weighed(small, 1_000)


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
