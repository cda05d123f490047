"""What always holds of promises, read from the turns alone, for the stateful tests."""

from __future__ import annotations

from collections import Counter

from scheduler.ledger import Ledger
from scheduler.turns import HOLDING, LIVE


def nothing_is_held_twice(ledger: Ledger, limit_w: int) -> None:
    """No bucket of a plug, and no power that is not there."""
    holders, power = Counter[tuple[str, int]](), Counter[int]()
    for turn in ledger.turns(states=HOLDING):
        assert turn.place is not None
        for bucket, watts in zip(turn.place.buckets, turn.place.watts, strict=True):
            holders[turn.place.connector, bucket] += 1
            power[bucket] += watts
    assert max(holders.values(), default=0) <= 1
    assert max(power.values(), default=0) <= limit_w


def nobody_waits_for_ever(ledger: Ledger) -> None:
    for turn in ledger.turns():
        assert (turn.due_ms is not None) == (turn.state in LIVE)


def nobody_has_more_than_is_allowed(ledger: Ledger) -> None:
    live = [turn for turn in ledger.turns(states=LIVE) if turn.household]
    assert max(Counter(turn.household for turn in live).values(), default=0) <= 2
    assert max(Counter(turn.vehicle for turn in live).values(), default=0) <= 1
