"""Floor 0 · How long what a device said may be believed."""

from __future__ import annotations

STALE_INTERVALS = 3
STALE_WALL_S = 2.0


def stale_after_ms(interval_s: float, speed: float) -> int:
    """Service milliseconds after which a silent device is stale: three of its intervals, or 2 s of wall time."""
    return round(1_000 * max(STALE_INTERVALS * interval_s, STALE_WALL_S * speed))
