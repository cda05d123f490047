"""Floor 2 · What the pages show, chosen and sorted from the board: the nearest first, refuges before other rooms."""

from __future__ import annotations

from msgspec import Struct

from api.board import Picture
from api.geo import snapped
from api.nearby import Walk
from api.schemas import SiteAvailability, StationAnswer
from api.views import sites_with_plugs, stations_near
from ingest.assets import Compound, Inventory, Name

HOT_C = 32.0
COLD_C = 5.0


class Choice(Struct, frozen=True):
    """A place that can be chosen without saying where exactly one stands."""

    value: str
    name: Name


class Group(Struct, frozen=True):
    name: Name | None
    choices: list[Choice]


class Overview(Struct, frozen=True):
    free: list[SiteAvailability]
    full: list[SiteAvailability]
    stations: list[StationAnswer]
    weather: str
    """`hot`, `cold` or `mild`: by our stations' own sensors outdoors."""

    @property
    def plugs_free(self) -> int:
        return sum(site.summary.available for site in self.free)

    @property
    def plugs_unknown(self) -> int:
        return sum(site.summary.unknown for site in [*self.free, *self.full])

    @property
    def nearest_min(self) -> int | None:
        return min((site.walk_min for site in self.free if site.walk_min is not None), default=None)

    @property
    def rooms(self) -> int:
        wanted = {"hot": "cool", "cold": "warm"}.get(self.weather)
        return sum(station.refuge == wanted for station in self.stations)


def overview(picture: Picture, walk: Walk | None) -> Overview:
    sites = sites_with_plugs(picture, walk)
    if walk is None:
        sites.sort(key=lambda site: -site.summary.available)
    stations = sorted(stations_near(picture, walk), key=lambda room: room.refuge == "none")
    return Overview(
        [site for site in sites if site.summary.available],
        [site for site in sites if not site.summary.available],
        stations,
        weather(picture),
    )


def weather(picture: Picture) -> str:
    """What the stations of the whole place feel outdoors: the middle one, as one sensor may lie in the sun."""
    felt = sorted(
        max(room.climate.outdoor_c, room.climate.feels_like_c or room.climate.outdoor_c)
        for room in picture.stations.values()
        if not room.stale and room.climate.outdoor_c is not None
    )
    if not felt:
        return "mild"
    middle = felt[len(felt) // 2]
    return "hot" if middle >= HOT_C else "cold" if middle <= COLD_C else "mild"


def oldest(site: SiteAvailability) -> str | None:
    """When the connector that we heard least lately, and still believe, spoke: the counts are no newer than that."""
    return min((c.observed_at for c in site.connectors if c.observed_at and not c.stale), default=None)


def places(inventory: Inventory) -> list[Group]:
    """Compounds by section, then the sites."""
    by_section: dict[str, list[Compound]] = {}
    for compound in inventory.compounds.values():
        by_section.setdefault(compound.section, []).append(compound)
    groups = [
        Group(
            inventory.sections[section].name if section in inventory.sections else None,
            [Choice(f"c.{compound.id}", compound.name) for compound in compounds],
        )
        for section, compounds in by_section.items()
    ]
    groups.append(Group(None, [Choice(f"s.{site.id}", site.name) for site in inventory.sites.values()]))
    return groups


def position(inventory: Inventory, place: str) -> tuple[float, float] | None:
    """Where a chosen place lies, snapped; None for an unknown one."""
    kind, _, name = place.partition(".")
    found = inventory.compounds.get(name) if kind == "c" else inventory.sites.get(name) if kind == "s" else None
    return snapped(found.lat, found.lon) if found else None
