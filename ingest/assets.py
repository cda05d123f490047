"""Floor 0 · The things of the place: workstations, sections, compounds, sites, devices, connectors.

Physical and organisational facts only; how bays are shared is a rule, and rules live with the scheduler.
Positions are WGS-84 degrees.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SiteMode = Literal["temporary", "in_turn", "station"]
DeviceKind = Literal["pile", "station"]
ConnectorType = Literal["GBT_AC", "GBT_DC"]
Placement = Literal["outdoor", "indoor"]

DEFAULT_INTERVAL_S = 60


class Name(Struct, frozen=True):
    """A name in Chinese and English; where only one was given, both say it."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        return self.en if language == "en" else self.zh


class Workstation(Struct, frozen=True):
    id: str
    name: Name


class Role(Struct, frozen=True):
    """A duty in a section, not the person who has it: persons are accounts, and the inventory names nobody."""

    id: str
    name: Name


class Section(Struct, frozen=True):
    """A stretch of streets under a workstation. Of its `roles`, where given, one has the id `head`."""

    id: str
    name: Name
    workstation: str
    roles: tuple[Role, ...] = ()


class Committee(Struct, frozen=True):
    id: str
    name: Name


class Compound(Struct, frozen=True):
    """Where people live, in a section; `committee` speaks for it."""

    id: str
    name: Name
    section: str
    lat: float
    lon: float
    households: int = 0
    committee: str | None = None


class Window(Struct, frozen=True):
    """An opening window: minutes after local midnight, on days of one type. `end_min` may pass 1440 (next day)."""

    days: Literal["all", "workday", "restday"]
    start_min: int
    end_min: int


class Site(Struct, frozen=True, kw_only=True):
    """A place with piles or a station. All its piles together may draw `limit_kw`; None is no limit known."""

    id: str
    name: Name
    lat: float
    lon: float
    mode: SiteMode = "temporary"
    section: str | None = None
    compounds: tuple[str, ...] = ()
    limit_kw: float | None = None
    opening: tuple[Window, ...] = ()
    """Empty means always open."""
    initial_rules: dict[str, object] = {}


class ConnectorSpec(Struct, frozen=True):
    id: int
    type: ConnectorType = "GBT_AC"
    max_kw: float = 7.0


class Device(Struct, frozen=True, kw_only=True):
    """A pile or a station. A pile that hears nobody falls back to `fallback_kw` in all."""

    site: str
    id: str
    kind: DeviceKind
    placement: Placement = "outdoor"
    connectors: tuple[ConnectorSpec, ...] = ()
    fallback_kw: float | None = None
    seats: int | None = None
    reading_seats: int | None = None
    outlets: int | None = None
    amenities: tuple[str, ...] = ()
    certificate: str | None = None
    inspection_due: str | None = None

    @property
    def name(self) -> str:
        return f"{self.site}/{self.id}"


class Inventory(Struct, frozen=True, kw_only=True):
    """Everything by its id; devices by `SITE/DEVICE`."""

    workstations: dict[str, Workstation] = {}
    sections: dict[str, Section] = {}
    committees: dict[str, Committee] = {}
    compounds: dict[str, Compound] = {}
    sites: dict[str, Site] = {}
    devices: dict[str, Device] = {}
