"""The clocks of a running process: the one place where time is read."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from zoneinfo import ZoneInfo

from ingest.clock import ServiceClock, resumed, to_ms
from ingest.messages import ClockReading

DEMO_BEGINS_HOUR = 16
MINUTE_MS = 60_000


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class LiveClock:
    """Service time by a rule over the wall. It never goes back, not even when the wall is set back.

    `judges_skew` is False where service time follows the messages themselves.
    """

    judges_skew = True

    def __init__(self, clock: ServiceClock) -> None:
        self.clock = clock
        self._latest_ms = 0

    @property
    def speed(self) -> float:
        return self.clock.speed

    @property
    def reading(self) -> ClockReading:
        return self.clock.reading()

    def wall_ms(self) -> int:
        return wall_ms()

    def mono_s(self) -> float:
        return time.monotonic()

    def service_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self.clock.at(wall_ms()))
        return self._latest_ms

    def heard(self, device: str, ts_ms: int) -> None:
        """A message of that time was taken in; of no account where the wall drives service time."""


class MessageClock(LiveClock):
    """Service time is the smallest, over the devices heard, of each one's newest time; for replays."""

    judges_skew = False

    def __init__(self, begin_ms: int) -> None:
        super().__init__(ServiceClock(wall_ms(), begin_ms))
        self._newest_ms: dict[str, int] = {}
        self._last = ""
        self._lock = threading.Lock()
        self._latest_ms = begin_ms

    @property
    def reading(self) -> ClockReading:
        return ServiceClock(wall_ms(), self._latest_ms).reading()

    def service_ms(self) -> int:
        return self._latest_ms

    def heard(self, device: str, ts_ms: int) -> None:
        with self._lock:
            if ts_ms <= self._newest_ms.get(device, -1):
                return
            joined = device not in self._newest_ms
            self._newest_ms[device] = ts_ms
            if joined or device == self._last:
                self._last = min(self._newest_ms, key=self._newest_ms.__getitem__)
                self._latest_ms = max(self._latest_ms, self._newest_ms[self._last])


def clock_from(kept: ServiceClock | None, begin_ms: int | None, speed: float) -> ServiceClock:
    """The clock to run on from now: as kept, else from `begin_ms` (the wall's own time when None)."""
    now_ms = wall_ms()
    return resumed(kept, now_ms, now_ms if begin_ms is None else begin_ms, speed)


def demo_begin_ms(timezone: str) -> int:
    """16:00 of today at the place: cars come home soon, and the evening lies ahead."""
    today = datetime.now(ZoneInfo(timezone))
    return to_ms(today.replace(hour=DEMO_BEGINS_HOUR, minute=0, second=0, microsecond=0))
