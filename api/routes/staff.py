"""Floor 4 · For staff: charging sessions, devices with what became of their messages, history, commands."""

from __future__ import annotations

from secrets import token_hex
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from msgspec import UNSET

from api.callers import operator, staff
from api.context import ApiContext
from api.deps import Ctx, device_of, invalid, moment, site_of
from api.problems import (
    DeviceOffline,
    DeviceSilent,
    Forbidden,
    Invalid,
    NotReady,
    Unauthorized,
    UnknownConnector,
    UnknownDevice,
    UnknownSite,
    responses,
)
from api.schemas_staff import (
    CommandAnswer,
    CommandWish,
    ConditionAnswer,
    DeviceAnswer,
    Devices,
    History,
    HistoryPointAnswer,
    Messages,
    OneDevice,
    SessionAnswer,
    Sessions,
    SetLimitWish,
    ShowWish,
    Spool,
)
from ingest.accounts import DeviceAccount
from ingest.assets import Device
from ingest.clock import DAY_MS, rfc3339
from ingest.facts import Session
from ingest.messages import AnyCommand, SetLimit, Show, Stop
from ingest.store import StoreUnavailable

router = APIRouter(prefix="/api/v1", tags=["staff"], dependencies=[Depends(staff)])

ANSWER_WITHIN_S = 5.0
MAX_POINTS = 5_000
STEP = r"^[1-9]\d{0,4}[smh]?$"
UNITS_S = {"s": 1, "m": 60, "h": 3_600} | dict.fromkeys("0123456789", 1)

Time = Annotated[str | None, Query(examples=["2026-11-22T04:05:06Z"], json_schema_extra={"format": "date-time"})]


@router.get("/sessions", responses=responses(Unauthorized, Forbidden, Invalid, NotReady))
def sessions(
    ctx: Ctx,
    site: str | None = None,
    device: Annotated[str | None, Query(description="Needs `site`")] = None,
    start: Annotated[Time, Query(alias="from")] = None,
    end: Annotated[Time, Query(alias="to")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> Sessions:
    """Charging sessions that started in [from, to), oldest first."""
    if device is not None and site is None:
        raise invalid("query.device", "a device is unique within its site only: give `site` too")
    start_ms, end_ms = moment("query.from", start), moment("query.to", end)
    try:
        page = ctx.store.sessions(
            site=site, device=device, start_ms=start_ms, end_ms=end_ms, cursor=cursor, limit=limit
        )
    except ValueError as bad:
        raise invalid("query.cursor", str(bad)) from bad
    except StoreUnavailable as away:
        raise _store_away(away) from away
    status = ctx.ingest.status() if ctx.ingest else None
    return Sessions(
        items=[_session(session) for session in page.items],
        next=page.next,
        complete_until=rfc3339(status.complete_until_ms) if status else None,
    )


@router.get("/devices", responses=responses(Unauthorized, Forbidden, UnknownSite, Invalid))
def devices(ctx: Ctx, site: str | None = None) -> Devices:
    """Every device of the inventory: what it said last of itself, and what became of its messages."""
    if site is not None:
        site_of(ctx, site)
    accounts = _accounts(ctx)
    chosen = [device for device in ctx.inventory().devices.values() if site in (None, device.site)]
    items = [_device(ctx, device, accounts.get(device.name)) for device in chosen]
    return Devices(items=items, spool=_spool(ctx))


@router.get("/devices/{site}/{device}", responses=responses(Unauthorized, Forbidden, UnknownDevice))
def device(ctx: Ctx, site: str, device: str) -> OneDevice:
    """One device, and what of all devices waits for the store."""
    found = device_of(ctx, site, device)
    answer = _device(ctx, found, _accounts(ctx).get(found.name))
    return OneDevice(**dict(answer), spool=_spool(ctx))


@router.get(
    "/devices/{site}/{device}/history",
    responses=responses(Unauthorized, Forbidden, UnknownDevice, UnknownConnector, Invalid, NotReady),
)
def history(
    ctx: Ctx,
    site: str,
    device: str,
    connector: Annotated[int | None, Query(ge=1, le=64, description="Of a pile; the first when left out")] = None,
    start: Annotated[Time, Query(alias="from", description="A day before `to` when left out")] = None,
    end: Annotated[Time, Query(alias="to", description="Now when left out")] = None,
    every: Annotated[str, Query(pattern=STEP, description="Length of a step: seconds, or like `5m`, `1h`")] = "5m",
) -> History:
    """Readings in steps: means of what varies, the last of what counts up. Steps without a reading are left out."""
    found, every_s = device_of(ctx, site, device), int(every.rstrip("smh")) * UNITS_S[every[-1]]
    if connector is None and found.connectors:
        connector = found.connectors[0].id
    if connector is not None and connector not in {spec.id for spec in found.connectors}:
        raise UnknownConnector(f"There is no connector {found.name}/{connector}.")
    end_ms = moment("query.to", end)
    end_ms = ctx.service_ms() if end_ms is None else end_ms
    start_ms = moment("query.from", start)
    start_ms = end_ms - DAY_MS if start_ms is None else start_ms
    if not 0 <= end_ms - start_ms <= MAX_POINTS * every_s * 1_000:
        raise invalid("query.from", f"from must be before to, and at most {MAX_POINTS} steps before it")
    try:
        points = ctx.store.history(found.site, found.id, connector, start_ms, end_ms, every_s * 1_000)
    except StoreUnavailable as away:
        raise _store_away(away) from away
    return History(
        every_s=every_s, points=[HistoryPointAnswer(at=rfc3339(point.at_ms), values=point.values) for point in points]
    )


@router.post(
    "/devices/{site}/{device}/cmd",
    dependencies=[Depends(operator)],
    responses=responses(Unauthorized, Forbidden, UnknownDevice, DeviceOffline, Invalid, NotReady, DeviceSilent),
)
async def command(ctx: Ctx, site: str, device: str, wish: CommandWish) -> CommandAnswer:
    """Give a device a command by hand and wait some seconds for its answer. Turns are the scheduler's alone."""
    found = device_of(ctx, site, device)
    if ctx.commands is None or not ctx.board.linked:
        raise NotReady("There is no way to devices at the moment.", headers={"Retry-After": "5"})
    state = ctx.board.state(found.name)
    if state is None or not state.online:
        raise DeviceOffline(f"{found.name} is not connected.")
    order = _command(wish, ctx.board.epoch)
    result = await ctx.commands.send(found.name, order, ANSWER_WITHIN_S)
    if result is None:
        raise DeviceSilent(f"{found.name} did not answer command {order.id} within {ANSWER_WITHIN_S:.0f} s.")
    return CommandAnswer(id=result.id, result=result.result, reason=result.reason)


def _command(wish: CommandWish, epoch: int) -> AnyCommand:
    new = token_hex(8)
    if isinstance(wish, SetLimitWish):
        return SetLimit(
            v=1, id=new, epoch=epoch, ttl_s=wish.ttl_s, connector=wish.connector,
            limit_kw=wish.limit_kw, fallback_kw=wish.fallback_kw,
        )  # fmt: skip
    if isinstance(wish, ShowWish):
        return Show(v=1, id=new, epoch=epoch, ttl_s=60, connector=wish.connector, text=wish.text, code=wish.code)
    return Stop(v=1, id=new, epoch=epoch, ttl_s=60, connector=wish.connector, reason=wish.reason)


def _accounts(ctx: ApiContext) -> dict[str, DeviceAccount]:
    accounts = ctx.ingest.accounts() if ctx.ingest else None
    return {f"{account.site}/{account.device}": account for account in accounts or ()}


def _spool(ctx: ApiContext) -> Spool | None:
    status = ctx.ingest.status() if ctx.ingest else None
    return Spool(rows=status.spool_rows, bytes=status.spool_bytes, age_s=status.spool_age_s) if status else None


def _device(ctx: ApiContext, device: Device, account: DeviceAccount | None) -> DeviceAnswer:
    state = ctx.board.state(device.name)
    conditions = state.conditions if state else []
    return DeviceAnswer(
        site=device.site,
        device=device.id,
        kind=device.kind,
        online=state.online if state else None,
        interval_s=state.interval_s if state else None,
        observed_at=state.observed_at if state else None,
        rev=state.rev if state else None,
        clock_skew_s=state.clock_skew_s if state and state.clock_skew_s is not UNSET else None,
        conditions=[
            ConditionAnswer(code=c.code, since=c.since, severity=c.severity, evidence=c.evidence) for c in conditions
        ],
        messages=_messages(account) if account else None,
    )


def _messages(account: DeviceAccount) -> Messages:
    return Messages(
        received=account.received,
        duplicate=account.duplicate,
        hole=account.hole,
        dropped=account.dropped,
        lost=account.lost,
        skewed=account.skewed,
        dead=account.dead,
    )


def _session(session: Session) -> SessionAnswer:
    return SessionAnswer(
        id=session.id,
        site=session.site,
        device=session.device,
        connector=session.connector,
        started_at=rfc3339(session.started_ms),
        charge_ended_at=None if session.charge_ended_ms is None else rfc3339(session.charge_ended_ms),
        ended_at=None if session.ended_ms is None else rfc3339(session.ended_ms),
        energy_kwh=session.energy_kwh,
        incomplete=session.incomplete,
    )


def _store_away(away: StoreUnavailable) -> NotReady:
    return NotReady(f"The store of facts is away: {away}", headers={"Retry-After": str(max(1, round(away.retry_s)))})
