"""Floor 0 · Sets of seqs as closed ranges: small whatever they count, quick where seqs come in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers, kept as sorted closed ranges that neither touch nor overlap."""

    __slots__ = ("_his", "_los")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._los: list[int] = []
        self._his: list[int] = []
        for lo, hi in ranges:
            self.add_range(lo, hi)

    def add(self, seq: int) -> bool:
        """Put one number in; False if it was in already."""
        his = self._his
        if his and seq == his[-1] + 1:
            his[-1] = seq
            return True
        if seq in self:
            return False
        self.add_range(seq, seq)
        return True

    def add_range(self, lo: int, hi: int) -> None:
        if lo > hi:
            return
        first = bisect_left(self._his, lo - 1)
        last = bisect_right(self._los, hi + 1)
        if first < last:
            lo, hi = min(lo, self._los[first]), max(hi, self._his[last - 1])
        self._los[first:last] = [lo]
        self._his[first:last] = [hi]

    def __contains__(self, seq: int) -> bool:
        at = bisect_left(self._his, seq)
        return at < len(self._los) and self._los[at] <= seq

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._los, self._his, strict=True)))

    @property
    def count(self) -> int:
        """How many numbers are in."""
        return sum(self._his) - sum(self._los) + len(self._los)

    def __bool__(self) -> bool:
        return bool(self._los)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def highest(self) -> int:
        """The highest number in; 0 of an empty set."""
        return self._his[-1] if self._his else 0

    def from_lo(self, lo: int) -> list[tuple[int, int]]:
        """The ranges that begin at `lo` or above."""
        at = bisect_left(self._los, lo)
        return list(zip(self._los[at:], self._his[at:], strict=True))

    def around(self, seq: int) -> tuple[int, int]:
        """The range that holds `seq`, which must be in."""
        at = bisect_left(self._his, seq)
        return self._los[at], self._his[at]

    def holes(self, lo: int, hi: int) -> list[tuple[int, int]]:
        """The ranges of [lo, hi] that are not in."""
        found: list[tuple[int, int]] = []
        at = bisect_left(self._his, lo)
        while lo <= hi and at < len(self._los):
            if self._los[at] > lo:
                found.append((lo, min(hi, self._los[at] - 1)))
            lo = self._his[at] + 1
            at += 1
        if lo <= hi:
            found.append((lo, hi))
        return found

    def covers(self, lo: int, hi: int) -> bool:
        at = bisect_left(self._his, lo)
        return lo > hi or (at < len(self._los) and self._los[at] <= lo and hi <= self._his[at])

    def without(self, other: Ranges) -> Ranges:
        """The numbers that are in this set and not in `other`."""
        return Ranges(hole for lo, hi in self for hole in other.holes(lo, hi))
