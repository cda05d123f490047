"""What every adapter of TelemetryStore must keep. Sessions, dead letters and rollups have pages of their own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from ingest.facts import Reading, SkewMark
from ingest.store import StoreUnavailable
from tests.stores import (
    HOUR_MS,
    NINE_MS,
    Spool,
    amenity,
    climate,
    connector,
    dead_letter,
    fault,
    meter,
    outlets,
    presence,
    session,
)

MINUTE_MS = 60_000


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_batch_given_twice_is_stored_once(store, spool):
    batch = spool.batch(meter(NINE_MS, seq=1), sessions=[session(NINE_MS)], dead=[dead_letter(NINE_MS)])
    store.write(batch)
    store.write(batch)
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 1, 1)]
    assert store.drained("spool-a") == 1


def test_a_batch_older_than_the_last_one_is_skipped(store, spool):
    old, new = spool.batch(meter(NINE_MS, seq=1)), spool.batch(meter(NINE_MS, seq=2))
    store.write(new)
    store.write(old)
    assert store.stored() == [("jn-01", "pile-01", "boot", 2, 2, 1)]
    assert store.drained("spool-a") == 2


def test_a_new_spool_counts_from_one_again(store):
    store.write(Spool("spool-a").batch(meter(NINE_MS, seq=1)))
    store.write(Spool("spool-b").batch(meter(NINE_MS, seq=2)))
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]
    assert (store.drained("spool-a"), store.drained("spool-b"), store.drained("spool-c")) == (1, 1, 0)


def test_a_batch_that_fails_leaves_nothing_behind(store, spool):
    good = meter(NINE_MS, seq=1)
    torn = spool.batch(good, (*meter(NINE_MS, seq=2), "a column too many"), sessions=[session(NINE_MS)])
    with pytest.raises(Exception, match="values"):
        store.write(torn)
    assert store.stored() == []
    assert store.open_sessions() == []
    assert store.drained("spool-a") == 0
    spool.no = 0
    store.write(spool.batch(good))
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 1, 1)]


def test_everything_is_there_after_closing_and_opening_again(open_store, spool):
    first = open_store()
    first.write(spool.batch(meter(NINE_MS, seq=1), sessions=[session(NINE_MS)], dead=[dead_letter(NINE_MS)]))
    said = first.latest()
    first.close()
    again = open_store()
    assert again.latest() == said
    assert again.drained("spool-a") == 1
    assert again.open_sessions() == [session(NINE_MS)]
    assert again.dead_letters() == [dead_letter(NINE_MS)]


def test_a_closed_store_says_so(store, spool):
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.write(spool.batch(meter(NINE_MS)))


def test_threads_may_write_and_ask_at_once(store):
    done = threading.Event()

    def ask() -> int:
        asked = 0
        while not done.is_set():
            store.latest()
            store.stored()
            store.roll_up(NINE_MS + 24 * HOUR_MS)
            asked += 1
        return asked

    def drain(name: str) -> None:
        spool = Spool(name)
        for no in range(30):
            at_ms = NINE_MS + no * 10 * MINUTE_MS
            store.write(spool.batch(*(meter(at_ms, no, device=name, seq=no * 5 + n + 1) for n in range(5))))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        draining = [pool.submit(drain, name) for name in ("pile-a", "pile-b")]
        wait(draining)
        done.set()
        assert not any(thread.exception() for thread in draining)
        assert all(thread.result() > 0 for thread in asking)
    assert store.stored() == [("jn-01", name, "boot", 1, 150, 150) for name in ("pile-a", "pile-b")]
    store.roll_up(NINE_MS + 24 * HOUR_MS)
    assert {row.start_ms: row.samples for row in store.rollups("hour", 0, NINE_MS * 2, device="pile-a")} == {
        NINE_MS + hour * HOUR_MS: 30 for hour in range(5)
    }


# --- what is stored --------------------------------------------------------------------------------------------------


def test_runs_of_seqs_show_holes_and_duplicates_over_all_kinds(store, spool):
    store.write(spool.batch(meter(NINE_MS, seq=1), fault(NINE_MS, "E1", seq=2), connector(NINE_MS, "charging", seq=3)))
    store.write(spool.batch(meter(NINE_MS, seq=7), meter(NINE_MS, seq=8), meter(NINE_MS + 1, seq=8)))
    store.write(spool.batch(meter(NINE_MS + 1, seq=1, boot="next"), climate(NINE_MS, 20.0, seq=5)))
    assert store.stored() == [
        ("jn-01", "pile-01", "boot", 1, 3, 3),
        ("jn-01", "pile-01", "boot", 7, 8, 3),
        ("jn-01", "pile-01", "next", 1, 1, 1),
        ("jn-01", "station-01", "boot", 5, 5, 1),
    ]


def test_rows_of_a_batch_are_never_left_out_of_what_came_after_another(store, spool):
    store.write(spool.batch(meter(NINE_MS, seq=1)))
    store.write(spool.batch(meter(NINE_MS, seq=2), fault(NINE_MS, "E1", seq=3)))
    [(*_, lo, hi, rows)] = store.stored(("spool-a", 1))
    assert (hi, rows) == (3, hi - lo + 1)
    assert lo in (1, 2)


def test_the_longest_seq_and_time_fit(store, spool):
    latest_ms = 7_258_118_399_999
    store.write(spool.batch(meter(latest_ms, seq=2**63 - 1)))
    assert store.stored() == [("jn-01", "pile-01", "boot", 2**63 - 1, 2**63 - 1, 1)]
    assert [reading.at_ms for reading in store.readings("jn-01", "pile-01", 1, latest_ms)] == [latest_ms]


# --- the latest ------------------------------------------------------------------------------------------------------


def test_the_latest_of_each_connector_and_instrument_is_known(store, spool):
    older = [
        meter(NINE_MS, 1.0),
        connector(NINE_MS, "preparing"),
        climate(NINE_MS, 20.0),
        amenity(NINE_MS, "wifi", True),
    ]
    newer_ms = NINE_MS + MINUTE_MS
    newest = [
        meter(newer_ms, 2.0),
        meter(newer_ms, 5.0, connector=2),
        connector(newer_ms, "charging"),
        climate(newer_ms, 21.0),
        presence(NINE_MS, 3),
        amenity(newer_ms, "wifi", False),
        amenity(NINE_MS, "water", True),
    ]
    store.write(spool.batch(*newest))
    store.write(spool.batch(*older, fault(NINE_MS, "E1")))
    found = {(row["device"], row["kind"], row.get("connector") or row.get("name")): row for row in store.latest()}
    assert len(found) == len(store.latest()) == len(newest)
    assert found["pile-01", "meter", 1]["energy_kwh"] == 2.0
    assert found["pile-01", "meter", 2]["energy_kwh"] == 5.0
    assert found["pile-01", "connector", 1]["state"] == "charging"
    assert found["station-01", "climate", None]["indoor_c"] == 21.0
    assert found["station-01", "presence", None]["people"] == 3
    assert found["station-01", "amenity", "wifi"]["ok"] is False


def test_messages_whose_clock_was_found_wrong_do_not_hold_back_the_latest(store, spool):
    store.write(spool.batch(meter(NINE_MS + 72 * HOUR_MS, 1.0, seq=1), meter(NINE_MS, 2.0, seq=2)))
    store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", 1, 1)]))
    assert [row["energy_kwh"] for row in store.latest()] == [2.0]
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]


def test_a_skew_mark_flags_its_seqs_of_its_boot_alone(store, spool):
    rows = [meter(NINE_MS, seq=seq, boot=boot, ts_ms=1) for boot in ("boot", "next") for seq in (1, 2, 3)]
    store.write(spool.batch(*rows))
    store.write(spool.batch(meter(NINE_MS, seq=4, ts_ms=1), skewed=[SkewMark("jn-01", "pile-01", "boot", 2, 3)]))
    assert not any(row["skewed"] for row in store.latest())
    store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", 4, 4)]))
    assert [row["skewed"] for row in store.latest()] == [True]


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_gives_means_of_power_and_the_last_of_counters(store, spool):
    store.write(
        spool.batch(
            meter(NINE_MS + 4 * MINUTE_MS, 11.0, power_kw=6.0, temp_c=30.0),
            meter(NINE_MS, 10.0, power_kw=2.0),
            meter(NINE_MS + 5 * MINUTE_MS, 12.0, power_kw=7.0),
            meter(NINE_MS, 99.0, connector=2),
            meter(NINE_MS, 99.0, device="pile-02"),
            meter(NINE_MS + 15 * MINUTE_MS, 13.0),
        )
    )
    points = store.history("jn-01", "pile-01", 1, NINE_MS, NINE_MS + 15 * MINUTE_MS, 5 * MINUTE_MS)
    assert [(point.at_ms - NINE_MS, point.values["power_kw"], point.values["energy_kwh"]) for point in points] == [
        (0, 4.0, 11.0),
        (5 * MINUTE_MS, 7.0, 12.0),
    ]
    assert points[0].values["temp_c"] == 30.0
    assert points[1].values["temp_c"] is None


def test_history_of_a_station_is_that_of_its_instruments(store, spool):
    store.write(spool.batch(climate(NINE_MS, 20.0), climate(NINE_MS + 1, 22.0), presence(NINE_MS + 2, 4, entries=7)))
    [point] = store.history("jn-01", "station-01", None, NINE_MS, NINE_MS + HOUR_MS, HOUR_MS)
    assert {name: point.values[name] for name in ("indoor_c", "people", "entries", "energy_wh")} == {
        "indoor_c": 21.0,
        "people": 4.0,
        "entries": 7.0,
        "energy_wh": None,
    }


def test_history_in_steps_of_nothing_is_refused(store):
    with pytest.raises(ValueError, match="millisecond"):
        store.history("jn-01", "pile-01", 1, 0, 1, 0)


def test_readings_since_a_time_are_those_of_one_connector(store, spool):
    store.write(
        spool.batch(
            connector(NINE_MS, "suspended", seq=1, suspended_by="ev"),
            meter(NINE_MS + 1, 12.5, seq=2),
            meter(NINE_MS - 1, seq=3),
            meter(NINE_MS, seq=4, connector=2),
            outlets(NINE_MS, 1.0),
        )
    )
    assert sorted(store.readings("jn-01", "pile-01", 1, NINE_MS), key=lambda reading: reading.seq) == [
        Reading("boot", 1, NINE_MS, 1, "suspended", "ev", None, None),
        Reading("boot", 2, NINE_MS + 1, 1, None, None, 7.0, 12.5),
    ]


# --- age -------------------------------------------------------------------------------------------------------------


def test_raw_rows_expire_and_what_was_made_of_them_stays(store, spool):
    store.write(
        spool.batch(
            meter(NINE_MS, 10.0, seq=1),
            meter(NINE_MS + 1, 12.0, seq=2),
            climate(NINE_MS, 20.0, seq=1),
            fault(NINE_MS, "E1", seq=3),
            meter(NINE_MS + HOUR_MS, 13.0, seq=4),
            sessions=[session(NINE_MS, ended_ms=NINE_MS + 1)],
        )
    )
    assert store.expire(NINE_MS + HOUR_MS + 5) == 3
    assert store.stored() == [("jn-01", "pile-01", "boot", 3, 4, 2)]
    assert len(store.sessions().items) == 1
    store.roll_up(NINE_MS + 2 * HOUR_MS)
    assert [row.energy_kwh for row in store.rollups("hour", 0, NINE_MS * 2, device="pile-01")] == [2.0, 1.0]
