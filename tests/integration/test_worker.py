"""Ingest over a real broker, a real spool and a real store: what a device, a reader and an operator see of it."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest import pipeline, worker
from ingest.assets import ConnectorSpec, Device, Inventory
from ingest.clock import Now, rfc3339
from ingest.facts import Batch
from ingest.spooling import Commit, SpoolFull
from ingest.store import StoreUnavailable
from lunchong.live_clock import wall_ms
from tests.brokers import until
from tests.ingesting import INVENTORY, PILE, STATION, Running

METER = {
    "v": 1, "boot": "boot-a", "kind": "meter", "connector": 1,
    "power_kw": 7.0, "energy_kwh": 10.0, "current_a": 30, "voltage_v": 230,
}  # fmt: skip


def test_what_a_pile_says_is_acknowledged_shown_and_stored(running: Running) -> None:
    running.meter(1, 100.0, power_kw=0.0)
    running.state_is(2, "charging", token="K7Q2")
    running.meter(3, 101.5)
    until(lambda: running.acked() == {1, 2, 3})
    until(lambda: running.connector().get("power_kw") == 7.0)
    connector = running.connector()
    assert connector["state"] == "charging"
    assert connector["session"]["energy_kwh"] == 1.5
    assert "K7Q2" not in json.dumps([m.payload for m in running.reader.heard if m.topic.endswith(("state", "session"))])
    assert running.stored() == 3


def test_a_session_is_told_as_it_opens_ends_and_closes(running: Running) -> None:
    for seq, state in enumerate(["charging", "finishing", "available"], start=1):
        running.state_is(seq, state)
    until(lambda: len(running.heard("session")) == 3)
    assert [told["event"] for told in running.heard("session")] == ["opened", "charge_ended", "closed"]
    running.worker.wait_drained(5.0)
    [session] = running.store.sessions().items
    assert session.ended_ms is not None


def test_a_station_shows_the_latest_of_each_instrument(running: Running) -> None:
    running.say(1, device="station-1", kind="climate", indoor_c=27.1, indoor_rh_pct=58)
    running.say(2, device="station-1", kind="amenity", name="water", ok=False, note="<b>leaks</b>")
    until(lambda: "amenities" in running.state("station-1").get("station", {}))
    station = running.state("station-1")["station"]
    assert station["climate"]["indoor_c"] == 27.1
    assert station["amenities"]["water"]["note"] == "<b>leaks</b>"


def test_smoke_is_told_at_once_and_keeps_its_beginning(running: Running) -> None:
    running.say(1, kind="smoke", alarm=False)
    until(lambda: running.state())
    running.say(2, kind="smoke", alarm=True, temp_c=70)
    until(lambda: "smoke" in running.conditions(), within_s=0.9)
    [first] = running.state()["conditions"]
    running.say(3, kind="smoke", alarm=True, temp_c=80)
    until(lambda: "80" in json.dumps(running.state()["conditions"]))
    [later] = running.state()["conditions"]
    assert later["since"] == first["since"]


def test_a_restart_goes_on_where_it_stood(running: Running) -> None:
    running.state_is(1, "charging")
    running.meter(2, 50.0)
    until(lambda: running.connector().get("energy_kwh") == 50.0)
    before = running.state()
    running.restart()
    until(lambda: running.state()["rev"] != before["rev"])
    assert running.state()["rev"] > before["rev"]
    assert running.connector()["session"] == before["connectors"][0]["session"]
    running.meter(2, 50.0)
    running.meter(3, 53.0)
    until(lambda: running.connector().get("energy_kwh") == 53.0)
    assert running.stored() == 3
    assert next(a for a in running.worker.accounts() if a.device == "pile-1").duplicate == 1


def test_a_late_or_replayed_message_is_stored_and_does_not_set_the_state_back(running: Running) -> None:
    running.state_is(1, "charging", ago_s=120)
    running.state_is(3, "available")
    until(lambda: running.connector().get("state") == "available")
    running.state_is(2, "suspended", ago_s=60, suspended_by="ev")
    until(lambda: running.acked() == {1, 2, 3})
    running.meter(4, 9.0)
    until(lambda: running.connector().get("energy_kwh") == 9.0)
    assert running.connector()["state"] == "available"
    assert running.stored() == 4


def test_a_boot_used_again_is_kept_apart_and_said(running: Running) -> None:
    running.meter(1, 10.0)
    running.meter(2, 11.0)
    until(lambda: running.acked() == {1, 2})
    running.meter(1, 90.0)
    running.meter(2, 91.0)
    until(lambda: running.stored() == 4)
    until(lambda: "boot_reuse" in running.conditions())
    assert {boot for _site, _device, boot, *_run in running.store.stored()} == {"boot-a", "boot-a~2"}
    assert running.connector()["energy_kwh"] == 91.0


def test_what_never_came_of_an_ended_boot_is_reported_lost(running: Running) -> None:
    running.status("boot-a", [])
    running.meter(1, 10.0)
    running.meter(4, 12.0)
    running.status("boot-b", [{"boot": "boot-a", "last_seq": 5, "dropped_ranges": [[2, 2]]}])
    until(lambda: "messages_dropped" in running.conditions())
    assert "messages_lost" not in running.conditions(), "the device still keeps them"
    running.status("boot-b", [])
    until(lambda: "messages_lost" in running.conditions())
    [account] = [a for a in running.worker.accounts() if a.device == "pile-1"]
    assert (account.lost, account.dropped, account.hole) == (2, 1, 0)


def test_a_wrong_clock_is_set_right_and_said(running: Running) -> None:
    said = {"v": 1, "boot": "boot-a", "online": True, "ts": rfc3339(wall_ms() + 3 * 86_400_000), "interval_s": 60}
    running.device.publish("lunchong/v1/jn-01/pile-1/status", json.dumps(said), retain=True)
    running.meter(1, 10.0, ago_s=-3 * 86_400)
    until(lambda: "clock_skew" in running.conditions())
    assert running.state()["clock_skew_s"] == pytest.approx(3 * 86_400, abs=60)
    running.stored()
    [row] = [row for row in running.store.latest() if row["device"] == "pile-1"]
    assert row["skewed"] is True
    assert abs(int(row["at_ns"] or 0) // 1_000_000 - wall_ms()) < 60_000


def test_a_device_that_goes_is_shown_offline_by_its_will(running: Running) -> None:
    running.status("boot-a", [])
    until(lambda: running.state().get("online") is True)
    will = json.dumps({"v": 1, "boot": "boot-a", "online": False})
    running.device.publish("lunchong/v1/jn-01/pile-1/status", will, retain=True)
    until(lambda: running.state()["online"] is False)
    assert "offline" in running.conditions()


def test_a_full_disk_holds_the_devices_and_recovers(running: Running) -> None:
    database = running.worker._spool._db
    with running.worker._lock:
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
    said = [
        {"v": 1, "boot": "boot-a", "seq": seq, "ts": rfc3339(wall_ms()), "kind": "fault", "code": uuid.uuid4().hex,
         "severity": "info", "cleared": True, "note": uuid.uuid4().hex * 6}
        for seq in range(1, 401)
    ]  # fmt: skip
    running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps(said), qos=0)
    until(lambda: not running.worker.status().accepting)
    until(lambda: running.notices()[-1]["accepting"] is False)
    assert running.acked() == set()
    with running.worker._lock:
        database.execute("PRAGMA max_page_count = 1000000")
    until(lambda: running.worker.status().accepting)
    until(lambda: running.acked() == set(range(1, 401)))
    assert running.stored() == 400


def test_what_a_full_disk_held_back_at_the_end_comes_again(running: Running) -> None:
    running.meter(1, 10.0)
    until(lambda: running.acked() == {1})
    database = running.worker._spool._db
    with running.worker._lock:
        database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
    notes = [
        {"v": 1, "boot": "boot-a", "seq": seq, "ts": rfc3339(wall_ms()), "kind": "fault", "code": uuid.uuid4().hex,
         "severity": "info", "cleared": True, "note": uuid.uuid4().hex * 6}
        for seq in range(2, 402)
    ]  # fmt: skip
    running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps(notes), qos=0)
    until(lambda: not running.worker.status().accepting)
    running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps({**notes[0], "seq": 402}), qos=0)
    running.restart()
    assert running.acked() == {1}, "nothing of it was acknowledged"
    for message in [*notes, {**notes[0], "seq": 402}]:
        running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps(message), qos=0)
    until(lambda: running.stored() == 402)


@pytest.mark.parametrize(
    "nonsense",
    [
        {"last_seq": 10**30},
        {"ts": "0001-01-01T00:00:00Z"},
        {"ts": "1601-01-01T00:00:00Z"},
        {"boots": [{"boot": "x", "last_seq": 10**20}]},
        {"boots": [{"boot": "x", "last_seq": 5, "dropped_ranges": [[0, 10**25]]}]},
        {"boots": [{"boot": "x", "last_seq": 2**63 - 1, "dropped_ranges": [[1, 2**62], [2**62 + 5, 2**63 - 1]]}]},
    ],
)
def test_nonsense_in_a_status_disturbs_nobody(running: Running, nonsense: dict[str, object]) -> None:
    said = {"v": 1, "boot": "boot-a", "online": True, "ts": rfc3339(wall_ms()), "interval_s": 60, **nonsense}
    running.device.publish("lunchong/v1/jn-01/pile-1/status", json.dumps(said), retain=True)
    running.meter(1, 10.0)
    until(lambda: running.stored() == 1)
    assert running.worker.accounts()


def test_an_error_of_ours_in_one_message_is_a_dead_letter_that_can_be_tried_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ingest.singly.row", lambda *_told: 1 / 0)
        running.meter(1, 10.0)
        until(lambda: running.worker.wait_drained(5) and running.store.dead_letters())
    running.meter(2, 11.0)
    until(lambda: running.stored() == 1)
    [letter] = running.store.dead_letters()
    assert (letter.reason, letter.seq) == ("internal_error", 1)
    assert running.worker.retry_dead([letter.id]) == (1, 0)
    assert running.stored() == 2


@pytest.mark.parametrize("fails", ["decode_together", "take_status"])
def test_what_makes_us_fail_before_it_is_a_message_is_a_dead_letter_too(
    running: Running, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    does = getattr(pipeline, fails)

    def fails_at_poison(*told: object, **more: object) -> object:
        if "poison" in repr(told):
            raise RuntimeError("a defect")
        return does(*told, **more)

    monkeypatch.setattr(pipeline, fails, fails_at_poison)
    running.meter(1, 10.0)
    if fails == "take_status":
        running.status("poison", [])
    else:
        running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", b'{"poison":1}')
    running.meter(2, 11.0)
    until(lambda: running.acked() == {1, 2}, within_s=20)
    until(lambda: running.stored() == 2)
    [letter] = running.store.dead_letters()
    assert (letter.reason, b"poison" in letter.payload) == ("internal_error", True)


@pytest.mark.parametrize("fails", ["unfit", "bury"])
def test_an_array_in_which_we_fail_half_way_holds_up_nobody(
    running: Running, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    does = getattr(pipeline, fails)

    def fails_at_poison(*told: object, **more: object) -> object:
        if any("poison" in repr(one) for one in told):
            raise RuntimeError("a defect")
        return does(*told, **more)

    monkeypatch.setattr(pipeline, fails, fails_at_poison)
    good = METER | {"seq": 1, "ts": rfc3339(wall_ms())}
    bad = good | {"boot": "poison", "connector": 1 if fails == "unfit" else 9}
    running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps([good, bad]))
    running.meter(3, 10.0)
    running.meter(1, 5.0, boot="another")
    until(lambda: {3} <= running.acked(), within_s=30)
    until(lambda: running.stored() == 3)
    assert {letter.reason for letter in running.store.dead_letters()} == {"internal_error"}
    running.restart()
    until(lambda: not running.worker.status().spool_rows)
    [account] = running.worker.accounts()
    assert (account.received, account.dead) == (3, 1)


def test_what_a_full_disk_did_not_take_at_the_end_is_not_acknowledged_by_what_comes_after_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ingest.singly.row", lambda *_told: 1 / 0)
        running.meter(1, 10.0)
        until(lambda: running.worker.wait_drained(5) and running.store.dead_letters())
    [letter] = running.store.dead_letters()
    commit = running.worker._spool.commit

    def takes_only_little(wanted: Commit, drained: int, now_ms: int) -> Batch:
        if len(wanted.batch.pile) > 1:
            raise SpoolFull("no space left")
        return commit(wanted, drained, now_ms)

    monkeypatch.setattr(running.worker._spool, "commit", takes_only_little)
    ts = rfc3339(wall_ms())
    meters = [METER | {"seq": seq, "ts": ts} for seq in (2, 3, 4)]
    running.device.publish("lunchong/v1/jn-01/pile-1/telemetry", json.dumps(meters))
    until(lambda: not running.worker.status().accepting)
    with ThreadPoolExecutor(1) as pool:
        retried = pool.submit(running.worker.retry_dead, [letter.id])
        until(lambda: running.worker._retries._asked)
        running.worker.stop()
        with pytest.raises(StoreUnavailable):
            retried.result()
    assert running.acked() == {1}
    running.start()
    until(lambda: running.acked() == {1, 2, 3, 4})
    until(lambda: running.stored() == 3)


def test_an_error_of_ours_elsewhere_loses_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.meter(1, 10.0)
    until(lambda: running.acked() == {1})
    broken = iter([True, False])
    settle = running.worker._pipeline.settle

    def breaks_once(now: Now) -> None:
        if next(broken, False):
            raise RuntimeError("a defect")
        settle(now)

    monkeypatch.setattr(running.worker._pipeline, "settle", breaks_once)
    monkeypatch.setattr(worker, "CAREFUL_S", 4.0)
    for seq in range(2, 12):
        running.meter(seq, 10.0 + seq)
    until(lambda: [held.evidence for held in running.worker.status().conditions] == ["RuntimeError: a defect"])
    until(lambda: running.stored() == 11, within_s=20)
    until(lambda: running.acked() == set(range(1, 12)))
    until(lambda: not running.worker.status().conditions, within_s=20)


def test_the_will_of_an_old_boot_puts_no_device_offline(running: Running) -> None:
    running.status("boot-a", [])
    running.status("boot-b", [])
    will = json.dumps({"v": 1, "boot": "boot-a", "online": False})
    running.device.publish("lunchong/v1/jn-01/pile-1/status", will, retain=True)
    running.meter(1, 10.0, boot="boot-b")
    until(lambda: running.connector().get("energy_kwh") == 10.0)
    assert running.state()["online"] is True


def test_a_dead_letter_is_taken_after_the_inventory_was_mended(running: Running) -> None:
    ghost = Device(site="jn-01", id="pile-2", kind="pile", connectors=(ConnectorSpec(1),))
    running.say(1, device="pile-2", kind="connector", connector=1, state="available")
    running.state_is(1, "charging", connector=9)
    until(lambda: running.stored() == 0 and len(running.store.dead_letters()) == 2)
    mended = Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(9)))
    running.worker.reload_inventory(
        Inventory(sites=INVENTORY.sites, devices={PILE.name: mended, STATION.name: STATION, ghost.name: ghost})
    )
    ids = [letter.id for letter in running.store.dead_letters()]
    assert running.worker.retry_dead(ids) == (2, 0)
    assert running.store.dead_letters() == []
    assert running.stored() == 2
    assert running.worker.retry_dead(ids) == (0, 2), "a letter that is gone cannot be tried again"


def test_a_device_that_left_the_inventory_is_no_longer_shown(running: Running) -> None:
    running.meter(1, 10.0)
    until(lambda: running.state())
    running.worker.reload_inventory(Inventory(sites=INVENTORY.sites, devices={STATION.name: STATION}))
    topic = "lunchong/v1/jn-01/pile-1/state"
    until(lambda: [m.payload for m in running.reader.heard if m.topic == topic][-1] == "")


def test_states_come_back_after_the_broker_lost_its_line(running: Running) -> None:
    running.meter(1, 10.0)
    until(lambda: running.state())
    count = len(running.heard("state"))
    running.worker._bus.reconnect()
    until(lambda: len(running.heard("state")) > count)
