"""What InfluxDB holds when something broke off or came in between: the same as else, once it is done again."""

from __future__ import annotations

from contextlib import closing

import pytest

from ingest import influx_fresh
from ingest.facts import Batch, SkewMark
from ingest.influx_rollup import Rollups
from ingest.store import StoreUnavailable
from ingest.store_influx import InfluxStore
from tests.influx import fresh_buckets
from tests.stores import (
    HOUR_MS,
    LATER_MS,
    NINE_MS,
    Spool,
    amenity,
    climate,
    dead_letter,
    fault,
    meter,
    session,
)

# --- half done -------------------------------------------------------------------------------------------------------


def everything(spool: Spool) -> tuple[list[Batch], Batch]:
    """What was there before, and a batch that does all that a batch can do, late and backwards too."""
    before = [
        spool.batch(
            *(meter(NINE_MS + n * HOUR_MS // 2, float(n), seq=n + 1) for n in range(8)),
            fault(NINE_MS, "E1", seq=70),
            sessions=[session(NINE_MS, name="stays"), session(NINE_MS + 1, name="goes")],
            dead=[dead_letter(NINE_MS, id="revived"), dead_letter(NINE_MS, id="kept")],
        )
    ]
    batch = spool.batch(
        meter(NINE_MS + 5, 0.5, seq=20),
        climate(NINE_MS, 20.0, seq=21),
        amenity(NINE_MS, "wifi", True, seq=22),
        sessions=[session(NINE_MS, name="stays", ended_ms=NINE_MS + 9)],
        withdrawn=["goes"],
        dead=[dead_letter(NINE_MS, b"[" * 200_000, id="new"), dead_letter(NINE_MS, id="kept", count=4)],
        skewed=[SkewMark("jn-01", "pile-01", "boot", 3, 4), SkewMark("jn-01", "pile-01", "boot", 70, 70)],
    )
    return before, Batch(**{**{name: getattr(batch, name) for name in Batch.__struct_fields__}, "revived": ["revived"]})


def all_that_is_there(store):
    store.roll_up(LATER_MS)
    return [
        store.latest(),
        store.stored(),
        store.sessions().items,
        store.open_sessions(),
        store.dead_letters(),
        store.rollups("hour", 0, LATER_MS),
        store.rollups("day", 0, LATER_MS),
        store.history("jn-01", "pile-01", 1, NINE_MS, NINE_MS + 24 * HOUR_MS, HOUR_MS),
        store.drained("spool-a"),
    ]


def changes(proxy, since=0):
    return [asked for asked in proxy.asked[since:] if asked.path in ("/api/v2/write", "/api/v2/delete")]


def failing_at(proxy, number):
    """The answer to the so manieth change from now on is lost, and what comes after it does not get through."""
    since = len(proxy.asked)

    def rule(asked):
        done = len(changes(proxy, since))
        return None if done < number else "lost" if done == number and asked in changes(proxy, since)[-1:] else "cut"

    proxy.rule = rule


def test_a_batch_that_broke_off_anywhere_is_whole_when_it_is_given_again(influx_server, proxy):
    def run(number):
        spool = Spool()
        before, batch = everything(spool)
        with fresh_buckets(influx_server) as prefix:
            stores = [InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)]
            for earlier in before:
                stores[0].write(earlier)
            stores[0].roll_up(LATER_MS)
            if number is not None:
                failing_at(proxy, number)
                with pytest.raises(StoreUnavailable):
                    stores[0].write(batch)
                proxy.rule = lambda asked: None
                stores.append(InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix))
            since = len(proxy.asked)
            stores[-1].write(batch)
            needed = len(changes(proxy, since))
            found = all_that_is_there(stores[-1])
            for store in stores:
                store.close()
            return needed, found

    needed, whole = run(None)
    assert [letter.id for letter in whole[4]] == ["new", "kept"]
    for number in range(1, needed + 1):
        assert run(number)[1] == whole, f"after change {number} of {needed} was the last"


def test_a_rollup_that_broke_off_anywhere_is_whole_when_it_is_made_again(influx_server, proxy):
    def run(number):
        spool = Spool()
        with fresh_buckets(influx_server) as prefix:
            first = InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)
            rows = [meter(NINE_MS + n * HOUR_MS, float(n), device=f"pile-{n % 5}", seq=n + 1) for n in range(30)]
            first.write(spool.batch(*rows[:25]))
            first.roll_up(NINE_MS + 20 * HOUR_MS)
            late = [meter(NINE_MS + n * HOUR_MS + 1, n + 0.5, device=f"pile-{n % 5}", seq=n + 50) for n in range(9)]
            first.write(spool.batch(*rows[25:], *late, skewed=[SkewMark("jn-01", "pile-1", "boot", 2, 2)]))
            since = len(proxy.asked)
            if number is None:
                first.roll_up(LATER_MS)
            else:
                failing_at(proxy, number)
                with pytest.raises(StoreUnavailable):
                    first.roll_up(LATER_MS)
                proxy.rule = lambda asked: None
            needed = len(changes(proxy, since))
            last = InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)
            found = all_that_is_there(last)
            first.close()
            last.close()
            return needed, found

    needed, whole = run(None)
    assert len(whole[5]) == 29 + 9 - 8
    for number in range(1, needed + 1):
        assert run(number)[1] == whole, f"after change {number} of {needed} was the last"


@pytest.mark.parametrize("guarded", [True, False])
def test_what_an_interrupted_rollup_left_is_gone_when_it_proves_untrue(
    influx_store, spool, proxy, monkeypatch, guarded
):
    if not guarded:
        monkeypatch.setattr(Rollups, "_tidy", lambda self: None)
    rows = [meter(NINE_MS + n * HOUR_MS, 2.0**n, seq=n + 1) for n in range(3)]
    influx_store.write(spool.batch(*rows))
    failing_at(proxy, 1)
    with pytest.raises(StoreUnavailable):
        influx_store.roll_up(NINE_MS + 2 * HOUR_MS)
    proxy.rule = lambda asked: None
    influx_store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", 2, 2)]))
    influx_store.roll_up(LATER_MS)
    assert ([row.energy_kwh for row in influx_store.rollups("hour", 0, LATER_MS)] == [0.0, 3.0]) is guarded


# --- rollups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_an_hour_that_changes_while_it_is_rolled_up_is_rolled_up_again(influx_store, spool, monkeypatch, guarded):
    influx_store.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + 1, 2.0)))
    read = influx_fresh.fresh_hours
    late = [meter(NINE_MS + 2, 4.0)]

    def read_then_a_late_reading(*args, **kwargs):
        found = read(*args, **kwargs)
        if late:  # the hour has been read, its rollup is about to be written
            if not guarded:
                influx_store._progress.claimed_ms = 0
            influx_store.write(spool.batch(late.pop()))
        return found

    monkeypatch.setattr("ingest.influx_rollup.fresh_hours", read_then_a_late_reading)
    influx_store.roll_up(NINE_MS + HOUR_MS)
    assert [row.energy_kwh for row in influx_store.rollups("hour", 0, NINE_MS * 2)] == [1.0]
    influx_store.roll_up(NINE_MS + HOUR_MS)
    assert ([row.energy_kwh for row in influx_store.rollups("hour", 0, NINE_MS * 2)] == [3.0]) is guarded


def test_readings_in_their_order_leave_no_marks_and_late_ones_one_for_each_hour(influx_store, spool, proxy):
    def marks():
        return [asked for asked in proxy.writes() if asked.text.startswith("late")]

    for hour in range(5):
        influx_store.write(spool.batch(meter(NINE_MS + hour * HOUR_MS, float(hour))))
        influx_store.roll_up(NINE_MS + hour * HOUR_MS)
    assert marks() == []
    for n in range(5):
        influx_store.write(spool.batch(meter(NINE_MS + 7 + n, 0.5), meter(NINE_MS + 2 * HOUR_MS + 7 + n, 2.5)))
    assert [len(asked.lines) for asked in marks()] == [2]


def test_a_rollup_with_nothing_new_asks_the_server_nothing(influx_store, spool, proxy):
    influx_store.write(spool.batch(meter(NINE_MS)))
    influx_store.roll_up(NINE_MS + HOUR_MS)
    asked = len(proxy.asked)
    assert influx_store.roll_up(NINE_MS + HOUR_MS) == influx_store.roll_up(NINE_MS + 2 * HOUR_MS - 1) == 0
    assert len(proxy.asked) == asked


def test_a_late_hour_marked_before_a_restart_is_rolled_up_after_it(open_influx, spool):
    first = open_influx()
    first.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + HOUR_MS, 5.0)))
    first.roll_up(LATER_MS)
    first.write(spool.batch(meter(NINE_MS + 1, 3.0)))
    again = open_influx()
    assert again.roll_up(LATER_MS) == 1
    assert [row.energy_kwh for row in again.rollups("hour", 0, LATER_MS)] == [2.0, 2.0]


def test_a_day_follows_the_time_zone_that_is_set_now(influx_server, influx_prefix, spool):
    def days(zone):
        with closing(InfluxStore(influx_server.url, influx_server.token, prefix=influx_prefix, timezone=zone)) as store:
            store.roll_up(LATER_MS)
            return [(row.start_ms - NINE_MS, row.samples) for row in store.rollups("day", 0, LATER_MS)]

    with closing(InfluxStore(influx_server.url, influx_server.token, prefix=influx_prefix)) as store:
        store.write(spool.batch(*(meter(NINE_MS + n * HOUR_MS, float(n)) for n in range(24))))
    shanghai = days("Asia/Shanghai")
    assert shanghai == [(-17 * HOUR_MS, 7), (7 * HOUR_MS, 17)]
    assert days("UTC") == [(-9 * HOUR_MS, 15), (15 * HOUR_MS, 9)]
    assert days("Asia/Shanghai") == shanghai


def test_nothing_is_deleted_where_nothing_is_old(influx_store, spool, proxy):
    influx_store.write(spool.batch(meter(NINE_MS, seq=1)))
    assert influx_store.expire(NINE_MS) == 0
    assert not [asked for asked in proxy.asked if asked.path == "/api/v2/delete"]
