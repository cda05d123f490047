"""From the spool to the store: a store that wants to be left alone is left alone, however much waits for it.

And what the store is asked now and then: what fails there keeps nothing else from being done.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path

import pytest

from ingest.clock import DAY_MS, ServiceClock
from ingest.drain import ROWS_AT_ONCE, Drainer, merged
from ingest.facts import Batch, DeadLetter
from ingest.spool import SqliteSpool
from ingest.spooling import Commit
from ingest.store import StoreUnavailable
from ingest.store_influx import InfluxStore
from ingest.upkeep import DEAD_LETTER_DAYS, SLOWEST_S, Upkeep
from lunchong.live_clock import LiveClock, wall_ms
from tests.brokers import until
from tests.fake_store import FakeStore
from tests.influx import Server
from tests.stores import NINE_MS, dead_letter, meter

RETRY_S = 0.3


class BusyStore(FakeStore):
    """Asks to be left alone for a while, `refusals` times."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals
        self.asked_s: list[float] = []

    def write(self, batch: Batch) -> list[DeadLetter]:
        self.asked_s.append(time.monotonic())
        if len(self.asked_s) <= self.refusals:
            raise StoreUnavailable("busy", retry_s=RETRY_S)
        return super().write(batch)


def commit(seqs: range) -> Commit:
    return Commit(Batch(spool="", no=0, pile=[meter(NINE_MS + seq, seq=seq) for seq in seqs]), [], {}, [])


def test_a_store_that_asks_for_time_is_not_asked_again_before(tmp_path: Path) -> None:
    spool, store = SqliteSpool(tmp_path, NINE_MS), BusyStore(refusals=3)
    drainer = Drainer(spool, store, lambda: None)
    drainer.start()
    seq = 1
    while len(store.asked_s) < 4:
        drainer.give(spool.commit(commit(range(seq, seq + ROWS_AT_ONCE // 4)), drainer.drained, NINE_MS))
        seq += ROWS_AT_ONCE // 4
    until(lambda: drainer.drained == spool.last_no)
    waits_s = [later - earlier for earlier, later in zip(store.asked_s[:3], store.asked_s[1:4], strict=True)]
    assert min(waits_s) >= RETRY_S
    assert len(store.rows) == seq - 1
    drainer.stop(5.0)
    spool.close()


def test_a_letter_that_was_taken_after_it_came_again_is_gone_and_one_that_came_after_stays() -> None:
    letter = dead_letter(NINE_MS)
    came, taken = Batch(spool="a", no=1, dead=[letter]), Batch(spool="a", no=2, revived=[letter.id])
    assert (merged([came, taken]).dead, merged([came, taken]).revived) == ([], [letter.id])
    assert (merged([taken, came]).dead, merged([taken, came]).revived) == ([letter], [])


def test_large_letters_fill_what_is_held_in_memory(tmp_path: Path) -> None:
    spool, store = SqliteSpool(tmp_path, NINE_MS), BusyStore(refusals=0)
    drainer = Drainer(spool, store, lambda: None)
    letters = [dead_letter(NINE_MS + n, bytes([n]) * 250_000) for n in range(200)]
    for letter in letters:
        drainer.give(spool.commit(Commit(Batch(spool="", no=0, dead=[letter]), [], {}, []), 0, NINE_MS))
    assert sum(len(letter.payload) for batch in drainer._held for letter in batch.dead) < 25_000_000
    assert sum(len(letter.payload) for batch in spool.pending(0, 1_000_000) for letter in batch.dead) < 20_000_000
    drainer.start()
    until(lambda: drainer.drained == spool.last_no)
    assert len(store.dead) == len(letters)
    drainer.stop(5.0)
    spool.close()


def test_nothing_is_held_in_memory_for_a_store_that_is_away(tmp_path: Path) -> None:
    spool, store = SqliteSpool(tmp_path, NINE_MS), BusyStore(refusals=10**6)
    drainer = Drainer(spool, store, lambda: None)
    drainer.start()
    drainer.give(spool.commit(commit(range(1, 1_000)), 0, NINE_MS))
    until(lambda: drainer.unavailable is not None and not drainer._held)
    drainer.give(spool.commit(commit(range(1_000, 2_000)), 0, NINE_MS))
    assert not drainer._held
    store.refusals = 0
    until(lambda: drainer.drained == spool.last_no)
    assert len(store.rows) == 1_999
    drainer.stop(5.0)
    spool.close()


# --- now and then ----------------------------------------------------------------------------------------------------


class SetClock(LiveClock):
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        super().__init__(ServiceClock(NINE_MS, NINE_MS))
        self.now_s = 1_000.0

    def mono_s(self) -> float:
        return self.now_s

    def service_ms(self) -> int:
        return NINE_MS + round(self.now_s * 1000)


class KeptStore(FakeStore):
    """Does what it is asked now and then, but for what `fails`."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: dict[str, Exception] = {}
        self.done: list[tuple[str, float]] = []
        self.clock = SetClock()

    def _do(self, what: str) -> int:
        self.done.append((what, self.clock.now_s))
        if what in self.fails:
            raise self.fails[what]
        return 0

    def roll_up(self, before_ms: int, limit_hours: int = 2_000) -> int:
        return self._do("roll up")

    def expire(self, before_ms: int) -> int:
        assert before_ms == self.clock.service_ms() - 90 * DAY_MS
        return self._do("expire")

    def purge_dead(self, ids: list[str] | None = None, before_ms: int | None = None) -> int:
        assert (ids, before_ms) == (None, self.clock.service_ms() - DEAD_LETTER_DAYS * DAY_MS)
        return self._do("purge")

    def turns(self, upkeep: Upkeep, for_s: int) -> dict[str, int]:
        """How often each thing was tried."""
        self.done.clear()
        for _ in range(for_s):
            self.clock.now_s += 1.0
            upkeep.turn()
        names = [what for what, _at_s in self.done]
        return {what: names.count(what) for what in ("roll up", "expire", "purge")}


REFUSES = {
    "a query": StoreUnavailable("InfluxDB answers 400 for a query: schema collision detected"),
    "a mistake of ours": KeyError("entries"),
}


@pytest.mark.parametrize("why", [*REFUSES])
def test_what_fails_keeps_nothing_else_from_being_done_and_is_tried_later_and_later(
    caplog: pytest.LogCaptureFixture, why: str
) -> None:
    store = KeptStore()
    upkeep = Upkeep(store, store.clock, retention_days=90)
    assert store.turns(upkeep, 1_210) == {"roll up": 242, "expire": 2, "purge": 2}
    for failing in ("roll up", "expire"):
        store.fails[failing] = REFUSES[why]
    since_ms = store.clock.service_ms()
    tried = store.turns(upkeep, 3_000)
    assert (tried["expire"], tried["purge"]) == (5, 5)
    assert tried["roll up"] < 6 + 3_000 / SLOWEST_S + 1
    failed = upkeep.rollup_failed
    assert failed is not None
    assert failed[0] - since_ms <= 5_000
    assert str(REFUSES[why]) in failed[1]
    said = [record for record in caplog.records if record.name == "ingest.upkeep"]
    assert [record.getMessage().split(" fails")[0] for record in said] == ["rolling up", "letting old readings go"]
    assert all(bool(record.exc_info) == (why == "a mistake of ours") for record in said)
    store.fails["roll up"] = StoreUnavailable("another reason")
    store.turns(upkeep, 600)
    assert upkeep.rollup_failed == (failed[0], "another reason")
    store.fails.clear()
    store.turns(upkeep, 600)
    assert upkeep.rollup_failed is None
    assert store.turns(upkeep, 100)["roll up"] == 20
    assert [record.levelno for record in caplog.records if record.name == "ingest.upkeep"] == [logging.WARNING] * 5


def test_a_failed_job_is_not_asked_again_before_the_store_wants_it() -> None:
    store = KeptStore()
    upkeep = Upkeep(store, store.clock, retention_days=90)
    store.fails["roll up"] = StoreUnavailable("busy", retry_s=60.0)
    assert store.turns(upkeep, 60)["roll up"] == 1


def test_an_influxdb_that_refuses_to_roll_up_goes_on_taking_readings(
    tmp_path: Path, influx_server: Server, influx_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.influx_fresh._HOURLY", "rows() |> sum(column: 1)")
    monkeypatch.setattr("ingest.upkeep.ROLL_UP_EVERY_S", 0.05)
    clock, spool = LiveClock(ServiceClock(wall_ms(), wall_ms())), SqliteSpool(tmp_path, NINE_MS)
    with closing(InfluxStore(influx_server.url, influx_server.token, org="lunchong", prefix=influx_prefix)) as store:
        upkeep = Upkeep(store, clock, retention_days=0)
        drainer = Drainer(spool, store, upkeep.turn)
        drainer.give(spool.commit(commit(range(1, 2)), 0, NINE_MS))
        drainer.start()
        failed = until(lambda: upkeep.rollup_failed)
        assert "answers 400 for a query" in failed[1]
        for seq in range(2, 6):
            drainer.give(spool.commit(commit(range(seq, seq + 1)), drainer.drained, NINE_MS))
            until(lambda: drainer.drained == spool.last_no)
            assert drainer.unavailable is None
        assert store.stored() == [("jn-01", "pile-01", "boot", 1, 5, 5)]
        drainer.stop(5.0)
    spool.close()
