"""Floor 3 · Sessions derived again from the store. The drainer's thread reads it; the commit thread never waits."""

from __future__ import annotations

from ingest.assets import Device
from ingest.drain import Drainer
from ingest.memory import DeviceMemory
from ingest.pipeline import Pipeline
from ingest.recovery import MOST_PENDING_ROWS, Stored, all_pending, look_back_to, look_up, mend_device
from ingest.spooling import Spool
from ingest.store import StoreUnavailable, TelemetryStore


class _Asked:
    """One look into the store. `run` is the drainer's, everything else the commit thread's."""

    def __init__(self, device: Device, since_ms: int, drained: int, store: TelemetryStore) -> None:
        self.device, self.since_ms, self.drained = device, since_ms, drained
        self.stored: Stored | None = None
        self.failed: StoreUnavailable | None = None
        self._store = store

    def run(self) -> None:
        try:
            self.stored = look_up(self._store, self.device, self.since_ms)
        except StoreUnavailable as away:
            self.failed = away
        except Exception as error:
            self.failed = StoreUnavailable(f"an error in our own code: {error}")
            raise


class Mender:
    """One device at a time. While one is looked up, what the store has not yet stays in the spool."""

    def __init__(self, drainer: Drainer, spool: Spool, store: TelemetryStore) -> None:
        self._drainer, self._spool, self._store = drainer, spool, store
        self._asked: _Asked | None = None
        self._not_before_s = 0.0

    def forgettable(self, drained: int) -> int:
        """The number of the last batch that the spool may let go, of those that the store has."""
        return drained if self._asked is None else min(drained, self._asked.drained)

    def give_up(self) -> None:
        """The memory that was to be mended is no longer in use."""
        self._asked = None

    def turn(self, pipeline: Pipeline, waiting_rows: int, mono_s: float) -> None:
        """To be called when nothing is uncommitted, again and again."""
        if self._asked is not None:
            self._take(self._asked, pipeline, mono_s)
        elif mono_s >= self._not_before_s and waiting_rows <= MOST_PENDING_ROWS:
            for memory in pipeline.to_mend():
                if (device := pipeline.device(memory.name)) is not None:
                    self._ask(device, look_back_to(memory))
                    return

    def _ask(self, device: Device, since_ms: int) -> None:
        self._asked = _Asked(device, since_ms, self._drainer.drained, self._store)
        self._drainer.ask(self._asked.run)

    def _take(self, asked: _Asked, pipeline: Pipeline, mono_s: float) -> None:
        if asked.failed is not None:
            self._asked, self._not_before_s = None, mono_s + asked.failed.retry_s
        elif asked.stored is not None and pipeline.empty:
            self._asked = None
            memory = pipeline.devices.get(asked.device.name)
            if memory is not None and (memory.record.mend_from or memory.unfilled):
                self._mend(pipeline, memory, asked, asked.stored)

    def _mend(self, pipeline: Pipeline, memory: DeviceMemory, asked: _Asked, stored: Stored) -> None:
        mended = mend_device(memory, asked.device, stored, list(all_pending(self._spool, asked.drained)))
        if mended is None:
            self._ask(asked.device, 0)
        else:
            pipeline.mended(memory, mended)
