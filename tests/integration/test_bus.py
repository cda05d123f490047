"""The service's line to the bus before a broker that does not do its part, as no real one would on request."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.mqtt import Bus
from ingest.packets import PacketBuffer
from tests.brokers import free_port, until

CONNECT, SUBSCRIBE, PINGREQ = 0x10, 0x80, 0xC0


class Unhelpful:
    """Speaks as much MQTT as one client with one subscription needs, and leaves unanswered what is `ignored`.

    `hangs_up` ends one connection; `connections` and `pings` count what came.
    """

    def __init__(self) -> None:
        self.ignored: set[int] = set()
        self.connections = self.pings = 0
        self.hangs_up = False
        self._port = free_port()
        self.url = f"mqtt://127.0.0.1:{self._port}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def open(self) -> None:
        """Until then nobody listens at its address."""
        self._server = socket.create_server(("127.0.0.1", self._port))
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            self._server.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            if select.select([self._server], [], [], 0.02)[0]:
                with self._server.accept()[0] as line, contextlib.suppress(OSError):
                    self.connections += 1
                    self._talk(line)

    def _talk(self, line: socket.socket) -> None:
        packets = PacketBuffer(100_000)
        while not self._ended.is_set():
            if self.hangs_up:
                self.hangs_up = False
                return
            if not select.select([line], [], [], 0.02)[0]:
                continue
            if not (data := line.recv(65_536)):
                return
            for first, body in packets.feed(data):
                self.pings += first == PINGREQ
                if first & 0xF0 not in self.ignored:
                    line.sendall(_answer(first & 0xF0, body))


def _answer(kind: int, body: bytes) -> bytes:
    answers = {CONNECT: b"\x20\x02\0\0", SUBSCRIBE: b"\x90\x03" + body[:2] + b"\1", PINGREQ: b"\xd0\0"}
    return answers.get(kind, b"")


@pytest.fixture
def broker() -> Iterator[Unhelpful]:
    broker = Unhelpful()
    yield broker
    broker.close()


@pytest.fixture
def line_to() -> Iterator[Callable[..., Bus]]:
    made: list[Bus] = []

    def make(broker: Unhelpful, **more: Any) -> Bus:
        bus = Bus(
            broker.url, client_id="x", username="x", password="x", subscriptions=[("a/+", 1)],
            on_arrival=lambda _arrival: None, **more,
        )  # fmt: skip
        made.append(bus)
        return bus

    yield make
    for bus in made:
        bus.stop()


def passes(seconds: float) -> None:
    began_s = time.monotonic()
    until(lambda: time.monotonic() - began_s > seconds)


def test_what_is_told_to_reconnect_while_offline_stays_on_its_next_connection(broker, line_to):
    bus = line_to(broker)
    bus.start()
    until(lambda: "cannot reach" in bus.last_error)
    bus.reconnect()
    broker.open()
    until(lambda: bus.connected)
    assert broker.connections == 1
    bus.reconnect()
    until(lambda: bus.connected and broker.connections == 2)


@pytest.mark.parametrize(("ignored", "said"), [(CONNECT, "greeting"), (SUBSCRIBE, "subscriptions")])
def test_a_broker_that_does_not_answer_is_named_and_tried_again(broker, line_to, ignored, said):
    broker.ignored.add(ignored)
    broker.open()
    bus = line_to(broker, keepalive_s=1)
    bus.start()
    until(lambda: said in bus.last_error, 5)
    assert not bus.connected
    broker.ignored.clear()
    until(lambda: bus.connected)
    assert (bus.last_error, bus.connection) == ("", broker.connections)


def test_an_answer_that_is_not_read_by_our_own_choice_is_not_missed(broker, line_to):
    broker.open()
    bus = line_to(broker, keepalive_s=1)
    bus.hold(True)
    bus.start()
    passes(3)
    assert (bus.connected, bus.last_error) == (False, "")
    bus.hold(False)
    until(lambda: bus.connected)
    assert broker.connections == 1


def test_silence_is_noticed_once_the_line_is_no_longer_held(broker, line_to):
    broker.open()
    bus = line_to(broker, keepalive_s=1)
    bus.start()
    until(lambda: bus.connected)
    bus.hold(True)
    broker.ignored.add(PINGREQ)
    passes(3)
    assert (bus.connected, bus.connection) == (True, 1)
    bus.hold(False)
    began_s = time.monotonic()
    until(lambda: not bus.connected, 5)
    assert 1 < time.monotonic() - began_s < 3  # twice one second, and the look at which it is seen


def log_of_the_bus(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "ingest.mqtt"]


def test_the_log_says_that_the_broker_is_away_and_that_it_is_there_again(broker, line_to, caplog):
    bus = line_to(broker)
    bus.start()
    until(lambda: "cannot reach" in bus.last_error)
    broker.open()
    until(lambda: bus.connected)
    away, back = log_of_the_bus(caplog)
    assert away.startswith("cannot reach the broker: ")
    assert back == "the broker is there again"
    bus.reconnect()
    until(lambda: bus.connected and broker.connections == 2)
    assert len(log_of_the_bus(caplog)) == 2  # it was our own wish


HTTP_400 = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HTTP_400, "what answers at the broker's address speaks no MQTT"),
        (b"", "the broker hung up before it let us in"),
    ],
)
def test_what_is_no_broker_is_one_line_in_the_log(broker, line_to, caplog, monkeypatch, answer, said):
    def answers_and_hangs_up(line):
        line.recv(65_536)
        line.sendall(answer)

    monkeypatch.setattr(broker, "_talk", answers_and_hangs_up)
    broker.open()
    bus = line_to(broker)
    bus.start()
    until(lambda: broker.connections == 2)
    until(lambda: bus.last_error == said)
    assert [record.exc_info for record in caplog.records] == [None]
    assert log_of_the_bus(caplog) == [said]


def test_a_line_that_breaks_off_is_said(broker, line_to, caplog):
    broker.open()
    bus = line_to(broker)
    bus.start()
    until(lambda: bus.connected)
    broker.hangs_up = True
    until(lambda: bus.connected and broker.connections == 2)
    assert log_of_the_bus(caplog) == ["the line to the broker broke off", "the broker is there again"]
