"""The life of a turn, step by step, with nothing around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler import turns
from scheduler.buckets import BUCKET_MS, Place, buckets_between
from scheduler.quiet import QuietHours
from scheduler.turns import STATES, STEPS, NotNow
from tests.ledgers import NO_QUIET, PLUG, a_place, a_turn
from tests.stores import NINE_MS

MINUTE_MS = 60_000
SHANGHAI_NIGHT = QuietHours(22 * 60, 7 * 60)
"""14:00 to 23:00 UTC."""
EVERY_STEP = {
    "plan": lambda turn: turns.planned(turn, a_place()),
    "offer": lambda turn: turns.offered(turn, a_place(), NINE_MS, NO_QUIET),
    "accept": lambda turn: turns.accepted(turn, NINE_MS, NO_QUIET),
    "snooze": lambda turn: turns.snoozed(turn, NINE_MS),
    "give_up": lambda turn: turns.snoozed(replace(turn, snoozes=2), NINE_MS),
    "withdraw": turns.withdrawn,
    "plug_in": lambda turn: turns.plugged_in(turn, NINE_MS),
    "no_show": lambda turn: turns.missed(turn, NINE_MS),
    "fail": lambda turn: turns.failed(turn, "BLOCKED", NINE_MS),
    "end": lambda turn: turns.done(turn, NINE_MS),
    "cancel": lambda turn: turns.cancelled(turn, NINE_MS),
    "expire": lambda turn: turns.expired(turn, NINE_MS),
}


def in_state(state):
    return a_turn(state=state, place=a_place())


def offered_at_nine():
    return turns.offered(turns.planned(a_turn(), a_place()), a_place(first=NINE_MS // BUCKET_MS + 8), NINE_MS, NO_QUIET)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("event", EVERY_STEP)
def test_a_step_leads_where_the_table_says_or_is_refused(state, event):
    step, leads_to = EVERY_STEP[event], STEPS.get(state, {}).get(event)
    if leads_to is None:
        with pytest.raises(NotNow, match=f"is {state}: {event} is not possible now"):
            step(in_state(state))
    else:
        assert step(in_state(state)).state == leads_to


@given(st.lists(st.sampled_from(sorted(EVERY_STEP))))
def test_a_turn_always_has_an_end_to_come_until_it_has_ended(events):
    turn = a_turn()
    for event in events:
        try:
            turn = EVERY_STEP[event](turn)
        except NotNow:
            continue
        assert (turn.due_ms is None) == (not turns.is_live(turn)) == (turn.ended_ms is not None)
        assert (turns.held(turn) is not None) == (turn.state in turns.HOLDING)


def test_every_state_can_be_reached_and_every_live_one_left():
    reached = {"requested", "rejected"} | {after for steps in STEPS.values() for after in steps.values()}
    assert reached == set(STATES) == set(turns.OCPI)
    assert turns.HOLDING < turns.LIVE < set(STATES)


# --- an offer --------------------------------------------------------------------------------------------------------


def test_an_offer_has_ten_minutes_from_when_it_was_told():
    told = turns.told(offered_at_nine(), NINE_MS, NO_QUIET)
    assert not turns.lapsed(told, NINE_MS + 10 * MINUTE_MS - 1)
    assert turns.lapsed(told, NINE_MS + 10 * MINUTE_MS)


def test_an_offer_that_nobody_was_told_of_lapses_when_its_place_begins():
    offer = offered_at_nine()
    assert not turns.lapsed(offer, offer.place.start_ms - 1)
    assert turns.lapsed(offer, offer.place.start_ms)


def test_an_offer_of_a_place_that_begins_now_may_be_answered_too():
    offer = turns.offered(turns.planned(a_turn(), a_place()), a_place(), NINE_MS, NO_QUIET)
    assert not turns.lapsed(offer, NINE_MS + 10 * MINUTE_MS - 1)
    assert turns.lapsed(offer, NINE_MS + 10 * MINUTE_MS)


def test_the_time_to_answer_does_not_run_at_night():
    half_to_ten_ms = NINE_MS + 4 * 60 * MINUTE_MS + 55 * MINUTE_MS
    told = turns.told(offered_at_nine(), half_to_ten_ms, SHANGHAI_NIGHT)
    assert told.due_ms == NINE_MS + 14 * 60 * MINUTE_MS + 5 * MINUTE_MS


def test_the_third_snooze_ends_it():
    turn = offered_at_nine()
    for _ in range(2):
        turn = turns.offered(turns.snoozed(turn, NINE_MS), a_place(), NINE_MS, NO_QUIET)
    assert (turns.snoozed(turn, NINE_MS).state, turns.snoozed(turn, NINE_MS).snoozes) == ("expired", 3)


def test_waiting_is_counted_from_the_request_until_a_snooze():
    turn = offered_at_nine()
    assert turns.age_ms(turn, NINE_MS + 5) == 5
    assert turns.age_ms(turns.snoozed(turn, NINE_MS + 5), NINE_MS + 99) == 5
    assert turns.age_ms(turns.cancelled(turn, NINE_MS + 5), NINE_MS + 99) == 5
    assert turns.age_ms(turns.failed(turn, "BLOCKED", NINE_MS + 5), NINE_MS + 99) == 99


# --- a promise -------------------------------------------------------------------------------------------------------


def test_a_promise_is_held_for_fifteen_minutes_from_its_start():
    promised = turns.accepted(offered_at_nine(), NINE_MS, NO_QUIET)
    assert promised.due_ms == promised.place.start_ms + 15 * MINUTE_MS


def test_the_hold_does_not_run_at_night():
    night = a_place(first=(NINE_MS + 6 * 3_600_000) // BUCKET_MS)
    late = turns.offered(turns.planned(a_turn(), a_place()), night, NINE_MS, SHANGHAI_NIGHT)
    before_it_ends = replace(late, place=a_place(first=night.first, buckets=40))
    assert turns.accepted(before_it_ends, NINE_MS, SHANGHAI_NIGHT).due_ms == NINE_MS + 14 * 3_600_000 + 15 * MINUTE_MS
    assert turns.accepted(late, NINE_MS, SHANGHAI_NIGHT).due_ms == night.end_ms, "never longer than the place is"


def test_who_answers_after_the_place_began_has_the_whole_hold_to_come():
    offer = turns.told(
        turns.offered(turns.planned(a_turn(), a_place()), a_place(), NINE_MS, NO_QUIET), NINE_MS, NO_QUIET
    )
    at_ms = NINE_MS + 8 * MINUTE_MS
    assert turns.accepted(offer, at_ms, NO_QUIET).due_ms == at_ms + 15 * MINUTE_MS


def test_a_place_that_is_over_cannot_be_accepted():
    offer = turns.offered(turns.planned(a_turn(), a_place()), a_place(buckets=1), NINE_MS, NO_QUIET)
    offer = replace(offer, due_ms=NINE_MS + 40 * MINUTE_MS)
    with pytest.raises(NotNow):
        turns.accepted(offer, NINE_MS + 15 * MINUTE_MS, NO_QUIET)


def test_a_moved_promise_is_the_same_turn_with_a_new_hold():
    promised = turns.accepted(offered_at_nine(), NINE_MS, NO_QUIET)
    moved = turns.moved(promised, a_place("jn-01/pile-02/1", promised.place.first + 2), NINE_MS, NO_QUIET)
    assert (moved.id, moved.state, moved.moved_from) == (promised.id, "reserved", PLUG)
    assert moved.due_ms == promised.due_ms + 2 * BUCKET_MS
    with pytest.raises(NotNow):
        turns.moved(a_turn(), a_place(), NINE_MS, NO_QUIET)


def test_it_is_said_since_when_a_promise_is_late():
    promised = turns.accepted(offered_at_nine(), NINE_MS, NO_QUIET)
    late = turns.delayed(turns.delayed(promised, NINE_MS), NINE_MS + 5)
    assert (late.state, late.delayed_ms) == ("reserved", NINE_MS)


def test_a_car_at_the_plug_is_watched_for_a_day_after_it_was_last_heard_of():
    plugged = turns.plugged_in(turns.accepted(offered_at_nine(), NINE_MS, NO_QUIET), NINE_MS)
    assert plugged.due_ms == NINE_MS + 24 * 3_600_000
    assert turns.heard(plugged, NINE_MS + 5).due_ms == plugged.due_ms + 5
    with pytest.raises(NotNow):
        turns.heard(offered_at_nine(), NINE_MS)
    with pytest.raises(NotNow):
        turns.stays(offered_at_nine())


def test_the_latest_start_leaves_time_for_the_energy():
    asked = a_turn(energy_kwh=14.0, max_w=7_000, depart_by_ms=NINE_MS + 5 * 3_600_000)
    assert turns.latest_start_ms(asked) == NINE_MS + 3 * 3_600_000


# --- places and buckets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_min", "end_min", "touched"), [(0, 15, 1), (0, 16, 2), (14, 15, 1), (14, 16, 2), (15, 15, 0), (1, 59, 4)]
)
def test_a_span_touches_each_bucket_that_it_has_a_moment_of(start_min, end_min, touched):
    assert len(buckets_between(start_min * MINUTE_MS, end_min * MINUTE_MS)) == touched


def test_a_place_says_when_it_is_and_what_it_charges():
    place = Place(PLUG, 4, (7_000, 0, 3_500))
    assert (place.start_ms, place.end_ms, place.energy_kwh) == (4 * BUCKET_MS, 7 * BUCKET_MS, 2.625)
    assert place.longer(2) == Place(PLUG, 4, (7_000, 0, 3_500, 0, 0))


@pytest.mark.parametrize("watts", [(), (7_000, -1)])
def test_a_place_of_nothing_is_refused(watts):
    with pytest.raises(ValueError, match="a place needs"):
        Place(PLUG, 4, watts)
