"""Floor 0 · How long what a device said may be believed."""

from __future__ import annotations

from msgspec import UNSET

from ingest.clock import parse_rfc3339
from ingest.messages import DeviceState

STALE_INTERVALS = 3
STALE_WALL_S = 2.0
FALLS_BACK_INTERVALS, FALLS_BACK_WALL_S = 1.5, 1.5
"""A pile falls back after two of its intervals in which it heard nobody; it may not have been heard as it did."""


def stale_after_ms(interval_s: float, speed: float) -> int:
    """Service milliseconds after which a silent device is stale: three of its intervals, or 2 s of wall time."""
    return round(1_000 * max(STALE_INTERVALS * interval_s, STALE_WALL_S * speed))


def falls_back_after_ms(interval_s: float, speed: float) -> int:
    """Service milliseconds after which a pile that says nothing may have fallen back, or is about to."""
    return round(1_000 * max(FALLS_BACK_INTERVALS * interval_s, FALLS_BACK_WALL_S * speed))


def said_ms(observed_at: str, state: DeviceState) -> int:
    """When a device said what it calls `observed_at`, by our clock."""
    behind_s = 0.0 if state.clock_behind_s is UNSET else state.clock_behind_s
    return parse_rfc3339(observed_at) + round(1_000 * behind_s)
