"""Floor 0 · The few MQTT 3.1.1 packets that travel by the thousand, as bytes, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct as Layout

PUBLISH = 0x30
PUBACK = 0x40
_PUBACK = Layout(">BBH")


class MalformedPacket(Exception):
    """Bytes that are no MQTT, or a packet beyond the limit: the connection cannot go on."""


class PacketBuffer:
    """Turns what a connection delivers into whole packets; keeps the beginning of one that is not complete."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(first byte, body) of each packet that `data` completes. Raises MalformedPacket."""
        held = self._held + data if self._held else data
        at, end = 0, len(held)
        packets = []
        while end - at >= 2:
            length, body = held[at + 1], at + 2
            if length > 127:
                length &= 127
                shift = 7
                while body < end and shift < 28:
                    length |= (held[body] & 127) << shift
                    shift += 7
                    body += 1
                    if held[body - 1] < 128:
                        break
                else:
                    if shift == 28:
                        raise MalformedPacket("a packet's length has more than four bytes")
                    break
            if length > self._limit_bytes:
                raise MalformedPacket(f"a packet of {length} bytes, more than {self._limit_bytes}")
            if end - body < length:
                break
            packets.append((held[at], held[body : body + length]))
            at = body + length
        self._held = held[at:]
        return packets


Publish = tuple[str, bytes, bool]
"""(topic, payload, retained)"""

MOST_TOPICS = 20_000


class PublishReader:
    """Takes many PUBLISH packets apart in one go. Topics come again and again, and are read once."""

    def __init__(self) -> None:
        self._topics: dict[bytes, str] = {}

    def read(self, packets: Iterable[tuple[int, bytes]]) -> tuple[list[Publish], list[int]]:
        """The publishes in their order, and the packet ids of those at QoS 1. Raises MalformedPacket."""
        topics, publishes, packet_ids = self._topics, list[Publish](), list[int]()
        for first, body in packets:
            end = 2 + (body[0] << 8 | body[1]) if len(body) > 1 else 2
            start = end + 2 if first & 6 else end
            if len(body) < start:
                raise MalformedPacket("a PUBLISH that is shorter than its own topic")
            topic = topics.get(body[2:end]) or self._new_topic(body[2:end])
            publishes.append((topic, body[start:], bool(first & 1)))
            if first & 6:
                packet_ids.append(body[end] << 8 | body[end + 1])
        return publishes, packet_ids

    def _new_topic(self, name: bytes) -> str:
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            raise MalformedPacket("a topic that is not UTF-8") from None
        if len(self._topics) >= MOST_TOPICS:
            self._topics.clear()
        self._topics[name] = topic
        return topic


def read_publish(first: int, body: bytes) -> tuple[str, bytes, int, bool, int]:
    """(topic, payload, qos, retained, packet id) of a PUBLISH; the id is 0 at QoS 0. Raises MalformedPacket."""
    qos = first >> 1 & 3
    end = 2 + int.from_bytes(body[:2])
    start = end + 2 if qos else end
    if len(body) < start:
        raise MalformedPacket("a PUBLISH that is shorter than its own topic")
    try:
        topic = body[2:end].decode()
    except UnicodeDecodeError:
        raise MalformedPacket("a topic that is not UTF-8") from None
    return topic, body[start:], qos, bool(first & 1), int.from_bytes(body[end:start])


def publish(topic: str, payload: bytes, *, retain: bool = False, packet_id: int = 0) -> bytes:
    """A PUBLISH at QoS 1, or at QoS 0 without a packet id."""
    name = topic.encode()
    mark = packet_id.to_bytes(2) if packet_id else b""
    first = PUBLISH | (2 if packet_id else 0) | retain
    length = 2 + len(name) + len(mark) + len(payload)
    return b"".join((bytes((first,)), _length(length), len(name).to_bytes(2), name, mark, payload))


def pubacks(packet_ids: Iterable[int]) -> bytes:
    return b"".join([_PUBACK.pack(PUBACK, 2, packet_id) for packet_id in packet_ids])


def _length(length: int) -> bytes:
    coded = bytearray()
    while True:
        length, low = length >> 7, length & 127
        if not length:
            coded.append(low)
            return bytes(coded)
        coded.append(low | 128)
