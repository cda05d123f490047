"""Floor 3 · Dead letters that an operator wants to be tried again, asked for by one thread and done by another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ingest.clock import Now
from ingest.drain import Drainer
from ingest.facts import DeadLetter
from ingest.pipeline import Pipeline
from ingest.recovery import all_dead_letters
from ingest.spooling import Spool
from ingest.store import StoreUnavailable, TelemetryStore


class _Asked:
    def __init__(self, ids: frozenset[str], letters: list[DeadLetter]) -> None:
        self.ids, self.letters = ids, letters
        self.taken: int | None = None
        self.why = "nothing can be kept now; try again when `doctor` finds nothing wrong"
        self.done = threading.Event()


class DeadLetterRetries:
    """`ask` from any thread, `serve` on the commit thread: two commits at once would write half a memory. The letters
    are read by who asks, one after the other, so that the commit thread waits for no store."""

    def __init__(self, spool: Spool, store: TelemetryStore, drainer: Drainer) -> None:
        self._store, self._drainer = store, drainer
        self._asking = threading.Lock()
        self._asked: deque[_Asked] = deque()
        self._revived = spool.revived()
        """Letters taken by a batch that the store does not have yet, where they still seem to be dead."""

    def ask(self, ids: list[str], wake: Callable[[], None], within_s: float) -> tuple[int, int]:
        """Returns how many were taken and how many not; raises StoreUnavailable where it cannot be done in time."""
        with self._asking:
            asked = _Asked(frozenset(ids), list(all_dead_letters(self._store)))
            self._asked.append(asked)
            wake()
            if not asked.done.wait(within_s):
                self._asked = deque(waiting for waiting in self._asked if waiting is not asked)
        if asked.taken is None:
            raise StoreUnavailable(asked.why)
        return asked.taken, len(asked.ids) - asked.taken

    def serve(self, pipeline: Pipeline, now: Now, commit: Callable[[], int]) -> None:
        """Do what was asked. `commit` makes the draft durable and returns the batch's number."""
        while self._asked:
            asked = self._asked.popleft()
            self._revived = {letter: no for letter, no in self._revived.items() if no > self._drainer.drained}
            taken = self._revive(pipeline, asked, now)
            no = 0 if pipeline.empty else commit()
            if no or not taken:
                self._revived.update(dict.fromkeys(taken, no))
                asked.taken = len(asked.ids & taken)
            asked.done.set()

    def _revive(self, pipeline: Pipeline, asked: _Asked, now: Now) -> set[str]:
        """Each message once: other letters of the same boot and seq go with the one that was taken."""
        taken: set[str] = set()
        messages: set[tuple[str, str, int]] = set()
        for letter in asked.letters:
            if letter.id not in asked.ids or letter.id in self._revived:
                continue
            key = None if letter.boot is None or letter.seq is None else (letter.topic, letter.boot, letter.seq)
            if key in messages:
                continue
            if pipeline.revive(letter, now):
                taken.add(letter.id)
                if key is not None:
                    messages.add(key)
        for letter in asked.letters:
            if letter.id not in taken and (letter.topic, letter.boot, letter.seq) in messages:
                pipeline.drop_letter(letter)
                taken.add(letter.id)
        return taken
