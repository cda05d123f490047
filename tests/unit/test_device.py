"""The no-loss contract, clause by clause, as seen by somebody who reads what a device publishes."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.device import NoLossDevice
from simulators.kept import Acked

NOON_MS = 1_763_784_306_250
METER = {"kind": "meter", "connector": 1, "power_kw": 6.6, "energy_kwh": 10.0, "current_a": 30.0, "voltage_v": 220.0}
SMOKE = {"kind": "smoke", "alarm": True}
LOUD = {"kind": "fault", "code": "E1", "severity": "critical", "cleared": False}
QUIET = {"kind": "fault", "code": "E2", "severity": "warning", "cleared": False}
ONLINE = b'{"v":1,"online":true,"accepting":true,"since":"2026-11-22T04:00:00.000Z"}'
REBORN = b'{"v":1,"online":true,"accepting":true,"since":"2026-11-22T05:00:00.000Z"}'
FULL = b'{"v":1,"online":true,"accepting":false,"since":"2026-11-22T04:00:00.000Z"}'
OFFLINE = b'{"v":1,"online":false}'


def device(*, connected: bool = True, **how) -> NoLossDevice:
    made = NoLossDevice("jn-01/pile-0001", "boot-a", interval_s=60, rng=Random(1), **how)
    if connected:
        made.on_connect(0.0)
        made.on_service_notice(ONLINE)
    return made


def says(it: NoLossDevice, count: int, fields: dict = METER) -> None:
    for _ in range(count):
        it.say(fields, NOON_MS)


def sent(it: NoLossDevice, mono_s: float) -> list:
    """What it publishes now: a seq for each message, a list of seqs for each array."""
    payloads = [msgspec.json.decode(payload) for payload in it.due(mono_s)]
    return [[m["seq"] for m in p] if isinstance(p, list) else p["seq"] for p in payloads]


def acked(it: NoLossDevice, *ranges: tuple[int, int], boot: str = "boot-a") -> list[Acked]:
    return it.on_ack(msgspec.json.encode({"v": 1, "boot": boot, "ranges": ranges}))


def status(it: NoLossDevice) -> dict:
    return dict(msgspec.json.decode(it.status(NOON_MS)))


def dropped(it: NoLossDevice) -> dict:
    return {b["boot"]: b["dropped_ranges"] for b in status(it)["boots"] if b["dropped_ranges"]}


# --- what a message looks like, and its number -----------------------------------------------------------------------


def test_a_message_carries_the_envelope_of_the_contract():
    it = device()
    it.say(METER, NOON_MS)
    [payload] = it.due(0.0)
    assert msgspec.json.decode(payload) == {
        "v": 1,
        "boot": "boot-a",
        "seq": 1,
        "ts": "2025-11-22T04:05:06.250Z",
        **METER,
    }


def test_seq_begins_at_1_and_counts_over_all_kinds():
    it = device()
    for fields in (METER, QUIET, METER):
        it.say(fields, NOON_MS)
    assert sent(it, 0.0) == [1, 2, 3]


def test_a_message_sent_again_is_the_same_bytes():
    it = device()
    says(it, 1)
    assert it.due(0.0) == it.due(10.0)


# --- kept until an ack -----------------------------------------------------------------------------------------------


def test_an_ack_ends_the_resending_and_is_counted_once():
    it = device()
    says(it, 3)
    sent(it, 0.0)
    assert acked(it, (1, 2)) == [Acked("boot-a", 1, 2)]
    assert acked(it, (1, 3)) == [Acked("boot-a", 3, 3)]
    assert acked(it, (1, 3)) == []
    assert sent(it, 400.0) == []
    assert (it.kept, it.counters.sent, it.counters.acked, it.counters.resent) == (0, 3, 3, 0)


def test_an_ack_of_scattered_ranges_lets_go_of_exactly_those():
    it = device()
    says(it, 6)
    sent(it, 0.0)
    assert acked(it, (2, 2), (4, 5)) == [Acked("boot-a", 2, 2), Acked("boot-a", 4, 5)]
    assert sent(it, 10.0) == [1, 3, 6]


def test_an_ack_for_what_was_never_sent_lets_go_of_nothing():
    it = device(connected=False)
    says(it, 1)
    assert acked(it, (1, 2**63 - 1)) == []
    it.on_connect(0.0)
    it.on_service_notice(ONLINE)
    assert sent(it, 0.0) == [1]


@pytest.mark.parametrize(
    "noise", [b"", b"\xff", b"[]", b'{"boot":"boot-a"}', b'{"v":1,"boot":"boot-a","ranges":[[1]]}']
)
def test_an_ack_that_cannot_be_read_changes_nothing(noise):
    it = device()
    says(it, 1)
    sent(it, 0.0)
    assert it.on_ack(noise) == []
    assert sent(it, 10.0) == [1]


def test_an_ack_of_another_boot_changes_nothing():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    assert acked(it, (1, 1), boot="boot-z") == []
    assert it.kept == 1


# --- how much is in flight -------------------------------------------------------------------------------------------


def test_no_more_than_1000_messages_are_in_flight_and_the_rest_follows_the_acks():
    it = device()
    says(it, 1_500)
    assert sent(it, 0.0) == list(range(1, 1_001))
    assert sent(it, 0.5) == []
    acked(it, (1, 10))
    assert sent(it, 0.6) == list(range(1_001, 1_011))
    assert it.in_flight == 1_000


def test_no_more_than_4_arrays_of_500_are_in_flight():
    it = device(arrays=True)
    says(it, 2_300)
    assert [(a[0], a[-1]) for a in sent(it, 0.0)] == [(1, 500), (501, 1_000), (1_001, 1_500), (1_501, 2_000)]
    acked(it, (1, 499))
    assert sent(it, 0.1) == []
    acked(it, (500, 500))
    assert sent(it, 0.2) == [list(range(2_001, 2_301))]


def test_an_array_stays_within_256_kib():
    it = device(arrays=True)
    says(it, 400, {**QUIET, "note": "长" * 200})
    payloads = it.due(0.0)
    assert len(payloads) > 1
    assert max(map(len, payloads)) <= 256 * 1024
    assert sum(len(msgspec.json.decode(p)) for p in payloads) == 400


# --- sent again ------------------------------------------------------------------------------------------------------


def test_what_no_ack_covered_for_10_s_is_sent_again():
    it = device()
    says(it, 1)
    assert sent(it, 0.0) == [1]
    assert sent(it, 9.9) == []
    assert sent(it, 10.0) == [1]
    assert it.counters.resent == 1


def test_resending_backs_off_to_5_min_with_jitter_and_then_gives_up():
    it = device()
    says(it, 1)
    times = [t / 10 for t in range(12_000) if sent(it, t / 10)]
    pauses = [after - before for before, after in pairwise(times)]
    assert len(times) == 6
    assert pauses[0] == pytest.approx(10.0)
    for pause, longest in zip(pauses[1:], (20, 40, 80, 160), strict=True):
        assert 0.75 * longest <= pause <= longest + 0.1
    assert it.kept == 0
    assert dropped(it) == {"boot-a": [[1, 1]]}


def test_no_pause_between_tries_is_longer_than_5_min():
    it = device()
    says(it, 1)
    gone_s = next(t for t in range(2_000) if sent(it, float(t)) is not None and it.kept == 0)
    assert gone_s <= 10 + 20 + 40 + 80 + 160 + 300


def test_jitter_comes_from_the_given_randomness():
    def tries(seed: int) -> list[int]:
        it = NoLossDevice("jn-01/pile-0001", "b", interval_s=60, rng=Random(seed))
        it.on_connect(0.0)
        it.on_service_notice(ONLINE)
        says(it, 1)
        return [t for t in range(700) if sent(it, float(t))]

    assert tries(1) == tries(1)
    assert tries(1) != tries(2)


def test_what_acks_overtook_by_more_than_a_second_is_sent_again_at_once():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    says(it, 1)
    sent(it, 1.5)
    acked(it, (2, 2))
    assert sent(it, 1.6) == [1]


def test_what_was_sent_within_the_same_second_is_not_overtaken():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    says(it, 1)
    sent(it, 1.0)
    acked(it, (2, 2))
    assert sent(it, 1.6) == []


def test_a_late_ack_of_a_first_sending_does_not_overtake_what_was_sent_meanwhile():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    says(it, 1)
    sent(it, 5.0)
    assert sent(it, 10.0) == [1]
    acked(it, (1, 1))
    assert sent(it, 10.1) == []


def test_all_that_was_in_flight_is_sent_again_after_a_reconnect():
    it = device()
    says(it, 3)
    sent(it, 0.0)
    acked(it, (2, 2))
    it.on_disconnect()
    assert sent(it, 1.0) == []
    it.on_connect(2.0)
    it.on_service_notice(ONLINE)
    assert sent(it, 2.0) == [1, 3]


@pytest.mark.parametrize("comeback", [(OFFLINE, ONLINE), (OFFLINE, REBORN), (FULL, ONLINE), (REBORN,)])
def test_all_that_was_in_flight_is_sent_again_when_ingest_comes_back(comeback):
    it = device()
    says(it, 2)
    sent(it, 0.0)
    for notice in comeback:
        it.on_service_notice(notice)
    assert sent(it, 0.1) == [1, 2]


def test_what_was_sent_before_there_was_any_word_of_ingest_is_sent_again_when_it_first_comes_online():
    it = device(connected=False)
    it.on_connect(0.0)
    says(it, 2)
    assert sent(it, 2.0) == [1, 2]
    it.on_service_notice(ONLINE)
    assert sent(it, 2.1) == [1, 2]


def test_a_repeated_word_of_a_healthy_ingest_resends_nothing():
    it = device()
    says(it, 2)
    sent(it, 0.0)
    it.on_service_notice(ONLINE)
    assert sent(it, 0.1) == []


def test_interruptions_are_no_failed_tries():
    it = device()
    says(it, 1)
    for t in range(0, 200, 2):
        assert sent(it, float(t)) == [1]
        it.on_disconnect()
        it.on_connect(t + 1.0)
        it.on_service_notice(ONLINE)
    assert it.counters.dropped == 0


# --- held ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notice", [OFFLINE, FULL])
def test_telemetry_is_held_while_ingest_is_offline_or_does_not_accept(notice):
    it = device()
    it.on_service_notice(notice)
    says(it, 2)
    assert [sent(it, float(t)) for t in range(100)] == [[]] * 100
    it.on_service_notice(ONLINE)
    assert sent(it, 100.0) == [1, 2]


def test_what_was_sent_before_ingest_went_away_is_neither_resent_nor_given_up_while_it_is_away():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    it.on_service_notice(OFFLINE)
    assert [sent(it, float(t)) for t in range(0, 5_000, 10)] == [[]] * 500
    assert it.counters.dropped == 0


def test_an_ack_that_comes_while_held_still_counts():
    it = device()
    says(it, 1)
    sent(it, 0.0)
    it.on_service_notice(FULL)
    assert acked(it, (1, 1)) == [Acked("boot-a", 1, 1)]
    it.on_service_notice(ONLINE)
    assert sent(it, 1.0) == []


def test_a_device_that_finds_no_word_of_ingest_sends():
    it = device(connected=False)
    it.on_connect(0.0)
    says(it, 1)
    assert sent(it, 0.0) == []
    assert sent(it, 1.0) == [1]


def test_after_a_reconnect_it_waits_for_the_retained_word_of_ingest():
    it = device()
    it.on_disconnect()
    it.on_connect(50.0)
    says(it, 1)
    assert sent(it, 50.1) == []
    it.on_service_notice(OFFLINE)
    assert sent(it, 60.0) == []


@pytest.mark.parametrize("cleared", [b"", b"not json"])
def test_a_word_of_ingest_that_was_cleared_is_no_such_message(cleared):
    it = device()
    it.on_service_notice(OFFLINE)
    it.on_service_notice(cleared)
    says(it, 1)
    assert sent(it, 0.0) == [1]


# --- given up --------------------------------------------------------------------------------------------------------


def test_an_array_that_three_tries_did_not_get_acknowledged_goes_on_as_single_messages_and_is_then_given_up():
    it = device(arrays=True)
    says(it, 3)
    seen = [p for t in range(12_000) for p in sent(it, t / 10)]
    assert seen[:3] == [[1, 2, 3]] * 3
    assert sorted(seen[3:]) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert dropped(it) == {"boot-a": [[1, 3]]}
    assert (it.counters.dropped, it.kept) == (3, 0)


def test_a_poisoned_message_in_an_array_takes_no_neighbour_with_it():
    it = device(arrays=True)
    says(it, 3)
    for t in range(12_000):
        for payload in sent(it, t / 10):
            if payload != 2 and not isinstance(payload, list):
                acked(it, (payload, payload))
    assert dropped(it) == {"boot-a": [[2, 2]]}
    assert it.counters.acked == 2


def test_singles_and_arrays_share_what_may_be_in_flight():
    it = device(arrays=True)
    says(it, 1_000)
    for t in (0.0, 10.0, 30.0):
        assert [len(p) for p in sent(it, t)] == [500, 500]
    says(it, 1_000)
    assert all(isinstance(p, int) for p in sent(it, 70.0))
    assert it.in_flight == 1_000


# --- order -----------------------------------------------------------------------------------------------------------


def test_smoke_and_critical_faults_go_before_everything_with_the_seq_they_have():
    it = device(connected=False)
    for fields in (METER, QUIET, LOUD, METER, SMOKE):
        it.say(fields, NOON_MS)
    it.on_connect(0.0)
    it.on_service_notice(ONLINE)
    assert sent(it, 0.0) == [3, 5, 1, 2, 4]


def test_after_a_reboot_the_old_boot_is_sent_first_under_its_old_name():
    it = device()
    says(it, 2)
    sent(it, 0.0)
    acked(it, (1, 1))
    it.on_disconnect()
    it.reboot("boot-b")
    says(it, 1)
    it.on_connect(5.0)
    it.on_service_notice(ONLINE)
    got = [msgspec.json.decode(p) for p in it.due(5.0)]
    assert [(m["boot"], m["seq"]) for m in got] == [("boot-a", 2), ("boot-b", 1)]


def test_smoke_of_an_old_boot_is_still_first():
    it = device(connected=False)
    says(it, 1)
    it.say(SMOKE, NOON_MS)
    it.reboot("boot-b")
    says(it, 1)
    it.say(SMOKE, NOON_MS)
    it.on_connect(0.0)
    it.on_service_notice(ONLINE)
    got = [msgspec.json.decode(p) for p in it.due(0.0)]
    assert [(m["boot"], m["seq"]) for m in got] == [("boot-a", 2), ("boot-b", 2), ("boot-a", 1), ("boot-b", 1)]


# --- what its buffer cannot hold -------------------------------------------------------------------------------------


def test_a_full_buffer_drops_the_oldest_and_says_so():
    it = device(connected=False, capacity=3)
    says(it, 5)
    assert dropped(it) == {"boot-a": [[1, 2]]}
    it.on_connect(0.0)
    it.on_service_notice(ONLINE)
    assert sent(it, 0.0) == [3, 4, 5]
    assert it.counters.dropped == 2


def test_a_full_buffer_drops_from_the_oldest_boot_first():
    it = device(connected=False, capacity=3)
    says(it, 2)
    it.reboot("boot-b")
    says(it, 3)
    assert dropped(it) == {"boot-a": [[1, 2]]}


def test_dropped_ranges_are_as_many_as_the_holes():
    it = device(capacity=3)
    says(it, 3)
    sent(it, 0.0)
    acked(it, (2, 2))
    says(it, 3)
    assert dropped(it) == {"boot-a": [[1, 1], [3, 3]]}


# --- status and will -------------------------------------------------------------------------------------------------


def test_the_status_says_all_that_the_contract_names():
    it = device(model="AC-7", firmware="1.2")
    says(it, 2)
    assert status(it) == {
        "v": 1, "boot": "boot-a", "ts": "2025-11-22T04:05:06.250Z", "online": True, "interval_s": 60, "last_seq": 2,
        "model": "AC-7", "firmware": "1.2", "boots": [{"boot": "boot-a", "last_seq": 2, "dropped_ranges": []}],
    }  # fmt: skip


def test_boots_lists_newest_first_those_that_keep_or_have_dropped_messages():
    it = device(connected=False, capacity=3)
    says(it, 3)
    it.reboot("boot-b")
    it.reboot("boot-c")
    says(it, 1)
    assert [(b["boot"], b["last_seq"]) for b in status(it)["boots"]] == [("boot-c", 1), ("boot-a", 3)]


def test_a_boot_that_is_wholly_acknowledged_is_no_longer_listed():
    it = device()
    says(it, 2)
    sent(it, 0.0)
    it.reboot("boot-b")
    status(it)
    acked(it, (1, 2))
    assert it.status_due
    assert status(it)["boots"] == []


@pytest.mark.parametrize("growth", ["connect", "reboot", "drop"])
def test_the_status_is_due_again_when_something_must_be_said(growth):
    it = device(capacity=1)
    says(it, 1)
    status(it)
    assert not it.status_due
    {"connect": lambda: it.on_connect(1.0), "reboot": lambda: it.reboot("b"), "drop": lambda: says(it, 1)}[growth]()
    assert it.status_due


def test_ordinary_messages_make_no_status_due():
    it = device()
    status(it)
    says(it, 5)
    sent(it, 0.0)
    acked(it, (1, 5))
    assert not it.status_due


def test_the_will_names_the_boot_and_nothing_else():
    assert msgspec.json.decode(device().will()) == {"v": 1, "boot": "boot-a", "online": False}


def test_a_device_that_reboots_for_ever_keeps_a_short_list():
    it = device(connected=False, capacity=1)
    for n in range(200):
        says(it, 2)
        it.reboot(f"boot-{n}")
    listed = status(it)["boots"]
    assert len(listed) <= 34
    assert it.counters.dropped == 399


# --- any story -------------------------------------------------------------------------------------------------------

EVENTS = st.sampled_from(
    ["say", "smoke", "send", "ack", "lose_ack", "cut", "link", "offline", "online", "reboot", "wait"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=120), st.booleans(), st.integers(1, 30))
def test_whatever_happens_each_message_is_kept_acknowledged_or_named_as_dropped(events, arrays, capacity):
    it = device(arrays=arrays, capacity=capacity)
    now_s, boots, said, arrived = 0.0, 0, set(), set()
    published: set = set()
    for event in [*events, "link", "online"]:
        now_s += 0.4
        if event in {"say", "smoke"}:
            said.add((it.boot, it.say(METER if event == "say" else SMOKE, NOON_MS)))
        elif event in {"ack", "lose_ack"}:
            arrived |= published
            if event == "ack":
                for boot, seq in published:
                    acked(it, (seq, seq), boot=boot)
            published.clear()
        elif event == "reboot":
            boots += 1
            it.reboot(f"boot-{boots}")
        elif event == "cut":
            it.on_disconnect()
        elif event == "link" and not it.connected:
            it.on_connect(now_s)
        elif event in {"offline", "online"}:
            it.on_service_notice(OFFLINE if event == "offline" else ONLINE)
        elif event == "wait":
            now_s += 15
        for payload in it.due(now_s) if event == "send" else []:
            got = msgspec.json.decode(payload)
            published |= {(m["boot"], m["seq"]) for m in (got if isinstance(got, list) else [got])}
        assert it.in_flight <= 1_000
        assert it.kept <= capacity
    lost = {(b.name, seq) for b in it.boots for lo, hi in b.dropped for seq in range(lo, hi + 1)}
    kept = {(b.name, seq) for b in it.boots for seq in b.kept}
    assert said == lost | kept | (arrived & said)
    assert it.counters.said == it.counters.acked + it.counters.dropped + it.kept
