"""Floor 2 · The post: notices leave, each once, by who leads, and not in quiet hours.

A notice is taken (`sending`, with the epoch) in a commit of its own before it leaves, and marked `sent` after. One that
is found `sending` before anything is sent may have left: it is `unknown` and is not sent again. What begins with it, as
the time to answer does, begins when it left, or may have.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from ingest.clock import rfc3339
from ingest.messages import Condition
from scheduler import meanwhile, turns
from scheduler.desk import Desk, UnknownTurn
from scheduler.explain import Said, said_in
from scheduler.ledger import Moved, Outgoing, OutgoingKind
from scheduler.quiet import QuietHours
from scheduler.rules import NIGHT
from scheduler.turns import NotNow, Turn

log = logging.getLogger(__name__)

WAITING: dict[OutgoingKind, str] = {"notice": "notices_wait", "mail": "mails_wait"}
"""Conditions by what does not leave."""
AT_A_TIME = 1_000
"""And besides those that wait already, however many they are: what is behind them may be a fire."""
IN_A_ROW = 20
"""Before it is looked for a fire again, and for what time it is: each may take seconds."""
AGAIN_MS, AT_MOST_MS, GIVE_UP_MS = 60_000, 3_600_000, 24 * 3_600_000
"""What is put off is tried again after a minute, two, four and so on, at last each hour, and for a day."""
NOT_OF_ITS_PLACE = frozenset({"charged", "answered"})
"""Notices that can wait for the morning although their turn has a place tonight, or had."""


class NotDelivered(Exception):
    """It did not leave for certain, and may be tried again."""


class NotYet(NotDelivered):
    """That one is to be tried again; others may leave."""


class Unsure(Exception):
    """It may have left, or not: it is not tried again."""


Deliver = Callable[[Outgoing, Said, Turn | None], None]


class Post:
    """Used by who leads alone. A notice is told as it stands in the ledger, which is what the page reads; `deliver`
    hands it to whatever else carries it, and raises NotDelivered or Unsure. Mails have a post of their own.
    """

    def __init__(self, desk: Desk, deliver: Deliver | None = None, kind: OutgoingKind = "notice") -> None:
        self._desk, self._ledger, self._deliver, self._kind = desk, desk.ledger, deliver, kind
        self._said, self._since_ms, self._stay = "", 0, 0
        self._not_before_ms: dict[str, int] = {}
        """By notice: those that wait for the morning, or were put off."""
        self._tried: dict[str, tuple[int, int]] = {}
        """By notice that was put off: since when, and how often."""
        self.unknown = 0
        """Notices that may have left or not, since this process began."""

    def turn(self, epoch: int, now_ms: int) -> int:
        """Send what is pending and may be said now; how many left."""
        self._give_up(epoch, now_ms)
        kept = self._not_before_ms
        pending = self._ledger.outgoing(["pending"], AT_A_TIME + max(self._stay, len(kept)), self._kind)
        self._not_before_ms = {item.id: kept[item.id] for item in pending if kept.get(item.id, 0) > now_ms}
        sent: list[str] = []
        self._tried = {item.id: self._tried[item.id] for item in pending if item.id in self._tried}
        ready = [item for item in pending if item.id not in self._not_before_ms]
        if self._deliver is None:
            return self._stand(ready, now_ms)
        away, tried = False, 0
        for item in sorted(ready, key=lambda item: not _is_fire(item)):
            if (away or tried >= IN_A_ROW) and not _is_fire(item):  # it would wait for the same
                break
            try:
                left = self._send(item, epoch, now_ms)
            except NotYet:
                tried += 1
            except NotDelivered as why:
                self._say(f"each {self._kind} waits: {why}", now_ms)
                away = True
            else:
                sent += [item.id] if left else []
                self._said = self._said if away else ""
                tried += item.id not in self._not_before_ms
        self._stay = len(pending) - len(sent)
        return len(sent)

    @property
    def conditions(self) -> list[Condition]:
        """That nothing leaves, from the first that did not until one does."""
        if not self._said:
            return []
        return [
            Condition(code=WAITING[self._kind], since=rfc3339(self._since_ms), severity="warning", evidence=self._said)
        ]

    def _say(self, why: str, now_ms: int) -> None:
        """Once, until something leaves again or the reason is another."""
        if why != self._said:
            self._since_ms = self._since_ms if self._said else now_ms
            self._said = why
            log.warning("%s", why)

    def _stand(self, ready: Sequence[Outgoing], now_ms: int) -> int:
        """Nobody carries them further: each is told as it stands in the ledger, and telling it twice is no harm."""
        left: list[str] = []
        told = 0
        for item in ready:
            said = said_in(item.body)
            turn = self._turn(said)
            if self._waits(item, said, turn, now_ms):
                continue
            if self._begins(said, turn, now_ms, item.id):
                told += 1
                continue
            left.append(item.id)
        if left:
            self._ledger.sent(left)
        return told + len(left)

    def _send(self, item: Outgoing, epoch: int, now_ms: int) -> bool:
        """Raises NotDelivered, and then it is pending again."""
        said = said_in(item.body)
        turn = self._turn(said)
        if self._waits(item, said, turn, now_ms):
            return False
        if not self._ledger.sending(item.id, epoch):
            return False
        if self._deliver is not None:
            try:
                self._deliver(item, said, turn and self._once_told(said, turn, now_ms))
            except NotDelivered as away:
                if isinstance(away, NotYet) and self._put_off(item, now_ms):
                    log.warning("a %s was put off for a day and is given up: %s", self._kind, away)
                    return False
                self._ledger.take_back(item.id, epoch)
                raise
            except Unsure:  # found as it is before anything is sent again
                self._begins(said, turn, now_ms)
                return False
        if not self._begins(said, turn, now_ms, item.id):
            self._ledger.sent([item.id])
        return True

    def _put_off(self, item: Outgoing, now_ms: int) -> bool:
        """It is tried again later, and no others wait for it; whether that has gone on for too long."""
        since_ms, times = self._tried.get(item.id, (now_ms, 0))
        self._tried[item.id] = since_ms, times + 1
        self._not_before_ms[item.id] = now_ms + min(AGAIN_MS << times, AT_MOST_MS)
        return now_ms - since_ms >= GIVE_UP_MS

    def _turn(self, said: Said) -> Turn | None:
        return self._ledger.turn(said.turn) if said.turn is not None else None

    def _waits(self, item: Outgoing, said: Said, turn: Turn | None, now_ms: int) -> bool:
        """Whether it is for the morning, which is then remembered."""
        morning_ms = self._morning_ms(said, turn, now_ms)
        if morning_ms is not None:
            self._not_before_ms[item.id] = morning_ms
        return morning_ms is not None

    def _give_up(self, epoch: int, now_ms: int) -> None:
        """What may have left is not sent again, and what begins with it begins: a household may have been told."""
        if not self._ledger.outgoing(["sending"], 1, self._kind):
            return
        for item in self._ledger.give_up_sending(epoch, self._kind):
            self.unknown += 1
            said = said_in(item.body)
            with suppress(Moved):  # then it is held until its place begins
                self._begins(said, self._turn(said), now_ms)

    def _begins(self, said: Said, turn: Turn | None, now_ms: int, sent: str | None = None) -> bool:
        """Make the step of a turn that its delivery is, with which `sent` is sent; whether there was one to make."""
        if turn is None or (told := self._told(said, turn)) is None:
            return False
        with suppress(NotNow, UnknownTurn):  # it was answered, or ended, while it was told
            told(turn, now_ms, sent=sent)
            return True
        return False

    def _once_told(self, said: Said, turn: Turn, now_ms: int) -> Turn:
        """As it will be: by when to answer, or to leave, stands in what is delivered."""
        if self._told(said, turn) is None:
            return turn
        quiet = self._desk.quiet(turn)
        with suppress(NotNow):
            if said.what == "offer":
                return turns.told(turn, now_ms, quiet)
            return meanwhile.told_charged(turn, now_ms, quiet, self._desk.grace_min(turn))
        return turn

    def _told(self, said: Said, turn: Turn) -> Callable[..., Turn] | None:
        """The step of a turn that a notice's delivery is; None of one with which nothing begins."""
        if self._kind != "notice":
            return None
        if said.what == "offer" and turn.told_ms is None:
            return self._desk.told
        if said.what == "charged" and turn.leave_by_ms is None:
            return self._desk.told_charged
        return None

    def _morning_ms(self, said: Said, turn: Turn | None, now_ms: int) -> int | None:
        """Until when it waits: in quiet hours only what concerns a place in those same hours is said, also one that is
        taken away; and a fire.
        """
        if said.what == "fire" or not (quiet := self._quiet(said, turn)).quiet_at(now_ms):
            return None
        morning_ms = quiet.after(now_ms, 0)
        if turn is None:
            return morning_ms
        starts_ms = [turn.place.start_ms] if turn.place is not None and said.what not in NOT_OF_ITS_PLACE else []
        if said.was_ms is not None:
            starts_ms.append(said.was_ms)
        return morning_ms if all(at_ms >= morning_ms for at_ms in starts_ms) else None

    def _quiet(self, said: Said, turn: Turn | None) -> QuietHours:
        """Of a notice without a turn those of the site whose plug it names."""
        if turn is not None:
            return self._desk.quiet(turn)
        adopted = self._ledger.rules(str(said.said.get("place", "")).partition("/")[0])
        return adopted.rules.quiet if adopted else NIGHT


def _is_fire(item: Outgoing) -> bool:
    """Said before all else, and tried whatever became of the others."""
    return said_in(item.body).what == "fire"
