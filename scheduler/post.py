"""Floor 2 · The post: notices leave, each once, by who leads, and not in quiet hours.

A notice is taken (`sending`, with the epoch) in a commit of its own before it leaves, and marked `sent` after. One that
is found `sending` before anything is sent may have left: it is `unknown` and is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct, json

from scheduler.desk import Desk
from scheduler.ledger import Outgoing
from scheduler.turns import NotNow, Turn

AT_A_TIME = 1_000
"""And besides those that wait for the morning, however many they are."""


class Said(Struct, frozen=True):
    """What a notice's body holds: its code, the turn, when the place began that it takes away, and why."""

    what: str
    turn: str
    was_ms: int | None = None
    why: str | None = None


class NotDelivered(Exception):
    """It did not leave for certain, and may be tried again."""


class Unsure(Exception):
    """It may have left, or not: it is not tried again."""


Deliver = Callable[[Outgoing, Said, Turn], None]


class Post:
    """Used by who leads alone. A notice is told as it stands in the ledger, which is what the page reads; `deliver`
    hands it to whatever else carries it, and raises NotDelivered or Unsure.
    """

    def __init__(self, desk: Desk, deliver: Deliver | None = None) -> None:
        self._desk, self._ledger, self._deliver = desk, desk.ledger, deliver
        self._not_before_ms: dict[str, int] = {}
        """By notice: those that wait for the morning."""
        self.unknown = 0
        """Notices that may have left or not, since this process began."""

    def turn(self, epoch: int, now_ms: int) -> int:
        """Send what is pending and may be said now; how many left."""
        if self._ledger.outgoing(["sending"], 1):
            self.unknown += len(self._ledger.give_up_sending(epoch))
        kept = self._not_before_ms
        waiting = self._ledger.outgoing(["pending"], AT_A_TIME + len(kept))
        pending = [item for item in waiting if item.kind == "notice"]
        self._not_before_ms = {item.id: kept[item.id] for item in pending if kept.get(item.id, 0) > now_ms}
        sent = 0
        for item in pending:
            if item.id in self._not_before_ms:
                continue
            try:
                sent += self._send(item, epoch, now_ms)
            except NotDelivered:  # whoever carries them is away: the others would wait for the same
                break
        return sent

    def _send(self, item: Outgoing, epoch: int, now_ms: int) -> bool:
        """Raises NotDelivered, and then it is pending again."""
        said = json.decode(item.body, type=Said)
        turn = self._ledger.turn(said.turn)
        if turn is not None and (morning_ms := self._morning_ms(turn, said, now_ms)) is not None:
            self._not_before_ms[item.id] = morning_ms
            return False
        if not self._ledger.sending(item.id, epoch):
            return False
        is_last = turn is None or self._deliver is None
        if said.what == "offer" and turn is not None and turn.told_ms is None:
            with suppress(NotNow):  # it was answered, or ended, before it was told
                turn = self._desk.told(turn, now_ms, sent=item.id if is_last else None)
                if is_last:
                    return True
        if turn is not None and self._deliver is not None:
            try:
                self._deliver(item, said, turn)
            except NotDelivered:
                self._ledger.take_back(item.id, epoch)
                raise
            except Unsure:  # found as it is before anything is sent again
                return False
        self._ledger.sent(item.id)
        return True

    def _morning_ms(self, turn: Turn, said: Said, now_ms: int) -> int | None:
        """Until when it waits: in quiet hours only what concerns a place in those same hours is said, also one that is
        taken away.
        """
        quiet = self._desk.quiet(turn)
        if not quiet.quiet_at(now_ms):
            return None
        starts_ms = [turn.place.start_ms] if turn.place is not None else []
        if said.was_ms is not None:
            starts_ms.append(said.was_ms)
        morning_ms = quiet.after(now_ms, 0)
        return morning_ms if all(at_ms >= morning_ms for at_ms in starts_ms) else None
