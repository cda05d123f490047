"""Floor 4 · Turns: residents ask for their own, staff on behalf of a household, and both answer for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from secrets import token_hex
from typing import Annotated, TypeVar

from fastapi import APIRouter, Header, Path, Query, Response

from api.callers import Asker, Caller, Given, Staff, asked_of_ledger
from api.deps import Ctx, Near, invalid, moment, site_of
from api.ics import calendar
from api.problems import (
    CrossSite,
    DwellingIsTaken,
    Forbidden,
    Invalid,
    NotNow,
    NotReady,
    RefusedByRule,
    TooManyReviews,
    Unauthorized,
    UnknownHousehold,
    UnknownReview,
    UnknownSite,
    UnknownTurn,
    responses,
)
from api.schemas_turns import (
    ID,
    CutAnswer,
    CutsAnswer,
    Explained,
    HouseholdAnswer,
    HouseholdWish,
    ReviewAnswer,
    ReviewReply,
    ReviewsAnswer,
    ReviewWish,
    TurnAnswer,
    TurnsAnswer,
    TurnWish,
)
from api.turns import Turns, reviewed
from api.wishes import NotAsked, wished
from scheduler import desk as of_desk
from scheduler import turns
from scheduler.accounts import Review, answered
from scheduler.ledger import DwellingTaken, Household, Moved
from scheduler.ledger import UnknownHousehold as NoHousehold
from scheduler.turns import State, Turn

router = APIRouter(prefix="/api/v1", tags=["turns"])

log = logging.getLogger("lunchong.turns")

T = TypeVar("T")

MOST = 1_000
MOST_UNANSWERED = 3
"""Objections to one turn that wait for an answer."""
Name = Annotated[str, Path(pattern=ID)]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=128, description="The same key and household: one turn"),
]
NEEDS = (Unauthorized, CrossSite, NotReady)
STEPS = (*NEEDS, UnknownTurn, NotNow, Invalid)


@router.put("/households/{household}", responses=responses(*NEEDS, Forbidden, DwellingIsTaken, Invalid))
def household(given: Given, _who: Staff, household: Name, wish: HouseholdWish) -> HouseholdAnswer:
    """Register a household, or say anew where it lives. For staff."""
    said = Household(id=household, **wish.model_dump())

    def kept() -> HouseholdAnswer:
        given.desk.ledger.register(said)
        return HouseholdAnswer(id=household, **wish.model_dump())

    return done(kept)


@router.post(
    "/turns",
    status_code=201,
    responses=responses(*NEEDS, Forbidden, UnknownSite, UnknownHousehold, RefusedByRule, Invalid),
)
def ask(ctx: Ctx, given: Given, who: Asker, near: Near, wish: TurnWish, key: Key = None) -> TurnAnswer:
    """Ask for a turn, a resident for its household and staff on behalf of one. What a rule refuses is kept as
    `rejected`, and answered with the rule.
    """
    if wish.site is not None:
        site_of(ctx, wish.site)
    now_ms = ctx.service_ms()
    earliest_ms = moment("body.earliest", wish.earliest)
    depart_by_ms = moment("body.depart_by", wish.depart_by)
    assert depart_by_ms is not None
    earliest_ms = now_ms if earliest_ms is None else max(earliest_ms, now_ms)
    if depart_by_ms <= earliest_ms:
        raise invalid("body.depart_by", "it must be after `earliest`, and in the future")
    of = _whom(who, wish)
    try:
        asked = done(lambda: wished(ctx, given, of, near, wish, (earliest_ms, depart_by_ms)))
    except NotAsked as mistake:
        raise invalid(mistake.where, mistake.what) from mistake
    turn = done(lambda: given.desk.ask(asked, now_ms, key=key, by=who.name))
    answer = done(lambda: given.answer(turn))
    return accepted_wish(answer)


@router.get("/turns", responses=responses(*NEEDS, Invalid))
def all_turns(
    given: Given,
    who: Asker,
    site: Annotated[str | None, Query(pattern=ID)] = None,
    household: Annotated[str | None, Query(pattern=ID)] = None,
    state: Annotated[list[State] | None, Query(description="Of these states; of all when left out")] = None,
) -> TurnsAnswer:
    """The latest thousand, in the order in which they were asked for; residents see those of their household."""

    def found() -> TurnsAnswer:
        whose = household if who.is_staff else who.household or ""
        kept = given.desk.ledger.turns(site=site, household=whose, states=state)
        return TurnsAnswer(items=given.answers(kept[-MOST:]))

    return done(found)


@router.get(
    "/turns/{turn}.ics",
    response_class=Response,
    responses=responses(*NEEDS, UnknownTurn, NotNow, Invalid) | {200: {"content": {"text/calendar": {}}}},
)
def ics(ctx: Ctx, given: Given, who: Asker, turn: Name) -> Response:
    """The turn as an entry for a calendar, with an alarm ten minutes before; not while it has no place."""
    found = mine(given, who, turn)
    if found.place is None:
        raise NotNow(f"Turn {turn} has no place yet.")
    site = ctx.inventory().sites.get(found.site)
    body = calendar(found, site, ctx.service_ms())
    return Response(body, media_type="text/calendar; charset=utf-8", headers={"Cache-Control": "no-store"})


@router.get("/turns/{turn}", responses=responses(*NEEDS, UnknownTurn, Invalid))
def one_turn(given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """One turn as it is now."""
    return done(lambda: given.answer(mine(given, who, turn)))


@router.get("/turns/{turn}/explain", responses=responses(*NEEDS, UnknownTurn, Invalid))
def explain(given: Given, who: Asker, turn: Name) -> Explained:
    """Why this one, why then, how many are ahead (not who), and what would bring it forward."""
    return done(lambda: Explained(reasons=given.reasons(mine(given, who, turn))))


@router.post("/turns/{turn}/accept", responses=responses(*STEPS))
def accept(ctx: Ctx, given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """Take the place that is offered."""
    return _stepped(given, who, turn, lambda of: given.desk.accept(of, ctx.service_ms(), by=who.name))


@router.post("/turns/{turn}/snooze", responses=responses(*STEPS))
def snooze(ctx: Ctx, given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """Not this one: the place goes to the next. The third ends the turn."""
    return _stepped(given, who, turn, lambda of: given.desk.snooze(of, ctx.service_ms(), by=who.name))


@router.post("/turns/{turn}/cancel", responses=responses(*STEPS))
def cancel(ctx: Ctx, given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """Give the turn up, and its place back."""
    return _stepped(given, who, turn, lambda of: given.desk.cancel(of, ctx.service_ms(), by=who.name))


@router.post("/turns/{turn}/check-in", responses=responses(*STEPS))
def check_in(ctx: Ctx, given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """Its household is at the plug: the car that is plugged in there within five minutes, or was, is its own. Also the
    answer to whether the car at its plug is.
    """
    return _stepped(given, who, turn, lambda of: given.desk.check_in(of, ctx.service_ms(), by=who.name))


@router.post("/turns/{turn}/finish", responses=responses(*STEPS))
def finish(ctx: Ctx, given: Given, who: Asker, turn: Name) -> TurnAnswer:
    """No more energy is wanted: the pile stops, and the car is to leave within half an hour."""
    return _stepped(given, who, turn, lambda of: given.desk.finish(of, ctx.service_ms(), by=who.name))


@router.post(
    "/turns/{turn}/review",
    status_code=201,
    responses=responses(*NEEDS, UnknownTurn, UnknownHousehold, TooManyReviews, Invalid),
)
def review(ctx: Ctx, given: Given, who: Asker, turn: Name, wish: ReviewWish) -> ReviewAnswer:
    """What is wrong about what became of a turn; a person answers."""
    found = mine(given, who, turn)
    if found.household is None:
        raise UnknownTurn(f"Turn {turn} is nobody's.")
    household = found.household
    kept = Review(id=token_hex(8), turn=turn, household=household, note=wish.note, at_ms=ctx.service_ms())

    def keep() -> None:
        waiting = given.accounts.reviews(household=household, unanswered=True)
        if sum(one.turn == turn for one in waiting) >= MOST_UNANSWERED:
            raise TooManyReviews(f"{MOST_UNANSWERED} objections to turn {turn} wait for an answer.")
        given.accounts.review(kept)

    done(keep)
    return reviewed(kept)


@router.get("/reviews", responses=responses(*NEEDS, Invalid))
def reviews(given: Given, who: Asker, unanswered: bool = False) -> ReviewsAnswer:
    """Staff see all of them, residents those of their household; in order of time."""
    whose = None if who.is_staff else who.household or ""
    found = asked_of_ledger(lambda: given.accounts.reviews(household=whose, unanswered=unanswered))
    return ReviewsAnswer(items=[reviewed(one) for one in found[-MOST:]])


@router.post(
    "/reviews/{review}/answer", responses=responses(*NEEDS, Forbidden, UnknownReview, UnknownHousehold, Invalid)
)
def answer_review(ctx: Ctx, given: Given, who: Staff, review: Name, reply: ReviewReply) -> ReviewAnswer:
    """A person's answer. For staff."""

    def kept() -> Review:
        found = next((one for one in given.accounts.reviews() if one.id == review), None)
        if found is None:
            raise UnknownReview(f"There is no review {review}.")
        now_answered, telling = answered(found, reply.answer, who.name, ctx.service_ms())
        given.accounts.review(now_answered, telling)
        return now_answered

    return reviewed(done(kept))


@router.get("/cuts", responses=responses(*NEEDS, Forbidden))
def cuts(given: Given, _who: Staff) -> CutsAnswer:
    """Sites that are cut off because of smoke or heat. For staff."""
    found = asked_of_ledger(given.desk.ledger.cuts)
    return CutsAnswer(items=[CutAnswer(site=site, why=why) for site, why in sorted(found.items())])


@router.delete("/cuts/{site}", status_code=204, responses=responses(*NEEDS, Forbidden, UnknownSite, Invalid))
def reset(given: Given, who: Staff, site: Name) -> None:
    """A person was there, and it is safe: the site may charge again. Where the alarm still holds it is cut off anew."""
    if not asked_of_ledger(lambda: given.desk.ledger.reset(site)):
        raise UnknownSite(f"Site {site} is not cut off.")
    log.warning("%s says that %s is safe again", who.name, site)


def _whom(who: Caller, wish: TurnWish) -> str:
    """The household that a wish is for."""
    if who.is_staff:
        of = wish.on_behalf_of or who.household
        if of is None:
            raise invalid("body.on_behalf_of", "staff say for which household they ask")
        return of
    if who.household is None:
        raise Forbidden("This account belongs to no household.")
    if wish.on_behalf_of not in (None, who.household):
        raise Forbidden("Only staff ask on behalf of another household.")
    return who.household


def accepted_wish(answer: TurnAnswer) -> TurnAnswer:
    """The turn that a wish made, or the rule that refused it."""
    if answer.state == "rejected":
        raise RefusedByRule("; ".join(f"{reason.text.en} {reason.text.zh}" for reason in answer.reasons))
    return answer


def mine(given: Turns, who: Caller, turn_id: str) -> Turn:
    """A turn that whoever asks may see; another's is not there."""
    turn = done(lambda: given.desk.turn(turn_id))
    if not who.is_staff and (who.household is None or turn.household != who.household):
        raise UnknownTurn(f"there is no turn {turn_id}.")
    return turn


def _stepped(given: Turns, who: Caller, turn_id: str, step: Callable[[Turn], Turn]) -> TurnAnswer:
    return done(lambda: given.answer(step(mine(given, who, turn_id))))


def done(what: Callable[[], T]) -> T:
    """What the desk says, or why not as a problem."""
    try:
        return asked_of_ledger(what)
    except of_desk.UnknownTurn as unknown:
        raise UnknownTurn(f"{unknown}.") from unknown
    except NoHousehold as unknown:
        raise UnknownHousehold(f"{unknown}.") from unknown
    except of_desk.UnknownSite as unknown:
        raise UnknownSite(f"{unknown}.") from unknown
    except DwellingTaken as taken:
        raise DwellingIsTaken(f"{taken}.") from taken
    except (turns.NotNow, Moved) as late:
        raise NotNow(f"{late}.") from late
