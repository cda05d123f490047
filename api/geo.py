"""Floor 0 · How far one walks."""

from __future__ import annotations

from math import asin, ceil, cos, floor, radians, sin, sqrt

EARTH_M = 6_371_008.8
DETOUR = 1.3
PACE_M_MIN = 80.0
SLOW_PACE_M_MIN = 48.0
GRID_M = 100.0


def distance_m(lat: float, lon: float, to_lat: float, to_lon: float) -> float:
    """Great-circle metres between two WGS-84 positions."""
    a, b = radians(lat), radians(to_lat)
    h = sin((b - a) / 2) ** 2 + cos(a) * cos(b) * sin(radians(to_lon - lon) / 2) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(h)))


def walk_min(metres: float, slow: bool = False) -> int:
    """Minutes on foot: the great circle with a detour of 1.3, at 80 m a minute, or 48 for elders."""
    return ceil(metres * DETOUR / pace_m_min(slow))


def pace_m_min(slow: bool) -> float:
    return SLOW_PACE_M_MIN if slow else PACE_M_MIN


def snapped(lat: float, lon: float) -> tuple[float, float]:
    """The middle of the 100 m square that a position lies in: where exactly somebody asks from is not our business."""
    metres_per_degree = EARTH_M * radians(1)
    step = GRID_M / metres_per_degree
    lat = (floor(lat / step) + 0.5) * step
    lon_step = GRID_M / (metres_per_degree * max(0.01, cos(radians(lat))))
    return round(lat, 6), round((floor(lon / lon_step) + 0.5) * lon_step, 6)
