"""The tally of turns: what people did and said in this run is counted, and nothing of an earlier one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lunchong.turns_tally import NO_TURNS, turns_tally
from scheduler.accounts import Review
from scheduler.ledger import Change, Household
from scheduler.standing import Delivery
from tests.ledgers import a_place, a_turn, opened, walk_in
from tests.stores import NINE_MS

MINUTE_MS = 60_000
START_MS = a_place().start_ms


@pytest.fixture
def ledger(tmp_path):
    kept = opened(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield kept
    kept.close()


def keep(ledger, turn, delivery=None):
    if turn.household is not None:
        ledger.register(Household(id=turn.household, compound="k-01", dwelling=turn.household))
    ledger.commit([Change(before=None, after=turn, delivery=delivery)], NINE_MS)


def counted(ledger):
    return turns_tally(ledger, ledger.accounts, NINE_MS)


def done(**said):
    return a_turn(**{"state": "done", "place": a_place(), "ended_ms": NINE_MS + 60 * MINUTE_MS, **said})


def test_where_nothing_was_asked_for_nothing_is_counted(ledger):
    keep(ledger, walk_in(a_place(), state="done", due_ms=None, ended_ms=NINE_MS + 60 * MINUTE_MS))
    assert counted(ledger) == NO_TURNS


def test_turns_of_the_run_count_by_what_became_of_them(ledger):
    keep(ledger, done())
    keep(ledger, done(mode="temporary"))
    keep(ledger, a_turn(state="no_show", ended_ms=NINE_MS))
    keep(ledger, done(ended_ms=NINE_MS - 1))
    found = counted(ledger)
    assert (found.turns_done, found.turns_done_by_mode, found.no_shows) == (2, {"in_turn": 1, "temporary": 1}, 1)


def test_what_was_put_off_counts_each_time_whatever_became_of_it(ledger):
    keep(ledger, a_turn(snoozes=1))
    keep(ledger, a_turn(state="expired", snoozes=3, ended_ms=NINE_MS))
    keep(ledger, a_turn(state="expired", snoozes=3, ended_ms=NINE_MS - 1))
    assert counted(ledger).snoozed == 4


@pytest.mark.parametrize(
    ("came_min", "accepted_min", "late"), [(4.9, None, 0), (5, None, 1), (12, -8, 1), (12, 8, 0), (13, 8, 1)]
)
def test_who_comes_five_minutes_after_the_place_began_and_was_accepted_is_late(ledger, came_min, accepted_min, late):
    soon_ms = None if accepted_min is None else START_MS + accepted_min * MINUTE_MS
    keep(ledger, done(plugged_ms=START_MS + round(came_min * MINUTE_MS), soon_ms=soon_ms))
    assert counted(ledger).late == late


@pytest.mark.parametrize("overstay_min", [0, 7])
def test_a_car_that_stayed_too_long_is_an_overstay(ledger, overstay_min):
    turn, left_ms = done(), NINE_MS + 60 * MINUTE_MS
    delivery = Delivery(
        household=turn.household, plugged_ms=NINE_MS, unplugged_ms=left_ms, overstay_ms=overstay_min * MINUTE_MS
    )
    keep(ledger, turn, delivery)
    assert counted(ledger).overstays == (overstay_min > 0)


def test_objections_of_the_run_and_their_answers_are_counted(ledger):
    ledger.register(Household(id="h1", compound="k-01", dwelling="3-502"))
    asked = Review(id="one", turn="t1", household="h1", note="why?", at_ms=NINE_MS)
    answer = {"answer": "so", "answered_by": "demo", "answered_ms": NINE_MS + 1}
    for review in (
        asked,
        replace(asked, id="two", **answer),
        replace(asked, id="old", at_ms=NINE_MS - 1),
        replace(asked, id="older", at_ms=NINE_MS - 2, **{**answer, "answered_ms": NINE_MS - 1}),
    ):
        ledger.accounts.review(review)
    found = counted(ledger)
    assert (found.reviews, found.reviews_answered) == (2, 1)
