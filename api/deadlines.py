"""Floor 0 · Names that come due at a time, each at one time only; a later word moves it."""

from __future__ import annotations

from heapq import heappop, heappush


class Deadlines:
    """Finding what is due costs by what is due, not by what is kept; one entry a name, however often it moves."""

    def __init__(self) -> None:
        self._due_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []
        self._queued: dict[str, int] = {}

    def earliest(self, name: str, due_ms: int) -> None:
        """`name` comes due at that time, unless it does so earlier."""
        due_ms = min(due_ms, self._due_ms.get(name, due_ms))
        self._due_ms[name] = due_ms
        if due_ms < self._queued.get(name, due_ms + 1):
            self._queued[name] = due_ms
            heappush(self._heap, (due_ms, name))

    def forget(self, name: str) -> None:
        self._due_ms.pop(name, None)

    def take(self, now_ms: int) -> set[str]:
        """Names that are due by now; they are forgotten."""
        found = set()
        while self._heap and self._heap[0][0] <= now_ms:
            queued_ms, name = heappop(self._heap)
            if self._queued.get(name) == queued_ms:
                del self._queued[name]
            due_ms = self._due_ms.get(name)
            if due_ms is None:
                continue
            if due_ms <= now_ms:
                found.add(name)
                del self._due_ms[name]
            elif name not in self._queued:
                self._queued[name] = due_ms
                heappush(self._heap, (due_ms, name))
        return found
