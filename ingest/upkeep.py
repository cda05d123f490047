"""Floor 3 · What the store is asked to do now and then: roll up what is new, let go of what is too old."""

from __future__ import annotations

from ingest.running import Clock
from ingest.store import TelemetryStore

ROLL_UP_EVERY_S = 5.0
EXPIRE_EVERY_S = 600.0
DEAD_LETTER_DAYS = 30
DAY_MS = 24 * 3_600_000


class Upkeep:
    """Used by the drainer's thread."""

    def __init__(self, store: TelemetryStore, clock: Clock, retention_days: int) -> None:
        """`retention_days` 0 keeps raw rows for ever."""
        self._store, self._clock, self._retention_days = store, clock, retention_days
        self._roll_up_due_s = 0.0
        self._expire_due_s = clock.mono_s() + EXPIRE_EVERY_S

    def turn(self) -> None:
        """To be called again and again: does what is due."""
        mono_s, now_ms = self._clock.mono_s(), self._clock.service_ms()
        if mono_s >= self._roll_up_due_s:
            self._store.roll_up(now_ms)
            self._roll_up_due_s = self._clock.mono_s() + ROLL_UP_EVERY_S
        if mono_s >= self._expire_due_s:
            self._expire_due_s = mono_s + EXPIRE_EVERY_S
            if self._retention_days:
                self._store.expire(now_ms - self._retention_days * DAY_MS)
            self._store.purge_dead(before_ms=now_ms - DEAD_LETTER_DAYS * DAY_MS)
