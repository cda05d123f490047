"""Floor 0 · How much later than planned turns really began, learnt by how far ahead it was said."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque

HOUR_MS = 3_600_000
AHEAD_MS = (1 * HOUR_MS, 3 * HOUR_MS, 6 * HOUR_MS, 10 * HOUR_MS)
"""Where one class of how far ahead ends and the next begins."""
KEPT = 200
"""So many of the last differences of a class."""
LEAST = 10
"""With fewer, the differences of all classes together are taken."""
AT_FIRST_MS = HOUR_MS
"""Said while nothing was learnt."""


class Estimate:
    """Quantiles of past differences between the said and the real start, in milliseconds."""

    def __init__(self) -> None:
        self._last: list[deque[int]] = [deque(maxlen=KEPT) for _ in range(len(AHEAD_MS) + 1)]
        self._sorted: list[list[int]] = [[] for _ in self._last]

    def learn(self, ahead_ms: int, later_ms: int) -> None:
        """A turn that was said to begin so far ahead began so much later; below 0 earlier."""
        no = bisect_right(AHEAD_MS, ahead_ms)
        if len(self._last[no]) == KEPT:
            self._sorted[no].remove(self._last[no][0])
        self._last[no].append(later_ms)
        insort(self._sorted[no], later_ms)

    def longer(self, share: float, ahead_ms: int) -> int:
        """By how much at most such a start was later than said, in that share of cases; never less than 0."""
        known = self._sorted[bisect_right(AHEAD_MS, ahead_ms)]
        if len(known) < LEAST:
            known = sorted(one for some in self._sorted for one in some)
        if len(known) < LEAST:
            return AT_FIRST_MS
        return max(0, known[min(len(known) - 1, int(share * len(known)))])
