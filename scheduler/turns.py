"""Floor 0 · A turn: its states, what leads from one to another, and what is written with each step.

Every step is a function from (the turn as it was, what happened, service time) to the turn as it is. One that its
state does not know raises `NotNow`. Nothing here claims anything: which buckets a turn holds follows from its state
and its place (`held`), and the ledger keeps to that.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from ingest.assets import SiteMode
from scheduler.buckets import BUCKET_MS, Place
from scheduler.quiet import QuietHours

State = Literal[
    "requested", "queued", "offered", "reserved", "active",
    "done", "expired", "cancelled", "no_show", "failed", "rejected",
]  # fmt: skip
Event = Literal[
    "plan", "offer", "accept", "snooze", "give_up", "withdraw", "plug_in", "no_show", "fail", "end", "cancel", "expire",
]  # fmt: skip
Kind = Literal["asked", "walk_in", "blocked"]
"""Asked for; a car that came without; a plug that somebody keeps from us, so that nobody is promised it."""
Cause = Literal["BROKEN_CHARGER", "POWER_OUTAGE", "BLOCKED"]
"""Why we failed somebody, in the words of OCPI 2.3 Bookings."""

STATES: tuple[State, ...] = get_args(State)
STEPS: dict[State, dict[Event, State]] = {
    "requested": {"plan": "queued", "offer": "offered", "cancel": "cancelled", "expire": "expired"},
    "queued": {"plan": "queued", "offer": "offered", "cancel": "cancelled", "expire": "expired", "fail": "failed"},
    "offered": {
        "accept": "reserved", "snooze": "queued", "give_up": "expired", "withdraw": "queued", "plug_in": "active",
        "cancel": "cancelled", "fail": "failed",
    },
    "reserved": {"plug_in": "active", "no_show": "no_show", "cancel": "cancelled", "fail": "failed"},
    "active": {"end": "done"},
}  # fmt: skip
"""What each state may become, and by what; a state that is not here is an end."""

LIVE: frozenset[State] = frozenset(STEPS)
"""Of these a vehicle has one at a time, and a household two."""
HOLDING: frozenset[State] = frozenset({"offered", "reserved", "active"})
"""In these a turn holds the buckets of its place."""
WAITING: frozenset[State] = LIVE - HOLDING
"""In these it waits for a place; one that the plan gives it is nobody's yet."""

OCPI: dict[State, str] = {
    "requested": "PENDING", "queued": "PENDING", "offered": "PENDING", "reserved": "RESERVED", "active": "FULFILLED",
    "done": "FULFILLED", "cancelled": "CANCELED", "failed": "CANCELED", "no_show": "NO_SHOW", "expired": "REJECTED",
    "rejected": "REJECTED",
}  # fmt: skip
"""What a turn is called outside, in the words of OCPI 2.3 Bookings."""

ANSWER_MIN = 10
HOLD_MIN = 15
SOON_MS = 10 * 60_000
"""So long before its start a turn is said to be soon; who accepts later than that knows."""
PART_KWH = 0.1
"""A place that promises so much less than was asked for is for a part of it."""
LEAST_KWH = 3.0
"""No part of a need is smaller, unless the need is: nobody drives to a plug for less."""
STALE_MS = 24 * 3_600_000
SNOOZE_MS = 60 * 60_000
"""So long after it was told of an offer that it put off, nothing begins that a turn is offered."""
SNOOZES = 3
"""By hand or by silence; with this one the turn expires."""


class NotNow(Exception):
    """The turn's state does not know that step."""

    def __init__(self, turn: Turn, event: Event) -> None:
        super().__init__(f"turn {turn.id} is {turn.state}: {event} is not possible now")
        self.turn, self.event = turn, event


class Turn(Struct, frozen=True, kw_only=True):
    """A place at a plug and energy by a time. Times are service time in milliseconds since 1970, UTC.

    `due_ms` is when the state is left if nothing else happens; only an ended turn has none. `waiting_ms` is since when
    it waits, from the first request; a snooze or a cancel stops that at `waited_ms`. `told_ms` is when the notice of
    the offer was delivered. `instead_of` is the turn that we failed and that this one is to make good. What happens to
    a turn within a state stands in `meanwhile.py`. `rev` grows with each step that the ledger keeps.
    """

    id: str
    site: str
    mode: SiteMode
    kind: Kind = "asked"
    household: str | None = None
    compound: str | None = None
    vehicle: str | None = None
    state: State
    rev: int = 0
    energy_kwh: float
    max_w: int
    earliest_ms: int
    depart_by_ms: int
    requested_ms: int
    waiting_ms: int | None
    waited_ms: int = 0
    due_ms: int | None
    place: Place | None = None
    told_ms: int | None = None
    snoozes: int = 0
    flexible: bool = False
    rules: int = 0
    call: str = ""
    code: str | None = None
    delayed_ms: int | None = None
    moved_from: str | None = None
    plugged_ms: int | None = None
    ended_ms: int | None = None
    cause: Cause | None = None
    refused_by: str | None = None
    soon_ms: int | None = None
    asked_ms: int | None = None
    checked_in_ms: int | None = None
    charged_ms: int | None = None
    finished_ms: int | None = None
    leave_by_ms: int | None = None
    instead_of: str | None = None


def held(turn: Turn | None) -> Place | None:
    """The place whose buckets the turn holds; None where it holds nothing."""
    return turn.place if turn is not None and turn.state in HOLDING else None


def is_part(turn: Turn) -> bool:
    """Whether its place is for a part of its need."""
    return turn.place is not None and turn.place.energy_kwh < turn.energy_kwh - PART_KWH


def is_live(turn: Turn | None) -> bool:
    return turn is not None and turn.state in LIVE


def latest_start_ms(turn: Turn) -> int:
    """When it must begin at the latest for its energy to fit before `depart_by`; of a flexible one a part of that."""
    energy_kwh = min(turn.energy_kwh, LEAST_KWH) if turn.flexible else turn.energy_kwh
    return turn.depart_by_ms - round(energy_kwh * 1_000 / turn.max_w * 3_600_000)


def wants_from_ms(turn: Turn) -> int:
    """From when on it may be planned: who put an offer off wants nothing that begins within an hour from when it was
    told, so that the place goes to the next, unless its energy would not fit any more then.
    """
    if not turn.snoozes or turn.told_ms is None:
        return turn.earliest_ms
    return max(turn.earliest_ms, min(turn.told_ms + SNOOZE_MS, latest_start_ms(turn) - BUCKET_MS))


def age_ms(turn: Turn, now_ms: int) -> int:
    """Its waiting age."""
    return turn.waited_ms + (max(0, now_ms - turn.waiting_ms) if turn.waiting_ms is not None else 0)


def planned(turn: Turn, place: Place | None) -> Turn:
    """It has a tentative place, which holds nothing, or no longer has one."""
    return _step(turn, "plan", place=place, due_ms=latest_start_ms(turn))


def offered(turn: Turn, place: Place, now_ms: int, quiet: QuietHours) -> Turn:
    """A place is held for an answer. The time to answer runs from `told`; until then it is held until it begins, or
    for the time to answer where that is longer.
    """
    due_ms = max(place.start_ms, quiet.after(now_ms, ANSWER_MIN))
    return _step(turn, "offer", place=place, told_ms=None, due_ms=due_ms)


def told(turn: Turn, now_ms: int, quiet: QuietHours) -> Turn:
    """The notice of an offer was delivered. Raises NotNow where nothing is offered."""
    if turn.state != "offered":
        raise NotNow(turn, "offer")
    return replace(turn, told_ms=now_ms, due_ms=quiet.after(now_ms, ANSWER_MIN))


def accepted(turn: Turn, now_ms: int, quiet: QuietHours) -> Turn:
    """Promised. The hold runs from the start of the place, or from now where that is later. Raises NotNow, also where
    the time to answer or the place is over.
    """
    place = _placed(turn, "accept")
    if lapsed(turn, now_ms) or place.end_ms <= now_ms:
        raise NotNow(turn, "accept")
    soon_ms = now_ms if place.start_ms - now_ms <= SOON_MS else None
    return _step(turn, "accept", due_ms=hold_ends_ms(place, now_ms, quiet), soon_ms=soon_ms)


def hold_ends_ms(place: Place, now_ms: int, quiet: QuietHours) -> int:
    """Until when a place waits for its car: 15 min outside quiet hours, and never longer than the place is."""
    return min(quiet.after(max(place.start_ms, now_ms), HOLD_MIN), place.end_ms)


def waits_on(turn: Turn, now_ms: int, quiet: QuietHours) -> Turn:
    """Whether its car came cannot be told now: the hold begins anew. Raises NotNow."""
    if turn.state != "reserved":
        raise NotNow(turn, "accept")
    return replace(turn, due_ms=hold_ends_ms(_placed(turn, "accept"), now_ms, quiet))


def snoozed(turn: Turn, now_ms: int) -> Turn:
    """Not this one: by hand, or ten minutes without an answer. The third ends it."""
    no = turn.snoozes + 1
    stopped = replace(turn, snoozes=no, waited_ms=age_ms(turn, now_ms), waiting_ms=None)
    if no >= SNOOZES:
        return _step(stopped, "give_up", ended_ms=now_ms, due_ms=None)
    return _step(stopped, "snooze", place=None, due_ms=latest_start_ms(turn))


def withdrawn(turn: Turn) -> Turn:
    """The place is not to be had, or nobody could be told of it in time: it waits on, and that is no snooze."""
    return _step(turn, "withdraw", place=None, told_ms=None, due_ms=latest_start_ms(turn))


def lapsed(turn: Turn, now_ms: int) -> bool:
    """Whether an offer's time is over, so that whoever wants its place may take it."""
    return turn.state == "offered" and turn.due_ms is not None and turn.due_ms <= now_ms


def delayed(turn: Turn, now_ms: int) -> Turn:
    """It keeps its promise, later than said. A fact on a turn, not a state."""
    return replace(turn, delayed_ms=turn.delayed_ms or now_ms)


def moved(turn: Turn, place: Place, now_ms: int, quiet: QuietHours) -> Turn:
    """Promised elsewhere or at another time, under the same id; `moved_from` is where it was before. Raises NotNow."""
    if turn.state not in ("offered", "reserved"):
        raise NotNow(turn, "plan")
    due_ms = hold_ends_ms(place, now_ms, quiet)
    if turn.state == "offered":
        due_ms = max(turn.due_ms or 0, place.start_ms)
    soon_ms = turn.soon_ms if place.start_ms - now_ms <= SOON_MS else None
    return replace(
        turn, place=place, due_ms=due_ms, moved_from=_placed(turn, "plan").connector, soon_ms=soon_ms, asked_ms=None,
        checked_in_ms=None,
    )  # fmt: skip


def plugged_in(turn: Turn, now_ms: int) -> Turn:
    return _step(turn, "plug_in", plugged_ms=now_ms, due_ms=now_ms + STALE_MS)


def heard(turn: Turn, now_ms: int) -> Turn:
    """Its connector was heard of: the watch goes on for another day. Raises NotNow where it is not active."""
    if turn.state != "active":
        raise NotNow(turn, "plug_in")
    return replace(turn, due_ms=now_ms + STALE_MS)


def heard_ms(turn: Turn) -> int | None:
    """When a car that is at its plug was last heard of; None of a turn that is not active."""
    return turn.due_ms - STALE_MS if turn.state == "active" and turn.due_ms is not None else None


def stays(turn: Turn) -> Turn:
    """The car is still there when its place ends: one bucket more that it keeps from others. Raises NotNow."""
    if turn.state != "active":
        raise NotNow(turn, "end")
    return replace(turn, place=_placed(turn, "end").longer(1))


def done(turn: Turn, now_ms: int) -> Turn:
    return _step(turn, "end", ended_ms=now_ms, due_ms=None)


def cancelled(turn: Turn, now_ms: int) -> Turn:
    return _step(turn, "cancel", ended_ms=now_ms, waited_ms=age_ms(turn, now_ms), waiting_ms=None, due_ms=None)


def missed(turn: Turn, now_ms: int) -> Turn:
    """Nobody came while the hold ran."""
    return _step(turn, "no_show", ended_ms=now_ms, due_ms=None)


def expired(turn: Turn, now_ms: int) -> Turn:
    """Its energy no longer fits before `depart_by`."""
    return _step(turn, "expire", ended_ms=now_ms, due_ms=None)


def failed(turn: Turn, cause: Cause, now_ms: int) -> Turn:
    """We could not keep it. It keeps its waiting age, for the next request of the same need."""
    return _step(turn, "fail", cause=cause, ended_ms=now_ms, due_ms=None)


def made_good(turn: Turn, turn_id: str, call: str, code: str, now_ms: int) -> Turn:
    """The request in place of a promise that we failed: for the next free place within a day, with its waiting age."""
    again = Turn(
        id=turn_id, site=turn.site, mode=turn.mode, household=turn.household, compound=turn.compound,
        vehicle=turn.vehicle, state="requested", energy_kwh=turn.energy_kwh, max_w=turn.max_w, earliest_ms=now_ms,
        depart_by_ms=max(turn.depart_by_ms, now_ms + STALE_MS), requested_ms=now_ms, waiting_ms=now_ms,
        waited_ms=age_ms(turn, now_ms), due_ms=None, flexible=turn.flexible, rules=turn.rules, call=call, code=code,
        instead_of=turn.id,
    )  # fmt: skip
    return replace(again, due_ms=latest_start_ms(again))


def _step(turn: Turn, event: Event, **changed: object) -> Turn:
    after = STEPS.get(turn.state, {}).get(event)
    if after is None:
        raise NotNow(turn, event)
    return replace(turn, state=after, **changed)


def _placed(turn: Turn, event: Event) -> Place:
    if turn.place is None:
        raise NotNow(turn, event)
    return turn.place
