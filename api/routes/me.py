"""Floor 4 · What belongs to whoever is logged in: the account, vehicles, standing, notices, watches, all of it."""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex
from typing import Annotated, Any

import bcrypt
from fastapi import APIRouter, Path, Query, Request, Response
from msgspec.structs import asdict, replace

from api.callers import Asker, Caller, Given, OfHousehold, asked_of_ledger
from api.deps import Ctx, Near, client_address, invalid, site_of
from api.geo import distance_m
from api.live import Live
from api.problems import (
    CrossSite,
    Forbidden,
    Invalid,
    NotNow,
    NotReady,
    TooManyReaders,
    TooManyRequests,
    TooManyWatches,
    Unauthorized,
    UnknownHousehold,
    UnknownSite,
    UnknownVehicle,
    UnknownWatch,
    WrongLogin,
    responses,
)
from api.routes.login import is_password
from api.routes.turns import done
from api.schemas_me import (
    DeliveryAnswer,
    Export,
    MeAnswer,
    MeWish,
    NoticeAnswer,
    NoticesAnswer,
    StandingAnswer,
    StandingsAnswer,
    VehicleAnswer,
    VehiclesAnswer,
    VehicleWish,
    WatchAnswer,
    WatchesAnswer,
    WatchWish,
)
from api.schemas_turns import ID, HouseholdAnswer
from api.told import LATEST, stream
from api.turns import Turns, reviewed
from ingest.clock import rfc3339
from scheduler import turns
from scheduler.accounts import Account, HasTurns, Told, Vehicle, Watched, is_address, password_mistake
from scheduler.desk import ATTEMPTS
from scheduler.explain import said_in, standing_sentence
from scheduler.ledger import Moved
from scheduler.standing import WINDOW_MS, occupied_min, standings

router = APIRouter(prefix="/api/v1", tags=["me"])

NEEDS = (Unauthorized, CrossSite, Forbidden, NotReady)
MOST_WATCHES, MOST_VEHICLES = 10, 10
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`snapshot` (as /me/notices, of those that were told), then `notice`; `heartbeat`",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: notice\ndata: {"id":"t1:3:offer","what":"offer","turn":"t1"}\n\n',
            }
        },
    }
}
Name = Annotated[str, Path(pattern=ID)]


@router.get("/me", responses=responses(*NEEDS))
def me(given: Given, who: Asker) -> MeAnswer:
    """The account that asks."""
    return asked_of_ledger(lambda: _me(given, _account(given, who)))


@router.patch("/me", responses=responses(*NEEDS, WrongLogin, TooManyRequests, Invalid))
def change_me(request: Request, ctx: Ctx, given: Given, who: Asker, wish: MeWish) -> MeAnswer:
    """Another language, address for mail, or password; after that last whoever was logged in has to log in again."""
    if wish.password is not None:  # whoever has a token alone could guess it here
        request.app.state.login_limits.admit(who.name, client_address(request, ctx), ctx.mono_s())

    def changed() -> MeAnswer:
        account = was = _account(given, who)
        if wish.language is not None:
            account = replace(account, language=wish.language)
        if "mail" in wish.model_fields_set:
            account = replace(account, mail=_address(given, wish.mail))
        if wish.password is not None:
            if not is_password(wish.current_password or "", account.password):
                raise WrongLogin("current_password is wrong.")
            if (mistake := password_mistake(wish.password)) is not None:
                raise invalid("body.password", mistake)
            account = replace(account, password=bcrypt.hashpw(wish.password.encode(), bcrypt.gensalt()).decode())
        given.accounts.change(account, was)
        return _me(given, account)

    return asked_of_ledger(changed)


@router.delete("/me", status_code=204, responses=responses(*NEEDS, NotNow))
def forget_me(ctx: Ctx, given: Given, who: Asker) -> None:
    """The account goes, and with the last one of a household all that says who it was. Turns that wait are cancelled;
    while a car is plugged in, not now.
    """

    def forgotten() -> None:
        account = _account(given, who)
        for _ in range(ATTEMPTS):
            try:
                return given.accounts.remove(account.name)
            except HasTurns as has:
                live = given.desk.ledger.turns(household=has.household, states=turns.LIVE)
            if any(turn.state == "active" for turn in live):
                raise NotNow("A car of the household is plugged in.")
            for turn in live:
                with suppress(turns.NotNow, Moved):  # another is changing it: look again
                    given.desk.cancel(turn, ctx.service_ms(), by=account.name)
        raise NotNow("Turns of the household go on.")

    done(forgotten)


@router.get("/me/vehicles", responses=responses(*NEEDS))
def vehicles(given: Given, who: OfHousehold) -> VehiclesAnswer:
    """Those of the household, in order of id."""
    return VehiclesAnswer(items=asked_of_ledger(lambda: _vehicles(given, who.household)))


@router.put("/me/vehicles/{vehicle}", responses=responses(*NEEDS, UnknownHousehold, Invalid))
def keep_vehicle(given: Given, who: OfHousehold, vehicle: Name, wish: VehicleWish) -> VehicleAnswer:
    """Say what a vehicle is, or say it anew. Turns that are asked for with it are planned by that."""
    kept = Vehicle(
        household=who.household, id=vehicle, connector_types=tuple(wish.connector_types), max_ac_kw=wish.max_ac_kw,
        max_dc_kw=wish.max_dc_kw, battery_kwh=wish.battery_kwh,
    )  # fmt: skip

    def keep() -> VehicleAnswer:
        others = [one for one in given.accounts.vehicles(who.household) if one.id != vehicle]
        if len(others) >= MOST_VEHICLES:
            raise invalid("path.vehicle", f"a household has at most {MOST_VEHICLES} vehicles")
        given.accounts.keep_vehicle(kept)
        return _vehicle(kept)

    return done(keep)


@router.delete("/me/vehicles/{vehicle}", status_code=204, responses=responses(*NEEDS, UnknownVehicle, Invalid))
def drop_vehicle(given: Given, who: OfHousehold, vehicle: Name) -> None:
    """The household has it no longer."""
    if not asked_of_ledger(lambda: given.accounts.drop_vehicle(who.household, vehicle)):
        raise UnknownVehicle(f"The household has no vehicle {vehicle}.")


@router.get("/me/standing", responses=responses(*NEEDS))
def standing(ctx: Ctx, given: Given, who: OfHousehold) -> StandingsAnswer:
    """At each site where the household asked in 28 days: how much more it had than the average one there."""
    return StandingsAnswer(items=asked_of_ledger(lambda: _standings(given, who.household, ctx.service_ms())))


@router.get("/me/notices", responses=responses(*NEEDS, Invalid))
def notices(given: Given, who: OfHousehold, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> NoticesAnswer:
    """What the household was told, the newest first."""
    return NoticesAnswer(items=asked_of_ledger(lambda: _notices(given, who.household, limit)))


@router.get(
    "/me/notices/stream",
    response_class=Response,
    responses=STREAM | responses(*NEEDS, TooManyReaders),
)
async def notices_stream(request: Request, given: Given, who: OfHousehold) -> Response:
    """Server-sent events: what the household was told lately, then each notice as it is told; not before its time, in
    quiet hours say. It ends after a quarter of an hour, and is opened again.
    """
    live: Live = request.app.state.live
    return stream(live, lambda: asked_of_ledger(lambda: _notices(given, who.household, LATEST)))


@router.get("/me/export", responses=responses(*NEEDS))
def export(given: Given, who: Asker, home: OfHousehold) -> Export:
    """All that is kept of the account and its household."""

    def everything() -> Export:
        ledger, of = given.desk.ledger, home.household
        return Export(
            me=_me(given, _account(given, who)),
            vehicles=_vehicles(given, of),
            turns=given.answers(ledger.turns(household=of)),
            deliveries=[
                DeliveryAnswer(
                    plugged_at=rfc3339(one.plugged_ms), unplugged_at=rfc3339(one.unplugged_ms),
                    energy_kwh=one.energy_kwh, overstay_min=one.overstay_ms / 60_000,
                )
                for one in ledger.deliveries([of], 0)
            ],
            no_shows=[rfc3339(one.at_ms) for one in ledger.no_shows([of], 0)],
            notices=_notices(given, of, 1_000_000),
            reviews=[reviewed(one) for one in given.accounts.reviews(household=of)],
            watches=_watches(given, of),
        )  # fmt: skip

    return asked_of_ledger(everything)


@router.post(
    "/watches", status_code=201, responses=responses(*NEEDS, UnknownSite, UnknownHousehold, TooManyWatches, Invalid)
)
def watch(ctx: Ctx, given: Given, who: OfHousehold, near: Near, wish: WatchWish) -> WatchesAnswer:
    """Tell me once when a plug is free there for whoever comes: at a site, or at every one in reach."""
    if wish.site is not None:
        sites = [site_of(ctx, wish.site).id]
    elif near is not None:
        there = [(distance_m(near.lat, near.lon, one.lat, one.lon), one.id) for one in ctx.inventory().sites.values()]
        sites = [site for metres, site in sorted(there) if metres <= near.reach_m]
    else:
        raise invalid("body.site", "say a site, or near=lat,lon in the query")
    sites = [site for site in sites if given.desk.sites.site(site) is not None]
    if not sites:
        raise invalid("body.site", "nothing is charged there")

    def kept() -> WatchesAnswer:
        before = {one.site for one in given.accounts.watches(who.household)}
        new = [site for site in sites if site not in before]
        if len(before) + len(new) > MOST_WATCHES:
            raise TooManyWatches(f"A household watches at most {MOST_WATCHES} sites.")
        for site in new:
            given.accounts.watch(Watched(id=token_hex(8), household=who.household, site=site, at_ms=ctx.service_ms()))
        return WatchesAnswer(items=_watches(given, who.household))

    return done(kept)


@router.get("/watches", responses=responses(*NEEDS))
def watches(given: Given, who: OfHousehold) -> WatchesAnswer:
    """What the household watches, in order of time."""
    return WatchesAnswer(items=asked_of_ledger(lambda: _watches(given, who.household)))


@router.delete("/watches/{watch}", status_code=204, responses=responses(*NEEDS, UnknownWatch, Invalid))
def unwatch(given: Given, who: OfHousehold, watch: Name) -> None:
    """It is not to be told any more."""

    def ended() -> bool:
        is_ours = any(one.id == watch for one in given.accounts.watches(who.household))
        return is_ours and given.accounts.unwatch(watch)

    if not asked_of_ledger(ended):
        raise UnknownWatch(f"The household has no watch {watch}.")


def _account(given: Turns, who: Caller) -> Account:
    found = given.accounts.account(who.name) if who.has_account else None
    if found is None:
        raise Forbidden("The admin token is no account.")
    return found


def _me(given: Turns, account: Account) -> MeAnswer:
    home = given.desk.ledger.household(account.household) if account.household is not None else None
    said = None if home is None else HouseholdAnswer(**asdict(home))
    return MeAnswer(name=account.name, role=account.role, household=said, language=account.language, mail=account.mail)


def _address(given: Turns, mail: str | None) -> str | None:
    if mail is not None and not given.mails:
        raise invalid("body.mail", "no mail is sent from here")
    if mail is not None and not is_address(mail):
        raise invalid("body.mail", "it must be one address, as in wang@example.org")
    return mail


def _vehicles(given: Turns, household: str) -> list[VehicleAnswer]:
    return [_vehicle(one) for one in given.accounts.vehicles(household)]


def _vehicle(one: Vehicle) -> VehicleAnswer:
    return VehicleAnswer(
        id=one.id, connector_types=list(one.connector_types), max_ac_kw=one.max_ac_kw, max_dc_kw=one.max_dc_kw,
        battery_kwh=one.battery_kwh,
    )  # fmt: skip


def _standings(given: Turns, household: str, now_ms: int) -> list[StandingAnswer]:
    ledger, since_ms, found = given.desk.ledger, now_ms - WINDOW_MS, []
    for site in ledger.versions():
        pool = ledger.pool(site, since_ms)
        if household not in pool:
            continue
        had = occupied_min(ledger.deliveries(pool, since_ms), ledger.no_shows(pool, since_ms), now_ms)
        all_of_it = standings(pool, had, now_ms)
        mine = all_of_it[household]
        rank = 1 + sum(one.minutes < mine.minutes for one in all_of_it.values())
        found.append(
            StandingAnswer(
                site=site, minutes=round(mine.minutes, 1), occupied_min=round(mine.occupied_min, 1),
                average_min=round(mine.average_min, 1), rank=rank, of=len(pool),
                text=given.text(standing_sentence(mine.minutes, rank, len(pool))),
            )
        )  # fmt: skip
    return found


def _notices(given: Turns, household: str, limit: int) -> list[NoticeAnswer]:
    return [_notice(given, one) for one in given.accounts.notices(household, limit)]


def _notice(given: Turns, one: Told) -> NoticeAnswer:
    said = said_in(one.body)
    turn = given.desk.ledger.turn(said.turn) if said.turn is not None else None
    try:
        text = given.text(said.sentence(turn))
    except KeyError:  # written by a version that kept no values with it
        text = None
    return NoticeAnswer(id=one.id, what=said.what, turn=said.turn, at=rfc3339(one.at_ms), sent=one.state, text=text)


def _watches(given: Turns, household: str) -> list[WatchAnswer]:
    return [WatchAnswer(id=one.id, site=one.site, at=rfc3339(one.at_ms)) for one in given.accounts.watches(household)]
