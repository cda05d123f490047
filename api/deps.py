"""Floor 3 · What routes ask for by name: the context, the walk, the staff's token, the asker's address."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from api.context import ApiContext
from api.geo import snapped
from api.nearby import Walk
from api.problems import Invalid, Mistake, Unauthorized, UnknownDevice, UnknownSite
from ingest.assets import Device, Site
from ingest.clock import EPOCH, LATEST, parse_rfc3339, to_ms

MAX_WALK_MIN = 240
SNAPPED = "WGS-84, snapped to 100 m on arrival"
POSITION = r"^-?\d{1,2}(\.\d{1,20})?, ?-?\d{1,3}(\.\d{1,20})?$"

Minutes = Annotated[int, Query(ge=1, le=MAX_WALK_MIN, description="Willing to walk so many minutes")]
Pace = Annotated[Literal["normal", "slow"], Query(description="`slow` walks 48 m a minute, as elders do")]
Latitude = Annotated[float, Query(ge=-90, le=90, description=SNAPPED, examples=[31.23])]
Longitude = Annotated[float, Query(ge=-180, le=180, description=SNAPPED, examples=[121.47])]


def context(request: Request) -> ApiContext:
    ctx: ApiContext = request.app.state.ctx
    return ctx


Ctx = Annotated[ApiContext, Depends(context)]


def walk_near(
    near: Annotated[
        str | None,
        Query(pattern=POSITION, description=f"`lat,lon`, {SNAPPED}", examples=["31.23,121.47"]),
    ] = None,
    minutes: Minutes = 15,
    pace: Pace = "normal",
) -> Walk | None:
    if near is None:
        return None
    lat, lon = (float(part) for part in near.split(","))
    if abs(lat) > 90 or abs(lon) > 180:
        raise invalid("query.near", "latitude is -90 to 90 and longitude -180 to 180, in this order")
    return Walk(*snapped(lat, lon), minutes, pace == "slow")


def walk_from(lat: Latitude, lon: Longitude, minutes: Minutes = 15, pace: Pace = "normal") -> Walk:
    return Walk(*snapped(lat, lon), minutes, pace == "slow")


Near = Annotated[Walk | None, Depends(walk_near)]
From = Annotated[Walk, Depends(walk_from)]

_basic = HTTPBasic(auto_error=False)


def staff_at_a_browser(ctx: Ctx, said: Annotated[HTTPBasicCredentials | None, Security(_basic)]) -> None:
    """The same for a page: a browser asks for any name, and takes the admin token for the password."""
    if said is None or not compare_digest(said.password.encode(), ctx.admin_token.encode()):
        raise Unauthorized(headers={"WWW-Authenticate": 'Basic realm="Lunchong", charset="UTF-8"'})


def site_of(ctx: Ctx, site: str) -> Site:
    found = ctx.inventory().sites.get(site)
    if found is None:
        raise UnknownSite(f"There is no site {site!r}.")
    return found


def device_of(ctx: Ctx, site: str, device: str) -> Device:
    found = ctx.inventory().devices.get(f"{site}/{device}")
    if found is None:
        raise UnknownDevice(f"There is no device {site}/{device}.")
    return found


def moment(where: str, text: str | None) -> int | None:
    """Milliseconds of an RFC 3339 time in a query."""
    if text is None:
        return None
    try:
        at_ms = parse_rfc3339(text)
    except ValueError as bad:
        raise invalid(where, f"not a time like 2026-11-22T04:05:06Z: {bad}") from None
    if not to_ms(EPOCH) <= at_ms < to_ms(LATEST):
        raise invalid(where, "times are from 1970 to 2199")
    return at_ms


def client_address(request: Request, ctx: ApiContext) -> str:
    """Who asks, as limits count: the peer, or what a trusted proxy says of it; of IPv6 the /64, which is one line's."""
    peer = request.client.host if request.client else "local"
    if not _trusted(peer, ctx.trusted_proxies):
        return _line(peer)
    chain = [hop.strip() for hop in request.headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    return _line(next((hop for hop in reversed(chain) if not _trusted(hop, ctx.trusted_proxies)), peer))


def is_https(request: Request, ctx: ApiContext) -> bool:
    """Whether whoever asks did so by https: to us, or to a trusted proxy that says so."""
    peer = request.client.host if request.client else "local"
    said = request.headers.get("x-forwarded-proto", "") if _trusted(peer, ctx.trusted_proxies) else ""
    return request.url.scheme == "https" or said == "https"


def _line(address: str) -> str:
    try:
        known = ip_address(address)
    except ValueError:
        return address
    if known.version == 4 or known.ipv4_mapped is not None:
        return address
    return str(ip_network((int(known), 64), strict=False))


def _trusted(address: str, proxies: Sequence[str]) -> bool:
    try:
        known = ip_address(address)
    except ValueError:
        return False
    return any(known in ip_network(proxy.strip(), strict=False) for proxy in proxies)


def invalid(where: str, what: str) -> Invalid:
    return Invalid(f"{where}: {what}", errors=[Mistake(where=where, what=what)])
