"""Rollups of drawn readings: against a naive computation, and one store against the other."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.facts import Level, Row, SkewMark
from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from tests.influx import fresh_buckets
from tests.stores import (
    EVENING_MS,
    HOUR_MS,
    LATER_MS,
    Spool,
    amenity,
    climate,
    connector,
    fault,
    meter,
    outlets,
    presence,
)

# --- against a naive computation -------------------------------------------------------------------------------------


def naive(rows: Iterable[Row], level: Level) -> dict[tuple[int, str, int], tuple[int, float | None, float | None]]:
    """(samples, energy, highest power) by (hour or day of Shanghai, device, connector), one reading after the other."""
    long_ms, ahead_ms = (HOUR_MS, 0) if level == "hour" else (24 * HOUR_MS, 8 * HOUR_MS)
    lines: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        lines[str(row[2]), int(row[8] or 0)].append(row)
    found: dict[tuple[int, str, int], tuple[int, float | None, float | None]] = {}
    for (device, no), line in lines.items():
        before: float | None = None
        for at_ns, *_, power_kw, energy_kwh, _a, _v, _t, _soc, _st, _by, _bay, _tok, _err in sorted(line):
            start_ms = (int(at_ns or 0) // 1_000_000 + ahead_ms) // long_ms * long_ms - ahead_ms
            key = start_ms, device, no
            samples, energy, power = found.get(key, (0, None, None))
            if energy_kwh is not None:
                rise = 0.0 if before is None else max(0.0, float(energy_kwh) - before)
                energy, before = (energy or 0.0) + rise, float(energy_kwh)
            if power_kw is not None:
                power = max(float(power_kw), power if power is not None else float(power_kw))
            found[key] = samples + 1, energy, power
    return found


reading = st.tuples(
    st.integers(0, 6 * 60 - 1),
    st.sampled_from(["pile-01", "pile-02"]),
    st.sampled_from([1, 2]),
    st.none() | st.integers(0, 40).map(float),
    st.none() | st.integers(0, 7).map(float),
)
step = (
    st.lists(reading, min_size=1, max_size=12) | st.integers(0, 7) | st.tuples(st.integers(1, 40), st.integers(1, 40))
)


steps = st.lists(step, min_size=1, max_size=8)
"""A list is a batch (minute, device, connector, counter, power), a number rolls up, a pair marks skew."""


@settings(max_examples=60, deadline=None)
@given(steps)
def test_rollups_equal_a_naive_computation_whatever_came_when(doings):
    with TemporaryDirectory() as folder, closing(DuckStore(Path(folder) / "facts.duckdb")) as store:
        assert_rollups_equal_a_naive_computation(store, doings)


@settings(max_examples=15, deadline=None)
@given(steps)
def test_rollups_in_influxdb_equal_a_naive_computation_whatever_came_when(influx_server, doings):
    with (
        fresh_buckets(influx_server) as prefix,
        closing(InfluxStore(influx_server.url, influx_server.token, org=influx_server.org, prefix=prefix)) as store,
    ):
        assert_rollups_equal_a_naive_computation(store, doings)


def assert_rollups_equal_a_naive_computation(store: TelemetryStore, doings: list[Any]) -> None:
    spool, seqs, rows = Spool(), itertools.count(1), dict[int, Row]()
    for doing in doings:
        if isinstance(doing, int):
            store.roll_up(EVENING_MS + doing * HOUR_MS, limit_hours=2)
        elif isinstance(doing, tuple):
            lo, hi = sorted(doing)
            store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", lo, hi)]))
            for seq in range(lo, hi + 1):
                if seq in rows and rows[seq][2] == "pile-01":
                    del rows[seq]
        else:
            batch = []
            for minute, device, no, energy, power in doing:
                seq = next(seqs)
                rows[seq] = meter(
                    EVENING_MS + minute * 60_000, energy, device=device, connector=no, power_kw=power, seq=seq
                )
                batch.append(rows[seq])
            store.write(spool.batch(*batch))
    while store.roll_up(LATER_MS):
        pass
    # A store that looks at each day since 1970 takes half of the test's time for it.
    for level, since_ms in (("hour", 0), ("day", EVENING_MS - 24 * HOUR_MS)):
        found = {
            (row.start_ms, row.device, row.connector): (row.samples, row.energy_kwh, row.power_kw_max)
            for row in store.rollups(level, since_ms, LATER_MS)
        }
        assert found == naive(rows.values(), level)


# --- one store against the other -------------------------------------------------------------------------------------

said_by_kind = {
    "meter": lambda at_ms, value, **more: meter(at_ms, value, power_kw=value, **more),
    "meter of 2": lambda at_ms, value, **more: meter(at_ms, value, connector=2, **more),
    "connector": lambda at_ms, _value, **more: connector(at_ms, "charging", bay_occupied=True, **more),
    "presence": lambda at_ms, value, **more: presence(at_ms, int(value), entries=int(value), **more),
    "outlets": lambda at_ms, value, **more: outlets(at_ms, value, outlets_used=int(value), **more),
    "climate": lambda at_ms, value, **more: climate(at_ms, value, co2_ppm=400.0 + value, **more),
    "amenity": lambda at_ms, value, **more: amenity(at_ms, "water", value > 3, **more),
    "fault": lambda at_ms, _value, **more: fault(at_ms, "E1", **more),
}
anything = st.tuples(
    st.sampled_from([*said_by_kind]),
    st.integers(0, 3 * 60 - 1),
    st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0]),
    st.sampled_from(["boot", "boot-b"]),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(anything, min_size=1, max_size=15) | st.none(), min_size=1, max_size=4))
def test_both_stores_make_the_same_rollups_of_readings_of_all_kinds(influx_server, doings):
    """A list is a batch (kind, minute, value, boot), None rolls up what is over."""
    with (
        TemporaryDirectory() as folder,
        fresh_buckets(influx_server) as prefix,
        closing(InfluxStore(influx_server.url, influx_server.token, org=influx_server.org, prefix=prefix)) as influx,
        closing(DuckStore(Path(folder) / "facts.duckdb")) as duck,
    ):
        spool, seqs = Spool(), itertools.count(1)
        for doing in doings:
            rows = [
                said_by_kind[kind](EVENING_MS + minute * 60_000, value, boot=boot, seq=next(seqs))
                for kind, minute, value, boot in doing or ()
            ]
            batch = spool.batch(*rows)
            for store in (influx, duck):
                if doing is None:
                    store.roll_up(EVENING_MS + 2 * HOUR_MS)
                else:
                    store.write(batch)
        for store in (influx, duck):
            store.roll_up(LATER_MS)
        for level in ("hour", "day"):
            asked = level, EVENING_MS - 24 * HOUR_MS, LATER_MS
            assert influx.rollups(*asked) == duck.rollups(*asked)
