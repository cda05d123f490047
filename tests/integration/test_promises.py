"""Whatever residents, cars, clocks and committees do, in whatever order: no promise is broken, doubled or forgotten.

A stateful test drives desk and watch over the ledger in memory, beside a naive reading of the turns themselves.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from ingest.assets import Window
from scheduler.buckets import Place, bucket_at
from scheduler.ledger import OverLimit, Taken
from scheduler.quiet import QuietHours
from scheduler.rules import Quota
from scheduler.turns import NotNow, Turn
from tests import naive
from tests.desks import HOUR_MS, PLUGS, SITE, World
from tests.ledgers import NO_QUIET

LIMIT_W = 14_000
WATTS = ((7_000,), (3_500,), (7_000, 0), (0, 7_000))


class Promises(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(limit_w=LIMIT_W)
        self.version = 1
        self.promised: set[str] = set()
        self.cancelled: set[str] = set()
        self.commits = 0
        commit = self.world.ledger.commit

        def counted(changes, now_ms):
            self.commits += 1
            assert self.commits < 1_000, "the watch goes round and round"
            return commit(changes, now_ms)

        vars(self.world.ledger)["commit"] = counted

    # --- what is drawn -----------------------------------------------------------------------------------------------

    def any_of(self, data: st.DataObject, *states: str) -> Turn | None:
        found = self.world.ledger.turns(states=states)
        return data.draw(st.sampled_from(found)) if found else None

    # --- residents ---------------------------------------------------------------------------------------------------

    @rule(
        household=st.integers(1, 6), car=st.integers(1, 2), kwh=st.sampled_from([1.75, 7.0, 14.0]),
        hours=st.sampled_from([1.0, 3.0, 9.0]), in_hours=st.sampled_from([0, 2, 26]),
    )  # fmt: skip
    def ask(self, household, car, kwh, hours, in_hours):
        earliest_ms = self.world.now_ms + in_hours * HOUR_MS
        wish = replace(
            self.world.wish(f"h{household}", energy_kwh=kwh, vehicle=f"car {household}/{car}"),
            earliest_ms=earliest_ms, depart_by_ms=earliest_ms + round(hours * HOUR_MS),
        )  # fmt: skip
        asked = self.world.desk.ask(wish, self.world.now_ms)
        assert asked.state in ("requested", "rejected")

    @rule(
        data=st.data(),
        plug=st.sampled_from(PLUGS),
        ahead=st.integers(0, 12),
        times=st.integers(1, 4),
        watts=st.sampled_from(WATTS),
    )
    def offer(self, data, plug, ahead, times, watts):
        turn = self.any_of(data, "requested", "queued")
        if turn is None:
            return
        place = Place(plug, bucket_at(max(turn.earliest_ms, self.world.now_ms)) + ahead, watts * times)
        if place.end_ms > turn.depart_by_ms or place.start_ms < self.world.now_ms:
            return
        self.world.desk.plan(turn.id, place, self.world.now_ms)
        try:
            self.world.desk.offer(turn.id, place, self.world.now_ms)
        except (Taken, OverLimit):
            return
        if data.draw(st.booleans()):
            self.world.desk.told(turn.id, self.world.now_ms)

    @rule(data=st.data())
    def accept(self, data):
        if turn := self.any_of(data, "offered"):
            self.world.desk.accept(turn.id, self.world.now_ms)
            self.promised.add(turn.id)

    @rule(
        household=st.integers(1, 6), plug=st.sampled_from(PLUGS), ahead=st.integers(0, 6), times=st.integers(1, 6),
        watts=st.sampled_from(WATTS), spare_hours=st.sampled_from([0, 1, 8]),
    )  # fmt: skip
    def be_promised(self, household, plug, ahead, times, watts, spare_hours):
        """From the wish to the promise at one go: what follows has more to break."""
        place = Place(plug, bucket_at(self.world.now_ms) + 1 + ahead, watts * times)
        wish = self.world.wish(f"h{household}", energy_kwh=place.energy_kwh, vehicle=f"car {household}/1")
        wish = replace(wish, depart_by_ms=place.end_ms + spare_hours * HOUR_MS, max_w=max(watts))
        asked = self.world.desk.ask(wish, self.world.now_ms)
        if asked.state == "rejected":
            return
        self.world.desk.plan(asked.id, place, self.world.now_ms)
        try:
            self.world.desk.offer(asked.id, place, self.world.now_ms)
        except (Taken, OverLimit):
            return
        self.world.desk.accept(asked.id, self.world.now_ms)
        self.promised.add(asked.id)

    @rule(data=st.data())
    def snooze(self, data):
        if turn := self.any_of(data, "offered"):
            self.world.desk.snooze(turn.id, self.world.now_ms)

    @rule(data=st.data())
    def cancel(self, data):
        turn = self.any_of(data, "requested", "queued", "offered", "reserved")
        if turn is not None:
            self.world.desk.cancel(turn.id, self.world.now_ms)
            self.cancelled.add(turn.id)

    @rule(data=st.data(), does=st.sampled_from(["accept", "snooze", "cancel", "plug_in"]))
    def do_what_cannot_be_done(self, data, does):
        turn = self.any_of(data, "done", "expired", "cancelled", "no_show", "failed", "rejected")
        if turn is not None:
            with pytest.raises(NotNow):
                getattr(self.world.desk, does)(turn.id, self.world.now_ms)
            assert self.world.ledger.turn(turn.id) == turn

    # --- the ground --------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def arrive(self, data):
        turn = self.any_of(data, "reserved")
        if turn is not None and turn.place.start_ms <= self.world.now_ms and self.world.free(turn.place.connector):
            self.world.desk.plug_in(turn.id, self.world.now_ms)
            self.world.at[turn.place.connector] = turn.id

    @rule(plug=st.sampled_from(PLUGS))
    def walk_in(self, plug):
        if self.world.free(plug) and (came := self.world.desk.walk_in(plug, SITE, self.world.now_ms)):
            self.world.at[plug] = came.id

    @rule(plug=st.sampled_from(PLUGS))
    def leave(self, plug):
        if plug in self.world.unheard:
            return
        there, self.world.at[plug] = self.world.at[plug], None
        turn = self.world.ledger.turn(there or "")
        if turn is not None and turn.state == "active":
            self.world.desk.unplug(turn.id, self.world.now_ms, energy_kwh=3.5)

    @rule(plug=st.sampled_from(PLUGS), by=st.sampled_from(["foreign", "broken", "arriving"]))
    def trouble(self, plug, by):
        if self.world.free(plug):
            self.world.at[plug] = by

    @rule(plug=st.sampled_from(PLUGS), how=st.sampled_from(["silent", "unknown", None]))
    def fall_silent_or_speak_again(self, plug, how):
        self.world.unheard.pop(plug, None)
        if how is not None:
            self.world.unheard[plug] = how
        self.commits = 0
        self.world.later(0)  # what was not known until now is looked at

    # --- time, and committees ----------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 5, 10, 15, 15, 16, 30, 45, 240, 1_500]))
    def time_passes(self, minutes):
        self.commits = 0
        before = {turn.id: turn for turn in self.world.ledger.turns(states=["reserved"])}
        self.world.later(minutes)
        assert self.world.ledger.due(self.world.now_ms) == []
        for was in before.values():
            now = self.world.ledger.turn(was.id)
            if now.state == "no_show":
                assert self.world.seen(now.place.connector) in ("free", "arriving")

    @precondition(lambda self: self.version < 4)
    @rule(
        guests=st.integers(0, 1),
        longest=st.sampled_from([60, 720]),
        quota=st.integers(0, 2),
        closes=st.sampled_from([None, 20, 24]),
        quiet=st.sampled_from([NO_QUIET, QuietHours(22 * 60, 7 * 60)]),
    )
    def rules_change(self, guests, longest, quota, closes, quiet):
        opening = () if closes is None else (Window("all", 0, closes * 60),)
        changed = replace(
            self.world.rules, longest_turn_min=longest, guests=guests, opening=opening, quiet=quiet,
            quotas=(Quota(compound="k-01", connectors=quota),),
        )  # fmt: skip
        self.world.ledger.adopt(changed, after=self.version, by="p", now_ms=self.world.now_ms)
        self.version += 1

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def the_books_follow_from_the_turns(self):
        assert not self.world.ledger.imbalance()

    @invariant()
    def nothing_is_promised_twice_and_no_power_that_is_not_there(self):
        naive.nothing_is_held_twice(self.world.ledger, LIMIT_W)

    @invariant()
    def nobody_waits_for_ever(self):
        naive.nobody_waits_for_ever(self.world.ledger)

    @invariant()
    def nobody_has_more_than_is_allowed(self):
        naive.nobody_has_more_than_is_allowed(self.world.ledger)

    @invariant()
    def a_promise_ends_as_promises_end(self):
        for turn_id in self.promised:
            turn = self.world.ledger.turn(turn_id)
            assert turn.state in ("reserved", "active", "done", "no_show", "failed", "cancelled")
            assert (turn.state == "cancelled") == (turn_id in self.cancelled)
            if turn.state == "reserved":
                assert turn.place.end_ms <= turn.depart_by_ms
            said = [item.id for item in self.world.ledger.outgoing(["pending"], 10_000) if item.turn == turn_id]
            assert len(said) == len(set(said))
            told_of = {"failed": ":failed", "no_show": ":missed"}.get(turn.state, "")
            assert any(one.endswith(told_of) for one in said)

    @invariant()
    def a_car_that_is_there_is_seen_by_the_plan(self):
        for turn in self.world.ledger.turns(states=["active"]):
            assert turn.place.end_ms > self.world.now_ms or self.world.seen(turn.place.connector) == "unknown"


PART = 500  # a run's memory and the time of each example grow with what it has tried
PARTS = max(1, int(os.environ.get("PROMISE_EXAMPLES", "500")) // PART)
SEED = os.environ.get("PROMISE_SEED", "1")
"""The same lives each time; another seed, others."""
LIFE = settings(
    max_examples=PART, stateful_step_count=30, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_sequence_of_events_breaks_a_promise(part):
    print(f"PROMISE_SEED={SEED}, part {part}")
    run_state_machine_as_test(seed(f"{SEED}/{part}")(Promises), settings=LIFE)
