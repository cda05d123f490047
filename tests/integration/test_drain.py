"""From the spool to the store: a store that wants to be left alone is left alone, however much waits for it."""

from __future__ import annotations

import time
from pathlib import Path

from ingest.drain import ROWS_AT_ONCE, Drainer, merged
from ingest.facts import Batch, DeadLetter
from ingest.spool import SqliteSpool
from ingest.spooling import Commit
from ingest.store import StoreUnavailable
from tests.brokers import until
from tests.fake_store import FakeStore
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
