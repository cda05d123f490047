"""Floor 2 · The watch: what time and the ground do to promises, and how they are kept all the same.

It looks at levels, again and again: a tick that was missed is late, never lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from scheduler import turns
from scheduler.buckets import BUCKETS_PER_DAY, Place, bucket_at
from scheduler.desk import Desk
from scheduler.ledger import Change, Moved, OverLimit, Taken
from scheduler.postings import given_back, notice
from scheduler.turns import Cause, Turn

AT_A_TIME = 100


class Plugs(Protocol):
    """What is known of the plugs right now."""

    def free(self, connector: str) -> bool:
        """Whether somebody who comes could plug in: no car is there, it works, and it can be reached."""

    def blocked(self, connector: str) -> bool:
        """Whether who is awaited there could not plug in. A car that has just come into the bay may be the very one."""


class Watch:
    """Used by who leads alone. `now_ms` is service time."""

    def __init__(self, desk: Desk, plugs: Plugs) -> None:
        self._desk, self._ledger, self._plugs = desk, desk.ledger, plugs

    def tick(self, now_ms: int) -> None:
        """Everything that is due: first cars that stay beyond their place, so that no one's hold runs for nothing."""
        for turn in self._ledger.turns(states=["active"]):
            self._stays(turn, now_ms)
        for turn in self._ledger.turns(states=["reserved"]):
            if turn.place is not None and turn.place.start_ms <= now_ms and self._plugs.blocked(turn.place.connector):
                self._elsewhere(turn, now_ms, "BLOCKED")
        while over := self._ledger.due(now_ms, AT_A_TIME):
            for turn in over:
                self._over(turn, now_ms)

    def out_of_order(self, connector: str, cause: Cause, now_ms: int) -> None:
        """A plug cannot be used: who was promised it is promised another place, or told that we failed."""
        for turn in self._ledger.turns(site=connector.partition("/")[0], states=["offered", "reserved"]):
            if turn.place is not None and turn.place.connector == connector:
                self._elsewhere(turn, now_ms, cause, without=connector)

    def _over(self, turn: Turn, now_ms: int) -> None:
        """A state has run out."""
        if turn.state == "offered":
            self._try(given_back(turn, now_ms), now_ms=now_ms)
        elif turn.state == "reserved":
            self._leave(turn, turns.missed(turn, now_ms), "missed", now_ms)
        elif turn.state == "active":
            self._leave(turn, turns.done(turn, now_ms), "", now_ms)
        else:
            self._leave(turn, turns.expired(turn, now_ms), "expired", now_ms)

    def _stays(self, turn: Turn, now_ms: int) -> None:
        """A car is still there at the end of its place: claim what it keeps from others until it leaves.

        A bucket at a time, since each may be another's, who is moved in the same transaction.
        """
        while turn.state == "active" and turn.place is not None and turn.place.end_ms <= now_ms:
            change = self._desk.change(turn, turns.stays(turn))
            try:
                [turn] = self._ledger.commit([change], now_ms)
            except Taken as taken:
                other = self._ledger.turn(taken.claim.turn)
                if other is not None and other.state == "active":  # so this one has left, unheard
                    self._leave(turn, turns.done(turn, now_ms), "", now_ms)
                elif other is not None:
                    self._elsewhere(other, now_ms, "BLOCKED", with_=change)
                turn = self._ledger.turn(turn.id) or turn
            except Moved as moved:
                turn = moved.now or turns.done(turn, now_ms)

    def _elsewhere(
        self, turn: Turn, now_ms: int, cause: Cause, *, with_: Change | None = None, without: str | None = None
    ) -> None:
        """Move a promise to the first place that is free before it must leave; where there is none, fail it."""
        together = [] if with_ is None else [with_]
        for place in self._places(turn, now_ms, without):
            moved = turns.moved(turn, place, self._desk.quiet(turn))
            later = turn.place is not None and place.start_ms > turn.place.start_ms
            moved = turns.delayed(moved, now_ms) if later else moved
            says = "delayed" if turn.place is not None and place.connector == turn.place.connector else "moved"
            if self._try(*together, self._desk.change(turn, moved, outgoing=(notice(moved, says),)), now_ms=now_ms):
                return
        failed = turns.failed(turn, cause, now_ms)
        self._try(*together, self._desk.change(turn, failed, outgoing=(notice(failed, "failed"),)), now_ms=now_ms)

    def _places(self, turn: Turn, now_ms: int, without: str | None) -> Iterator[Place]:
        """Free places of the same length and power, the earliest first, that end before the car must leave."""
        site, _, _ = self._desk.rules(turn.site)
        assert turn.place is not None
        length, watts = len(turn.place.watts), turn.place.watts
        first = max(bucket_at(now_ms), turn.place.first)
        until = min(bucket_at(turn.depart_by_ms), first + BUCKETS_PER_DAY)
        claims = self._ledger.claims(site.id, range(first, max(first, until)))
        taken = {(claim.connector, claim.bucket) for claim in claims if claim.turn != turn.id}
        for start in range(first, until - length + 1):
            for connector in site.connectors:
                place = Place(connector.id, start, watts)
                if connector.id == without or connector.max_w < max(watts) or place == turn.place:
                    continue
                if start == bucket_at(now_ms) and not self._plugs.free(connector.id):
                    continue
                if not any((connector.id, bucket) in taken for bucket in place.buckets):
                    yield place

    def _leave(self, before: Turn, after: Turn, says: str, now_ms: int) -> None:
        leaving = (notice(after, says),) if says and after.household else ()
        self._try(self._desk.change(before, after, outgoing=leaving), now_ms=now_ms)

    def _try(self, *changes: Change, now_ms: int) -> bool:
        """Keep them; False where another was faster, or the place is not to be had. The next look decides again."""
        try:
            self._ledger.commit(changes, now_ms)
        except (Moved, Taken, OverLimit):
            return False
        return True
