"""Floor 4 · Turns, as staff ask for them on behalf of a household, and answer for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query

from api.deps import Ctx, invalid, moment, site_of, staff
from api.problems import (
    DwellingIsTaken,
    Invalid,
    NotNow,
    NotReady,
    RefusedByRule,
    Unauthorized,
    UnknownHousehold,
    UnknownSite,
    UnknownTurn,
    responses,
)
from api.schemas_turns import ID, Explained, HouseholdAnswer, HouseholdWish, TurnAnswer, TurnsAnswer, TurnWish
from api.turns import Turns
from scheduler import desk as of_desk
from scheduler import turns
from scheduler.desk import Wish
from scheduler.ledger import DwellingTaken, Household, LedgerUnavailable, Moved
from scheduler.turns import State, Turn

router = APIRouter(prefix="/api/v1", tags=["turns"], dependencies=[Depends(staff)])

T = TypeVar("T")

MOST = 1_000
RETRY_S = 5
Name = Annotated[str, Path(pattern=ID)]
Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=128, description="The same key and household: one turn")
]
NEEDS = (Unauthorized, NotReady)


def given(ctx: Ctx) -> Turns:
    if ctx.turns is None:
        raise NotReady("This process gives no turns: ask the one that `lunchong serve` started.")
    return ctx.turns


Given = Annotated[Turns, Depends(given)]


@router.put("/households/{household}", responses=responses(*NEEDS, DwellingIsTaken, Invalid))
def household(given: Given, household: Name, wish: HouseholdWish) -> HouseholdAnswer:
    """Register a household, or say anew where it lives."""
    said = Household(id=household, **wish.model_dump())

    def kept() -> HouseholdAnswer:
        given.desk.ledger.register(said)
        return HouseholdAnswer(id=household, **wish.model_dump())

    return _done(kept)


@router.post(
    "/turns", status_code=201, responses=responses(*NEEDS, UnknownSite, UnknownHousehold, RefusedByRule, Invalid)
)
def ask(ctx: Ctx, given: Given, wish: TurnWish, key: Key = None) -> TurnAnswer:
    """Ask for a turn. One that a rule refuses is kept as `rejected`, and answered with the rule."""
    site_of(ctx, wish.site)
    now_ms = ctx.service_ms()
    earliest_ms = moment("body.earliest", wish.earliest)
    depart_by_ms = moment("body.depart_by", wish.depart_by)
    assert depart_by_ms is not None
    earliest_ms = now_ms if earliest_ms is None else max(earliest_ms, now_ms)
    if depart_by_ms <= earliest_ms:
        raise invalid("body.depart_by", "it must be after `earliest`, and in the future")
    wanted = Wish(
        site=wish.site, household=wish.on_behalf_of, vehicle=f"{wish.on_behalf_of}/{wish.vehicle}",
        energy_kwh=wish.energy_kwh, max_w=round(wish.max_kw * 1_000), earliest_ms=earliest_ms,
        depart_by_ms=depart_by_ms, flexible=wish.flexible,
    )  # fmt: skip
    turn = _done(lambda: given.desk.ask(wanted, now_ms, key=key, by="staff"))
    answer = _done(lambda: given.answer(turn))
    if turn.state == "rejected":
        raise RefusedByRule("; ".join(f"{reason.text.en} {reason.text.zh}" for reason in answer.reasons))
    return answer


@router.get("/turns", responses=responses(*NEEDS, Invalid))
def all_turns(
    given: Given,
    site: Annotated[str | None, Query(pattern=ID)] = None,
    household: Annotated[str | None, Query(pattern=ID)] = None,
    state: Annotated[list[State] | None, Query(description="Of these states; of all when left out")] = None,
) -> TurnsAnswer:
    """The latest thousand, in the order in which they were asked for."""

    def found() -> TurnsAnswer:
        kept = given.desk.ledger.turns(site=site, household=household, states=state)
        return TurnsAnswer(items=[given.answer(turn) for turn in kept[-MOST:]])

    return _done(found)


@router.get("/turns/{turn}", responses=responses(*NEEDS, UnknownTurn, Invalid))
def one_turn(given: Given, turn: Name) -> TurnAnswer:
    """One turn as it is now."""
    return _done(lambda: given.answer(given.desk.turn(turn)))


@router.get("/turns/{turn}/explain", responses=responses(*NEEDS, UnknownTurn, Invalid))
def explain(given: Given, turn: Name) -> Explained:
    """Why this one, why then, how many are ahead (not who), and what would bring it forward."""
    return _done(lambda: Explained(reasons=given.reasons(given.desk.turn(turn))))


@router.post("/turns/{turn}/accept", responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid))
def accept(ctx: Ctx, given: Given, turn: Name) -> TurnAnswer:
    """Take the place that is offered."""
    return _stepped(given, lambda: given.desk.accept(turn, ctx.service_ms(), by="staff"))


@router.post("/turns/{turn}/snooze", responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid))
def snooze(ctx: Ctx, given: Given, turn: Name) -> TurnAnswer:
    """Not this one: the place goes to the next. The third ends the turn."""
    return _stepped(given, lambda: given.desk.snooze(turn, ctx.service_ms(), by="staff"))


@router.post("/turns/{turn}/cancel", responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid))
def cancel(ctx: Ctx, given: Given, turn: Name) -> TurnAnswer:
    """Give the turn up, and its place back."""
    return _stepped(given, lambda: given.desk.cancel(turn, ctx.service_ms(), by="staff"))


@router.post("/turns/{turn}/check-in", responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid))
def check_in(ctx: Ctx, given: Given, turn: Name) -> TurnAnswer:
    """Its household is at the plug: the car that is plugged in there within five minutes, or was, is its own. Also the
    answer to whether the car at its plug is.
    """
    return _stepped(given, lambda: given.desk.check_in(turn, ctx.service_ms(), by="staff"))


@router.post("/turns/{turn}/finish", responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid))
def finish(ctx: Ctx, given: Given, turn: Name) -> TurnAnswer:
    """No more energy is wanted: the pile stops, and the car is to leave within half an hour."""
    return _stepped(given, lambda: given.desk.finish(turn, ctx.service_ms(), by="staff"))


def _stepped(given: Turns, step: Callable[[], Turn]) -> TurnAnswer:
    return _done(lambda: given.answer(step()))


def _done(what: Callable[[], T]) -> T:
    """What the desk says, or why not as a problem."""
    try:
        return what()
    except of_desk.UnknownTurn as unknown:
        raise UnknownTurn(f"{unknown}.") from unknown
    except of_desk.UnknownHousehold as unknown:
        raise UnknownHousehold(f"{unknown}.") from unknown
    except of_desk.UnknownSite as unknown:
        raise UnknownSite(f"{unknown}.") from unknown
    except DwellingTaken as taken:
        raise DwellingIsTaken(f"{taken}.") from taken
    except (turns.NotNow, Moved) as late:
        raise NotNow(f"{late}.") from late
    except LedgerUnavailable as away:
        raise NotReady("The ledger of turns is away.", headers={"Retry-After": str(RETRY_S)}) from away
