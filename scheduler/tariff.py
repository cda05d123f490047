"""Floor 0 · What a kilowatt-hour of energy costs at a time of day."""

from __future__ import annotations

from typing import NamedTuple
from zoneinfo import ZoneInfo

from ingest.clock import from_ms
from scheduler.buckets import BUCKET_MS, Place


class Band(NamedTuple):
    """From an hour of the day to another, over midnight where the end is the smaller."""

    start_hour: int
    end_hour: int
    fen_kwh: float


SHANGHAI_RESIDENTIAL = (Band(6, 22, 61.7), Band(22, 6, 30.7))
"""The first tier of the time-of-use tariff, valid from 2012-07-01; without a service fee."""


def fen_kwh(at_ms: int, zone: ZoneInfo, bands: tuple[Band, ...] = SHANGHAI_RESIDENTIAL) -> float:
    """What a kilowatt-hour costs then. Raises ValueError where no band holds."""
    hour = from_ms(at_ms).astimezone(zone).hour
    for start, end, fen in bands:
        if start <= hour < end or (end < start and (hour >= start or hour < end)):
            return fen
    raise ValueError(f"the tariff has no price for {hour}:00")


def cost_yuan(place: Place, energy_kwh: float, timezone: str) -> float:
    """What so much energy costs that is charged in a place, each bucket with its share of the place's power."""
    zone, all_w = ZoneInfo(timezone), sum(place.watts)
    fen = sum(
        watts * fen_kwh(bucket * BUCKET_MS, zone) for bucket, watts in zip(place.buckets, place.watts, strict=True)
    )
    return energy_kwh * fen / all_w / 100 if all_w else 0.0
