"""Floor 2 · A turn as people are shown it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.schemas import Text
from api.schemas_turns import Cost, ReasonAnswer, ReviewAnswer, StartAnswer, TurnAnswer
from ingest.clock import rfc3339
from scheduler.accounts import Accounts, Review
from scheduler.desk import Desk
from scheduler.explain import WAITS, Decision, explain, refused
from scheduler.planning import Likely
from scheduler.sentences import Sentence
from scheduler.tariff import cost_yuan
from scheduler.turns import WAITING, Turn


@dataclass(frozen=True)
class Turns:
    """Where turns are asked for, and accounts are kept."""

    desk: Desk
    accounts: Accounts
    timezone: str
    likely: Callable[[Turn, int], Likely | None] | None = None
    """Where a turn would go if it waited at its site; None where this process plans nothing."""
    mails: bool = False
    """Whether notices go by mail to who gives an address."""

    def answer(self, turn: Turn) -> TurnAnswer:
        [answer] = self.answers([turn])
        return answer

    def answers(self, shown: Sequence[Turn]) -> list[TurnAnswer]:
        decided = self.desk.ledger.decisions([turn.id for turn in shown])
        return [self._answer(turn, decided.get(turn.id)) for turn in shown]

    def reasons(self, turn: Turn) -> list[ReasonAnswer]:
        """Why it stands where it does, or which rule refused it."""
        return self._reasons(turn, self.desk.ledger.decisions([turn.id]).get(turn.id))

    def _answer(self, turn: Turn, decision: Decision | None) -> TurnAnswer:
        place = turn.place
        start = rfc3339(place.start_ms) if place else None
        said_ms = decision.p90_ms if decision is not None and turn.state in WAITING else None
        latest = start if said_ms is None else rfc3339(said_ms)
        return TurnAnswer(
            id=turn.id,
            site=turn.site,
            connector=place.connector if place else None,
            household=turn.household,
            vehicle=turn.vehicle,
            state=turn.state,
            kind=turn.kind,
            mode=turn.mode,
            requested_at=rfc3339(turn.requested_ms),
            start=StartAnswer(p50=start, p90=latest) if start and latest else None,
            end=rfc3339(place.end_ms) if place else None,
            energy_kwh=round(turn.energy_kwh, 3),
            cost=self._cost(turn),
            call=turn.call,
            code=turn.code if turn.state in ("offered", "reserved", "active") else None,
            offer_expires_at=rfc3339(turn.due_ms) if turn.state == "offered" and turn.due_ms else None,
            delayed=turn.delayed_ms is not None,
            moved=turn.moved_from is not None,
            rank=decision.rank if decision and turn.state in WAITS else None,
            reasons=self._reasons(turn, decision),
        )

    def _reasons(self, turn: Turn, decision: Decision | None) -> list[ReasonAnswer]:
        refusal = self.desk.refusal(turn)
        said = [refused(refusal)] if refusal else explain(turn, decision) if decision else []
        return [ReasonAnswer(code=one.code, text=self.text(one)) for one in said]

    def text(self, sentence: Sentence) -> Text:
        return Text(zh=sentence.text("zh", self.timezone), en=sentence.text("en", self.timezone))

    def _cost(self, turn: Turn) -> Cost | None:
        """By the tariff of the hours that its place has; nothing where it has none."""
        adopted = self.desk.ledger.rules(turn.site, turn.rules)
        if turn.place is None or adopted is None:
            return None
        service = turn.energy_kwh * adopted.rules.service_fee_yuan_kwh
        return Cost(
            energy=round(cost_yuan(turn.place, turn.energy_kwh, self.timezone), 2),
            service=round(service, 2),
            currency="CNY",
        )


def reviewed(one: Review) -> ReviewAnswer:
    answered_at = None if one.answered_ms is None else rfc3339(one.answered_ms)
    return ReviewAnswer(
        id=one.id, turn=one.turn, note=one.note, at=rfc3339(one.at_ms), answer=one.answer, answered_at=answered_at
    )
