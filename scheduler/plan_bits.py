"""Floor 0 · A site's buckets as the bits of a number, and the power of a car bucket by bucket. Bit 0 is the first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache


def bits_of(row: Iterable[bool]) -> int:
    return int("".join(["1" if one else "0" for one in row])[::-1] or "0", 2)


@lru_cache(maxsize=1_024)
def open_bits(is_open: tuple[bool, ...]) -> int:
    """Kept, as are what follows from quiet hours: they are the same from one day to the next."""
    return bits_of(is_open)


@lru_cache(maxsize=4_096)
def leaving(quiet: tuple[bool, ...], last: int) -> tuple[int, ...]:
    """`plan.leaves_at` of each bucket, for a car that leaves by `last`."""
    buckets = len(quiet)
    until = list(range(buckets + 1))
    for at in range(last - 1, -1, -1):
        if quiet[at]:
            until[at] = until[at + 1]
    at_night = [(at and quiet[at - 1]) or (at < last and quiet[at]) for at in range(buckets + 1)]
    return tuple(until[at] if night else at for at, night in enumerate(at_night))


def runs(bits: int, length: int) -> int:
    """The bits with which so many set ones in a row begin."""
    have = 1
    while have < length:
        step = min(have, length - have)
        bits &= bits >> step
        have += step
    return bits


def stretches(bits: int) -> Iterator[tuple[int, int]]:
    """All runs of set bits as [low, high)."""
    at = 0
    while bits:
        skip = (bits & -bits).bit_length() - 1
        bits >>= skip
        at += skip
        length = (~bits & (bits + 1)).bit_length() - 1
        yield at, at + length
        bits >>= length
        at += length


@lru_cache(maxsize=1_024)
def awake(quiet: tuple[bool, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of each bucket the first from there on outside quiet hours, and the last until there."""
    wakes, awake = list(range(len(quiet) + 1)), list(range(len(quiet) + 1))
    for at in reversed(range(len(quiet))):
        wakes[at] = wakes[at + 1] if quiet[at] else at
    for at in range(1, len(quiet)):
        awake[at] = awake[at - 1] if quiet[at] else at
    return tuple(wakes), tuple(awake)


def can_take(most: int, least: int, left: int) -> int:
    return 0 if left < least or left < 1 else min(most, left)


def filled(can_w: list[int], low: int, high: int, need: int, most: int) -> int:
    """The first bucket by which all is charged within [low, high); 0 where it is not."""
    takes = -(-need // most)
    if low + takes > high:
        return 0
    if can_w[low : low + takes].count(most) == takes:
        return low + takes
    for bucket in range(low, high):
        need -= can_w[bucket]
        if need <= 0:
            return bucket + 1
    return 0


def latest(can_w: list[int], charged: int, need: int, least: int, most: int) -> tuple[int, list[int]]:
    """First bucket and watts that bring `need` by then, begun as late as possible."""
    takes = -(-need // most)
    at = charged - takes
    if at >= 0 and can_w[at:charged].count(most) == takes:
        return at, [max(need - (takes - 1) * most, least), *[most] * (takes - 1)]
    watts: list[int] = []
    at = charged
    while need > 0:
        at -= 1
        given = can_w[at]
        if given > need:
            given = min(given, max(need, least))
        watts.append(given)
        need -= given
    return at, watts[::-1]


def bits_between(low: int, high: int) -> int:
    return (1 << high) - (1 << low)
