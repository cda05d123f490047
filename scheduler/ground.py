"""Floor 2 · The ground: what the scheduler knows of the sites and of each plug, from what the devices said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from msgspec import UNSET, UnsetType

from ingest.assets import Device, Inventory, Site
from ingest.clock import parse_rfc3339
from ingest.freshness import falls_back_after_ms, said_ms, stale_after_ms
from ingest.messages import ConnectorState, DeviceState
from ingest.sessions import PLUGGED
from scheduler.elsewhere import Seen
from scheduler.site_facts import Connector, SiteFacts

Trouble = Literal["silent", "broken", "unknown"]
"""`unknown`: nothing may be believed, or not for long enough to tell whether the device is silent."""


class Charging(NamedTuple):
    """The session that a connector lives: its id, since when by the device's clock, and what it was given until now.
    `ended` says that ingest saw the end of charging.
    """

    session: str
    started_ms: int
    energy_kwh: float
    ended: bool = False


class PlugNow(NamedTuple):
    """What may be believed of a connector. `plugged` None: it is not known. `full`: its car wants no more;
    `held_back`: the pile gives it nothing; `preparing`: it waits to be started.
    """

    plugged: bool | None = None
    charging: Charging | None = None
    trouble: Trouble | None = None
    bay_taken: bool = False
    power_w: int = 0
    full: bool = False
    held_back: bool = False
    preparing: bool = False
    since_ms: int | None = None
    """Since when it is in that state."""
    token: str | None = None
    """The code that was typed there."""
    may_have_fallen_back: bool = False
    """Not heard for so long that it may draw its fallback, and not long enough to be silent."""


SILENT, UNKNOWN = PlugNow(trouble="silent"), PlugNow(trouble="unknown")
TO_PLUG_IN_MS = 5 * 60_000
"""Who comes into a bay has so long to plug in before it counts as somebody else's car."""
LEAST_AC_W = 1_380
"""6 A at 230 V, the least that a pile can hold for alternating current (GB/T 18487.1)."""
ALARMS = frozenset({"smoke", "fault:over_temperature"})
"""Where a pile reports these as critical."""
USUAL_INTERVAL_S = 60
"""Of a device that never said how often it reports."""


class Heard(NamedTuple):
    """Where what devices say is read: their states by `SITE/DEVICE`, and whether any of it may be believed now."""

    state: Callable[[str], DeviceState | None]
    believed: Callable[[], bool]
    speed: Callable[[], float]
    token: Callable[[str], str | None] = lambda _connector: None
    """The code that was typed at a connector, while a car is there."""


class Ground:
    """Read anew at each `look`, and the same until the next: all that one round decides, it decides on one picture."""

    def __init__(self, inventory: Callable[[], Inventory], heard: Heard) -> None:
        self._inventory, self._heard = inventory, heard
        self._read: Inventory | None = None
        self._sites: dict[str, SiteFacts] = {}
        self.plugs: dict[str, PlugNow] = {}
        self.alarms: dict[str, str] = {}
        """Sites with a pile that reports smoke or heat, and what it reports."""
        self._bay_taken_ms: dict[str, int] = {}
        """Since when a car stands at a plug and is not plugged, as far as was looked."""
        self._now_ms = 0
        self._believed_ms: int | None = None
        """Since when facts reach us without a break; None while they do not."""

    @property
    def believed(self) -> bool:
        """Whether facts reached us at the last look."""
        return self._believed_ms is not None

    def look(self, now_ms: int) -> None:
        sites = self.sites()
        believed = self._heard.believed()
        self._believed_ms = (now_ms if self._believed_ms is None else self._believed_ms) if believed else None
        states = {one.id.rpartition("/")[0] for site in sites.values() for one in site.connectors}
        said = {name: self._heard.state(name) if believed else None for name in states}
        self.plugs = {
            one.id: self._plug(one.id, said[one.id.rpartition("/")[0]], now_ms)
            for site in sites.values()
            for one in site.connectors
        }
        self.alarms = {name.partition("/")[0]: why for name, state in said.items() if (why := _alarm(name, state))}
        self._now_ms = now_ms
        taken = [name for name, plug in self.plugs.items() if plug.bay_taken and plug.plugged is False]
        self._bay_taken_ms = {name: self._bay_taken_ms.get(name, now_ms) for name in taken}

    def sites(self) -> dict[str, SiteFacts]:
        """Those where anything is charged, by id."""
        inventory = self._inventory()
        if inventory is not self._read:
            self._sites, self._read = sites_of(inventory), inventory
        return self._sites

    def site(self, site: str) -> SiteFacts | None:
        return self.sites().get(site)

    def plug(self, connector: str) -> PlugNow:
        """As it was at the last look; one that is new since then has said nothing."""
        return self.plugs.get(connector, UNKNOWN)

    def seen(self, connector: str) -> Seen:
        """How it is for somebody who comes. One that the inventory has no longer is broken for whoever is awaited."""
        if connector not in self.plugs:
            return "broken"
        plug = self.plugs[connector]
        if plug.trouble is not None:
            return plug.trouble
        if plug.plugged:
            return "taken"
        since_ms = self._bay_taken_ms.get(connector)
        if since_ms is None:
            return "free"
        return "taken" if self._now_ms - since_ms >= TO_PLUG_IN_MS else "arriving"

    def _plug(self, connector: str, state: DeviceState | None, now_ms: int) -> PlugNow:
        number = int(connector.rpartition("/")[2])
        if state is None or not state.online or state.connectors is UNSET:
            return self._unheard(state, now_ms)
        said = next((one for one in state.connectors if one.connector == number), None)
        if said is None or said.state is UNSET or self._is_old(said, state, now_ms):
            return self._unheard(state, now_ms)
        now = said.session
        charging = (
            None
            if now is None
            else Charging(now.id, parse_rfc3339(now.started_at), now.energy_kwh, now.charge_ended_at is not UNSET)
        )
        falls_back_ms = falls_back_after_ms(state.interval_s, self._heard.speed())
        is_quiet = now_ms >= said_ms(said.observed_at, state) + falls_back_ms
        if said.state in ("faulted", "unavailable"):
            return PlugNow(None, charging, "broken", may_have_fallen_back=is_quiet)
        paused_by = said.suspended_by if said.state == "suspended" else None
        return PlugNow(
            plugged=said.state in PLUGGED, charging=charging, bay_taken=said.bay_occupied is True,
            power_w=0 if said.power_kw is UNSET else round(said.power_kw * 1_000),
            full=said.state == "finishing" or paused_by == "ev", held_back=paused_by == "evse",
            preparing=said.state == "preparing", since_ms=_ms(said.since), token=self._heard.token(connector),
            may_have_fallen_back=is_quiet,
        )  # fmt: skip

    def _unheard(self, state: DeviceState | None, now_ms: int) -> PlugNow:
        """Silent, if it had the time to be heard since facts reach us."""
        interval_s = state.interval_s if state is not None else USUAL_INTERVAL_S
        since_ms = now_ms if self._believed_ms is None else self._believed_ms
        return SILENT if now_ms - since_ms >= stale_after_ms(interval_s, self._heard.speed()) else UNKNOWN

    def _is_old(self, said: ConnectorState, state: DeviceState, now_ms: int) -> bool:
        return now_ms > said_ms(said.observed_at, state) + stale_after_ms(state.interval_s, self._heard.speed())


def _ms(said: str | UnsetType) -> int | None:
    return None if isinstance(said, UnsetType) else parse_rfc3339(said)


def _alarm(name: str, state: DeviceState | None) -> str | None:
    held = state.conditions if state is not None else []
    found = (f"{name}: {one.evidence}" for one in held if one.code in ALARMS and one.severity == "critical")
    return next(found, None)


def sites_of(inventory: Inventory) -> dict[str, SiteFacts]:
    """What the scheduler must know of each site of an inventory that has piles and is no station."""
    piles: dict[str, list[Device]] = {}
    for device in inventory.devices.values():
        if device.kind == "pile" and inventory.sites[device.site].mode != "station":
            piles.setdefault(device.site, []).append(device)
    return {name: _facts(inventory.sites[name], there) for name, there in piles.items()}


def _facts(site: Site, piles: Sequence[Device]) -> SiteFacts:
    """Piles that have no fallback of their own share what the others leave of the site's limit."""
    limit_w = None if site.limit_kw is None else round(site.limit_kw * 1_000)
    left_w = (limit_w or 0) - sum(round((pile.fallback_kw or 0.0) * 1_000) for pile in piles)
    sharing = sum(len(pile.connectors) for pile in piles if pile.fallback_kw is None)
    connectors = []
    for pile in piles:
        for one in pile.connectors:
            max_w = round(one.max_kw * 1_000)
            if pile.fallback_kw is not None:
                fallback_w = round(pile.fallback_kw * 1_000) // len(pile.connectors)
            else:
                fallback_w = max_w if limit_w is None else min(max_w, max(0, left_w) // sharing)
            least_w = LEAST_AC_W if one.type == "GBT_AC" else 0
            connectors.append(Connector(f"{pile.name}/{one.id}", max_w, one.type, least_w, fallback_w))
    return SiteFacts(id=site.id, mode=site.mode, connectors=tuple(connectors), limit_w=limit_w)
