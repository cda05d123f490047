"""Floor 0 · The little MQTT 3.1.1 that a device speaks: bytes to send, and what received bytes mean. No I/O.

Thousands of these live in one process and publish thousands of messages a second. A publish with its PUBACK costs two
microseconds here beside the socket's work, thirty and more in a full client. No session is kept: a device that loses
its line says again what was not acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ingest.packets import MalformedPacket, PacketBuffer, pubacks, read_publish

LARGEST_PACKET_BYTES = 1024 * 1024
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90, b"\xc0\x00"
REFUSALS = {1: "protocol version", 2: "client id", 3: "server unavailable", 4: "bad user name or password",
            5: "not authorised"}  # fmt: skip


class Welcomed(NamedTuple):
    """The broker took the connection, or `refusal` says why not."""

    refusal: str | None


class Subscribed(NamedTuple):
    refused: bool


class Message(NamedTuple):
    topic: str
    payload: bytes


class Taken(NamedTuple):
    """The broker took a QoS 1 publish (which says nothing of durability)."""

    packet_id: int


Event = Welcomed | Subscribed | Message | Taken


class DeviceLine:
    """One connection's side of the protocol. Make a new one for each connection."""

    def __init__(self) -> None:
        self._buffer = PacketBuffer(LARGEST_PACKET_BYTES)
        self._packet_id = 0
        self.untaken: set[int] = set()
        """Ids of publishes that the broker has not taken yet."""

    def connect(self, client_id: str, username: str | None, password: str | None, *, will_topic: str, will: bytes,
                keepalive_s: int) -> bytes:  # fmt: skip
        """A clean session with a retained QoS 1 will."""
        flags = 0x02 | 0x04 | 0x08 | 0x20
        body = [_text(client_id), _text(will_topic), len(will).to_bytes(2), will]
        if username is not None:
            flags |= 0x80
            body.append(_text(username))
            if password is not None:
                flags |= 0x40
                body.append(_text(password))
        head = _text("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2)
        return _packet(CONNECT, head + b"".join(body))

    def subscribe(self, topics: Iterable[tuple[str, int]]) -> bytes:
        """Topics with the QoS to hear each at."""
        body = b"".join(_text(topic) + bytes((qos,)) for topic, qos in topics)
        return _packet(SUBSCRIBE, self._next_id().to_bytes(2) + body)

    def publish(self, topic: bytes, payload: bytes, *, retain: bool = False) -> bytes:
        """A PUBLISH at QoS 1."""
        packet_id = self._next_id()
        self.untaken.add(packet_id)
        body = b"".join((len(topic).to_bytes(2), topic, packet_id.to_bytes(2), payload))
        return _packet(PUBLISH | 0x02 | retain, body)

    def received(self, data: bytes) -> tuple[list[Event], bytes]:
        """What came, and what must be answered. Raises MalformedPacket."""
        events: list[Event] = []
        to_acknowledge: list[int] = []
        for first, body in self._buffer.feed(data):
            kind = first & 0xF0
            if kind == PUBACK:
                packet_id = int.from_bytes(body[:2])
                self.untaken.discard(packet_id)
                events.append(Taken(packet_id))
            elif kind == PUBLISH:
                topic, payload, qos, _, packet_id = read_publish(first, body)
                events.append(Message(topic, payload))
                if qos:
                    to_acknowledge.append(packet_id)
            elif kind == CONNACK:
                if len(body) != 2:
                    raise MalformedPacket("a CONNACK of another length than two")
                events.append(Welcomed(REFUSALS.get(body[1], f"code {body[1]}") if body[1] else None))
            elif kind == SUBACK:
                events.append(Subscribed(refused=any(code & 0x80 for code in body[2:])))
        return events, pubacks(to_acknowledge)

    def _next_id(self) -> int:
        if len(self.untaken) > 60_000:
            self.untaken.clear()
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self.untaken:
                return self._packet_id


def _text(text: str) -> bytes:
    coded = text.encode()
    return len(coded).to_bytes(2) + coded


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    coded = bytearray((first,))
    while True:
        length, low = length >> 7, length & 127
        if not length:
            coded.append(low)
            return bytes(coded) + body
        coded.append(low | 128)
