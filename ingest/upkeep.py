"""Floor 3 · What the store is asked to do now and then: roll up what is new, let go of what is too old."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ingest.clock import DAY_MS
from ingest.running import Clock
from ingest.store import StoreUnavailable, TelemetryStore

log = logging.getLogger(__name__)

ROLL_UP_EVERY_S = 5.0
EXPIRE_EVERY_S = 600.0
SLOWEST_S = 300.0
"""What fails again and again is tried after twice the time each time, and after no more than this."""
DEAD_LETTER_DAYS = 30


class Job:
    """Done every `every_s`. It raises nothing: one that fails keeps no other from its turn, and no reading waiting."""

    def __init__(self, name: str, do: Callable[[int], object], clock: Clock, every_s: float, due_s: float) -> None:
        """`do` is given service time in milliseconds; `due_s` is when it is done first, by the monotonic clock."""
        self.failed: tuple[int, str] | None = None
        """Since when in service time, and why the last time; None while it goes well."""
        self._name, self._do, self._clock = name, do, clock
        self._every_s, self._wait_s, self._due_s = every_s, every_s, due_s

    def turn(self) -> None:
        if self._clock.mono_s() < self._due_s:
            return
        try:
            self._do(self._clock.service_ms())
        except Exception as error:  # noqa: BLE001 - logged, once for each reason
            self._fails(error)
        else:
            if self.failed is not None:
                log.warning("%s goes well again", self._name)
            self.failed, self._wait_s = None, self._every_s
            self._due_s = self._clock.mono_s() + self._every_s

    def _fails(self, error: Exception) -> None:
        away = error if isinstance(error, StoreUnavailable) else None
        why = str(away) if away else f"{type(error).__name__}: {error}"[:200]
        if self.failed is None or self.failed[1] != why:
            log.warning("%s fails, it is tried again: %s", self._name, why, exc_info=None if away else error)
        self.failed = self._clock.service_ms() if self.failed is None else self.failed[0], why
        self._due_s = self._clock.mono_s() + max(self._wait_s, away.retry_s if away else 0.0)
        self._wait_s = max(self._every_s, min(2 * self._wait_s, SLOWEST_S))


class Upkeep:
    """Used by the drainer's thread."""

    def __init__(self, store: TelemetryStore, clock: Clock, retention_days: int) -> None:
        """`retention_days` 0 keeps raw rows for ever."""
        self._store, self._retention_days = store, retention_days
        later_s = clock.mono_s() + EXPIRE_EVERY_S
        self._rolling_up = Job("rolling up", self._roll_up, clock, ROLL_UP_EVERY_S, 0.0)
        self._jobs = [
            self._rolling_up,
            Job("letting old readings go", self._expire, clock, EXPIRE_EVERY_S, later_s),
            Job("letting old dead letters go", self._purge_dead, clock, EXPIRE_EVERY_S, later_s),
        ]

    @property
    def rollup_failed(self) -> tuple[int, str] | None:
        """Since when in service time, and why. For any thread."""
        return self._rolling_up.failed

    def turn(self) -> None:
        """To be called again and again: does what is due."""
        for job in self._jobs:
            job.turn()

    def _roll_up(self, now_ms: int) -> None:
        self._store.roll_up(now_ms)

    def _expire(self, now_ms: int) -> None:
        if self._retention_days:
            self._store.expire(now_ms - self._retention_days * DAY_MS)

    def _purge_dead(self, now_ms: int) -> None:
        self._store.purge_dead(before_ms=now_ms - DEAD_LETTER_DAYS * DAY_MS)
