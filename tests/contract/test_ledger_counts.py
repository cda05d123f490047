"""What every adapter of Ledger must count, hand out once, and leave to one leader."""

from __future__ import annotations

import pytest

from scheduler import turns
from scheduler.buckets import Place
from scheduler.ledger import Change, Known, Limits, Outgoing, OverLimit, TooMany
from tests.brokers import until
from tests.ledgers import NINE, NO_QUIET, OTHER_PLUG, PLUG, a_place, a_turn, ask, promise, step
from tests.stores import NINE_MS


@pytest.fixture(autouse=True)
def balanced(ledger):
    """Whatever a test did: the books follow from the turns."""
    yield
    assert not ledger.imbalance()


# --- power and quotas ------------------------------------------------------------------------------------------------


def test_power_is_reserved_up_to_the_limit_of_each_bucket(ledger):
    promise(ledger, a_place(PLUG, watts=7_000), Limits(site_w=(10_000,) * 4))
    late = Place(OTHER_PLUG, NINE + 2, (3_000, 3_000, 7_000))
    with pytest.raises(OverLimit) as over:
        promise(ledger, late, Limits(site_w=(10_000, 9_999, 10_000)))
    assert (over.value.what, over.value.site) == ("site_w", "jn-01")
    promise(ledger, late, Limits(site_w=(10_000, 10_000, 7_000)))
    assert ledger.reserved_w("jn-01", range(NINE - 1, NINE + 6)) == [0, 7_000, 7_000, 10_000, 10_000, 7_000, 0]


def test_power_moves_among_cars_that_stay_plugged(ledger):
    limits = Limits(site_w=(7_000,) * 4)
    first = promise(ledger, Place(PLUG, NINE, (7_000, 7_000, 0, 0)), limits)
    other = promise(ledger, Place(OTHER_PLUG, NINE, (0, 0, 7_000, 7_000)), limits)
    changed = [
        Change(
            before=first,
            after=turns.moved(first, Place(PLUG, NINE, (0, 0, 7_000, 7_000)), NINE_MS, NO_QUIET),
            limits=limits,
        ),
        Change(
            before=other,
            after=turns.moved(other, Place(OTHER_PLUG, NINE, (7_000, 7_000, 0, 0)), NINE_MS, NO_QUIET),
            limits=limits,
        ),
    ]
    ledger.commit(changed, NINE_MS)
    assert ledger.reserved_w("jn-01", range(NINE, NINE + 4)) == [7_000] * 4


def test_more_than_the_limit_alone_is_refused_on_an_empty_site(ledger):
    with pytest.raises(OverLimit):
        promise(ledger, a_place(watts=7_000), Limits(site_w=(6_999,) * 4))


def test_a_limit_that_sank_below_what_is_promised_hinders_no_one_from_giving_back(ledger):
    held = promise(ledger, a_place(), Limits(site_w=(7_000,) * 4))
    step(ledger, held, turns.moved(held, a_place(watts=3_500), NINE_MS, NO_QUIET), Limits(site_w=(2_000,) * 4))
    assert ledger.reserved_w("jn-01", range(NINE, NINE + 1)) == [3_500]


def test_a_compound_holds_no_more_connectors_than_its_quota_of_the_hour(ledger):
    promise(ledger, a_place(), Limits(quota=(1,) * 4), compound="c1")
    with pytest.raises(OverLimit) as over:
        promise(ledger, a_place(OTHER_PLUG, NINE + 3), Limits(quota=(1,) * 4), compound="c1")
    assert over.value.what == "quota"
    promise(ledger, a_place(OTHER_PLUG, NINE + 3), Limits(quota=(1,) * 4), compound="c2")
    assert ledger.used("jn-01", "c1", range(NINE + 3, NINE + 5)) == [1, 0]
    assert ledger.used("jn-01", "c2", range(NINE + 3, NINE + 5)) == [1, 1]


# --- how many at a time ----------------------------------------------------------------------------------------------


def test_a_vehicle_has_one_live_turn(ledger):
    first = ask(ledger, vehicle="car", household="h1")
    with pytest.raises(TooMany) as busy:
        ask(ledger, vehicle="car", household="h2")
    assert (busy.value.what, busy.value.whose) == ("vehicle", "car")
    ask(ledger, vehicle="another car")
    step(ledger, first, turns.cancelled(first, NINE_MS))
    ask(ledger, vehicle="car")


def test_a_vehicle_s_turn_may_end_where_its_next_begins(ledger):
    first = ask(ledger, vehicle="car", household="h")
    again = a_turn(vehicle="car", household="h", id="a")
    ledger.commit(
        [Change(before=None, after=again), Change(before=first, after=turns.cancelled(first, NINE_MS))], NINE_MS
    )
    assert [turn.id for turn in ledger.turns(household="h", states=turns.LIVE)] == ["a"]


def test_a_household_has_two_live_turns(ledger):
    first = ask(ledger, household="h")
    ask(ledger, household="h")
    with pytest.raises(TooMany) as busy:
        ask(ledger, household="h")
    assert (busy.value.what, busy.value.whose) == ("household", "h")
    ask(ledger, household="h", state="rejected", due_ms=None)
    step(ledger, first, turns.expired(first, NINE_MS))
    ask(ledger, household="h")


def test_a_request_that_comes_again_makes_no_second_turn(ledger):
    made = ask(ledger, household="h", key="one")
    with pytest.raises(Known) as known:
        ask(ledger, household="h", key="one")
    assert known.value.turn == made
    ask(ledger, household="another", key="one")
    assert len(ledger.turns(household="h")) == 1


# --- what leaves -----------------------------------------------------------------------------------------------------


def told(ledger, *ids):
    asked = a_turn()
    leaving = tuple(Outgoing(id=one, kind="notice", to=asked.household, body='{"what":"offer"}') for one in ids)
    ledger.commit([Change(before=None, after=asked, outgoing=leaving)], NINE_MS)


def test_what_leaves_is_written_with_its_step_once_and_in_order(ledger):
    told(ledger, "b", "a")
    told(ledger, "a", "c")
    assert [item.id for item in ledger.outgoing(["pending"])] == ["b", "a", "c"]
    assert [item.id for item in ledger.outgoing(["pending"], limit=2)] == ["b", "a"]


def test_only_who_leads_sends_and_each_thing_once(ledger):
    told(ledger, "a")
    assert not ledger.sending("a", 1)
    epoch = ledger.lead("one", for_s=60).epoch
    assert not ledger.sending("a", epoch + 1)
    assert ledger.sending("a", epoch)
    assert not ledger.sending("a", epoch)
    ledger.sent(["a"])
    assert [item.id for item in ledger.outgoing(["sent"])] == ["a"]


def test_what_was_being_sent_when_another_took_over_is_unknown_once(ledger):
    told(ledger, "a", "b")
    first = ledger.lead("one", for_s=0.2)
    ledger.sending("a", first.epoch)
    assert ledger.give_up_sending(first.epoch - 1) == []
    second = until(lambda: (lease := ledger.lead("two", for_s=60)).holder == "two" and lease)
    assert not ledger.sending("b", first.epoch)
    assert [item.id for item in ledger.give_up_sending(second.epoch)] == ["a"]
    assert ledger.give_up_sending(second.epoch) == []
    assert [item.id for item in ledger.outgoing(["unknown"])] == ["a"]


# --- who leads -------------------------------------------------------------------------------------------------------


def test_one_leads_until_its_lease_ends_and_each_other_leader_has_a_higher_epoch(ledger):
    first = ledger.lead("one", for_s=0.2)
    assert (first.holder, first.epoch) == ("one", 1)
    assert ledger.lead("two", for_s=60) == first
    renewed = ledger.lead("one", for_s=0.4)
    assert (renewed.epoch, renewed.until_ms > first.until_ms) == (1, True)
    second = until(lambda: (lease := ledger.lead("two", for_s=60)).holder == "two" and lease)
    assert second.epoch == 2
    assert ledger.lead("one", for_s=60) == second
