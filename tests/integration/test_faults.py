"""The short form of each row of the fault matrix: real processes, killed, stopped and lied to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tools.faults.__main__ import run
from tools.faults.matrix import ROWS
from tools.faults.outcome import Asked, Outcome

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize("number", ROWS)
def test_nothing_acknowledged_is_lost_or_doubled(rows, number):
    outcome = rows[number].result()
    assert outcome.missed == [], f"run it again: python -m tools.faults --short --row {number} --seed {SEED}"
    assert (outcome.lost, outcome.duplicates) == (0, 0)
