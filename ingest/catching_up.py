"""Floor 3 · The spool compared with the store, once that is reached, before their numbers of batches are trusted."""

from __future__ import annotations

import logging

from ingest.clock import Now
from ingest.drain import Drainer
from ingest.pipeline import Pipeline
from ingest.recovery import recover
from ingest.spooling import Spool, SpoolFull
from ingest.store import StoreUnavailable, TelemetryStore

log = logging.getLogger(__name__)

FULL_RETRY_S = 0.5
"""When to try again what a full disk did not let be done."""


class CatchUp:
    """Used by the commit thread. What a damaged or set back spool lost is learned again into the pipeline's memory."""

    def __init__(self, spool: Spool, drainer: Drainer, store: TelemetryStore) -> None:
        self._spool, self._drainer, self._store = spool, drainer, store
        self._done = False
        self._due_s = 0.0

    def begin(self, pipeline: Pipeline, now: Now) -> None:
        """Before anything else, so that numbers of batches agree; one that is away is asked by the drainer again."""
        try:
            self._drainer.reach()
            self._catch_up(pipeline, now)
        except StoreUnavailable as away:
            log.warning("the store cannot be asked yet, readings stay in the spool: %s", away)
            self._drainer.unavailable = str(away)
            self._spool.leap()

    def turn(self, pipeline: Pipeline, now: Now) -> None:
        """To be called again and again: what could not be done at the beginning is done when the store is there."""
        if self._done or now.mono_s < self._due_s or self._drainer.unavailable is not None:
            return
        try:
            self._catch_up(pipeline, now)
        except StoreUnavailable as away:
            self._due_s = now.mono_s + away.retry_s
        except SpoolFull:
            self._due_s = now.mono_s + FULL_RETRY_S

    def _catch_up(self, pipeline: Pipeline, now: Now) -> None:
        if self._drainer.reached_at is None:
            return
        self._spool.catch_up(self._drainer.reached_at)
        damage = recover(pipeline, self._spool, self._store, now)
        if damage is not None:
            log.error("batches %s to %s were gone from the spool", damage.first_no, damage.last_no)
            if not pipeline.empty:
                self._spool.commit(pipeline.draw().commit, 0, now.service_ms)
            self._spool.record_damage(damage)
        self._done = True
