"""What every adapter of Ledger must keep of turns and their places. Counts and what leaves have another page."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from scheduler import turns
from scheduler.buckets import BUCKET_MS, Place
from scheduler.explain import Decision
from scheduler.ledger import Change, Claim, Household, Limits, Moved, Outgoing, Taken, UnknownHousehold
from tests.ledgers import NINE, NO_QUIET, OTHER_PLUG, PLUG, a_place, a_turn, ask, offer, promise, step, walk_in
from tests.stores import NINE_MS

ALL_DAY = range(NINE - 96, NINE + 96)


@pytest.fixture(autouse=True)
def balanced(ledger):
    """Whatever a test did: the books follow from the turns."""
    yield
    assert not ledger.imbalance()


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_turn_is_kept_as_it_was_given(ledger):
    asked = a_turn(
        compound="c1", vehicle="car", flexible=True, rules=3, call="blue heron 4", code="1234", snoozes=1,
        delayed_ms=5, moved_from=OTHER_PLUG, waited_ms=7, energy_kwh=12.34, mode="temporary",
    )  # fmt: skip
    [kept] = ledger.commit([Change(before=None, after=asked)], NINE_MS)
    assert kept == replace(asked, rev=1)
    assert ledger.turn(asked.id) == kept
    assert ledger.turn("nobody's") is None
    queued = step(ledger, kept, turns.planned(kept, Place(PLUG, NINE + 2, (0, 7_000, 3_500))))
    assert ledger.turn(asked.id) == queued
    assert (queued.rev, queued.place.watts) == (2, (0, 7_000, 3_500))
    without = step(ledger, queued, turns.planned(queued, None))
    assert ledger.turn(asked.id) == without
    assert (without.state, without.place) == ("queued", None)


def test_turns_are_found_by_place_household_and_state_in_the_order_of_asking(ledger):
    late = ask(ledger, household="h", requested_ms=NINE_MS + 2)
    early = ask(ledger, household="h", requested_ms=NINE_MS + 1)
    elsewhere = ask(ledger, site="jn-02", requested_ms=NINE_MS)
    gone = step(ledger, elsewhere, turns.cancelled(elsewhere, NINE_MS))
    assert ledger.turns() == [gone, early, late]
    assert ledger.turns(site="jn-01") == ledger.turns(household="h") == [early, late]
    assert ledger.turns(states=["cancelled"]) == [gone]
    assert ledger.turns(states=[]) == []


def test_what_a_household_asks_for_is_kept_only_while_it_is_registered(ledger):
    asked = Change(before=None, after=a_turn(household="h1"), key="k", by="wang", asked=True)
    with pytest.raises(UnknownHousehold, match="household h1 is not registered"):
        ledger.commit([asked], NINE_MS)
    assert ledger.turns() == []
    assert ledger.by_key("h1", "k") is None
    ledger.register(Household(id="h1", compound="k-01", dwelling="3-502"))
    [kept] = ledger.commit([asked], NINE_MS)
    assert ledger.by_key("h1", "k") == kept


def test_who_read_an_older_turn_is_told_what_it_is_now(ledger):
    asked = ask(ledger)
    gone = step(ledger, asked, turns.cancelled(asked, NINE_MS))
    with pytest.raises(Moved, match="is cancelled by now") as moved:
        step(ledger, asked, turns.planned(asked, a_place()))
    assert moved.value.now == gone
    with pytest.raises(Moved) as moved:
        ledger.commit([Change(before=None, after=a_turn(id=asked.id))], NINE_MS)
    assert moved.value.now == gone
    with pytest.raises(Moved, match="is unknown by now"):
        step(ledger, a_turn(rev=1), a_turn())


def test_what_is_due_comes_longest_first_and_an_end_is_never_due(ledger):
    later = ask(ledger, due_ms=NINE_MS + 2)
    sooner = ask(ledger, due_ms=NINE_MS + 1)
    ended = ask(ledger, due_ms=NINE_MS)
    step(ledger, ended, turns.expired(ended, NINE_MS))
    assert ledger.due(NINE_MS) == []
    assert ledger.due(NINE_MS + 2) == [sooner, later]
    assert ledger.due(NINE_MS + 2, limit=1) == [sooner]


# --- claims ----------------------------------------------------------------------------------------------------------


def test_a_place_in_the_plan_holds_nothing_and_an_offer_holds_it(ledger):
    queued = turns.planned(ask(ledger), a_place(buckets=2))
    queued = step(ledger, queued, queued)
    assert ledger.claims("jn-01", ALL_DAY) == []
    step(ledger, queued, turns.offered(queued, queued.place, NINE_MS, NO_QUIET))
    assert ledger.claims("jn-01", ALL_DAY) == [Claim(PLUG, NINE, queued.id), Claim(PLUG, NINE + 1, queued.id)]
    assert ledger.claims("jn-01", range(NINE + 1, NINE + 9)) == [Claim(PLUG, NINE + 1, queued.id)]
    assert ledger.claims("jn-0", ALL_DAY) == []


def test_a_bucket_is_promised_once(ledger):
    first = promise(ledger, a_place(buckets=4))
    with pytest.raises(Taken) as taken:
        promise(ledger, a_place(first=NINE + 3, buckets=4))
    assert taken.value.claim == Claim(PLUG, NINE + 3, first.id)
    promise(ledger, a_place(first=NINE + 4))
    promise(ledger, a_place(OTHER_PLUG))


def test_a_refused_promise_leaves_everything_as_it_was(ledger):
    promise(ledger, a_place(first=NINE + 3))
    queued = turns.planned(ask(ledger, compound="c1"), a_place())
    queued = step(ledger, queued, queued)
    told = Outgoing(id="n", kind="notice", to=queued.household)
    change = Change(before=queued, after=turns.offered(queued, a_place(), NINE_MS, NO_QUIET), outgoing=(told,), key="k")
    before = ledger.claims("jn-01", ALL_DAY)
    with pytest.raises(Taken):
        ledger.commit([change], NINE_MS)
    assert ledger.turn(queued.id) == queued
    assert ledger.claims("jn-01", ALL_DAY) == before
    assert ledger.outgoing(["pending"]) == []
    assert ledger.used("jn-01", "c1", range(NINE, NINE + 1)) == [0]


@pytest.mark.parametrize("end", ["cancelled", "missed", "failed", "done"])
def test_an_end_gives_all_of_its_place_back(ledger, end):
    held = promise(ledger, a_place(), compound="c1")
    if end == "done":
        held = step(ledger, held, turns.plugged_in(held, NINE_MS))
    after = turns.failed(held, "BLOCKED", NINE_MS) if end == "failed" else getattr(turns, end)(held, NINE_MS)
    step(ledger, held, after)
    assert ledger.claims("jn-01", ALL_DAY) == []
    assert ledger.reserved_w("jn-01", range(NINE, NINE + 1)) == [0]
    promise(ledger, a_place())


def test_a_turn_moves_in_one_step_and_keeps_its_id(ledger):
    held = promise(ledger, a_place())
    moved = step(ledger, held, turns.moved(held, a_place(OTHER_PLUG, NINE + 1), NINE_MS, NO_QUIET))
    assert (moved.id, moved.state, moved.moved_from) == (held.id, "reserved", PLUG)
    assert {claim.connector for claim in ledger.claims("jn-01", ALL_DAY)} == {OTHER_PLUG}
    later = step(ledger, moved, turns.moved(moved, a_place(OTHER_PLUG, NINE + 3), NINE_MS, NO_QUIET))
    assert [claim.bucket for claim in ledger.claims("jn-01", ALL_DAY)] == list(later.place.buckets)


def test_two_turns_change_places_in_one_step(ledger):
    one, other = promise(ledger, a_place(PLUG)), promise(ledger, a_place(OTHER_PLUG))
    ledger.commit(
        [
            Change(before=one, after=turns.moved(one, other.place, NINE_MS, NO_QUIET)),
            Change(before=other, after=turns.moved(other, one.place, NINE_MS, NO_QUIET)),
        ],
        NINE_MS,
    )
    assert {claim.connector: claim.turn for claim in ledger.claims("jn-01", ALL_DAY)} == {
        PLUG: other.id,
        OTHER_PLUG: one.id,
    }


def test_one_step_cannot_give_one_bucket_to_two(ledger):
    both = [Change(before=None, after=walk_in(a_place())) for _ in range(2)]
    with pytest.raises(Taken):
        ledger.commit(both, NINE_MS)
    assert ledger.turns() == []


def test_a_car_that_stays_blocks_the_next_bucket_while_who_waits_is_moved(ledger):
    stays = promise(ledger, a_place(buckets=4))
    stays = step(ledger, stays, turns.plugged_in(stays, NINE_MS))
    waits = promise(ledger, a_place(first=NINE + 4))
    ledger.commit(
        [
            Change(before=stays, after=turns.stays(stays)),
            Change(before=waits, after=turns.moved(waits, a_place(OTHER_PLUG, NINE + 4), NINE_MS, NO_QUIET)),
        ],
        NINE_MS,
    )
    assert [claim.bucket for claim in ledger.claims("jn-01", ALL_DAY) if claim.turn == stays.id][-1] == NINE + 4
    with pytest.raises(Taken):
        promise(ledger, a_place(first=NINE + 4))


# --- an offer whose time is over -------------------------------------------------------------------------------------


def test_an_offer_without_an_answer_is_taken_by_who_comes_next(ledger):
    silent = offer(ledger, a_place())
    told = step(ledger, silent, turns.told(silent, NINE_MS - 11 * 60_000, NO_QUIET))
    came = walk_in(a_place())
    ledger.commit([Change(before=None, after=came)], NINE_MS)
    snoozed = ledger.turn(told.id)
    assert (snoozed.state, snoozed.snoozes, snoozed.place) == ("queued", 1, None)
    assert {claim.turn for claim in ledger.claims("jn-01", ALL_DAY)} == {came.id}
    assert [(item.to, item.turn) for item in ledger.outgoing(["pending"])] == [(told.household, told.id)]


def test_an_offer_that_may_still_be_answered_is_not(ledger):
    offered = offer(ledger, a_place())
    step(ledger, offered, turns.told(offered, NINE_MS - 9 * 60_000, NO_QUIET))
    with pytest.raises(Taken):
        ledger.commit([Change(before=None, after=walk_in(a_place()))], NINE_MS)


def test_the_third_silence_ends_a_turn_that_another_wants_the_place_of(ledger):
    silent = offer(ledger, a_place(), snoozes=2)
    step(ledger, silent, turns.told(silent, NINE_MS - 11 * 60_000, NO_QUIET))
    ledger.commit([Change(before=None, after=walk_in(a_place()))], NINE_MS)
    assert ledger.turn(silent.id).state == "expired"


def test_its_power_is_free_too(ledger):
    silent = offer(ledger, a_place(), Limits(site_w=(7_000,) * 4))
    step(ledger, silent, turns.told(silent, NINE_MS - 11 * 60_000, NO_QUIET))
    came = Change(before=None, after=walk_in(a_place(OTHER_PLUG)), limits=Limits(site_w=(7_000,) * 4))
    ledger.commit([came], NINE_MS)
    assert ledger.reserved_w("jn-01", range(NINE, NINE + 5)) == [7_000] * 4 + [0]


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_place_far_from_now_is_kept_as_any(ledger):
    far = a_place(first=7_258_118_400_000 // BUCKET_MS - 4)
    promise(ledger, far, earliest_ms=far.start_ms, depart_by_ms=far.end_ms)
    assert len(ledger.claims("jn-01", far.buckets)) == 4


def test_the_last_decision_of_a_turn_stays(ledger):
    one, other = ask(ledger), ask(ledger)
    ledger.decide({})
    ledger.decide({one.id: Decision(rank=2, of=2, standing_min=30.5), other.id: Decision(rank=1, of=2, standing_min=0)})
    last = Decision(rank=1, of=1, standing_min=-7.25, bound_by="power", p50_ms=NINE_MS, at_ms=NINE_MS, rules=3)
    ledger.decide({one.id: last})
    assert ledger.decisions([one.id, "nobody's"]) == {one.id: last}
    assert ledger.decisions([other.id])[other.id].rank == 1
    assert ledger.decisions([]) == {}
