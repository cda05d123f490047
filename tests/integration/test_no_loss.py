"""Whatever happens between a pile and the store: what was acknowledged is stored once, and sessions come out right.

A stateful test drives the real pipeline over the real spool: messages are doubled, reordered and sent again, acks are
lost, devices reboot, the process is killed before and after each step. Negative controls take one safeguard out each
and must be caught.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ingest import singly
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import EPOCH, Now, to_ms
from ingest.codec import encode
from ingest.draft import Draft, Drawn
from ingest.facts import Reading, Session
from ingest.memory import DeviceMemory
from ingest.messages import Connector, KeptBoot, Meter, Status, Telemetry
from ingest.pipeline import Pipeline
from ingest.recovery import look_back_to, look_up, mend_device
from ingest.rows import reading as reading_of
from ingest.sessions import Life, advance
from ingest.spool import SqliteSpool
from tests.fake_store import FakeStore

BEGIN = EPOCH + timedelta(days=20_000)
PILE = Device(site="jn-01", id="pile-01", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2)))
SITE = Site(id="jn-01", name=Name("", ""), lat=31.2, lon=121.4)
INVENTORY = Inventory(sites={SITE.id: SITE}, devices={PILE.name: PILE})
TELEMETRY, STATUS = f"lunchong/v1/{PILE.name}/telemetry", f"lunchong/v1/{PILE.name}/status"
NEXT_STATES = {
    "available": ["preparing", "faulted"],
    "preparing": ["charging", "available"],
    "charging": ["suspended", "finishing", "available"],
    "suspended": ["charging", "available"],
    "finishing": ["available", "faulted"],
    "faulted": ["available", "charging"],
}


class Pile:
    """What the pile says, and keeps until it is acknowledged."""

    def __init__(self) -> None:
        self.boots = ["boot-a"]
        self.said: list[Telemetry] = []
        self.kept: dict[tuple[str, int], Telemetry] = {}
        self.acked: set[tuple[str, int]] = set()
        self.at_s = 0
        self._states = {1: "available", 2: "available"}
        self._meter_kwh = {1: 100.0, 2: 2_000.0}
        self._seq = 0

    def say(self, connector: int, choice: int, metered: bool) -> None:
        self.at_s += 45
        self._seq += 1
        envelope = {"v": 1, "boot": self.boots[-1], "seq": self._seq, "ts": BEGIN + timedelta(seconds=self.at_s)}
        state = self._states[connector]
        message: Telemetry
        if metered:
            power_kw = 7.0 if state == "charging" else 0.0
            self._meter_kwh[connector] += power_kw / 60
            message = Meter(
                **envelope, connector=connector, power_kw=power_kw, energy_kwh=self._meter_kwh[connector],
                current_a=power_kw * 4.5, voltage_v=230.0,
            )  # type: ignore[arg-type]  # fmt: skip
        else:
            options = NEXT_STATES[state]
            state = self._states[connector] = options[choice % len(options)]
            message = Connector(
                **envelope, connector=connector, state=state, suspended_by="ev" if state == "suspended" else None
            )  # type: ignore[arg-type]
        self.said.append(message)
        self.kept[message.boot, message.seq] = message

    def reboot(self) -> None:
        self.boots.append(f"boot-{len(self.boots)}")
        self._seq = 0

    def status(self) -> bytes:
        kept = {boot for boot, _seq in self.kept}
        listed = [boot for boot in reversed(self.boots) if boot == self.boots[-1] or boot in kept]
        last = {boot: max((m.seq for m in self.said if m.boot == boot), default=0) for boot in listed}
        return encode(
            Status(
                v=1, boot=self.boots[-1], online=True, ts=BEGIN + timedelta(seconds=self.at_s), interval_s=60,
                last_seq=self._seq, boots=[KeptBoot(boot, last[boot]) for boot in listed],
            )
        )  # fmt: skip


class Ingest:
    """The committer's steps, one by one, so that a kill can come between any two of them."""

    acks_follow_the_commit = True

    def __init__(self, folder: Path, pile: Pile, store: FakeStore) -> None:
        self.folder, self.pile, self.store = folder, pile, store
        self.mono_s = 0.0
        self.start()

    def start(self) -> None:
        self.spool = SqliteSpool(self.folder, to_ms(BEGIN))
        self.pipeline = Pipeline(INVENTORY, self.spool.load())
        self.uncommitted: Drawn | None = None
        self.acks: list[tuple[str, int, int]] = []

    def kill(self) -> None:
        self.spool.close()
        self.start()

    def now(self) -> Now:
        return Now(to_ms(BEGIN) + self.pile.at_s * 1000, self.mono_s)

    def hear(self, topic: str, payload: bytes) -> None:
        self.pipeline.take([(topic, payload, False)], self.now())

    def draw(self) -> None:
        if self.uncommitted is None and not self.pipeline.empty:
            self.uncommitted = self.pipeline.draw()
            if not self.acks_follow_the_commit:
                self._gather_acks(self.uncommitted)

    def commit(self) -> None:
        self.draw()
        if self.uncommitted is not None:
            self.spool.commit(self.uncommitted.commit, self.store.drained(self.spool.id), self.now().service_ms)
            self._gather_acks(self.uncommitted)
            self.uncommitted = None

    def _gather_acks(self, drawn: Drawn) -> None:
        self.acks += [(boot, lo, hi) for (_name, boot), ranges in drawn.acks.items() for lo, hi in ranges]

    def tell(self, *, lost: bool) -> None:
        for boot, lo, hi in self.acks:
            for key in [key for key in self.pile.kept if not lost and key[0] == boot and lo <= key[1] <= hi]:
                self.pile.acked.add(key)
                del self.pile.kept[key]
        self.acks = []

    def drain(self, most: int = 1_000) -> None:
        for batch in self.spool.pending(self.store.drained(self.spool.id), 1_000_000)[:most]:
            self.store.write(batch)

    def mend(self) -> None:
        for memory in self.pipeline.to_mend():
            pending = self.spool.pending(self.store.drained(self.spool.id), 1_000_000)
            since_ms = look_back_to(memory)
            found = mend_device(memory, PILE, look_up(self.store, PILE, since_ms), pending)
            if found is None:
                found = mend_device(memory, PILE, look_up(self.store, PILE, 0), pending)
            assert found is not None
            self.pipeline.mended(memory, found)
        self.commit()

    def pass_time(self, seconds: int) -> None:
        self.mono_s += seconds
        self.pile.at_s += seconds
        self.pipeline.settle(self.now())


class Disturbed(RuleBasedStateMachine):
    ingest_class: type[Ingest] = Ingest

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="no-loss-")
        self.pile = Pile()
        self.ingest = self.ingest_class(Path(self.folder.name), self.pile, FakeStore())
        self.ingest.hear(STATUS, self.pile.status())

    @rule(said=st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
    def the_pile_speaks(self, said: list[tuple[int, int, bool]]) -> None:
        for connector, choice, metered in said:
            self.pile.say(connector, choice, metered)

    @precondition(lambda self: self.pile.kept)
    @rule(data=st.data(), as_array=st.booleans())
    def some_arrive_in_any_order(self, data: st.DataObject, as_array: bool) -> None:
        kept = list(self.pile.kept.values())
        sent = data.draw(st.lists(st.sampled_from(kept), min_size=1, max_size=8))
        for payload in [encode(sent)] if as_array else [encode(message) for message in sent]:
            self.ingest.hear(TELEMETRY, payload)

    @precondition(lambda self: self.pile.kept)
    @rule()
    def the_oldest_arrive(self) -> None:
        for message in list(self.pile.kept.values())[:5]:
            self.ingest.hear(TELEMETRY, encode(message))

    @rule(status_heard=st.booleans())
    def the_pile_reboots(self, status_heard: bool) -> None:
        self.pile.reboot()
        if status_heard:
            self.ingest.hear(STATUS, self.pile.status())

    @rule()
    def the_status_is_said_again(self) -> None:
        self.ingest.hear(STATUS, self.pile.status())

    @rule()
    def a_batch_is_drawn(self) -> None:
        self.ingest.draw()

    @rule()
    def a_batch_is_committed(self) -> None:
        self.ingest.commit()

    @rule(lost=st.booleans())
    def acks_go_out(self, lost: bool) -> None:
        self.ingest.tell(lost=lost)

    @rule(most=st.integers(1, 3))
    def the_store_takes_some(self, most: int) -> None:
        self.ingest.drain(most)

    @rule()
    def ingest_is_killed(self) -> None:
        self.ingest.kill()

    @rule()
    def ingest_is_killed_while_it_answers(self) -> None:
        self.ingest.draw()
        self.ingest.tell(lost=False)
        self.ingest.kill()

    @rule(seconds=st.sampled_from([1, 61, 130]))
    def time_passes(self, seconds: int) -> None:
        self.ingest.pass_time(seconds)

    @rule()
    def sessions_are_mended(self) -> None:
        if self.ingest.uncommitted is None:
            self.ingest.mend()

    def teardown(self) -> None:
        if not hasattr(self, "ingest"):
            return
        ingest, pile = self.ingest, self.pile
        try:
            ingest.commit()
            ingest.tell(lost=False)
            for _again in range(3):
                ingest.hear(STATUS, pile.status())
                for message in list(pile.kept.values()):
                    ingest.hear(TELEMETRY, encode(message))
                ingest.commit()
                ingest.tell(lost=False)
                ingest.pass_time(130)
                ingest.pass_time(130)
                ingest.commit()
                ingest.mend()
            ingest.drain()
            stored = {(boot, seq): times for (_site, _device, boot, seq), times in ingest.store.rows.items()}
            assert {key: stored.get(key, 0) for key in pile.acked} == dict.fromkeys(pile.acked, 1)
            assert not pile.kept
            found = sorted(ingest.store.kept_sessions.values(), key=lambda session: (session.started_ms, session.id))
            assert [told(session) for session in found] == [told(session) for session in undisturbed(pile.said)]
        finally:
            ingest.spool.close()
            self.folder.cleanup()


def told(session: Session) -> tuple[object, ...]:
    """A session as an operator would compare it; an open one's energy is still growing."""
    energy_kwh = round(session.energy_kwh, 4) if session.ended_ms is not None else None
    return (session.id, session.started_ms, session.charge_ended_ms, session.ended_ms, energy_kwh, session.incomplete)


def undisturbed(said: list[Telemetry]) -> list[Session]:
    """The sessions of a pile whose messages all came once, in order."""
    lives: dict[int, Life] = {}
    found: dict[str, Session] = {}
    for message in said:
        reading = reading_of(message, message.boot, to_ms(message.ts))
        assert reading is not None
        changed = advance(lives.setdefault(reading.connector, Life()), PILE.site, PILE.id, reading)
        if changed is not None:
            found[changed.id] = changed
    return sorted(found.values(), key=lambda session: (session.started_ms, session.id))


RUN = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
HUNT = settings(RUN, max_examples=400, derandomize=True, database=None, phases=[Phase.generate])


def test_whatever_happens_each_acknowledged_message_is_stored_once_and_sessions_are_right() -> None:
    run_state_machine_as_test(Disturbed, settings=RUN)


def test_what_waited_for_a_hole_is_derived_although_ingest_was_killed_twice(tmp_path: Path) -> None:
    pile, store = Pile(), FakeStore()
    for _word in range(5):
        pile.say(1, 0, metered=False)
    ingest = Ingest(tmp_path, pile, store)
    for messages in (pile.said[4:], pile.said):
        for message in messages:
            ingest.hear(TELEMETRY, encode(message))
        ingest.commit()
        ingest.kill()
    ingest.mend()
    ingest.pass_time(1)
    ingest.commit()
    ingest.drain()
    assert [told(session) for session in store.kept_sessions.values()] == [told(s) for s in undisturbed(pile.said)]
    ingest.spool.close()


def _no_duplicate_memory(patch: pytest.MonkeyPatch) -> type[Ingest]:
    remember = Draft.remember

    def forgetful(self: Draft, memory: DeviceMemory, name: str, boot: str, wire: str, seq: int) -> bool:
        remember(self, memory, name, boot, wire, seq)
        return True

    patch.setattr(Draft, "remember", forgetful)
    return Ingest


def _acks_before_the_commit(_patch: pytest.MonkeyPatch) -> type[Ingest]:
    class Hasty(Ingest):
        acks_follow_the_commit = False

    return Hasty


def _order_of_arrival(patch: pytest.MonkeyPatch) -> type[Ingest]:
    def at_once(memory: DeviceMemory, boot: str, seq: int, said: Reading | None) -> list[Session]:
        if said is None:
            return []
        life = memory.record.lives[said.connector]
        changed = advance(life, memory.record.site, memory.record.device, said)
        return [] if changed is None else [changed]

    patch.setattr(singly, "arrive", at_once)
    return Ingest


@pytest.mark.parametrize("sabotage", [_no_duplicate_memory, _acks_before_the_commit, _order_of_arrival])
def test_the_test_notices_when_a_safeguard_is_taken_out(
    sabotage: Callable[[pytest.MonkeyPatch], type[Ingest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sabotaged(Disturbed):
        ingest_class = sabotage(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Sabotaged, settings=HUNT)
