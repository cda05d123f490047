"""What who runs the demo would miss of its residents' objections: once a turn, for a reason, and answered."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lunchong.objections import MADE, Objections, grievance
from scheduler.accounts import Review
from scheduler.explain import said_in
from scheduler.ledger import Change
from scheduler.quiet import QuietHours
from scheduler.turns import LIVE
from simulators.residents import LONG_WAIT_MIN, duty_answer, objection
from tests.ledgers import NO_QUIET, a_place, a_turn, opened, walk_in
from tests.rounds import Neighbourhood
from tests.stores import NINE_MS

HOUR_MS = 3_600_000
QUARTER_MS = 900_000
HOUSEHOLDS = ("h1", "h2")


@pytest.fixture
def street(tmp_path):
    ledger = opened(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Neighbourhood(piles=1, ledger=ledger)
    ledger.close()


def seed_of(turn, why="failed", answers=True):
    """One with which its household objects, after half an hour, and somebody answers that or not."""
    return next(
        seed
        for seed in range(10_000)
        if (words := objection(why, turn, f"{seed}/h1")) is not None
        and words.after_ms > HOUR_MS // 2
        and (duty_answer(f"{MADE}{turn}", seed) is not None) is answers
    )


def objecting(street, seed):
    return Objections(street.desk, street.ledger.accounts, HOUSEHOLDS, seed, street.now_ms)


def live(objections, street, minutes):
    """So long, the residents looking each ten minutes and nobody else at all."""
    for _ in range(minutes // 10):
        street.now_ms += 600_000
        objections.step([t for t in street.ledger.turns(states=LIVE) if t.household in HOUSEHOLDS], street.now_ms)


def failed(street):
    """The id of a turn of h1 whose plug broke before it began."""
    turn = street.asks(earliest_ms=street.now_ms + QUARTER_MS)
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    street.says(street.turn(turn).place.connector, "faulted")
    street.later(6)
    assert street.turn(turn).state == "failed"
    [again] = street.ledger.turns(states=LIVE)
    street.desk.cancel(again, street.now_ms)
    return turn


def test_what_fails_while_nobody_looked_is_objected_to_too(street):
    turn = street.asks(earliest_ms=street.now_ms + QUARTER_MS)
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    objections = objecting(street, seed_of(turn))
    street.says(street.turn(turn).place.connector, "faulted")
    street.later(6)
    live(objections, street, 130)
    assert [one.turn for one in street.ledger.accounts.reviews()] == [turn]


def test_a_turn_that_failed_is_objected_to_once_and_the_answer_comes_as_a_notice(street):
    turn = failed(street)
    objections = objecting(street, seed_of(turn))
    live(objections, street, 130)
    [review] = street.ledger.accounts.reviews()
    assert (review.turn, review.household) == (turn, "h1")
    assert objections.unanswered == (review.answer is None)
    live(objections, street, 480)
    [review] = street.ledger.accounts.reviews()
    assert review.at_ms < review.answered_ms
    told = [said_in(one.body) for one in street.ledger.accounts.notices("h1")]
    [answer] = [one for one in told if one.what == "answered"]
    assert (answer.turn, answer.said) == (turn, {"answer": review.answer})


def test_whoever_runs_the_demo_again_meets_nobody_who_objects_twice(street):
    turn = failed(street)
    seed = seed_of(turn, answers=False)
    live(objecting(street, seed), street, 130)
    kept = street.ledger.accounts.reviews()
    assert len(kept) == 1
    live(objecting(street, seed), street, 130)
    assert street.ledger.accounts.reviews() == kept


def test_an_objection_and_its_answer_that_were_still_to_come_come_after_a_kill(street):
    turn = failed(street)
    seed = seed_of(turn, answers=True)
    live(objecting(street, seed), street, 20)
    assert street.ledger.accounts.reviews() == []
    objections = objecting(street, seed)
    for _ in range(13):
        if not street.ledger.accounts.reviews():
            live(objections, street, 10)
    [unanswered] = street.ledger.accounts.reviews(unanswered=True)
    live(objecting(street, seed), street, 480)
    [review] = street.ledger.accounts.reviews()
    assert review.answer is not None
    assert review.id == unanswered.id


def test_what_somebody_asked_for_by_hand_is_left_for_somebody_to_answer(street):
    turn = failed(street)
    by_hand = Review(id="one", turn=turn, household="h1", note="why?", at_ms=street.now_ms)
    street.ledger.accounts.review(by_hand)
    objections = objecting(street, seed_of(turn))
    live(objections, street, 600)
    assert street.ledger.accounts.reviews() == [by_hand]
    assert objections.unanswered == 1


def test_who_misses_a_turn_objects_only_where_another_s_car_was_at_the_plug(street):
    turn = street.asks(earliest_ms=street.now_ms + QUARTER_MS)
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    street.later(32)
    assert street.turn(turn).state == "no_show"
    live(objecting(street, seed_of(turn, "missed")), street, 130)
    assert street.ledger.accounts.reviews() == []


def test_who_finds_another_s_car_at_the_plug_and_is_counted_as_missing_objects(street):
    ended_ms = NINE_MS + QUARTER_MS
    missed = a_turn(household="h1", state="no_show", place=a_place(), waiting_ms=None, due_ms=None, ended_ms=ended_ms)
    other = walk_in(a_place(), state="done", ended_ms=NINE_MS + QUARTER_MS // 2, due_ms=None)
    for turn in (missed, other):
        street.ledger.commit([Change(before=None, after=turn)], NINE_MS)
    live(objecting(street, seed_of(missed.id, "missed")), street, 130)
    assert [one.turn for one in street.ledger.accounts.reviews()] == [missed.id]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"state": "failed", "ended_ms": NINE_MS}, "failed"),
        ({"state": "no_show", "ended_ms": NINE_MS}, "missed"),
        ({"state": "rejected", "ended_ms": NINE_MS}, "refused"),
        ({"state": "expired", "ended_ms": NINE_MS}, "waited"),
        ({"state": "expired", "ended_ms": NINE_MS, "snoozes": 3}, None),
        ({"state": "queued", "earliest_ms": NINE_MS - 2 * HOUR_MS}, None),
        ({"state": "reserved", "place": a_place(), "delayed_ms": NINE_MS}, "delayed"),
        ({"state": "active", "place": a_place(), "moved_from": "jn-01/pile-01/2"}, "moved"),
        ({"state": "done", "place": a_place(), "ended_ms": NINE_MS}, None),
        ({"state": "cancelled", "ended_ms": NINE_MS}, None),
    ],
)
def test_there_is_a_reason_to_object_or_nobody_does(said, why):
    found = grievance(a_turn(**said), NO_QUIET, NINE_MS)
    assert (found and found[0]) == why


def test_who_waits_very_long_after_it_wanted_to_begin_may_object():
    turn = a_turn(state="queued", requested_ms=NINE_MS - HOUR_MS, earliest_ms=NINE_MS)
    long_ms = NINE_MS + LONG_WAIT_MIN * 60_000
    assert grievance(turn, NO_QUIET, long_ms - 1) is None
    assert grievance(replace(turn, snoozes=1), NO_QUIET, long_ms) == ("waited", long_ms)
    assert grievance(turn, QuietHours(0, 1_439), long_ms) is None, "most of that was a night"


def test_who_was_given_a_place_after_all_does_not_object_to_having_waited(street):
    turn = street.ledger.commit([Change(before=None, after=a_turn(household="h1"))], street.now_ms)[0]
    objections = objecting(street, seed_of(turn.id, "waited"))
    live(objections, street, LONG_WAIT_MIN + 10)
    street.desk.cancel(turn, street.now_ms)
    live(objections, street, 130)
    assert street.ledger.accounts.reviews() == []


def test_in_the_night_nobody_objects(street):
    turn = failed(street)
    local_min = round(street.now_ms / 60_000 + 480) % 1_440
    rules = replace(street.rules, quiet=QuietHours(local_min, (local_min + 600) % 1_440))
    street.ledger.adopt(rules, after=1, by="them", now_ms=street.now_ms)
    kept = replace(street.turn(turn), rules=2)
    street.ledger.commit([Change(before=street.turn(turn), after=kept)], street.now_ms)
    objections = objecting(street, seed_of(turn))
    live(objections, street, 600)
    assert street.ledger.accounts.reviews() == []
    live(objections, street, 130)
    assert [one.turn for one in street.ledger.accounts.reviews()] == [turn]
