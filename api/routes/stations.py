"""Floor 4 · The stations: seats, outlets, air, and whether they are a refuge now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api import views
from api.answers import facts
from api.deps import Ctx, Near, device_of
from api.problems import Invalid, UnknownDevice, responses
from api.schemas import StationAnswer, Stations

router = APIRouter(prefix="/api/v1/stations", tags=["places"])


@router.get("", response_model=Stations, responses=responses(Invalid))
def stations(request: Request, ctx: Ctx, walk: Near) -> Response:
    """Every station, or those within a walk, the nearest first."""
    return facts(request, Stations(stations=views.stations_near(ctx.picture(), walk)))


@router.get("/{site}/{device}", response_model=StationAnswer, responses=responses(UnknownDevice))
def station(request: Request, ctx: Ctx, site: str, device: str) -> Response:
    """One station."""
    found = device_of(ctx, site, device)
    if found.kind != "station":
        raise UnknownDevice(f"{found.name} is a pile, not a station.")
    return facts(request, ctx.picture().stations[found.name])
