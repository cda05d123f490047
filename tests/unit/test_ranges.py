"""Sets of seqs: the same as a plain set of numbers, whatever the order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.ranges import Ranges

NUMBERS = st.lists(st.integers(1, 40))


@given(NUMBERS, NUMBERS)
def test_they_hold_what_a_set_would_hold(first: list[int], second: list[int]) -> None:
    ranges, numbers = Ranges(), set[int]()
    for number in first:
        assert ranges.add(number) == (number not in numbers)
        numbers.add(number)
    assert ranges.count == len(numbers)
    assert [n for n in range(45) if n in ranges] == sorted(numbers)
    assert ranges.highest == max(numbers, default=0)
    assert {n for lo, hi in ranges.holes(1, 40) for n in range(lo, hi + 1)} == set(range(1, 41)) - numbers
    other = Ranges((n, n) for n in second)
    assert {n for lo, hi in ranges.without(other) for n in range(lo, hi + 1)} == numbers - set(second)
    assert ranges.from_lo(20) == [(lo, hi) for lo, hi in ranges if lo >= 20]
    for lo, hi in ranges:
        assert lo - 1 not in ranges
        assert hi + 1 not in ranges
        assert ranges.around(lo) == (lo, hi)
        assert ranges.covers(lo, hi)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10))))
def test_whole_ranges_may_overlap_and_touch(added: list[tuple[int, int]]) -> None:
    ranges = Ranges((lo, lo + more) for lo, more in added)
    assert {n for lo, hi in ranges for n in range(lo, hi + 1)} == {
        n for lo, more in added for n in range(lo, lo + more + 1)
    }
