"""The tally of the turns of a run: how many were kept and missed, and what people did to them and said of them."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from scheduler.accounts import Accounts
from scheduler.ledger import Ledger
from scheduler.turns import Turn

LATE_MS = 5 * 60_000


class TurnsTally(Struct, frozen=True, kw_only=True):
    """Of turns that somebody asked for. `turns_done` were promised, kept and ended; `snoozed` are offers that were put
    off, by hand or by silence; `late` came five minutes or more after their place began, `overstays` left too late.
    """

    turns_done: int = 0
    turns_done_by_mode: dict[str, int] = {}
    no_shows: int = 0
    snoozed: int = 0
    late: int = 0
    overstays: int = 0
    reviews: int = 0
    reviews_answered: int = 0


NO_TURNS = TurnsTally()


def turns_tally(ledger: Ledger, accounts: Accounts, since_ms: int) -> TurnsTally:
    """Of what happened since then, in service time."""
    asked = [turn for turn in ledger.turns() if turn.kind == "asked" and (turn.ended_ms or since_ms) >= since_ms]
    households = {turn.household for turn in asked if turn.household is not None}
    done = Counter(turn.mode for turn in asked if turn.state == "done")
    reviews = accounts.reviews()
    return TurnsTally(
        turns_done=done.total(),
        turns_done_by_mode=dict(sorted(done.items())),
        no_shows=sum(turn.state == "no_show" for turn in asked),
        snoozed=sum(turn.snoozes for turn in asked),
        late=sum(_came_late(turn, since_ms) for turn in asked),
        overstays=sum(one.overstay_ms > 0 for one in ledger.deliveries(households, since_ms)),
        reviews=sum(one.at_ms >= since_ms for one in reviews),
        reviews_answered=sum((one.answered_ms or 0) >= since_ms for one in reviews if one.answer is not None),
    )


def _came_late(turn: Turn, since_ms: int) -> bool:
    """Who accepted after the place began, or shortly before, had until then nowhere to come to."""
    if turn.place is None or turn.plugged_ms is None or turn.plugged_ms < since_ms:
        return False
    return turn.plugged_ms - max(turn.place.start_ms, turn.soon_ms or 0) >= LATE_MS
