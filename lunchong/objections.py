"""Objections of the demo's residents to what became of their turns, and the answers of who is on duty there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from scheduler.accounts import Accounts, Review, answered
from scheduler.desk import Desk
from scheduler.ledger import UnknownHousehold
from scheduler.quiet import QuietHours
from scheduler.turns import LIVE, SNOOZES, STATES, WAITING, Turn
from simulators.residents import LONG_WAIT_MIN, Grievance, Words, duty_answer, objection

ENDED = frozenset(STATES) - LIVE
IN_VAIN = WAITING | {"expired"}
MADE = "demo-"
"""Reviews that were made here are called so: what somebody else asks for is answered by somebody else."""
ON_DUTY = "demo"
LOOKS_BACK_MS = 24 * 3_600_000
"""Whoever begins anew looks at turns that ended within so long: over a night, nobody objects later than that."""


class Objecting(NamedTuple):
    """What a household will say of its turn, when, and why."""

    turn: Turn
    why: Grievance
    at_ms: int
    note: str


class Objections:
    """`step` it now and then. Who objects follows from the seed; whether that was said already, from the ledger."""

    def __init__(self, desk: Desk, accounts: Accounts, households: Collection[str], seed: int, now_ms: int) -> None:
        self._desk, self._accounts, self._households, self._seed = desk, accounts, households, seed
        self._ledger = ledger = desk.ledger
        self._nights: dict[tuple[str, int], QuietHours] = {}
        self._live = {turn.id for turn in ledger.turns(states=LIVE) if turn.household in households}
        self._weighed: set[tuple[str, Grievance]] = set()
        self._to_say: dict[str, Objecting] = {}
        """By turn, of what happened to it last."""
        self._to_answer: dict[str, tuple[Review, Words]] = {}
        for turn in ledger.turns(states=ENDED):
            if turn.household in households and (turn.ended_ms or 0) >= now_ms - LOOKS_BACK_MS:
                self.weigh(turn, now_ms)
        unanswered = accounts.reviews(unanswered=True)
        self.unanswered = len(unanswered)
        """Whoever made them."""
        for review in unanswered:
            if review.id.startswith(MADE):
                self._hand_over(review)

    def step(self, live: Iterable[Turn], now_ms: int) -> None:
        """Everything that is said now; `live` are the live turns of the households."""
        there = {turn.id: turn for turn in live}
        for gone in self._live - there.keys():
            if (turn := self._ledger.turn(gone)) is not None:
                self.weigh(turn, now_ms)
        for turn in there.values():
            self.weigh(turn, now_ms)
        self._live = set(there)
        self._weighed = {(turn, why) for turn, why in self._weighed if turn in there}
        for said in list(self._to_say.values()):
            if said.at_ms <= now_ms:
                del self._to_say[said.turn.id]
                self._object(said, now_ms)
        for review, words in list(self._to_answer.values()):
            if review.at_ms + words.after_ms <= now_ms:
                del self._to_answer[review.id]
                self._answer(review, words.text, now_ms)
        self.unanswered = len(self._accounts.reviews(unanswered=True))

    def weigh(self, turn: Turn, now_ms: int) -> None:
        """Whether its household will object, and when."""
        found = grievance(turn, self._night(turn), now_ms)
        if found is None or (turn.id, found[0]) in self._weighed:
            return
        why, since_ms = found
        self._weighed.add((turn.id, why))
        if why == "missed" and not self._was_taken(turn):
            return
        words = objection(why, turn.id, f"{self._seed}/{turn.household}")
        if words is not None:
            at_ms = self._night(turn).after(since_ms, words.after_ms // 60_000)
            self._to_say[turn.id] = Objecting(turn, why, at_ms, words.text)

    def _night(self, turn: Turn) -> QuietHours:
        """When nobody says anything."""
        key = turn.site, turn.rules
        if key not in self._nights:
            self._nights[key] = self._desk.quiet(turn)
        return self._nights[key]

    def _was_taken(self, turn: Turn) -> bool:
        """Whether another's car was at its plug while it was awaited."""
        place, ended_ms = turn.place, turn.ended_ms
        if place is None or ended_ms is None:
            return False
        return any(
            other.place is not None
            and other.place.connector == place.connector
            and other.plugged_ms is not None
            and other.plugged_ms < ended_ms
            and (other.ended_ms or ended_ms) > place.start_ms
            for other in self._ledger.turns(site=turn.site, states=["active", "done"])
        )

    def _object(self, said: Objecting, now_ms: int) -> None:
        turn, household = said.turn, said.turn.household
        if household is None or any(one.turn == turn.id for one in self._accounts.reviews(household=household)):
            return
        if said.why == "waited" and ((now := self._ledger.turn(turn.id)) is None or now.state not in IN_VAIN):
            return
        review = Review(id=f"{MADE}{turn.id}", turn=turn.id, household=household, note=said.note, at_ms=now_ms)
        with suppress(UnknownHousehold):  # it is gone, and its turn stands under an id that says nothing
            self._accounts.review(review)
            self._hand_over(review)

    def _hand_over(self, review: Review) -> None:
        if (words := duty_answer(review.id, self._seed)) is not None:
            self._to_answer[review.id] = review, words

    def _answer(self, review: Review, text: str, now_ms: int) -> None:
        if review in self._accounts.reviews(household=review.household, unanswered=True):
            with suppress(UnknownHousehold):
                self._accounts.review(*answered(review, text, ON_DUTY, now_ms))


def grievance(turn: Turn, night: QuietHours, now_ms: int) -> tuple[Grievance, int] | None:
    """What its household may object to, and since when; nobody waits for anything in the night."""
    ended_ms = turn.ended_ms or now_ms
    match turn.state:
        case "failed":
            return "failed", ended_ms
        case "no_show":
            return "missed", ended_ms
        case "rejected":
            return "refused", ended_ms
        case "expired" if turn.snoozes < SNOOZES:
            return "waited", ended_ms
    if turn.state in WAITING:
        wanted_ms = max(turn.requested_ms, turn.earliest_ms)
        if now_ms < wanted_ms + LONG_WAIT_MIN * 60_000:  # a night only adds to that, and is dear to reckon
            return None
        long_ms = night.after(wanted_ms, LONG_WAIT_MIN)
        return ("waited", long_ms) if now_ms >= long_ms else None
    if turn.delayed_ms is not None:
        return "delayed", turn.delayed_ms
    if turn.moved_from is not None and turn.place is not None:
        return "moved", turn.place.start_ms
    return None
