"""A turn that waits goes on at another site, over each ledger: what is kept, what is not gained, who wins a race."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import turns
from scheduler.buckets import Place, bucket_at
from scheduler.desk import UnknownSite
from scheduler.moving import NotThere, NotWaiting, RefusedThere, move, there
from scheduler.rules import GUESTS, Quota, RuleSet
from scheduler.site_facts import Connector, SiteFacts
from scheduler.turns import LIVE, NotNow, age_ms
from tests.desks import HOUR_MS, PLUGS, SITE, World
from tests.ledgers import NO_QUIET

NEAR = "jn-02"
MINUTE_MS = 60_000


class TwoSites(World):
    """The small site, and another near it with one plug of 3.5 kW."""

    def __init__(self, ledger=None, **said):
        super().__init__(ledger)
        self.near = SiteFacts(id=NEAR, mode="temporary", connectors=(Connector(f"{NEAR}/pile-01/1", 3_500),))
        self.adopt(**said)

    def adopt(self, after=0, **said):
        rules = RuleSet(**{"site": NEAR, "compounds": ("k-01", "k-02"), "quiet": NO_QUIET, **said})
        self.ledger.adopt(rules, after=after, by="init", now_ms=self.now_ms)

    def site(self, site):
        return self.near if site == NEAR else super().site(site)

    def asks(self, household="h1", key=None, **said):
        return self.desk.ask(self.wish(household, **said), self.now_ms, key=key)

    def moves(self, turn, site=NEAR, key=None):
        return move(self.desk, turn, site, turn.max_w, self.now_ms, key=key, by="wang")

    def offers(self, turn, plug=PLUGS[0]):
        place = Place(plug, bucket_at(self.now_ms) + 1, (3_500,) * 8)
        return self.desk.offer(self.desk.plan(turn, place, self.now_ms), place, self.now_ms)


@pytest.fixture
def world(ledger):
    made = TwoSites(ledger)
    yield made
    assert not ledger.imbalance()


def test_the_waiting_goes_on_there_and_the_turn_here_is_over(world):
    asked = world.asks(flexible=True)
    world.now_ms += HOUR_MS
    moved = world.moves(asked)
    was = world.desk.turn(asked.id)
    assert (was.state, was.household, was.ended_ms) == ("cancelled", "h1", world.now_ms)
    assert (moved.state, moved.site, moved.mode, moved.place) == ("requested", NEAR, "temporary", None)
    assert age_ms(moved, world.now_ms) == HOUR_MS
    assert moved.instead_of is None, "it goes before nobody"
    kept = ("household", "vehicle", "compound", "energy_kwh", "earliest_ms", "depart_by_ms", "flexible")
    assert [getattr(moved, name) for name in kept] == [getattr(asked, name) for name in kept]
    assert moved.requested_ms == world.now_ms, "there it asks only now"
    assert moved.max_w == 3_500, "the plugs there give no more"
    assert moved.due_ms == turns.latest_start_ms(moved)
    assert {moved.id, moved.call, moved.code}.isdisjoint({asked.id, asked.call, asked.code})


def test_moving_is_no_disadvantage_in_the_standing(world):
    world.moves(world.asks())
    assert world.ledger.no_shows(["h1"], 0) == []
    assert world.ledger.deliveries(["h1"], 0) == []


def test_a_place_that_was_only_planned_is_left_behind(world):
    asked = world.asks()
    asked = world.desk.plan(asked, Place(PLUGS[0], bucket_at(world.now_ms) + 9, (7_000,) * 4), world.now_ms)
    assert world.moves(asked).place is None


def test_a_snooze_still_counts_after_moving_and_its_waiting_stands_still(world):
    asked = world.asks()
    world.now_ms += HOUR_MS
    snoozed = world.desk.snooze(world.offers(asked), world.now_ms)
    world.now_ms += HOUR_MS
    moved = world.moves(snoozed)
    assert (moved.snoozes, age_ms(moved, world.now_ms)) == (1, HOUR_MS)


def test_whom_one_site_failed_goes_before_nobody_at_another(world):
    failed = world.desk.accept(world.offers(world.asks()), world.now_ms)
    ends = world.desk.change(failed, turns.failed(failed, "BROKEN_CHARGER", world.now_ms))
    _, again = world.ledger.commit([ends, world.desk.made_good(failed, world.now_ms)], world.now_ms)
    assert again.instead_of == failed.id
    moved = world.moves(again)
    assert moved.instead_of is None
    assert age_ms(moved, world.now_ms) == age_ms(again, world.now_ms)


def test_a_household_with_as_many_turns_as_it_may_have_moves_one_and_asks_for_no_third(world):
    first = world.asks(vehicle="a")
    world.asks(vehicle="b")
    assert world.moves(first).state == "requested"
    assert world.asks(vehicle="c").refused_by == "one_turn_a_household"
    assert world.asks(vehicle="a").refused_by in ("one_turn_a_vehicle", "one_turn_a_household")


def test_sent_twice_it_is_moved_once(world):
    asked = world.asks(key="k1")
    moved = world.moves(asked, key="k2")
    assert world.moves(asked, key="k2") == moved
    assert world.moves(world.desk.turn(asked.id), key="k2") == moved
    with pytest.raises(NotWaiting):
        world.moves(world.desk.turn(asked.id))
    assert len(world.ledger.turns(household="h1")) == 2
    assert world.ledger.by_key("h2", "k2") is None, "keys are a household's own"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"compounds": ("k-01",)}, "compounds"),
        ({"longest_turn_min": 60}, "longest_turn_min"),
    ],
)
def test_what_a_rule_there_refuses_stays_as_it_was(world, said, rule):
    asked = world.asks()
    world.adopt(after=1, **said)
    with pytest.raises(RefusedThere) as refused:
        world.moves(asked)
    assert refused.value.refusal.rule == rule
    assert world.ledger.turns() == [asked]


def test_a_car_that_must_leave_before_it_is_charged_at_less_power_is_refused_for_the_time(world):
    with pytest.raises(RefusedThere, match="time"):
        world.moves(world.asks(hours=1.5))


def test_a_guest_there_counts_as_a_guest(world):
    world.adopt(after=1, compounds=("k-01",), guests=1, quotas=(Quota(compound="k-01", connectors=1),))
    assert world.moves(world.asks()).compound == GUESTS


def test_what_holds_a_place_is_given_up_first_and_what_is_over_stays_so(world):
    offered = world.offers(world.asks())
    with pytest.raises(NotWaiting, match="snooze it first"):
        world.moves(offered)
    reserved = world.desk.accept(offered, world.now_ms)
    with pytest.raises(NotWaiting, match="cancel it, and ask there"):
        world.moves(reserved)
    with pytest.raises(NotWaiting, match="it is over"):
        world.moves(world.desk.cancel(reserved, world.now_ms))


def test_nothing_moves_to_where_it_is_to_where_nothing_is_given_or_fits_or_to_a_site_that_is_cut_off(world):
    asked = world.asks()
    with pytest.raises(UnknownSite):
        world.moves(asked, "jn-09")
    with pytest.raises(NotThere, match="already"):
        world.moves(asked, SITE)
    with pytest.raises(NotThere, match="fits"):
        there(world.desk, asked, NEAR, 0, world.now_ms)
    world.ledger.cut(NEAR, "smoke", world.now_ms)
    with pytest.raises(NotThere, match="cut off"):
        world.moves(asked)
    assert world.ledger.turns() == [asked]


def test_who_reads_an_older_turn_moves_it_as_it_is_now(world):
    asked = world.asks()
    world.desk.plan(asked, Place(PLUGS[0], bucket_at(world.now_ms) + 9, (7_000,) * 4), world.now_ms)
    assert world.moves(asked).site == NEAR
    other = world.asks("h2")
    world.offers(other)
    with pytest.raises(NotWaiting):
        world.moves(other)


@pytest.mark.parametrize("what", ["cancel", "move", "offer"])
def test_of_two_at_once_one_wins_and_the_books_balance(world, what):
    for no in range(8):
        asked = world.asks("h1", vehicle=f"car {no}")
        begin, found = threading.Barrier(2), []

        def does(step, begin=begin, found=found):
            begin.wait()
            try:
                found.append(step())
            except NotNow as late:
                found.append(late)

        other = {
            "cancel": lambda asked=asked: world.desk.cancel(asked, world.now_ms),
            "move": lambda asked=asked: world.moves(asked),
            "offer": lambda asked=asked: world.offers(asked),
        }[what]
        at_once = [threading.Thread(target=does, args=(step,)) for step in (other, lambda a=asked: world.moves(a))]
        for one in at_once:
            one.start()
        for one in at_once:
            one.join()
        assert sum(not isinstance(one, NotNow) for one in found) == 1, found
        live = world.ledger.turns(household="h1", states=LIVE)
        assert len(live) <= 1
        assert not world.ledger.imbalance()
        for turn in live:
            world.desk.cancel(turn, world.now_ms)


def test_sent_twice_at_once_it_is_one_move(world):
    for no in range(8):
        asked, key, found = world.asks("h1", vehicle=f"car {no}"), f"key {no}", []
        begin = threading.Barrier(2)

        def does(asked=asked, key=key, found=found, begin=begin):
            begin.wait()
            found.append(world.moves(asked, key=key))

        at_once = [threading.Thread(target=does) for _ in range(2)]
        for one in at_once:
            one.start()
        for one in at_once:
            one.join()
        assert len(found) == 2
        assert found[0] == found[1]
        world.desk.cancel(found[0], world.now_ms)


@given(st.lists(st.tuples(st.sampled_from(["move", "snooze", "cancel", "ask"]), st.integers(0, 90)), max_size=25))
@settings(max_examples=100)
def test_back_and_forth_nothing_is_gained(steps):
    world, first_ms = TwoSites(), None
    for what, minutes in steps:
        world.now_ms += minutes * MINUTE_MS
        live = world.ledger.turns(household="h1", states=LIVE)
        age, snoozes = (age_ms(live[0], world.now_ms), live[0].snoozes) if live else (0, 0)
        if what == "ask":
            asked = world.asks(hours=100)
            first_ms = world.now_ms if asked.state == "requested" else first_ms
        elif live and what == "move":
            moved = world.moves(live[0], SITE if live[0].site == NEAR else NEAR)
            assert (age_ms(moved, world.now_ms), moved.snoozes) == (age, snoozes)
            assert age <= world.now_ms - first_ms
        elif live and what == "snooze" and live[0].site == SITE:
            world.desk.snooze(world.offers(live[0]), world.now_ms)
        elif live and what == "cancel":
            world.desk.cancel(live[0], world.now_ms)
        assert len(world.ledger.turns(household="h1", states=LIVE)) <= 1
        assert not world.ledger.imbalance()
