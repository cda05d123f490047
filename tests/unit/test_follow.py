"""A pile's messages, put in order: what is awaited, what is passed, and what that means for sessions."""

from __future__ import annotations

from ingest.boots import note_status
from ingest.clock import Now
from ingest.facts import Reading, Session
from ingest.follow import arrive, settle
from ingest.memory import MOST_BOOTS, DeviceMemory, DeviceRecord
from ingest.messages import KeptBoot, Status
from ingest.sessions import Life

MINUTE_MS = 60_000


class Pile:
    """Says "charging", "available" … as numbered messages of a boot, in the order in which they come."""

    def __init__(self) -> None:
        self.memory = DeviceMemory(DeviceRecord("jn-01", "pile-01", lives={1: Life()}))
        self.sessions: dict[str, Session] = {}
        self.mono_s = 0.0
        self.now_ms = 0

    def comes(self, seq: int, state: str | None, boot: str = "a") -> None:
        name, _record = self.memory.boot(boot)
        self.memory.seen[name].add(seq)
        said = None if state is None else Reading(boot, seq, seq * MINUTE_MS, 1, state, None, None, None)
        self._keep(arrive(self.memory, name, seq, said))
        self._keep(settle(self.memory, Now(self.now_ms, self.mono_s)))

    def status(self, boot: str, *kept: KeptBoot) -> None:
        note_status(self.memory, Status(v=1, boot=boot, online=True, boots=list(kept)), live=True)
        self._keep(settle(self.memory, Now(self.now_ms, self.mono_s)))

    def wait(self, minutes: float, wall_s: float = 60.0) -> None:
        self._keep(settle(self.memory, Now(self.now_ms, self.mono_s)))
        self.now_ms += round(minutes * MINUTE_MS)
        self.mono_s += wall_s
        self._keep(settle(self.memory, Now(self.now_ms, self.mono_s)))

    def _keep(self, sessions: list[Session]) -> None:
        self.sessions.update({session.id: session for session in sessions})

    @property
    def stands_at(self) -> tuple[str | None, int]:
        return self.memory.record.at_boot, self.memory.record.next_seq

    @property
    def only(self) -> Session:
        [session] = self.sessions.values()
        return session


def test_messages_in_the_wrong_order_give_the_sessions_of_the_right_one() -> None:
    pile = Pile()
    for seq, state in [(3, "available"), (1, "preparing"), (2, "charging")]:
        pile.comes(seq, state)
    assert (pile.only.started_ms, pile.only.ended_ms) == (MINUTE_MS, 3 * MINUTE_MS)
    assert not pile.only.incomplete


def test_a_hole_is_awaited_two_minutes_and_then_makes_its_session_incomplete() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(3, "available")
    pile.wait(1.9)
    assert pile.only.ended_ms is None
    pile.wait(0.2)
    assert pile.only.ended_ms == 3 * MINUTE_MS
    assert pile.only.incomplete


def test_on_a_fast_clock_a_device_still_has_time_to_send_again() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(3, "available")
    pile.wait(500, wall_s=1.0)
    assert pile.only.ended_ms is None
    pile.wait(500, wall_s=1.5)
    assert pile.only.ended_ms is not None


def test_progress_in_a_hole_keeps_it_awaited() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(9, "available")
    for seq in range(2, 8):
        pile.wait(1.5)
        pile.comes(seq, "charging")
    pile.comes(8, "charging")
    assert not pile.only.incomplete
    assert pile.only.ended_ms is not None


def test_a_hole_that_the_device_dropped_is_passed_at_once() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(5, "available")
    pile.status("a", KeptBoot("a", 5, [(2, 4)]))
    assert pile.only.ended_ms is not None
    assert pile.only.incomplete


def test_what_fills_a_passed_hole_asks_for_derivation_from_there() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(4, "available")
    pile.wait(3)
    pile.comes(3, "charging")
    pile.comes(2, "available")
    assert pile.memory.record.mend_from == ("a", 2)


def test_a_smoke_alarm_that_jumps_the_queue_makes_no_session_incomplete() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(4, None)
    pile.comes(2, "charging")
    pile.comes(3, "available")
    assert not pile.only.incomplete
    assert pile.stands_at == ("a", 5)


def test_a_session_outlives_a_reboot() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.status("b", KeptBoot("b", 0))
    pile.comes(1, "charging", boot="b")
    pile.comes(2, "available", boot="b")
    assert pile.only.open_boot == "a"
    assert pile.only.close_boot == "b"
    assert not pile.only.incomplete


def test_the_kept_messages_of_an_older_boot_are_awaited() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.status("b", KeptBoot("b", 0), KeptBoot("a", 3))
    pile.comes(1, "charging", boot="b")
    assert pile.stands_at == ("a", 2)
    pile.comes(2, "available")
    pile.comes(3, "available")
    assert pile.stands_at == ("b", 2)
    assert len(pile.sessions) == 2


def test_a_boot_that_is_named_late_takes_its_place_in_the_order() -> None:
    pile = Pile()
    pile.status("c", KeptBoot("c", 0), KeptBoot("a", 2))
    pile.status("c", KeptBoot("c", 0), KeptBoot("b", 2), KeptBoot("a", 2))
    assert pile.memory.record.order == ["a", "b", "c"]


def test_a_boot_first_thought_newer_asks_for_everything_to_be_derived_again() -> None:
    pile = Pile()
    pile.comes(1, "charging", boot="b")
    pile.comes(1, "available", boot="a")
    pile.wait(3)
    pile.status("b", KeptBoot("b", 1), KeptBoot("a", 1))
    assert pile.memory.record.order == ["a", "b"]
    assert pile.stands_at == ("b", 2)
    assert pile.memory.record.mend_from is not None


def test_an_old_boot_is_over_when_a_newer_live_status_lists_it_no_longer() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(3, "available")
    pile.status("b")
    assert pile.memory.lost() == 1
    pile.memory.seen["a"].add(2)
    assert pile.memory.lost() == 0, "it came after all"


def test_a_retained_status_ends_no_boot() -> None:
    pile = Pile()
    pile.comes(1, "charging")
    pile.comes(3, "available")
    note_status(pile.memory, Status(v=1, boot="b", online=True), live=False)
    assert pile.memory.lost() == 0


def test_a_boot_named_late_does_not_send_derivation_back() -> None:
    pile = Pile()
    pile.comes(1, "charging", boot="b")
    pile.comes(2, "available", boot="b")
    pile.status("c", KeptBoot("c", 0))
    pile.comes(2, "charging", boot="c")
    assert pile.stands_at == ("c", 1)
    pile.status("c", KeptBoot("c", 2), KeptBoot("b", 2), KeptBoot("a", 1))
    assert pile.memory.record.order == ["a", "b", "c"]
    assert pile.stands_at == ("c", 1)


def test_a_device_that_starts_again_and_again_does_not_fill_the_memory() -> None:
    pile = Pile()
    for n in range(200):
        pile.comes(1, "available", boot=f"boot-{n:03d}")
        pile.status(f"boot-{n:03d}", KeptBoot(f"boot-{n:03d}", 1), KeptBoot("very-old", 5))
    assert len(pile.memory.record.order) == MOST_BOOTS
    latest = pile.memory.record.order[-1]
    pile.memory.boot("boot-000")
    assert pile.memory.record.order[-1] == latest, "a forgotten boot is an old one"


def test_thousands_of_dropped_ranges_stay_dropped() -> None:
    pile = Pile()
    for seq in range(1, 6_000, 2):
        pile.memory.boot("a")
        pile.memory.seen["a"].add(seq)
    dropped = [(seq, seq) for seq in range(2, 6_000, 2)]
    pile.status("b", KeptBoot("b", 0), KeptBoot("a", 5_999, dropped))
    pile.status("b")
    assert pile.memory.lost() == 0
    assert pile.memory.dropped() == len(dropped)
