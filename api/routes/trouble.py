"""Floor 4 · What people at a pile report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from api.callers import staff
from api.context import ApiContext
from api.deps import Ctx, client_address
from api.limiter import Limiter
from api.ports import BookUnavailable, Trouble
from api.problems import (
    Forbidden,
    Invalid,
    NotReady,
    TooManyRequests,
    Unauthorized,
    UnknownConnector,
    UnknownTrouble,
    responses,
)
from api.schemas_staff import TroubleAnswer, TroubleReport, Troubles
from ingest.assets import Inventory
from ingest.clock import rfc3339

router = APIRouter(prefix="/api/v1/trouble", tags=["trouble"])

ALL_TOGETHER = "*"


@router.post(
    "",
    status_code=201,
    responses=responses(Invalid, UnknownConnector, TooManyRequests, NotReady),
)
def report(request: Request, ctx: Ctx, told: TroubleReport) -> TroubleAnswer:
    """Say that something is wrong at a connector. It is kept until staff have seen to it; who reported is not kept."""
    return keep(ctx, request.app.state.trouble_limits, client_address(request, ctx), told)


@router.get("", dependencies=[Depends(staff)], responses=responses(Unauthorized, Forbidden, Invalid, NotReady))
def troubles(ctx: Ctx, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Troubles:
    """What was reported and not cleared yet, the newest first."""
    with _book():
        return Troubles(items=[_answer(trouble) for trouble in ctx.trouble.newest(limit)], total=ctx.trouble.count())


@router.delete(
    "/{trouble}",
    status_code=204,
    dependencies=[Depends(staff)],
    responses=responses(Unauthorized, Forbidden, UnknownTrouble, NotReady),
)
def clear(ctx: Ctx, trouble: str) -> None:
    """It was seen to."""
    with _book():
        found = ctx.trouble.clear(trouble)
    if not found:
        raise UnknownTrouble(f"There is no trouble {trouble!r}.")


class Limits:
    """A person reports a few troubles; all of them together not more than a bad day's."""

    def __init__(self) -> None:
        self._each = Limiter(burst=5, every_s=60)
        self._together = Limiter(burst=200, every_s=2)

    def admit(self, address: str, mono_s: float) -> None:
        wait_s = self._each.wait_s(address, mono_s) or self._together.wait_s(ALL_TOGETHER, mono_s)
        if wait_s:
            raise TooManyRequests(headers={"Retry-After": str(int(wait_s) + 1)})


def keep(ctx: ApiContext, limits: Limits, address: str, told: TroubleReport) -> TroubleAnswer:
    """Keep a report, or raise the problem that says why not."""
    if not _exists(ctx.inventory(), told.connector):
        raise UnknownConnector(f"There is no connector {told.connector!r}.")
    limits.admit(address, ctx.mono_s())
    trouble = Trouble(
        id=token_hex(8), reported_ms=ctx.service_ms(), connector=told.connector, kind=told.kind, note=told.note
    )
    with _book():
        ctx.trouble.add(trouble)
    return _answer(trouble)


@contextmanager
def _book() -> Iterator[None]:
    try:
        yield
    except BookUnavailable as failed:
        raise NotReady(f"The book of troubles is away: {failed}", headers={"Retry-After": "60"}) from failed


def _exists(inventory: Inventory, connector: str) -> bool:
    name, _, number = connector.rpartition("/")
    device = inventory.devices.get(name)
    return device is not None and any(str(spec.id) == number for spec in device.connectors)


def _answer(trouble: Trouble) -> TroubleAnswer:
    return TroubleAnswer(
        id=trouble.id,
        reported_at=rfc3339(trouble.reported_ms),
        connector=trouble.connector,
        kind=trouble.kind,
        note=trouble.note,
    )
