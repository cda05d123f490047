"""Floor 0 · From what a station said to the room that people are shown."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from api.opening import Opening
from api.schemas import AmenityAnswer, ClimateAnswer, OutletsAnswer, Seats, StationAnswer, Text
from ingest.assets import Device, Site
from ingest.clock import parse_rfc3339
from ingest.comfort import Refuge, heat_index_c
from ingest.prepared import prepared


class Said(Struct, frozen=True, kw_only=True):
    """The latest of one instrument; `observed_at` is None of one that never spoke."""

    observed_at: str | None = None


class SaidClimate(Said, frozen=True, kw_only=True):
    indoor_c: float | None = None
    indoor_rh_pct: float | None = None
    outdoor_c: float | None = None
    outdoor_rh_pct: float | None = None
    pm25: float | None = None
    co2_ppm: float | None = None


class SaidPresence(Said, frozen=True, kw_only=True):
    seats_used: int | None = None
    reading_seats_used: int | None = None


class SaidOutlets(Said, frozen=True, kw_only=True):
    outlets_used: int | None = None


class SaidSmoke(Said, frozen=True, kw_only=True):
    alarm: bool | None = None


class SaidAmenity(Said, frozen=True, kw_only=True):
    ok: bool | None = None
    note: str | None = None


class StationNow(Struct, frozen=True, kw_only=True):
    """The `station` part of a state: the latest of each instrument."""

    climate: SaidClimate = SaidClimate()
    presence: SaidPresence = SaidPresence()
    outlets: SaidOutlets = SaidOutlets()
    smoke: SaidSmoke = SaidSmoke()
    amenities: dict[str, SaidAmenity] = {}


STATION = prepared(StationNow)


def read_station(station: dict[str, object]) -> StationNow:
    """Raises msgspec.ValidationError or ValueError for what is no station's state."""
    read = msgspec.convert(station, STATION)
    for said in (read.climate, read.presence, read.outlets, read.smoke, *read.amenities.values()):
        if said.observed_at is not None:
            parse_rfc3339(said.observed_at)
    return read


def station_answer(
    site: Site, device: Device, said: StationNow, refuge: Refuge, opening: Opening, *, stale: bool, climate_stale: bool
) -> StationAnswer:
    """What the public sees of a station; no number that it did not say itself."""
    kind, reason = refuge.kind, refuge.reason
    if stale or climate_stale:
        kind, reason = "none", "no_reading"
    elif said.smoke.alarm:
        kind, reason = "none", "smoke"
    elif not opening.open_now:
        kind, reason = "none", "closed"
    return StationAnswer(
        site=site.id,
        device=device.id,
        name=Text(zh=site.name.zh, en=site.name.en),
        lat=site.lat,
        lon=site.lon,
        walk_min=None,
        placement=device.placement,
        open_now=opening.open_now,
        opens_at=opening.opens_at,
        seats=_seats(device.seats, said.presence, said.presence.seats_used),
        reading_seats=_seats(device.reading_seats, said.presence, said.presence.reading_seats_used),
        outlets=_outlets(device.outlets, said.outlets),
        climate=_climate(said.climate),
        amenities=[
            _amenity(name, said.amenities.get(name, SaidAmenity()))
            for name in sorted({*device.amenities, *said.amenities})
        ],
        refuge=kind,
        refuge_reason=reason,
        smoke=said.smoke.alarm,
        stale=stale,
    )


def _seats(total: int | None, said: SaidPresence, used: int | None) -> Seats:
    return Seats(total=total, used=used, observed_at=said.observed_at)


def _outlets(total: int | None, said: SaidOutlets) -> OutletsAnswer:
    used = said.outlets_used
    free = None if total is None or used is None else max(0, total - used)
    return OutletsAnswer(total=total, used=used, free=free, observed_at=said.observed_at)


def _climate(said: SaidClimate) -> ClimateAnswer:
    index = None
    if said.outdoor_c is not None and said.outdoor_rh_pct is not None:
        index = heat_index_c(said.outdoor_c, said.outdoor_rh_pct)
    return ClimateAnswer(
        indoor_c=said.indoor_c,
        indoor_rh_pct=said.indoor_rh_pct,
        outdoor_c=said.outdoor_c,
        outdoor_rh_pct=said.outdoor_rh_pct,
        feels_like_c=None if index is None else round(index, 1),
        pm25=said.pm25,
        co2_ppm=said.co2_ppm,
        observed_at=said.observed_at,
    )


def _amenity(name: str, said: SaidAmenity) -> AmenityAnswer:
    return AmenityAnswer(name=name, ok=said.ok, note=said.note, observed_at=said.observed_at)
