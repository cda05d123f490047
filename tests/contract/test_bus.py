"""The service's line to the bus, over both brokers: it comes back, loses nothing it may not, and never blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from ingest.mqtt import Arrival, Bus, Inbound, one_by_one
from tests.brokers import DEVICES, WITNESS, Broker, Client, everyone, password_of, place, until
from tests.line import Line

ROOT = "lunchong/v1"
ME = f"{ROOT}/{DEVICES[0]}"
TELEMETRY = f"{ROOT}/+/+/telemetry"


class Heard(NamedTuple):
    """One message, as if it had arrived alone."""

    topic: str
    payload: bytes
    retained: bool
    arrival: Arrival


def into(heard: list[Heard]) -> Callable[[Arrival], None]:
    def arrived(arrival: Arrival) -> None:
        for publish, packet_id in zip(arrival.publishes, arrival.packet_ids, strict=True):
            heard.append(Heard(*publish, Arrival([publish], [packet_id], arrival.connection, 0)))

    return arrived


@pytest.fixture
def line(broker: Broker) -> Iterator[Line]:
    line = Line(broker.url)
    yield line
    line.close()


@pytest.fixture
def open_bus() -> Iterator[Callable[..., Bus]]:
    """Makes lines to the bus that are closed when the test ends; `heard` collects what comes."""
    made: list[Bus] = []

    def make(url: str, name: str = "service/ingest", heard: list[Heard] | None = None, **more: Any) -> Bus:
        given: dict[str, Any] = {
            "client_id": f"{name}-{len(made)}",
            "username": name,
            "password": password_of(name),
            "subscriptions": [(TELEMETRY, 1)],
            "on_arrival": into([] if heard is None else heard),
        } | more
        bus = Bus(url, **given)
        made.append(bus)
        bus.start()
        return bus

    yield make
    for bus in made:
        bus.stop()


def nobody_there() -> Bus:
    return Bus(
        "mqtt://127.0.0.1:1",
        client_id="x",
        username="x",
        password="x",
        subscriptions=[],
        on_arrival=print,
    )


def broker_has_read_all(broker: Broker, bus: Bus) -> None:
    """What this bus wrote so far, its acknowledgements too: one connection is read in order."""
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ME}/session")
        bus.publish(f"{ME}/session", b"end", 1)
        witness.payloads(1)


def said(heard: list[Heard], count: int) -> list[str]:
    until(lambda: len(heard) >= count, 15)
    return [message.payload.decode() for message in heard]


def test_a_message_comes_whole_and_says_whether_it_was_kept(broker: Broker, open_bus):
    heard: list[Heard] = []
    with Client(broker.url, DEVICES[0]) as device:
        device.publish(f"{ME}/status", "kept 轮充", retain=True)
        bus = open_bus(broker.url, heard=heard, subscriptions=[(f"{ROOT}/+/+/status", 1)])
        said(heard, 1)
        device.publish(f"{ME}/status", "fresh")
        assert said(heard, 2) == ["kept 轮充", "fresh"]
    assert [(m.topic, m.retained, m.arrival.connection) for m in heard] == [
        (f"{ME}/status", True, bus.connection),
        (f"{ME}/status", False, bus.connection),
    ]


def test_it_comes_back_after_the_broker_was_killed_and_says_so(broker: Broker, open_bus):
    heard: list[Heard] = []
    told: list[str] = []
    bus = open_bus(
        broker.url, heard=heard, on_connect=lambda: told.append("up"), on_disconnect=lambda: told.append("down")
    )
    until(lambda: bus.connected)
    first = bus.connection
    broker.kill()
    until(lambda: told == ["up", "down", "up"], 15)
    assert bus.connection > first
    with Client(broker.url, DEVICES[0]) as device:
        device.publish(f"{ME}/telemetry", "after")
    assert said(heard, 1) == ["after"]


def test_what_was_not_acknowledged_comes_again_and_what_was_does_not(broker: Broker, line: Line, open_bus):
    heard: list[Heard] = []
    bus = open_bus(line.url, heard=heard, client_id="one", persistent=True, manual_ack=True)
    until(lambda: bus.connected)
    with Client(broker.url, DEVICES[0]) as device:
        device.burst(f"{ME}/telemetry", 100)
        said(heard, 100)
        bus.acknowledge([message.arrival for message in heard[:90]])
        device.publish(f"{ME}/telemetry", "last")
        said(heard, 101)
    broker_has_read_all(broker, bus)
    line.cut()
    until(lambda: len(heard) >= 112, 15)
    assert sorted(m.payload.decode() for m in heard[101:112]) == sorted([*map(str, range(90, 100)), "last"])


def test_an_acknowledgement_of_an_older_connection_is_skipped(broker: Broker, line: Line, open_bus):
    """Packet ids begin anew with a connection: an old one would acknowledge another message."""
    heard: list[Heard] = []
    bus = open_bus(line.url, heard=heard, client_id="one", persistent=True, manual_ack=True)
    until(lambda: bus.connected)
    with Client(broker.url, DEVICES[0]) as device:
        device.publish(f"{ME}/telemetry", "a")
        said(heard, 1)
        line.cut()
        until(lambda: len(heard) >= 2, 15)
        assert heard[1].arrival.connection > heard[0].arrival.connection
        bus.acknowledge([heard[0].arrival])
        device.publish(f"{ME}/telemetry", "b")
        until(lambda: heard[-1].payload == b"b")
    seen = len(heard)
    line.cut()
    until(lambda: {m.payload for m in heard[seen:]} == {b"a", b"b"}, 15)


def test_without_manual_ack_nothing_comes_twice(broker: Broker, line: Line, open_bus):
    heard: list[Heard] = []
    bus = open_bus(line.url, heard=heard, client_id="one", persistent=True)
    until(lambda: bus.connected)
    with Client(broker.url, DEVICES[0]) as device:
        device.burst(f"{ME}/telemetry", 300)
        said(heard, 300)
        first = bus.connection
        broker_has_read_all(broker, bus)
        line.cut()
        until(lambda: bus.connection > first and bus.connected, 15)
        device.publish(f"{ME}/telemetry", "end")
        until(lambda: heard[-1].payload == b"end")
    assert len(heard) == 301


def test_a_line_that_falls_silent_is_noticed_within_twice_the_keep_alive(broker: Broker, line: Line, open_bus):
    down = threading.Event()
    bus = open_bus(line.url, keepalive_s=1, on_disconnect=down.set)
    until(lambda: bus.connected)
    line.go_silent()
    began_s = time.monotonic()
    assert down.wait(8)
    assert time.monotonic() - began_s < 3.5  # twice one second, and the second at which it looks
    line.speak_again()
    until(lambda: bus.connected, 15)


def test_a_device_without_connection_hears_the_newest_of_each_kept_topic_and_the_rest_in_order(
    broker: Broker, line: Line, open_bus
):
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ROOT}/#")
        bus = open_bus(line.url, subscriptions=[])
        until(lambda: bus.connected)
        line.go_silent()
        line.cut()
        until(lambda: not bus.connected)
        bus.publish(f"{ME}/ack", b"too late", 0)
        for n in range(20):
            bus.publish(f"{ME}/state", f"state {n}".encode(), 1, retain=True)
            bus.publish(f"{ME}/session", f"session {n}".encode(), 1)
        line.speak_again()
        heard = witness.payloads(21, 15)
    assert [text for text in heard if text.startswith("session")] == [f"session {n}" for n in range(20)]
    assert [text for text in heard if not text.startswith("session")] == ["state 19"]


def test_what_cannot_be_kept_while_offline_is_counted():
    bus = nobody_there()
    for n in range(10_003):
        bus.publish(f"{ME}/session", str(n).encode(), 1)
    assert bus.unsent == 3
    bus.stop()


def test_a_qos_that_the_contract_does_not_know_is_refused():
    bus = nobody_there()
    with pytest.raises(ValueError, match="QoS 2"):
        bus.publish(f"{ME}/session", b"x", 2)
    bus.stop()


def test_what_was_said_into_a_dead_line_is_said_again(broker: Broker, line: Line, open_bus):
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ROOT}/#")
        bus = open_bus(line.url, subscriptions=[])
        until(lambda: bus.connected)
        line.go_silent()
        for n in range(20):
            bus.publish(f"{ME}/session", f"session {n}".encode(), 1)
        line.speak_again()
        assert witness.payloads(20, 15) == [f"session {n}" for n in range(20)]


def test_listeners_that_fail_do_not_end_the_line(broker: Broker, line: Line, open_bus, caplog):
    def fail() -> None:
        raise ValueError

    heard: list[Heard] = []
    bus = open_bus(line.url, heard=heard, on_connect=fail, on_disconnect=fail)
    until(lambda: bus.connected)
    line.cut()
    until(lambda: bus.connection == 2 and bus.connected, 15)
    with Client(broker.url, DEVICES[0]) as device:
        device.publish(f"{ME}/telemetry", "heard")
    assert said(heard, 1) == ["heard"]
    assert caplog.text.count("a listener of the line to the broker failed") == 3


def test_what_is_said_from_many_threads_all_arrives_in_each_ones_order(broker: Broker, open_bus):
    bus = open_bus(broker.url, subscriptions=[])
    until(lambda: bus.connected)

    def speak(speaker: int) -> None:
        for n in range(250):
            bus.publish(f"{ME}/session", f"{speaker}:{n}".encode(), n % 2)

    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(f"{ME}/session", 0)
        threads = [threading.Thread(target=speak, args=(speaker,)) for speaker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heard = witness.payloads(1_000)
    for speaker in range(4):
        assert [text for text in heard if text.startswith(f"{speaker}:")] == [f"{speaker}:{n}" for n in range(250)]


def test_leaving_says_the_last_word_and_not_the_will(broker: Broker, open_bus):
    notice = f"{ROOT}/service/ingest"
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(notice)
        leaves = open_bus(broker.url, will=(notice, b"died", 1, True))
        until(lambda: leaves.connected)
        leaves.stop((notice, b"left", 1, True))
        witness.payloads(1)
        witness.publish(notice, "that was all")
        assert witness.payloads(2) == ["left", "that was all"]


def test_a_cut_line_speaks_its_will(broker: Broker, line: Line, open_bus):
    notice = f"{ROOT}/service/ingest"
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe(notice)
        bus = open_bus(line.url, will=(notice, b"died", 1, True))
        until(lambda: bus.connected)
        line.cut()
        assert witness.payloads(1) == ["died"]


def test_a_wrong_password_is_said_and_tried_again(broker: Broker, open_bus):
    broker.load([one for one in everyone() if one.username != "service/api"], place(*DEVICES))
    bus = open_bus(broker.url, "service/api", subscriptions=[])
    until(lambda: "refused" in bus.last_error)
    assert not bus.connected
    broker.load(everyone(), place(*DEVICES))
    until(lambda: bus.connected, 15)
    assert bus.last_error == ""


def test_a_filter_that_is_not_allowed_is_named(nats, open_bus):
    bus = open_bus(nats.url, "service/api", subscriptions=[(f"{ROOT}/+/+/state", 1), (TELEMETRY, 1)])
    until(lambda: bus.connected)
    assert bus.refused_filters == {TELEMETRY}
    assert TELEMETRY in bus.last_error


def test_a_message_that_cannot_be_handled_does_not_end_the_line(broker: Broker, open_bus, caplog):
    heard: list[str] = []

    def handle(message: Inbound) -> None:
        if message.payload == b"bad":
            raise ValueError
        heard.append(message.payload.decode())

    bus = open_bus(broker.url, on_arrival=one_by_one(handle))
    until(lambda: bus.connected)
    with Client(broker.url, DEVICES[0]) as device:
        for text in ("bad", "good"):
            device.publish(f"{ME}/telemetry", text)
    until(lambda: heard == ["good"])
    assert f"{ME}/telemetry" in caplog.text


def test_a_line_that_is_held_reads_nothing_and_stays_up_past_its_keepalive(broker: Broker, open_bus):
    heard: list[Heard] = []
    bus = open_bus(broker.url, heard=heard, keepalive_s=2, manual_ack=True)
    until(lambda: bus.connected)
    bus.hold(True)
    with Client(broker.url, DEVICES[0]) as device:
        device.burst(f"{ME}/telemetry", 50)
        began_s = time.monotonic()
        until(lambda: time.monotonic() - began_s > 6)
        assert heard == []
        assert (bus.connected, bus.connection) == (True, 1)
        bus.hold(False)
        until(lambda: {message.payload for message in heard} == {str(n).encode() for n in range(50)})


def test_large_messages_come_whole(broker: Broker, open_bus):
    heard: list[Heard] = []
    bus = open_bus(broker.url, heard=heard)
    until(lambda: bus.connected)
    sizes = [1, 256 * 1024, 100, 127, 128, 900_000, 16_383, 16_384]
    with Client(broker.url, DEVICES[0]) as device:
        for size in sizes:
            device.publish(f"{ME}/telemetry", "y" * size)
    until(lambda: len(heard) == len(sizes))
    assert [len(message.payload) for message in heard] == sizes


def test_it_may_be_started_before_there_is_a_broker_and_stopped_without_one(open_bus):
    with_nobody = open_bus("mqtt://127.0.0.1:1", subscriptions=[])
    until(lambda: "cannot reach" in with_nobody.last_error)
    began_s = time.monotonic()
    with_nobody.publish(f"{ME}/state", b"x", 1, retain=True)
    with_nobody.stop((f"{ME}/state", b"y", 1, True))
    assert time.monotonic() - began_s < 2
