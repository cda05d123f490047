"""Rollups by hour and day: what every adapter of TelemetryStore must make of its readings."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest

from ingest import duckdb_rollup_sql
from ingest.clock import to_ms
from ingest.facts import SkewMark
from ingest.store import RollupRow
from tests.stores import HOUR_MS, LATER_MS, NINE_MS, climate, connector, meter, outlets, presence


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
