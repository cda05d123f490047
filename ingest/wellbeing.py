"""Floor 3 · How ingest itself is: what it says on `service/ingest`, to `doctor` and to `/metrics`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ingest.accounts import IngestStatus, service_conditions
from ingest.clock import rfc3339
from ingest.codec import encode
from ingest.drain import Drainer
from ingest.messages import Condition, ServiceNotice
from ingest.running import Clock
from ingest.spooling import Spool, SpoolFull
from ingest.upkeep import Upkeep

log = logging.getLogger(__name__)

NOTICE_EVERY_S = 10.0


class Wellbeing:
    """Kept by the commit thread."""

    def __init__(self, spool: Spool, drainer: Drainer, upkeep: Upkeep, clock: Clock, version: str) -> None:
        self._spool, self._drainer, self._upkeep, self._clock = spool, drainer, upkeep, clock
        self._version = version
        self._since = rfc3339(clock.service_ms())
        self._size = spool.size(drainer.drained)
        self._full: tuple[int, str] | None = None
        self._away_since_ms: int | None = None
        self._failed: tuple[int, str] | None = None
        self._told: tuple[bool, list[Condition]] | None = None
        self._due_s = 0.0

    @property
    def accepting(self) -> bool:
        return self._full is None

    @property
    def waiting_rows(self) -> int:
        """How many rows waited for the store when that was last measured."""
        return self._size.rows

    def disk_is_full(self, why: str) -> None:
        if self._full is None:
            log.error("nothing can be kept: %s; free some space, devices hold their readings until then", why)
            self._full = (self._clock.service_ms(), why)

    def disk_took_it(self) -> None:
        if self._full is not None:
            log.warning("the disk takes commits again")
            self._full = None

    def began_again(self, why: Exception) -> None:
        """A mistake of ours: ingest begins again from its spool."""
        since_ms = self._clock.service_ms() if self._failed is None else self._failed[0]
        self._failed = since_ms, f"{type(why).__name__}: {why}"[:200]

    def goes_well(self) -> None:
        """It is long enough ago."""
        self._failed = None

    def measure(self) -> None:
        """Look again at how much the spool holds."""
        try:
            self._size = self._spool.size(self._drainer.drained)
        except SpoolFull as full:
            log.warning("the spool cannot be measured: %s", full)

    def status(self, *, connected: bool) -> IngestStatus:
        self.measure()
        until_ms = self._clock.service_ms() if self._size.oldest_ms is None else self._size.oldest_ms
        return IngestStatus(
            accepting=self.accepting,
            connected=connected,
            conditions=self._conditions(),
            spool_rows=self._size.rows,
            spool_bytes=self._size.bytes,
            spool_age_s=max(0, self._clock.service_ms() - until_ms) / 1000,
            complete_until_ms=until_ms,
        )

    def say_again(self) -> None:
        """The broker may have forgotten what was said."""
        self._told = None

    def tell(self, publish: Callable[[bytes], None], mono_s: float) -> None:
        """Say how we are: when that changed, and now and then."""
        says = (self.accepting, self._conditions())
        if says == self._told and mono_s < self._due_s:
            return
        self._told = says
        self._due_s = mono_s + NOTICE_EVERY_S
        notice = ServiceNotice(
            v=1, online=True, version=self._version, since=self._since, clock=self._clock.reading,
            accepting=says[0], conditions=says[1],
        )  # fmt: skip
        publish(encode(notice))

    def _conditions(self) -> list[Condition]:
        away = self._drainer.unavailable
        if away is None:
            if self._away_since_ms is not None:
                log.warning("the store is there again and takes what waits in the spool")
            self._away_since_ms = None
        elif self._away_since_ms is None:
            self._away_since_ms = self._clock.service_ms()
        return service_conditions(
            full=self._full,
            away=None if away is None else (self._away_since_ms or 0, away),
            uncounted=self._upkeep.rollup_failed if away is None else None,
            failed=self._failed,
            size=self._size,
            damage=self._spool.damage,
            now_ms=self._clock.service_ms(),
        )
