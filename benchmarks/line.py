"""A bare MQTT 3.1.1 connection that costs little beside what it measures: encoded before, written by the thousand."""

from __future__ import annotations

import select
import socket
import struct
from urllib.parse import urlsplit

from ingest.packets import PUBLISH, PacketBuffer, read_publish

CONNACK, PUBACK, SUBACK = 0x20, 0x40, 0x90
CLEAN_WITH_LOGIN = 0b1100_0010
KEEPALIVE_S = 60
PACKET_LIMIT_BYTES = 2 * 1024 * 1024


class Line:
    """A gateway's connection. `pubacks` counts what the broker took; `heard` collects (topic, payload)."""

    def __init__(self, url: str, username: str, password: str, client_id: str) -> None:
        address = urlsplit(url)
        self.pubacks = 0
        self.heard: list[tuple[str, bytes]] = []
        self._packets = PacketBuffer(PACKET_LIMIT_BYTES)
        self._packet_id = 0
        self._socket = socket.create_connection((address.hostname or "127.0.0.1", address.port or 1883))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = _text("MQTT") + bytes((4, CLEAN_WITH_LOGIN)) + struct.pack(">H", KEEPALIVE_S)
        try:
            self._ask(_packet(0x10, hello + _text(client_id) + _text(username) + _text(password)), CONNACK)
        except OSError:
            self._socket.close()
            raise

    def subscribe(self, topic_filter: str) -> None:
        self._ask(_packet(0x82, struct.pack(">H", 1) + _text(topic_filter) + b"\x01"), SUBACK)

    def publish(self, *messages: tuple[str, bytes]) -> None:
        """QoS 1, all of them in one write."""
        written = bytearray()
        for topic, payload in messages:
            self._packet_id = self._packet_id % 65_535 + 1
            written += _packet(PUBLISH | 2, _text(topic) + struct.pack(">H", self._packet_id) + payload)
        self._socket.sendall(written)

    def listen(self, within_s: float) -> list[tuple[str, bytes]]:
        """What came since the last call; waits for at most `within_s` when there is nothing."""
        if select.select([self._socket], [], [], within_s)[0]:
            self._read()
        heard, self.heard = self.heard, []
        return heard

    def close(self) -> None:
        self._socket.close()

    def _ask(self, packet: bytes, answer: int) -> None:
        self._socket.sendall(packet)
        while answer not in self._read():
            pass

    def _read(self) -> list[int]:
        """Read once; the kinds of packets that came."""
        data = self._socket.recv(256 * 1024)
        if not data:
            raise ConnectionError("the broker closed the connection")
        kinds = []
        for first, body in self._packets.feed(data):
            kinds.append(first & 0xF0)
            if first & 0xF0 == PUBACK:
                self.pubacks += 1
            elif first & 0xF0 == PUBLISH:
                topic, payload, qos, _retained, packet_id = read_publish(first, body)
                self.heard.append((topic, payload))
                if qos:
                    self._socket.sendall(struct.pack(">BBH", PUBACK, 2, packet_id))
            elif first & 0xF0 == CONNACK and body[1]:
                raise ConnectionError(f"the broker refused the login with code {body[1]}")
        return kinds


def _text(text: str) -> bytes:
    coded = text.encode()
    return struct.pack(">H", len(coded)) + coded


def _packet(first: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes((first,)) + bytes(length) + body
