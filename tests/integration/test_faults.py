"""The short form of each row of the fault matrix: real processes, killed, stopped and lied to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from ingest.store_duckdb import DuckStore
from tests.stores import NINE_MS, Spool, meter
from tools.faults.__main__ import run
from tools.faults.count import counted
from tools.faults.matrix import ROWS
from tools.faults.outcome import Asked, Outcome

AT_ONCE = 3
"""Rows wait more than they work."""
SEED = secrets.randbelow(1_000_000)


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[int, Future[Outcome]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {number: pool.submit(run, number, Asked(SEED, short=True)) for number in ROWS}
        yield running
        for row in running.values():
            row.cancel()


def test_what_is_missing_or_there_twice_is_counted(tmp_path):
    """Else every row would always hold."""
    store, spool = DuckStore(tmp_path / "facts.duckdb"), Spool()
    store.write(spool.batch(*(meter(NINE_MS, seq=seq) for seq in (1, 2, 4, 4))))
    store.close()
    files = {name: tmp_path / f"{name}.csv" for name in ("sent", "acked", "dropped")}
    files["acked"].write_text("jn-01,pile-01,boot,1,3\n")
    files["sent"].write_text("jn-01,pile-01,boot,1,7\n")
    files["dropped"].write_text("jn-01,pile-01,boot,6,7\n")
    outcome = Outcome()
    counted(
        outcome, SimpleNamespace(opened=lambda: closing(DuckStore(tmp_path / "facts.duckdb"))), SimpleNamespace(**files)
    )
    assert outcome.figures["acked_and_not_stored"] == 1  # 3
    assert outcome.lost == 2  # and 5, which was sent and not reported dropped
    assert outcome.duplicates == 1
    assert len(outcome.missed) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", ROWS)
def test_nothing_acknowledged_is_lost_or_doubled(rows, number):
    outcome = rows[number].result()
    assert outcome.missed == [], f"run it again: python -m tools.faults --short --row {number} --seed {SEED}"
    assert (outcome.lost, outcome.duplicates) == (0, 0)
