"""`python -m benchmarks.store [--runs 5]`: a month of 200 piles, a message a minute each (8.6 million rows), in DuckDB.

A tenth of the rows is appended in batches as a spool hands them over, by the store's own `write`; the others are made
inside DuckDB. Then a rollup of it all, and what people ask: the latest of everything, a pile's day in steps of five
minutes, the month's rollups.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from ingest.facts import Batch, Row
from ingest.store_duckdb import DuckStore

PILES = 200
MINUTES = 30 * 24 * 60
BATCH_ROWS = 2_000
APPENDED_MINUTES = MINUTES // 10
FIRST_MS = 1_793_462_400_000  # 2026-10-31T16:00:00Z, a midnight in Shanghai
LAST_MS = FIRST_MS + MINUTES * 60_000
DAY_MS = 24 * 3_600_000

MADE = """
INSERT INTO pile SELECT 'bench', 0, ($first + minute * 60000) * 1000000 + minute + 1, 'site-' || pile // 5,
  'pile-' || pile, 'meter', 'boot', minute + 1, $first + minute * 60000, false, 1,
  7 * random(), minute * 0.1, 10, 230, 31, NULL, NULL, NULL, NULL, NULL, NULL
FROM (SELECT range // $piles AS minute, range % $piles AS pile FROM range($from * $piles, $until * $piles))
"""
MARKED = """
INSERT INTO dirty SELECT 0, 'site-' || pile // 5, 'pile-' || pile, $first + hour * 3600000
FROM range($piles) a(pile), range($hours) b(hour)
"""


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.store")
    asked.add_argument("--runs", type=int, default=5)
    runs = asked.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="lunchong-bench-") as folder:
        store = DuckStore(Path(folder) / "facts.duckdb")
        try:
            figures = _filled(store) | _asked(store, runs)
        finally:
            store.close()
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


def _filled(store: DuckStore) -> dict[str, float]:
    rows = [_row(number // PILES, number % PILES) for number in range(BATCH_ROWS * 10)]
    batches, took_s = APPENDED_MINUTES * PILES // BATCH_ROWS, 0.0
    for no in range(1, batches + 1):
        part = rows[no % 10 * BATCH_ROWS :][:BATCH_ROWS]
        ahead_ns, minutes = (no - 1) * BATCH_ROWS // PILES * 60_000_000_000, BATCH_ROWS // PILES
        begin = (no % 10) * minutes * 60_000_000_000
        moved = [(at_ns - begin + ahead_ns, *rest) for at_ns, *rest in part]  # type: ignore[operator]
        began = perf_counter()
        store.write(Batch(spool="bench", no=no, pile=moved))
        took_s += perf_counter() - began
    _note("append_rows_per_s", batches * BATCH_ROWS / took_s, f"in batches of {BATCH_ROWS}, each synced")
    with store._file.writing() as cursor:  # noqa: SLF001
        cursor.execute(MADE, {"first": FIRST_MS, "piles": PILES, "from": APPENDED_MINUTES, "until": MINUTES})
        cursor.execute(MARKED, {"first": FIRST_MS, "piles": PILES, "hours": MINUTES // 60})
    return {"append_rows_per_s": batches * BATCH_ROWS / took_s}


def _asked(store: DuckStore, runs: int) -> dict[str, float]:
    began = perf_counter()
    hours = store.roll_up(LAST_MS)
    took_s = perf_counter() - began
    _note("roll_up_s", took_s, f"{hours} hours of {PILES} piles, {PILES * MINUTES} rows")
    noon_ms = FIRST_MS + 15 * DAY_MS
    questions: dict[str, Callable[[], int]] = {
        "latest_ms_duckdb": lambda: len(store.latest()),
        "day_ms_duckdb": lambda: len(store.history("site-7", "pile-37", 1, noon_ms, noon_ms + DAY_MS, 300_000)),
        "month_ms_duckdb": lambda: len(store.rollups("day", FIRST_MS, LAST_MS)),
        "month_of_hours_ms_duckdb": lambda: len(store.rollups("hour", FIRST_MS, LAST_MS)),
        "stored_ms_duckdb": lambda: len(store.stored()),
    }
    figures = {"roll_up_s": took_s}
    for name, question in questions.items():
        took_ms = []
        for _ in range(runs):
            began = perf_counter()
            answers = question()
            took_ms.append((perf_counter() - began) * 1_000)
        figures[name] = median(took_ms)
        _note(name, figures[name], f"{answers} answers")
    return figures


def _row(minute: int, pile: int) -> Row:
    at_ms = FIRST_MS + minute * 60_000
    at_ns = at_ms * 1_000_000 + minute + 1
    return (at_ns, f"site-{pile // 5}", f"pile-{pile}", "meter", "boot", minute + 1, at_ms, False,
            1, 3.5, minute * 0.1, 10.0, 230.0, 31.0, None, None, None, None, None, None)  # fmt: skip


def _note(name: str, value: float, what: str) -> None:
    print(f"  {name} {value:.1f}  ({what})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
