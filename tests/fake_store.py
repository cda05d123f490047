"""A store in memory, for tests of what stands before the store. It is a fake: DuckStore is what is shipped."""

from __future__ import annotations

from collections import Counter

from ingest.facts import PILE_COLUMNS, Batch, DeadLetter, Reading, Session
from ingest.ranges import Ranges


class FakeStore:
    """Takes batches as the real one does: a number at or below the last is skipped, sessions overwrite by id."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str, str, int]] = Counter()
        self.kept_sessions: dict[str, Session] = {}
        self.dead: dict[str, DeadLetter] = {}
        self._readings: list[tuple[str, str, Reading]] = []
        self._drained: dict[str, int] = {}

    def write(self, batch: Batch) -> list[DeadLetter]:
        if batch.no <= self.drained(batch.spool):
            return []
        for row in [*batch.pile, *batch.station, *batch.event]:
            self.rows[str(row[1]), str(row[2]), str(row[4]), int(row[5] or 0)] += 1
        for row in batch.pile:
            named = dict(zip(PILE_COLUMNS, row, strict=True))
            named["at_ms"] = int(named["at_ns"] or 0) // 1_000_000
            said = Reading(**{name: named[name] for name in Reading.__struct_fields__})  # type: ignore[arg-type]
            self._readings.append((str(named["site"]), str(named["device"]), said))
        for gone in batch.withdrawn:
            self.kept_sessions.pop(gone, None)
        self.kept_sessions.update({session.id: session for session in batch.sessions})
        self.dead.update({letter.id: letter for letter in batch.dead})
        for letter in batch.revived:
            self.dead.pop(letter, None)
        self._drained[batch.spool] = batch.no
        return []

    def drained(self, spool: str) -> int:
        return self._drained.get(spool, 0)

    def sessions_after(self, site: str, device: str, since_ms: int) -> list[Session]:
        mine = [s for s in self.kept_sessions.values() if (s.site, s.device) == (site, device)]
        return [s for s in mine if s.ended_ms is None or s.ended_ms >= since_ms]

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        return [
            said
            for where, name, said in self._readings
            if (where, name, said.connector) == (site, device, connector) and said.at_ms >= since_ms
        ]

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:
        seen: dict[tuple[str, str, str], Ranges] = {}
        for site, device, boot, seq in self.rows:
            seen.setdefault((site, device, boot), Ranges()).add(seq)
        return [(*key, lo, hi, hi - lo + 1) for key, ranges in seen.items() for lo, hi in ranges]

    def dead_letters(self, *, limit: int = 100, after: str | None = None) -> list[DeadLetter]:
        letters = sorted(self.dead.values(), key=lambda letter: letter.id, reverse=True)
        return [letter for letter in letters if after is None or letter.id < after][:limit]
