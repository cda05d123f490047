"""Many who want the same buckets at once: is one ever promised twice, and are power and quotas ever passed?

    python -m benchmarks.race [--attempts 100000] [--on sqlite postgresql]

Processes with threads each make, give back and move promises at one small site, on a real SQLite file and a real
PostgreSQL. What is promised is read from the turns alone, as no guard of the ledger had to say so: while it goes on
again and again, and at the end. The same once more with the guard off: look whether it is free, then promise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sqlalchemy import insert
from sqlalchemy.engine import Engine

from scheduler import turns
from scheduler.buckets import BUCKET_MS, Place
from scheduler.ledger import Change, Ledger, Limits, Moved, OverLimit, Taken
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import migrate
from scheduler.ledger_rows import row_of
from scheduler.ledger_sql import SqlLedger
from scheduler.ledger_tables import turn as turn_table
from scheduler.quiet import QuietHours
from scheduler.turns import HOLDING, Turn
from tests.postgres import Postgres

SITE, CONNECTORS, BUCKETS = "jn-01", 8, 40
FIRST = 2_000_000
LONGEST = 4
WATTS, SITE_W = 7_000, 5 * 7_000
COMPOUNDS, QUOTA = 3, 2
PROCESSES, THREADS = 4, 8
ANSWER_MS = 20
"""An offer of the race is anybody's after this; so some end by time and not by hand."""
NO_QUIET = QuietHours(0, 0)


class Passed(NamedTuple):
    """What must never be; the highest seen at any one moment."""

    doubles: int = 0
    power: int = 0
    quota: int = 0

    def worse(self, other: Passed) -> Passed:
        return Passed(*map(max, self, other))


class Done(NamedTuple):
    attempts: int
    promised: int
    refused: int


def seen(kept: Sequence[Turn]) -> Passed:
    """Buckets promised twice, and buckets in which power or a quota is passed, by what the turns themselves say."""
    holders, power, quota = Counter[tuple[str, int]](), Counter[int](), Counter[tuple[str, int]]()
    for turn in kept:
        assert turn.place is not None
        for bucket, watts in zip(turn.place.buckets, turn.place.watts, strict=True):
            holders[turn.place.connector, bucket] += 1
            power[bucket] += watts
            quota[turn.compound or "", bucket] += 1
    return Passed(
        sum(count > 1 for count in holders.values()),
        sum(watts > SITE_W for watts in power.values()),
        sum(count > QUOTA for count in quota.values()),
    )


class Unguarded:
    """What is written first where nobody thinks of the others: look whether it is free, then promise it."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._ledger = engine, SqlLedger(engine)

    def promise(self, wanted: Turn) -> bool:
        place = wanted.place
        assert place is not None
        for other in self._ledger.turns(site=SITE, states=HOLDING):
            if (
                other.place
                and other.place.connector == place.connector
                and set(other.place.buckets) & set(place.buckets)
            ):
                return False
        with self._engine.begin() as connection:
            connection.execute(insert(turn_table), row_of(wanted))
        return True


class Racer:
    """One thread: promises, moves and gives back, at random, as often as it is told."""

    def __init__(self, ledger: Ledger, name: str, now_ms: Callable[[], int]) -> None:
        self._ledger, self._name, self._now_ms = ledger, name, now_ms
        self._random = random.Random(name)
        self._held: list[Turn] = []
        self._numbers = itertools.count(1)
        self.attempts = self.promised = self.refused = 0

    def run(self, attempts: int) -> None:
        while self.attempts < attempts:
            does = self._random.choices((self._ask, self._move, self._give_back), (6, 2, 2 + len(self._held)))[0]
            try:
                does()
            except (Taken, OverLimit):
                self.refused += 1
            except Moved as moved:
                self._held = [turn for turn in self._held if moved.now is None or turn.id != moved.now.id]

    def wanted(self) -> Turn:
        """A turn that holds a place from its first moment, as a walk-in's does."""
        place, now_ms = self._place(), self._now_ms()
        lapses = self._random.random() < 0.3
        return Turn(
            id=f"{self._name}-{next(self._numbers)}", site=SITE, mode="in_turn",
            state="offered" if lapses else "reserved", compound=f"c{self._random.randrange(COMPOUNDS)}",
            energy_kwh=7.0, max_w=WATTS, earliest_ms=now_ms, depart_by_ms=place.end_ms,
            requested_ms=now_ms, waiting_ms=now_ms, place=place,
            due_ms=now_ms + ANSWER_MS if lapses else place.end_ms,
        )  # fmt: skip

    def _place(self) -> Place:
        buckets = self._random.randint(1, LONGEST)
        first = FIRST + self._random.randint(0, BUCKETS - buckets)
        return Place(f"{SITE}/pile/{self._random.randrange(CONNECTORS)}", first, (WATTS,) * buckets)

    def _ask(self) -> None:
        self._commit(None, self.wanted())
        self.promised += 1

    def _move(self) -> None:
        if self._held:
            turn = self._held.pop(self._random.randrange(len(self._held)))
            self._commit(turn, turns.moved(turn, self._place(), self._now_ms(), NO_QUIET))

    def _give_back(self) -> None:
        if self._held:
            turn = self._held.pop(self._random.randrange(len(self._held)))
            self._commit(turn, turns.cancelled(turn, self._now_ms()))

    def _commit(self, before: Turn | None, after: Turn) -> None:
        buckets = len(after.place.watts) if after.place else 0
        self.attempts += 1
        limits = Limits(site_w=(SITE_W,) * buckets, quota=(QUOTA,) * buckets)
        try:
            [kept] = self._ledger.commit([Change(before=before, after=after, limits=limits)], self._now_ms())
        except (Taken, OverLimit):
            self._held += [before] if before else []
            raise
        self._held += [kept] if kept.state in HOLDING else []


def race(url: str, process: int, attempts: int) -> Done:
    """In a process of its own: so many attempts by its threads together."""
    began_s = time.monotonic()
    ledger = SqlLedger(engine_of(url, connections=THREADS))
    racers = [
        Racer(ledger, f"p{process}t{thread}", lambda: FIRST * BUCKET_MS + round((time.monotonic() - began_s) * 1_000))
        for thread in range(THREADS)
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda racer: racer.run(-(-attempts // THREADS)), racers))
    ledger.close()
    return Done(
        sum(racer.attempts for racer in racers),
        sum(racer.promised for racer in racers),
        sum(racer.refused for racer in racers),
    )


def race_unguarded(url: str, process: int, attempts: int) -> int:
    unguarded = Unguarded(engine := engine_of(url, connections=THREADS))
    racers = [Racer(SqlLedger(engine), f"u{process}t{thread}", lambda: FIRST * BUCKET_MS) for thread in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        made = pool.map(
            lambda racer: sum(unguarded.promise(racer.wanted()) for _ in range(attempts // THREADS)), racers
        )
        return sum(made)


class Watcher(threading.Thread):
    """Looks at what is promised, again and again, until it is told to end."""

    def __init__(self, ledger: SqlLedger) -> None:
        super().__init__()
        self.worst, self.looks = Passed(), 0
        self._ledger, self._over = ledger, threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.look()

    def look(self) -> None:
        self.worst = self.worst.worse(seen(self._ledger.turns(site=SITE, states=HOLDING)))
        self.looks += 1

    def end(self) -> None:
        self._over.set()
        self.join()
        self.look()


def measure(url: str, attempts: int, processes: int = PROCESSES) -> dict[str, float]:
    """Figures of one database, guard on and then off. Its tables must not be there yet."""
    engine = engine_of(url)
    migrate(engine)
    ledger, began_s = SqlLedger(engine), time.monotonic()
    watcher = Watcher(ledger)
    watcher.start()
    share = -(-attempts // processes)
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(race, [url] * processes, range(processes), [share] * processes))
        took_s = time.monotonic() - began_s
        watcher.end()
        unbalanced = ledger.imbalance()
        for turn in ledger.turns(site=SITE, states=HOLDING):
            ledger.commit([Change(before=turn, after=turns.cancelled(turn, 0))], 0)
        alone = 64 * processes
        list(pool.map(race_unguarded, [url] * processes, range(processes), [alone] * processes))
    doubles = seen(ledger.turns(site=SITE, states=HOLDING)).doubles
    ledger.close()
    return {
        "attempts": sum(one.attempts for one in done),
        "promised": sum(one.promised for one in done),
        "refused": sum(one.refused for one in done),
        "attempts_per_s": round(sum(one.attempts for one in done) / took_s),
        "looks": watcher.looks,
        "doubles": watcher.worst.doubles,
        "power_passed": watcher.worst.power,
        "quota_passed": watcher.worst.quota,
        "orphans": len(unbalanced.orphans) + len(unbalanced.unclaimed),
        "miscounted": len(unbalanced.counts) + len(unbalanced.live),
        "doubles_without_guard": doubles,
    }


@contextmanager
def database(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with TemporaryDirectory(prefix="lunchong-race-") as folder:
            yield f"sqlite:///{Path(folder) / 'ledger.sqlite'}"
        return
    server = Postgres()
    try:
        with server.database() as url:
            yield url
    finally:
        server.stop()


def main() -> int:
    asked = argparse.ArgumentParser(description="Races for the same buckets; ends with one line of JSON.")
    asked.add_argument("--attempts", type=int, default=100_000, help="on each database")
    asked.add_argument("--on", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    given = asked.parse_args()
    found: dict[str, float] = {}
    for kind in given.on:
        with database(kind) as url:
            figures = measure(url, given.attempts)
        print(f"{kind}: {figures}")
        found |= {f"{name}_{kind}": figure for name, figure in figures.items()}
    for name in (
        "attempts",
        "doubles",
        "orphans",
        "miscounted",
        "power_passed",
        "quota_passed",
        "doubles_without_guard",
    ):
        figures_of = [figure for key, figure in found.items() if key.rpartition("_")[0] == name]
        found[name] = min(figures_of) if name == "doubles_without_guard" else sum(figures_of)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
