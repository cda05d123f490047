"""Floor 3 · What is to be said to the broker: in order while the line stands, kept in bounds while it does not."""

from __future__ import annotations

import threading
from collections import deque

from msgspec import Struct

from ingest.packets import publish

_LIMIT = 10_000
"""QoS 1 publishes on their way, and as many kept while offline."""


class Outbound(Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Outbox:
    """Filled from any thread, emptied by the line's own."""

    def __init__(self) -> None:
        self.connected = False
        """Whether the line stands: else QoS 0 messages are dropped, and QoS 1 messages wait."""
        self.unsent = 0
        """QoS 1 messages given up because the broker was away for too long."""
        self._lock = threading.Lock()
        self._out: deque[Outbound | tuple[int, bytes]] = deque()
        self._held: dict[str | int, Outbound] = {}
        self._held_no = 0
        self._in_flight: dict[int, Outbound] = {}
        self._last_mid = 0

    @property
    def on_its_way(self) -> bool:
        """Whether anything is not written yet, or not known to have arrived."""
        return bool(self._out or self._in_flight)

    def put(self, message: Outbound) -> None:
        with self._lock:
            if self.connected:
                self._out.append(message)
            elif message.qos:
                self._hold(message)

    def put_packets(self, packets: bytes, connection: int) -> None:
        """Bytes that have a meaning on this connection alone."""
        with self._lock:
            self._out.append((connection, packets))

    def stand(self) -> None:
        """The line stands: what was kept goes out before all that follows."""
        with self._lock:
            self._out.extend(self._held.values())
            self._held.clear()
            self.connected = True

    def fall(self) -> bool:
        """The line is down: what is not known to have arrived is kept. Returns whether it stood."""
        with self._lock:
            stood, self.connected = self.connected, False
            for left in [*self._in_flight.values(), *self._out]:
                if isinstance(left, Outbound) and left.qos:
                    self._hold(left)
            self._in_flight.clear()
            self._out.clear()
        return stood

    def take(self, connection: int) -> bytes:
        """What may be written now, as one piece."""
        raw: list[bytes] = []
        while self._out and len(self._in_flight) < _LIMIT:
            item = self._out.popleft()
            if isinstance(item, Outbound):
                mid = self._new_mid(item) if item.qos else 0
                raw.append(publish(item.topic, item.payload, retain=item.retain, packet_id=mid))
            elif item[0] == connection:
                raw.append(item[1])
        return b"".join(raw)

    def arrived(self, mid: int) -> None:
        """The broker has the message that went out under this packet id."""
        self._in_flight.pop(mid, None)

    def _hold(self, message: Outbound) -> None:
        self._held_no += 1
        key = message.topic if message.retain else self._held_no
        self._held.pop(key, None)
        self._held[key] = message
        if len(self._held) > _LIMIT:
            oldest = next((key for key in self._held if isinstance(key, int)), None)
            if oldest is not None:
                del self._held[oldest]
                self.unsent += 1

    def _new_mid(self, message: Outbound) -> int:
        mid = self._last_mid % 65_535 + 1
        while mid in self._in_flight:
            mid = mid % 65_535 + 1
        self._last_mid = mid
        self._in_flight[mid] = message
        return mid
