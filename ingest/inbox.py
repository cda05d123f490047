"""Floor 3 · What came from the broker and was not taken in yet: bounded in bytes, else the line is held."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ingest.mqtt import Arrival

MOST_BYTES = 32 * 1024 * 1024
"""Beyond, nothing is read from the broker until something was taken; the broker's own queue holds the rest."""
AT_ONCE_BYTES = 768 * 1024
"""What one commit takes: some four thousand single messages."""


class Inbox:
    """Filled by the line's thread, emptied by the commit thread."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        """`hold` tells the line whether to stop reading."""
        self._hold = hold
        self._arrivals: deque[Arrival] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._arrivals)

    @property
    def full(self) -> bool:
        """Whether a commit's worth waits already."""
        return self._bytes >= AT_ONCE_BYTES

    def put(self, arrival: Arrival) -> None:
        with self._lock:
            self._arrivals.append(arrival)
            self._bytes += arrival.bytes
            if self._bytes > MOST_BYTES:
                self._hold(True)

    def take(self) -> list[Arrival]:
        """The oldest arrivals, as many as make a commit."""
        some: list[Arrival] = []
        size = 0
        with self._lock:
            while self._arrivals and size < AT_ONCE_BYTES:
                some.append(self._arrivals.popleft())
                size += some[-1].bytes
            self._bytes -= size
            if self._bytes <= MOST_BYTES:
                self._hold(False)
        return some

    def clear(self) -> None:
        while self.take():
            pass
