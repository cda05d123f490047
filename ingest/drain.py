"""Floor 3 · From the spool to the store, in order, by one thread of its own; a store that is away is waited for."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from ingest.facts import Batch, DeadLetter, Session
from ingest.spooling import Spool
from ingest.store import StoreUnavailable, TelemetryStore

log = logging.getLogger(__name__)

EVERY_S = 0.2
"""Small commits are written together: a transaction of the store costs more than a commit of the spool."""
ROWS_AT_ONCE = 20_000
ROW_BYTES = 128
MOST_HELD_ROWS = 100_000
"""Batches are handed over in memory while the store keeps up; beyond, they are read from the spool again.
That is some 100 MB."""


class Drainer:
    """Writes batches to the store. `drained` is the number of the last one stored, 0 until the store was reached."""

    def __init__(self, spool: Spool, store: TelemetryStore, idle: Callable[[], None]) -> None:
        """`idle` is called on the drainer's thread after each round; it may use the store."""
        self.drained = 0
        self.reached_at: int | None = None
        """How far the store said it was when it was first asked. Before that nothing is written."""
        self.unavailable: str | None = None
        """Why the store takes nothing now; None while it does."""
        self.refused: deque[DeadLetter] = deque()
        """Messages that the store refused for good, for the accounts of their devices."""
        self._spool, self._store, self._idle = spool, store, idle
        self._held: deque[Batch] = deque()
        self._held_rows = 0
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    def reach(self) -> None:
        """Ask the store how far it is. Raises StoreUnavailable."""
        self.reached_at = self.drained = self._store.drained(self._spool.id)

    def ask(self, job: Callable[[], None]) -> None:
        """Something to be done with the store on this thread, soon. Never blocks."""
        self._jobs.append(job)
        self._woken.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Write what is left, for at most `within_s`; the rest stays in the spool."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(within_s)

    def give(self, batch: Batch) -> None:
        """A batch was committed. Never blocks."""
        rows = _weight(batch)
        with self._lock:
            follows = not self._held or self._held[-1].no == batch.no - 1
            if self.unavailable is None and follows and self._held_rows + rows <= MOST_HELD_ROWS:
                self._held.append(batch)
                self._held_rows += rows
            held_rows = self._held_rows
        if held_rows >= ROWS_AT_ONCE:
            self._woken.set()

    def _run(self) -> None:
        while True:
            self._woken.wait(EVERY_S)
            self._woken.clear()
            last_round = self._stopping.is_set()
            try:
                if self.reached_at is None:
                    self.reach()
                    self.unavailable = None
                while batches := self._next():
                    self._write(batches)
                    self._do_jobs()
                self._do_jobs()
                self._idle()
            except StoreUnavailable as away:
                if self.unavailable is None:
                    log.warning("the store takes nothing, readings stay in the spool: %s", away)
                self.unavailable = str(away)
                self._hold_nothing()
                if not last_round:  # what was committed meanwhile is no reason to ask again sooner
                    self._stopping.wait(away.retry_s)
            except Exception:
                log.exception("draining failed, it is tried again")
                self.unavailable = "an error in our own code; see the log"
                if not last_round:
                    self._stopping.wait(1.0)
            if last_round:
                return

    def _hold_nothing(self) -> None:
        """What waits for a store that is away stands in the spool; in memory it would only take room."""
        with self._lock:
            self._held.clear()
            self._held_rows = 0

    def _do_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft()()

    def _write(self, batches: list[Batch]) -> None:
        self.refused += self._store.write(merged(batches))
        self.unavailable = None
        self.drained = batches[-1].no
        with self._lock:
            while self._held and self._held[0].no <= self.drained:
                self._held_rows -= _weight(self._held.popleft())

    def _next(self) -> list[Batch]:
        with self._lock:
            batches = []
            if self._held and self._held[0].no == self.drained + 1:
                rows = 0
                for batch in self._held:
                    batches.append(batch)
                    rows += _weight(batch)
                    if rows >= ROWS_AT_ONCE:
                        break
        last_no = self._spool.last_no
        if not batches and not (batches := self._spool.pending(self.drained, ROWS_AT_ONCE)):
            self.drained = max(self.drained, last_no)  # numbers that were leapt over
        return batches


def merged(batches: list[Batch]) -> Batch:
    """Neighbouring batches as one under the last one's number; what a later one says of a session or a letter holds."""
    if len(batches) == 1:
        return batches[0]
    sessions: dict[str, Session] = {}
    withdrawn: set[str] = set()
    dead: dict[str, DeadLetter] = {}
    revived: set[str] = set()
    for batch in batches:
        for letter in batch.dead:
            dead[letter.id] = letter
            revived.discard(letter.id)
        for taken in batch.revived:
            dead.pop(taken, None)
            revived.add(taken)
        for gone in batch.withdrawn:
            sessions.pop(gone, None)
            withdrawn.add(gone)
        for session in batch.sessions:
            sessions[session.id] = session
            withdrawn.discard(session.id)
    return replace(
        batches[-1],
        pile=[row for batch in batches for row in batch.pile],
        station=[row for batch in batches for row in batch.station],
        event=[row for batch in batches for row in batch.event],
        sessions=list(sessions.values()),
        withdrawn=sorted(withdrawn),
        dead=list(dead.values()),
        revived=sorted(revived),
        skewed=[mark for batch in batches for mark in batch.skewed],
    )


def _weight(batch: Batch) -> int:
    """Rows, and what may be large as so many rows."""
    large_bytes = sum([len(letter.payload) for letter in batch.dead])
    return len(batch.pile) + len(batch.station) + len(batch.event) + 1 + large_bytes // ROW_BYTES
