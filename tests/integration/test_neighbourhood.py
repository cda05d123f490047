"""Whatever happens in a neighbourhood, in whatever order: nobody is forgotten, told twice, or blamed for another's car.

A stateful test drives everything of a scheduler that leads, beside a witness of each step that the ledger keeps.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from ingest.assets import Window
from scheduler.quiet import QuietHours
from scheduler.rules import Quota
from scheduler.turns import NotNow, Turn
from tests import naive
from tests.ledgers import NO_QUIET
from tests.rounds import SITE
from tests.streets import LIMIT_W, MINUTE_MS, PLUGS, Car, Street
from tests.witness import QUARTER_MS, Witness

HOUR_MS = 3_600_000


class Lives(RuleBasedStateMachine):
    @initialize(is_handed_on=st.booleans())
    def begin(self, is_handed_on):
        self.street = Street(is_handed_on)
        self.witness = Witness(self.street)
        self.version = 1

    # --- what is drawn -----------------------------------------------------------------------------------------------

    def any_of(self, data: st.DataObject, *states: str) -> Turn | None:
        found = self.street.ledger.turns(states=states)
        return data.draw(st.sampled_from(found)) if found else None

    def is_empty(self, plug: str) -> bool:
        return plug not in self.street.cars and plug not in self.street.broken

    def is_now(self, turn: Turn) -> bool:
        """Whether its household may come now."""
        return turn.state in ("offered", "reserved") and self.witness.runs(turn, turn.place.connector)

    # --- residents ---------------------------------------------------------------------------------------------------

    @rule(
        household=st.integers(1, 6), car=st.integers(1, 2), kwh=st.sampled_from([1.75, 7.0, 14.0]),
        hours=st.sampled_from([1, 2, 4, 9]), in_min=st.sampled_from([0, 0, 20, 90, 1_560]), flexible=st.booleans(),
    )  # fmt: skip
    def ask(self, household, car, kwh, hours, in_min, flexible):
        earliest_ms = self.street.now_ms + in_min * MINUTE_MS
        self.street.asks(
            f"h{household}", kwh, vehicle=f"car {household}/{car}", flexible=flexible, earliest_ms=earliest_ms,
            depart_by_ms=earliest_ms + hours * HOUR_MS,
        )  # fmt: skip

    @rule(
        household=st.integers(1, 6), kwh=st.sampled_from([1.75, 7.0]), hours=st.sampled_from([1, 2, 9]),
        in_min=st.sampled_from([0, 0, 25]), comes_after=st.sampled_from([None, -25, -12, 0, 8, 13]),
        how=st.sampled_from(["typed", "unsaid", "leaves again", "checked in", "checked in long before"]),
    )  # fmt: skip
    def be_promised(self, household, kwh, hours, in_min, comes_after, how):
        """From the wish to the promise at one go, or to the plug, where a place is free: more is there to break."""
        street = self.street
        earliest_ms = street.now_ms + in_min * MINUTE_MS
        turn = street.asks(f"h{household}", kwh, hours, vehicle=f"car {household}/1", earliest_ms=earliest_ms)
        street.pass_by(1)
        if street.turn(turn).state != "offered":
            return
        street.desk.accept(turn, street.now_ms)
        if comes_after is None:
            return
        checks_in_before = 8 if how == "checked in long before" else 0
        at_ms = street.turn(turn).place.start_ms + comes_after * MINUTE_MS
        street.pass_by(max(0, (at_ms - street.now_ms) // MINUTE_MS - checks_in_before))
        if how.startswith("checked in") and self.is_now(street.turn(turn)):
            street.desk.check_in(turn, street.now_ms)
            street.pass_by(checks_in_before)
        if street.turn(turn) in self.awaited():
            self.drives_up(street.turn(turn), types=how == "typed", is_metered=True)
            if how == "leaves again":
                plug = street.turn(turn).place.connector
                street.pass_by(3)
                street.leaves(plug)

    @rule(data=st.data(), does=st.sampled_from(["accept", "accept", "accept", "snooze", "cancel"]))
    def answer(self, data, does):
        turn = self.any_of(data, "offered")
        if turn is None:
            return
        if does == "accept" and turn.place.end_ms <= self.street.now_ms:
            with pytest.raises(NotNow):
                self.street.desk.accept(turn.id, self.street.now_ms)
        else:
            getattr(self.street.desk, does)(turn.id, self.street.now_ms)

    @rule(data=st.data())
    def cancel(self, data):
        if turn := self.any_of(data, "requested", "queued", "reserved"):
            self.street.desk.cancel(turn.id, self.street.now_ms)

    @rule(data=st.data())
    def check_in(self, data):
        if turn := self.any_of(data, "offered", "reserved"):
            if self.is_now(turn):
                self.street.desk.check_in(turn.id, self.street.now_ms)
            else:
                with pytest.raises(NotNow):
                    self.street.desk.check_in(turn.id, self.street.now_ms)

    @rule(data=st.data())
    def finish(self, data):
        turn = self.any_of(data, "active")
        if turn is not None and turn.household:
            self.street.desk.finish(turn.id, self.street.now_ms)

    # --- cars --------------------------------------------------------------------------------------------------------

    def awaited(self) -> list[Turn]:
        """Who was promised or offered a place that is free, in its time or somewhat before."""
        there = {car.of for car in self.street.cars.values()}
        return [
            turn
            for turn in self.street.ledger.turns(states=["offered", "reserved"])
            if turn.id not in there
            and self.is_empty(turn.place.connector)
            and turn.place.start_ms - 2 * QUARTER_MS <= self.street.now_ms < turn.place.end_ms
        ]

    def drives_up(self, turn: Turn, *, types: bool, is_metered: bool) -> None:
        if turn in self.awaited():
            car = Car(turn.id, turn.code if types else None, self.street.now_ms, is_metered=is_metered)
            self.street.comes_to(turn.place.connector, car)
            self.street.look()

    @precondition(lambda self: self.awaited())
    @rule(data=st.data(), types=st.booleans(), is_metered=st.booleans())
    def come(self, data, types, is_metered):
        self.drives_up(data.draw(st.sampled_from(self.awaited())), types=types, is_metered=is_metered)

    @precondition(lambda self: self.awaited())
    @rule(data=st.data(), plug=st.sampled_from(PLUGS), is_metered=st.booleans())
    def come_to_any_plug_with_a_code(self, data, plug, is_metered):
        turn = data.draw(st.sampled_from(self.awaited()))
        if self.is_empty(plug):
            self.street.comes_to(plug, Car(turn.id, turn.code, self.street.now_ms, is_metered=is_metered))
            self.street.look()

    @rule(plug=st.sampled_from(PLUGS), typed=st.sampled_from([None, "another"]), is_metered=st.booleans())
    def a_stranger_comes(self, plug, typed, is_metered):
        if self.is_empty(plug):
            self.street.comes_to(plug, Car(None, typed, self.street.now_ms, is_metered=is_metered))

    @precondition(lambda self: self.street.cars)
    @rule(
        data=st.data(), kwh=st.sampled_from([0.5, 7.0, 14.0]),
        state=st.sampled_from(["charging", "charging", "suspended by evse", "suspended by ev", "finishing"]),
    )  # fmt: skip
    def charge(self, data, kwh, state):
        car = self.street.cars[data.draw(st.sampled_from(sorted(self.street.cars)))]
        car.state, car.kwh, car.is_metered = state, car.kwh + kwh, True

    @precondition(lambda self: self.street.cars)
    @rule(data=st.data(), is_followed=st.sampled_from([False, False, True]))
    def leave(self, data, is_followed):
        """Where another follows before anybody looks, no plug was ever seen free."""
        plug = data.draw(st.sampled_from(sorted(self.street.cars)))
        self.street.leaves(plug)
        if is_followed and self.is_empty(plug):
            self.street.comes_to(plug, Car(None, None, self.street.now_ms))

    # --- piles, and who leads ----------------------------------------------------------------------------------------

    @rule(data=st.data(), what=st.sampled_from(["broken", "silent", "bays"]))
    def trouble(self, data, what):
        """It begins, or it is over; rather at a plug of which somebody has a promise."""
        held = [turn.place.connector for turn in self.street.ledger.turns(states=["reserved"])]
        plug = data.draw(st.sampled_from([*held, *PLUGS]))
        if what != "bays" or self.is_empty(plug):
            vars(self.street)[what] ^= {plug}

    @rule()
    def all_is_well(self):
        self.street.broken.clear()
        self.street.silent.clear()
        self.street.bays.clear()
        self.street.believed = True

    @rule(minutes=st.sampled_from([1, 5, 14, 30]), are_silent=st.booleans())
    def nothing_is_believed(self, minutes, are_silent):
        """For a while, in which the piles may not be heard either."""
        was, self.street.believed = set(self.street.silent), False
        self.street.silent |= set(PLUGS) if are_silent else set()
        self.street.pass_by(minutes)
        self.street.silent, self.street.believed = was, True

    @rule(plug=st.sampled_from(PLUGS), is_over=st.booleans(), is_reset=st.booleans())
    def smoke(self, plug, is_over, is_reset):
        self.street.burning.add(plug)
        self.street.pass_by(1)
        if is_over:
            self.street.burning.clear()
        if is_reset:
            self.says_that_it_is_safe()

    @precondition(lambda self: self.street.ledger.cuts())
    @rule()
    def reset(self):
        self.street.burning.clear()
        self.says_that_it_is_safe()

    def says_that_it_is_safe(self) -> None:
        self.street.ledger.reset(SITE)
        self.witness.is_cut = False

    @rule()
    def another_takes_over(self):
        self.street.lead()

    @rule(fate=st.sampled_from(["away", "unsure", "ended before", "ended after"]))
    def what_is_handed_on_gets_lost(self, fate):
        self.street.fates.append(fate)

    # --- time, and committees ----------------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 2, 3, 5, 5, 10, 11, 15, 16, 30, 45, 60, 240, 1_500]))
    def time_passes(self, minutes):
        self.street.pass_by(minutes)

    @rule(data=st.data(), minutes=st.sampled_from([-20, -12, -3, 0, 5]))
    def until_a_place_begins(self, data, minutes):
        if turn := self.any_of(data, "offered", "reserved"):
            left = (turn.place.start_ms - self.street.now_ms) // MINUTE_MS + minutes
            if left > 0:
                self.street.pass_by(left)

    @precondition(lambda self: self.version < 4)
    @rule(
        guests=st.integers(0, 1), longest=st.sampled_from([60, 720]), quota=st.integers(1, 2),
        closes=st.sampled_from([None, 20, 24]),
        quiet=st.sampled_from([NO_QUIET, QuietHours(22 * 60, 7 * 60), QuietHours(18 * 60, 19 * 60)]),
    )  # fmt: skip
    def rules_change(self, guests, longest, quota, closes, quiet):
        opening = () if closes is None else (Window("all", 0, closes * 60),)
        changed = replace(
            self.street.rules, longest_turn_min=longest, guests=guests, opening=opening, quiet=quiet,
            quotas=(Quota(compound="k-01", connectors=quota),),
        )  # fmt: skip
        self.street.ledger.adopt(changed, after=self.version, by="p", now_ms=self.street.now_ms)
        self.version += 1

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def the_books_follow_from_the_turns(self):
        assert not self.street.ledger.imbalance()

    @invariant()
    def nothing_is_promised_twice_and_no_power_that_is_not_there(self):
        naive.nothing_is_held_twice(self.street.ledger, LIMIT_W)

    @invariant()
    def nobody_waits_for_ever_and_nobody_has_more_than_is_allowed(self):
        naive.nobody_waits_for_ever(self.street.ledger)
        naive.nobody_has_more_than_is_allowed(self.street.ledger)

    @invariant()
    def a_promise_ends_as_promises_end(self):
        for turn_id in self.witness.promised:
            turn = self.street.turn(turn_id)
            assert turn.state in ("reserved", "active", "done", "no_show", "failed", "cancelled")
            assert (turn.state == "cancelled") == (turn_id in self.witness.cancelled)


PART = 50  # a run's memory and the time of each example grow with what it has tried
PARTS = max(1, int(os.environ.get("PROMISE_EXAMPLES", "500")) // 5 // PART)  # a life takes five times as long as there
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
    run_state_machine_as_test(seed(f"{SEED}/{part}")(Lives), settings=LIFE)
