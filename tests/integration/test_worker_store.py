"""Ingest and its store: one that is away, one that comes back, one that knows more, one that refuses a message."""

from __future__ import annotations

import threading

import pytest

from ingest.store import StoreUnavailable
from tests.brokers import until
from tests.ingesting import Running


def test_the_log_says_that_the_store_is_away_and_that_it_is_there_again(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.store.away = True
    running.meter(1, 10.0)
    until(lambda: running.worker.status().conditions)
    running.store.away = False
    until(lambda: not running.worker.status().conditions)
    said = [record.getMessage() for record in caplog.records if "the store" in record.getMessage()]
    assert [line.partition(" and ")[0].partition(",")[0] for line in said] == [
        "the store takes nothing",
        "the store is there again",
    ]


def test_a_store_that_is_away_loses_nothing_and_is_said(running: Running) -> None:
    running.store.away = True
    running.meter(1, 10.0)
    until(lambda: running.acked() == {1})
    until(lambda: "store_unavailable" in {condition.code for condition in running.worker.status().conditions})
    assert running.worker.status().spool_rows == 1
    running.restart()
    running.store.away = False
    until(lambda: running.stored() == 1)
    until(lambda: running.worker.status().conditions == [])


def test_a_spool_that_was_set_back_learns_from_the_store_and_says_what_is_gone(running: Running) -> None:
    running.state_is(1, "charging")
    until(lambda: running.stored() == 1)
    running.worker.stop()
    before = (running.folder / "spool.db").read_bytes()
    running.start()
    running.meter(2, 10.0)
    running.state_is(3, "available")
    until(lambda: running.stored() == 3)
    running.worker.stop()
    (running.folder / "spool.db").write_bytes(before)
    running.start()
    until(lambda: running.stored() == 3)
    assert "spool_damaged" in {condition.code for condition in running.worker.status().conditions}
    running.meter(2, 10.0)
    running.state_is(3, "available")
    running.state_is(4, "preparing")
    until(lambda: running.stored() == 4)
    until(lambda: len(running.store.sessions().items) == 2)
    closed, open_now = running.store.sessions().items
    assert closed.ended_ms is not None
    assert open_now.open_seq == 4
    running.worker.forget_damage()
    assert running.worker.status().conditions == []


def test_a_store_that_is_away_at_the_start_is_waited_for(running: Running) -> None:
    running.meter(1, 10.0)
    until(lambda: running.stored() == 1)
    running.worker.stop()
    running.store.away = True
    running.start()
    running.meter(2, 11.0)
    until(lambda: 2 in running.acked())
    status = running.worker.status()
    assert "store_unavailable" in {condition.code for condition in status.conditions}
    assert status.accepting
    running.store.away = False
    until(lambda: running.stored() == 2)
    until(lambda: running.worker.status().conditions == [])
    running.restart()
    running.meter(3, 12.0)
    until(lambda: running.stored() == 3)


def test_a_spool_set_back_while_the_store_was_away_says_so_when_it_comes(running: Running) -> None:
    running.meter(1, 10.0)
    until(lambda: running.stored() == 1)
    running.worker.stop()
    before = (running.folder / "spool.db").read_bytes()
    mark = (running.folder / "spool.mark").read_bytes()
    running.start()
    running.meter(2, 11.0)
    until(lambda: running.stored() == 2)
    running.worker.stop()
    (running.folder / "spool.db").write_bytes(before)
    (running.folder / "spool.mark").write_bytes(mark)
    running.store.away = True
    running.start()
    running.meter(3, 12.0)
    until(lambda: 3 in running.acked())
    running.store.away = False
    until(lambda: "spool_damaged" in {condition.code for condition in running.worker.status().conditions})
    running.meter(2, 11.0)  # said again: what was learned from the store knows it
    running.meter(4, 13.0)
    until(lambda: running.stored() == 4)


def test_a_store_that_hangs_holds_up_no_acknowledgement(running: Running) -> None:
    running.state_is(1, "charging")
    running.meter(3, 12.0)  # 2 is missing: what waits beyond it is read again after a restart
    until(lambda: running.stored() == 2)
    running.store.hangs = threading.Event()
    running.restart()
    for seq in range(1, 6):
        running.say(seq, device="station-1", kind="climate", indoor_c=20, indoor_rh_pct=50)
    topic = "lunchong/v1/jn-01/station-1/ack"
    until(lambda: any("[1,5]" in m.payload for m in running.reader.heard if m.topic == topic), 8)
    running.store.hangs.set()
    running.meter(2, 11.0)
    until(lambda: running.stored() == 8)


def test_a_message_that_the_store_refuses_counts_among_its_devices_dead(running: Running) -> None:
    running.store.refuses = 2
    for seq in (1, 2, 3):
        running.meter(seq, 10.0 + seq)
    until(lambda: running.stored() == 2)
    until(lambda: running.worker.accounts()[0].dead == 1)
    assert [letter.reason for letter in running.store.dead_letters()] == ["store_refused"]


def test_an_error_of_ours_in_a_run_of_messages_buries_the_one_that_makes_it(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest import sessions

    count = sessions._count

    def fails_at_666(life: sessions.Life, meter_kwh: float) -> None:
        if meter_kwh == 666:
            raise RuntimeError("a defect")
        count(life, meter_kwh)

    monkeypatch.setattr(sessions, "_count", fails_at_666)
    running.state_is(1, "charging")
    for seq in range(2, 8):
        running.meter(seq, 666.0 if seq == 5 else 10.0 + seq)
    until(lambda: running.acked() == set(range(1, 8)))
    until(lambda: running.stored() == 6)
    assert [(letter.reason, letter.seq) for letter in running.store.dead_letters()] == [("internal_error", 5)]


def test_a_store_that_cannot_roll_up_takes_readings_and_is_caught_up_with(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_before_ms: int, _limit_hours: int = 0) -> int:
        raise StoreUnavailable("a query is refused")

    running.meter(1, 10.0)
    until(lambda: running.stored() == 1)
    running.worker.stop()
    before = [(running.folder / name).read_bytes() for name in ("spool.db", "spool.mark")]
    running.start()
    running.meter(2, 11.0)
    until(lambda: running.stored() == 2)
    running.worker.stop()
    for name, content in zip(("spool.db", "spool.mark"), before, strict=True):
        (running.folder / name).write_bytes(content)
    monkeypatch.setattr("ingest.upkeep.ROLL_UP_EVERY_S", 0.1)
    monkeypatch.setattr(running.store, "roll_up", refuses)
    running.store.away = True
    running.start()
    running.store.away = False
    until(lambda: {"rollup_failed", "spool_damaged"} == codes(running))
    running.worker.forget_damage()
    for seq in range(3, 8):
        running.meter(seq, 10.0 + seq)
        until(lambda: running.stored() == seq)  # noqa: B023 - it is waited for within the turn
        assert codes(running) == {"rollup_failed"}
    [failed] = running.worker.status().conditions
    assert (failed.severity, failed.evidence) == ("warning", "a query is refused")
    monkeypatch.undo()
    until(lambda: codes(running) == set())


def codes(running: Running) -> set[str]:
    return {condition.code for condition in running.worker.status().conditions}
