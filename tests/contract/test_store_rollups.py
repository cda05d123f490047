"""Rollups by hour and day: what every adapter of TelemetryStore must make of its readings."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import duckdb_rollup_sql
from ingest.clock import to_ms
from ingest.facts import Level, Row, SkewMark
from ingest.store import RollupRow, TelemetryStore
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from tests.influx import fresh_buckets
from tests.stores import HOUR_MS, NINE_MS, Spool, amenity, climate, connector, fault, meter, outlets, presence

LATER_MS = NINE_MS + 10 * 24 * HOUR_MS
EVENING_MS = NINE_MS + 4 * HOUR_MS
"""Three hours before midnight in Shanghai."""


def by_hour(store, **wanted) -> dict[int, float | None]:
    """Energy by whole hours after nine."""
    return {(row.start_ms - NINE_MS) // HOUR_MS: row.energy_kwh for row in store.rollups("hour", 0, LATER_MS, **wanted)}


def test_energy_between_two_hours_belongs_to_the_later_reading(store, spool):
    store.write(spool.batch(meter(NINE_MS, 10.0), meter(NINE_MS + HOUR_MS - 1, 12.0), meter(NINE_MS + HOUR_MS, 15.0)))
    assert store.roll_up(LATER_MS) == 2
    assert by_hour(store) == {0: 2.0, 1: 3.0}


def test_silent_hours_are_bridged(store, spool):
    store.write(spool.batch(meter(NINE_MS, 10.0), meter(NINE_MS + 5 * HOUR_MS, 15.0)))
    store.roll_up(LATER_MS)
    assert by_hour(store) == {0: 0.0, 5: 5.0}


@pytest.mark.parametrize("swapped_at_ms", [NINE_MS + 1, NINE_MS + HOUR_MS])
def test_a_replaced_meter_neither_adds_nor_takes_energy(store, spool, swapped_at_ms):
    store.write(spool.batch(meter(NINE_MS, 100.0), meter(swapped_at_ms, 3.0), meter(NINE_MS + HOUR_MS + 9, 4.5)))
    store.roll_up(LATER_MS)
    assert sum(energy or 0.0 for energy in by_hour(store).values()) == 1.5


def test_the_hour_that_runs_is_not_rolled_up(store, spool):
    store.write(spool.batch(meter(NINE_MS, 10.0), meter(NINE_MS + HOUR_MS, 11.0)))
    assert store.roll_up(NINE_MS + 2 * HOUR_MS - 1) == 1
    assert by_hour(store) == {0: 0.0}
    assert store.roll_up(NINE_MS + 2 * HOUR_MS) == 1
    assert by_hour(store) == {0: 0.0, 1: 1.0}


def test_late_data_renews_its_hour_and_the_next_one_that_has_readings(store, spool):
    store.write(
        spool.batch(meter(NINE_MS, 10.0), meter(NINE_MS + 4 * HOUR_MS, 20.0), meter(NINE_MS, 1.0, device="pile-02"))
    )
    store.roll_up(LATER_MS)
    store.write(spool.batch(meter(NINE_MS + HOUR_MS, 13.0), meter(NINE_MS + 2 * HOUR_MS, 14.0)))
    assert by_hour(store, device="pile-01") == {0: 0.0, 4: 10.0}
    assert store.roll_up(LATER_MS) == 2
    assert by_hour(store, device="pile-01") == {0: 0.0, 1: 3.0, 2: 1.0, 4: 6.0}
    assert store.roll_up(LATER_MS) == 0


def test_an_hour_that_lost_its_only_reading_to_a_wrong_clock_is_gone(store, spool):
    readings = enumerate((10.0, 11.0, 13.0))
    store.write(spool.batch(*(meter(NINE_MS + n * HOUR_MS, kwh, seq=n + 1) for n, kwh in readings)))
    store.roll_up(LATER_MS)
    store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", 2, 2)]))
    store.roll_up(LATER_MS)
    assert by_hour(store) == {0: 0.0, 2: 3.0}


def test_each_connector_and_station_has_its_own_row(store, spool):
    store.write(
        spool.batch(
            meter(NINE_MS, 10.0, power_kw=2.0),
            meter(NINE_MS + 1, 11.0, power_kw=6.0),
            connector(NINE_MS + 2, "charging"),
            meter(NINE_MS, 50.0, connector=2, power_kw=None),
            climate(NINE_MS, 26.0),
            climate(NINE_MS + 1, 24.0),
            presence(NINE_MS, 2, entries=100),
            presence(NINE_MS + 1, 5, entries=104),
            outlets(NINE_MS, 1_000.0),
            outlets(NINE_MS + 1, 1_250.0),
        )
    )
    store.roll_up(LATER_MS)
    rollup = partial(RollupRow, level="hour", start_ms=NINE_MS, site="jn-01")
    assert store.rollups("hour", NINE_MS, NINE_MS + 1) == [
        rollup(device="pile-01", connector=1, samples=3, energy_kwh=1.0, power_kw_max=6.0, power_kw_mean=4.0),
        rollup(device="pile-01", connector=2, samples=1, energy_kwh=0.0),
        rollup(
            device="station-01",
            connector=0,
            samples=6,
            people_max=5.0,
            people_mean=3.5,
            indoor_c_max=26.0,
            indoor_c_min=24.0,
            outlet_wh=250.0,
            entries=4,
        ),
    ]
    assert store.rollups("hour", NINE_MS + 1, LATER_MS) == []
    assert store.rollups("hour", 0, LATER_MS, site="jn-02") == []


def test_a_day_is_a_local_day_and_shown_when_it_is_over(store, spool):
    midnight_ms = to_ms(datetime(2026, 11, 22, 16, tzinfo=UTC))
    readings = [meter(midnight_ms + hour * HOUR_MS, 100.0 + hour, power_kw=float(hour)) for hour in range(-2, 26)]
    store.write(spool.batch(*readings))
    store.roll_up(midnight_ms + 24 * HOUR_MS - 1)
    assert [row.start_ms for row in store.rollups("day", 0, LATER_MS)] == [midnight_ms - 24 * HOUR_MS]
    store.roll_up(midnight_ms + 24 * HOUR_MS)
    [before, day] = store.rollups("day", 0, LATER_MS)
    assert (before.samples, before.energy_kwh) == (2, 1.0)
    assert (day.start_ms, day.samples, day.energy_kwh) == (midnight_ms, 24, 24.0)
    assert (day.power_kw_max, day.power_kw_mean) == (23.0, 11.5)
    assert store.rollups("day", midnight_ms - 1, LATER_MS) == [day]
    assert store.rollups("day", 0, midnight_ms) == [before]


def test_a_clock_change_makes_a_day_of_25_hours(open_store, spool):
    store = open_store(timezone="Europe/Berlin")
    midnight_ms = to_ms(datetime(2026, 10, 24, 22, tzinfo=UTC))
    store.write(spool.batch(*(meter(midnight_ms + hour * HOUR_MS, float(hour)) for hour in range(30))))
    store.roll_up(midnight_ms + 49 * HOUR_MS)
    assert [(row.start_ms - midnight_ms, row.samples) for row in store.rollups("day", 0, LATER_MS)] == [
        (0, 25),
        (25 * HOUR_MS, 5),
    ]


def test_many_hours_are_done_in_parts_with_the_same_result(store, spool, monkeypatch):
    monkeypatch.setattr("ingest.duckdb_rollup.TAKEN", duckdb_rollup_sql.TAKEN.replace("LIMIT 20000", "LIMIT 7"))
    monkeypatch.setattr("ingest.influx_rollup.HOURS_AT_ONCE", 7)
    devices = ("pile-01", "pile-02", "pile-03")
    for hour in range(40):
        store.write(spool.batch(*(meter(NINE_MS + hour * HOUR_MS, float(hour), device=device) for device in devices)))
    done: list[int] = []
    while not done or done[-1]:
        done.append(store.roll_up(LATER_MS, limit_hours=15))
    assert done == [15, 15, 10, 0]
    for device in devices:
        assert by_hour(store, device=device) == {hour: float(hour > 0) for hour in range(40)}


def test_a_rollup_outlives_its_raw_rows_and_a_straggler_does_not_spoil_it(store, spool):
    store.write(spool.batch(*(meter(NINE_MS + n * HOUR_MS // 4, float(n)) for n in range(8))))
    store.expire(NINE_MS + 24 * HOUR_MS)
    whole = by_hour(store)
    assert whole == {0: 3.0, 1: 4.0}
    store.write(spool.batch(meter(NINE_MS + 1, 0.5)))
    store.roll_up(LATER_MS)
    assert by_hour(store) == whole


def test_hours_that_come_only_after_they_expired_are_rolled_up_all_the_same(store, spool):
    store.expire(NINE_MS + 24 * HOUR_MS)
    store.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + 1, 2.0)))
    store.roll_up(LATER_MS)
    store.write(spool.batch(meter(NINE_MS + 2, 2.5), meter(NINE_MS + HOUR_MS, 5.0)))
    store.expire(NINE_MS + 24 * HOUR_MS)
    assert by_hour(store) == {0: 1.5, 1: 2.5}


def test_counters_that_fall_take_nothing_away_whichever_fell_beside_which(store, spool):
    station = [
        presence(NINE_MS, 2, entries=100), outlets(NINE_MS + 1, 1_000.0), climate(NINE_MS + 2, 20.0),
        presence(NINE_MS + 3, 4, entries=110), outlets(NINE_MS + 4, 1_010.0),
        presence(NINE_MS + 5, 0, entries=0, boot="boot-b"), outlets(NINE_MS + 6, 0.0, boot="boot-b"),
        presence(NINE_MS + 7, 2, entries=3, boot="boot-b"), outlets(NINE_MS + 8, 5.5, boot="boot-b"),
        climate(NINE_MS + 9, 24.0, boot="boot-b"),
        presence(NINE_MS + HOUR_MS, 1, entries=1), outlets(NINE_MS + HOUR_MS + 1, 6.5),
    ]  # fmt: skip
    pile = [
        meter(NINE_MS, 50.0), connector(NINE_MS + 1, "charging"), meter(NINE_MS + 2, 52.0),
        meter(NINE_MS + 3, 1.0, boot="boot-b"), meter(NINE_MS + 4, 1.5, boot="boot-b"),
        meter(NINE_MS, 7.0, connector=2), meter(NINE_MS + 1, 8.0, connector=2),
        meter(NINE_MS + HOUR_MS, 0.25), meter(NINE_MS + HOUR_MS + 1, 0.75),
    ]  # fmt: skip
    store.write(spool.batch(*station, *pile))
    assert store.roll_up(LATER_MS) == 2
    found = store.rollups("hour", 0, LATER_MS)
    assert [(row.start_ms, row.device, row.connector, row.samples) for row in found] == [
        (NINE_MS, "pile-01", 1, 5),
        (NINE_MS, "pile-01", 2, 2),
        (NINE_MS, "station-01", 0, 10),
        (NINE_MS + HOUR_MS, "pile-01", 1, 2),
        (NINE_MS + HOUR_MS, "station-01", 0, 2),
    ]
    assert [row.energy_kwh for row in found] == [2.5, 1.0, None, 0.5, None]
    assert [row.entries for row in found] == [None, None, 13, None, 0]
    assert [row.outlet_wh for row in found] == [None, None, 15.5, None, 1.0]
    of_station = found[2]
    assert (of_station.people_max, of_station.people_mean) == (4.0, 2.0)
    assert (of_station.indoor_c_min, of_station.indoor_c_max) == (20.0, 24.0)
    days = store.rollups("day", 0, LATER_MS)
    assert [(row.device, row.connector, row.energy_kwh, row.entries, row.outlet_wh) for row in days] == [
        ("pile-01", 1, 3.0, None, None),
        ("pile-01", 2, 1.0, None, None),
        ("station-01", 0, None, 13, 16.5),
    ]


@pytest.mark.parametrize("late", ["presence", "outlets", "meter"])
def test_a_counter_that_is_found_to_have_fallen_late_renews_its_hour_alone(store, spool, late):
    store.write(
        spool.batch(
            presence(NINE_MS, 1, entries=10), presence(NINE_MS + 2, 1, entries=12),
            outlets(NINE_MS, 100.0), outlets(NINE_MS + 2, 120.0),
            meter(NINE_MS, 5.0), meter(NINE_MS + 2, 9.0), meter(NINE_MS + HOUR_MS, 10.0),
        )
    )  # fmt: skip
    store.roll_up(LATER_MS)
    fell = {
        "presence": presence(NINE_MS + 1, 1, entries=0),
        "outlets": outlets(NINE_MS + 1, 0.0),
        "meter": meter(NINE_MS + 1, 0.0),
    }
    store.write(spool.batch(fell[late]))
    assert store.roll_up(LATER_MS) == 1
    pile, station, next_hour = store.rollups("hour", 0, LATER_MS)
    assert pile.energy_kwh == (9.0 if late == "meter" else 4.0)
    assert (station.entries, station.outlet_wh) == (
        12 if late == "presence" else 2,
        120.0 if late == "outlets" else 20.0,
    )
    assert next_hour.energy_kwh == 1.0


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
