"""Floor 0 · From a place and a willingness to walk to the sites within reach, the nearest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, Self, TypeVar

from msgspec import Struct

from api.geo import DETOUR, distance_m, pace_m_min, walk_min


class Placed(Protocol):
    @property
    def lat(self) -> float: ...
    @property
    def lon(self) -> float: ...
    def model_copy(self, *, update: dict[str, object]) -> Self: ...


Thing = TypeVar("Thing", bound=Placed)


class Walk(Struct, frozen=True):
    """Where somebody stands (snapped), and how far they would go."""

    lat: float
    lon: float
    minutes: int = 15
    slow: bool = False

    @property
    def reach_m(self) -> int:
        """As the crow flies."""
        return round(self.minutes * pace_m_min(self.slow) / DETOUR)

    def to(self, thing: Placed) -> int:
        return walk_min(distance_m(self.lat, self.lon, thing.lat, thing.lon), self.slow)


def within(walk: Walk | None, things: Iterable[Thing]) -> list[Thing]:
    """Those within reach with their `walk_min`, the nearest first; all as they are where no walk is asked for."""
    if walk is None:
        return list(things)
    reached = sorted(((walk.to(thing), number, thing) for number, thing in enumerate(things)), key=lambda it: it[:2])
    return [thing.model_copy(update={"walk_min": minutes}) for minutes, _, thing in reached if minutes <= walk.minutes]
