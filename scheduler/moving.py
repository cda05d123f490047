"""Floor 2 · A turn that waits goes on at another site, with the waiting that it has and no more."""

from __future__ import annotations

from msgspec.structs import replace

from scheduler import turns
from scheduler.desk import ATTEMPTS, Desk
from scheduler.ledger import Known, Moved, UnknownHousehold
from scheduler.rules import Asked, Refusal, pool_of, refusal
from scheduler.site_facts import most_w
from scheduler.turns import WAITING, NotNow, State, Turn

INSTEAD: dict[State, str] = {
    "offered": "snooze it first, and then move it",
    "reserved": "cancel it, and ask there",
    "active": "finish it, and ask there",
}
"""What to do with one that does not wait."""


class NotWaiting(NotNow):
    """Only a turn that waits goes on elsewhere: what holds a place is given up first."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn, "cancel")
        instead = INSTEAD.get(turn.state, "it is over")
        self.args = (f"turn {turn.id} is {turn.state}, and only one that waits can go to another site: {instead}",)


class NotThere(Exception):
    """Nothing of it can be charged at that site, whatever its rules say."""


class RefusedThere(Exception):
    """A rule of that site says no: `refusal` is which."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(refused.rule)
        self.refusal = refused


def must_wait(turn: Turn) -> None:
    """Raises NotWaiting."""
    if turn.state not in WAITING:
        raise NotWaiting(turn)


def there(desk: Desk, turn: Turn, site_id: str, max_w: int, now_ms: int) -> Turn:
    """The turn as it would wait at another site, where its car takes `max_w`; nothing is kept.

    Its waiting goes on and its snoozes count on. That its own site failed it before is nothing to the people there.
    Raises NotWaiting, UnknownSite, NotThere, UnknownHousehold, RefusedThere.
    """
    must_wait(turn)
    site, rules, version = desk.rules(site_id)
    if site.id == turn.site:
        raise NotThere("it waits there already")
    if max_w <= 0:
        raise NotThere("no plug of that site fits its vehicle")
    if site.id in desk.ledger.cuts():
        raise NotThere("that site is cut off")
    household = desk.ledger.household(turn.household or "")
    if household is None:
        raise UnknownHousehold(turn.household)
    max_w = min(max_w, most_w(site))
    asked = Asked(
        compound=household.compound, energy_kwh=turn.energy_kwh, max_w=max_w, earliest_ms=turn.earliest_ms,
        depart_by_ms=turn.depart_by_ms,
    )  # fmt: skip
    refused = refusal(asked, rules, now_ms, desk.is_workday)
    if refused is not None:
        raise RefusedThere(refused)
    waits = Turn(
        id=desk.names.turn_id(), site=site.id, mode=site.mode, household=household.id, vehicle=turn.vehicle,
        compound=pool_of(household.compound, rules), state="requested", energy_kwh=turn.energy_kwh, max_w=max_w,
        earliest_ms=turn.earliest_ms, depart_by_ms=turn.depart_by_ms, requested_ms=now_ms, waiting_ms=turn.waiting_ms,
        waited_ms=turn.waited_ms, due_ms=None, snoozes=turn.snoozes, flexible=turn.flexible, rules=version,
        call=desk.names.call(), code=desk.names.code(),
    )  # fmt: skip
    return replace(waits, due_ms=turns.latest_start_ms(waits))


def move(desk: Desk, turn: Turn, site_id: str, max_w: int, now_ms: int, key: str | None = None, by: str = "") -> Turn:
    """End a turn that waits and go on at another site, in one change; returns the turn that waits there.

    A key that its household used before gives the turn that it made then. Raises what `there` does, and Moved.
    """
    for attempt in range(ATTEMPTS):
        made = desk.ledger.by_key(turn.household or "", key) if key is not None else None
        if made is not None:
            return made
        waits = there(desk, turn, site_id, max_w, now_ms)
        ends = desk.change(turn, turns.cancelled(turn, now_ms), by=by)
        try:
            _, kept = desk.ledger.commit([ends, desk.change(None, waits, key=key, by=by, asked=True)], now_ms)
        except Known as known:
            return known.turn
        except Moved:
            if attempt == ATTEMPTS - 1:
                raise
            turn = desk.turn(turn.id)
        else:
            return kept
    raise AssertionError
