"""Floor 4 · Sites near a turn's own where it would begin sooner, and taking it there; for whoever asks, and agrees."""

from __future__ import annotations

from fastapi import APIRouter

from api.alternatives import alternatives
from api.callers import RETRY_S, Asker, Given
from api.deps import Ctx, Minutes, Pace, invalid, site_of
from api.problems import NotReady, RefusedByRule, UnknownHousehold, UnknownSite, responses
from api.routes.turns import STEPS, Key, Name, accepted_wish, done, mine
from api.schemas_turns import AlternativesAnswer, MoveWish, TurnAnswer
from api.wishes import takes_w
from scheduler import moving
from scheduler.explain import refused
from scheduler.planning import Unseen
from scheduler.turns import Turn

router = APIRouter(prefix="/api/v1", tags=["turns"])


@router.get("/turns/{turn}/alternatives", responses=responses(*STEPS))
def other_sites(
    ctx: Ctx, given: Given, who: Asker, turn: Name, minutes: Minutes = 15, pace: Pace = "normal"
) -> AlternativesAnswer:
    """Sites within a walk of its own where the turn would likely begin sooner if it waited there from now on, by the
    queue there as it is; the earliest first. While it has no place, all where it would have one.
    """

    def found() -> AlternativesAnswer:
        asked = mine(given, who, turn)
        return AlternativesAnswer(items=alternatives(ctx, given, asked, minutes, pace == "slow"))

    try:
        return done(found)
    except Unseen as unseen:
        raise NotReady(f"When a turn begins cannot be told: {unseen}.", headers={"Retry-After": str(RETRY_S)}) from None


@router.post(
    "/turns/{turn}/move", status_code=201, responses=responses(*STEPS, UnknownSite, UnknownHousehold, RefusedByRule)
)
def move(ctx: Ctx, given: Given, who: Asker, turn: Name, wish: MoveWish, key: Key = None) -> TurnAnswer:
    """Take a turn that waits to another site: it ends here as cancelled, and waits there with the waiting that it has.
    Where a rule of that site refuses it, it stays as it was.
    """

    def moved() -> Turn:
        of = mine(given, who, turn)
        max_w = takes_w(given, of, wish.site)
        return moving.move(given.desk, of, wish.site, max_w, ctx.service_ms(), key=key, by=who.name)

    site_of(ctx, wish.site)
    try:
        return accepted_wish(done(lambda: given.answer(moved())))
    except moving.NotThere as why:
        raise invalid("body.site", str(why)) from why
    except moving.RefusedThere as no:
        text = given.text(refused(no.refusal))
        raise RefusedByRule(f"{text.en} {text.zh}") from no
