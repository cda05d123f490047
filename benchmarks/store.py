"""`python -m benchmarks.store [--runs 5] [--only influxdb|duckdb]`: a month of 200 piles, a message a minute each.

That is 8.6 million rows. A tenth of them is appended in batches as a spool hands them over, by the store's own `write`;
the others come the shortest way that the store has. Then a rollup of it all, and what people ask: the latest of
everything, a pile's day in steps of five minutes, the month's rollups. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import urllib3

from benchmarks.influx import ORG, Influx, influx_server
from ingest.facts import Batch, Row
from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore

PILES = 200
MINUTES = 30 * 24 * 60
BATCH_ROWS = 2_000
APPENDED_MINUTES = MINUTES // 10
FIRST_MS = 1_793_462_400_000  # 2026-10-31T16:00:00Z, a midnight in Shanghai
LAST_MS = FIRST_MS + MINUTES * 60_000
DAY_MS = 24 * 3_600_000
MINUTES_A_REQUEST = 50

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
    asked.add_argument("--only", choices=STORES)
    said = asked.parse_args()
    figures: dict[str, float] = {}
    for name in [said.only] if said.only else STORES:
        print(name, file=sys.stderr, flush=True)
        with STORES[name]() as (store, appended):
            _note("append_rows_per_s", appended, f"in batches of {BATCH_ROWS}")
            found = {"append_rows_per_s": appended} | _asked(store, said.runs)
            figures |= {f"{figure}_{name}": value for figure, value in found.items()}
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


@contextmanager
def _duckdb() -> Iterator[tuple[TelemetryStore, float]]:
    with tempfile.TemporaryDirectory(prefix="lunchong-bench-") as folder:
        store = DuckStore(Path(folder) / "facts.duckdb")
        try:
            appended = _append(store)
            with store._file.writing() as cursor:  # noqa: SLF001
                cursor.execute(MADE, {"first": FIRST_MS, "piles": PILES, "from": APPENDED_MINUTES, "until": MINUTES})
                cursor.execute(MARKED, {"first": FIRST_MS, "piles": PILES, "hours": MINUTES // 60})
            yield store, appended
        finally:
            store.close()


@contextmanager
def _influxdb() -> Iterator[tuple[TelemetryStore, float]]:
    with influx_server() as influx, influx.buckets() as prefix:
        store = InfluxStore(influx.url, influx.token, prefix=prefix)
        try:
            appended = _append(store)
            _make(influx, prefix)
            yield store, appended
        finally:
            store.close()


STORES = {"influxdb": _influxdb, "duckdb": _duckdb}


def _append(store: TelemetryStore) -> float:
    """Rows a second."""
    minutes, took_s = BATCH_ROWS // PILES, 0.0
    batches = APPENDED_MINUTES // minutes
    for no in range(1, batches + 1):
        rows = [_row((no - 1) * minutes + number // PILES, number % PILES) for number in range(BATCH_ROWS)]
        began = perf_counter()
        store.write(Batch(spool="bench", no=no, pile=rows))
        took_s += perf_counter() - began
    return batches * BATCH_ROWS / took_s


def _make(influx: Influx, prefix: str) -> None:
    """The rest of the month, as line protocol of our own and straight to the server."""
    server = urllib3.PoolManager()
    url = f"{influx.url}/api/v2/write?org={ORG}&bucket={prefix}&precision=ns"
    headers = {"Authorization": f"Token {influx.token}", "Content-Encoding": "gzip"}
    heads = [f"pile,connector=1,device=pile-{pile},kind=meter,site=site-{pile // 5}" for pile in range(PILES)]
    for first in range(APPENDED_MINUTES, MINUTES, MINUTES_A_REQUEST):
        lines = [
            f'{head} seq={minute + 1}i,boot="boot",power_kw={minute * 7 % 70 / 10},energy_kwh={minute / 10},'
            f"current_a=10.0,voltage_v=230.0,temp_c=31.0 {(FIRST_MS + minute * 60_000) * 1_000_000 + minute + 1}"
            for minute in range(first, min(first + MINUTES_A_REQUEST, MINUTES))
            for head in heads
        ]
        answer = server.request("POST", url, headers=headers, body=gzip.compress("\n".join(lines).encode(), 1))
        if answer.status != 204:
            raise RuntimeError(f"InfluxDB answered {answer.status}: {answer.data[:300]!r}")


def _asked(store: TelemetryStore, runs: int) -> dict[str, float]:
    began = perf_counter()
    hours = 0
    while done := store.roll_up(LAST_MS):
        hours += done
    took_s = perf_counter() - began
    _note("roll_up_s", took_s, f"{hours} hours of {PILES} piles, {PILES * MINUTES} rows")
    noon_ms = FIRST_MS + 15 * DAY_MS
    questions: dict[str, Callable[[], int]] = {
        "latest_ms": lambda: len(store.latest()),
        "day_ms": lambda: len(store.history("site-7", "pile-37", 1, noon_ms, noon_ms + DAY_MS, 300_000)),
        "month_ms": lambda: len(store.rollups("day", FIRST_MS, LAST_MS)),
        "month_of_hours_ms": lambda: len(store.rollups("hour", FIRST_MS, LAST_MS)),
    }
    expected = {"latest_ms": PILES, "day_ms": 288, "month_ms": 30 * PILES, "month_of_hours_ms": 720 * PILES}
    figures = {"roll_up_s": took_s}
    for name, question in questions.items():
        took_ms = []
        for _ in range(runs):
            began = perf_counter()
            answers = question()
            took_ms.append((perf_counter() - began) * 1_000)
            if answers != expected[name]:
                raise RuntimeError(f"{name}: {answers} answers in place of {expected[name]}")
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
