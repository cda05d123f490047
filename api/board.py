"""Floor 2 · The live board: what every device said last, and what of it may still be believed.

The bus feeds it from its own thread (`apply`); readers take a `Picture` from it (`look`). A picture never changes, and
is made anew only where something did: a message came, a device fell silent, a site opened or closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, tzinfo
from threading import Lock

from msgspec import UNSET, Struct

from api.deadlines import Deadlines
from api.facts import charged, connector_answer, held, summary
from api.heard import Heard
from api.opening import Opening, opening_of
from api.prices import SHANGHAI_RESIDENTIAL
from api.schemas import ConnectorAnswer, Price, SiteAvailability, StationAnswer, Text
from api.stations import StationNow, station_answer
from ingest.assets import Device, Inventory, Site
from ingest.comfort import Refuge
from ingest.freshness import said_ms, stale_after_ms
from ingest.messages import DeviceState, ServiceNotice

NEVER_MS = 2**62


class Now(Struct, frozen=True):
    """The moment of a look: service time, and how much faster than the wall it runs."""

    service_ms: int
    speed: float = 1.0


class Picture(Struct, frozen=True):
    """The whole board at one moment. `n` grows with every change within one `epoch` (an inventory)."""

    epoch: int
    n: int
    sites: dict[str, SiteAvailability]
    """Every site of the inventory, also those without a connector."""
    stations: dict[str, StationAnswer]


class Delta(Struct, frozen=True):
    """Names of what changed after some `n` of the same epoch."""

    connectors: list[ConnectorAnswer]
    sites: list[str]
    stations: list[str]


class Board:
    """Thread-safe. Times are arguments; `is_workday` and `zone` decide on opening windows."""

    def __init__(
        self, zone: tzinfo, is_workday: Callable[[date], bool], price: Price | None = SHANGHAI_RESIDENTIAL
    ) -> None:
        self._zone, self._is_workday, self._price = zone, is_workday, price
        self._lock = Lock()
        self._heard = Heard()
        self._linked = False
        self._dirty: set[str] = set()
        self._all_dirty = True
        self._inventory = Inventory()
        self._connectors: dict[str, list[str]] = {}
        self._openings: dict[str, Opening] = {}
        self._answers: dict[str, ConnectorAnswer] = {}
        self._charged: set[str] = set()
        self._changed_n: dict[str, int] = {}
        """When each thing (connector, `site:…`, `station:…`) changed last, the latest at the end."""
        self._opening_until_ms = NEVER_MS
        self._fresh_until = Deadlines()
        self._speed = 1.0
        self._picture = Picture(0, 0, {}, {})

    def apply(self, topic: str, payload: bytes) -> None:
        """Take one message of the bus. An empty payload means gone; what is older or unreadable changes nothing."""
        with self._lock:
            believed = self.believed
            changed = self._heard.take(topic, payload)
            if changed is not None:
                self._dirty.add(changed)
            self._all_dirty |= self.believed != believed

    def link(self, up: bool) -> None:
        """Whether the bus is connected. While it is not, nothing here can be fresh."""
        with self._lock:
            self._linked = up
            self._all_dirty = True

    @property
    def linked(self) -> bool:
        return self._linked

    @property
    def refused(self) -> int:
        """Messages that could not be read."""
        return self._heard.refused

    @property
    def believed(self) -> bool:
        """Whether facts reach us at all: the bus is connected and ingest says that it is online."""
        return self._linked and self._heard.ingest_online

    def notice(self, process: str) -> ServiceNotice | None:
        """What `service/{process}` said last."""
        return self._heard.notice(process)

    def state(self, name: str) -> DeviceState | None:
        return self._heard.states.get(name)

    @property
    def epoch(self) -> int:
        """Of the scheduler that leads, as it told the piles; 0 where none ever did."""
        return max((said.epoch for said in self._heard.turns.values()), default=0)

    def look(self, inventory: Inventory, now: Now) -> Picture:
        """The board as it is now."""
        with self._lock:
            if inventory is not self._inventory:
                self._start_over(inventory)
            if now.service_ms >= self._opening_until_ms or now.speed != self._speed:
                self._all_dirty = True
            self._dirty |= self._fresh_until.take(now.service_ms)
            if self._all_dirty or self._dirty:
                self._renew(now)
            return self._picture

    def since(self, n: int) -> Delta:
        """What changed after `n` of the present epoch."""
        connectors: list[ConnectorAnswer] = []
        sites: list[str] = []
        stations: list[str] = []
        with self._lock:
            for key in reversed(self._changed_n):
                if self._changed_n[key] <= n:
                    break
                what, _, name = key.partition(":")
                if what == "site":
                    sites.append(name)
                elif what == "station":
                    stations.append(name)
                else:
                    connectors.append(self._answers[name])
        return Delta(connectors, sites, stations)

    def _start_over(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._connectors = {site: [] for site in inventory.sites}
        for device in inventory.devices.values():
            self._connectors[device.site] += [f"{device.name}/{spec.id}" for spec in device.connectors]
        self._openings, self._answers, self._charged, self._changed_n = {}, {}, set(), {}
        self._fresh_until = Deadlines()
        self._picture = Picture(self._picture.epoch + 1, 0, {}, {})
        self._all_dirty = True

    def _renew(self, now: Now) -> None:
        everything, self._all_dirty = self._all_dirty, False
        names: Iterable[str] = self._inventory.devices if everything else self._dirty & self._inventory.devices.keys()
        self._dirty, self._speed = set(), now.speed
        n = self._picture.n + 1
        touched: set[str] = self._renew_openings(now) if everything else set()
        stations = dict(self._picture.stations)
        for name in names:
            device = self._inventory.devices[name]
            self._fresh_until.forget(name)
            if self._renew_connectors(device, now, n):
                touched.add(device.site)
            if device.kind == "station":
                answer = self._station(device, now)
                if stations.get(name) != answer:
                    stations[name] = answer
                    self._mark(f"station:{name}", n)
        sites = dict(self._picture.sites)
        for site in touched:
            sites[site] = self._site(self._inventory.sites[site])
            self._mark(f"site:{site}", n)
        if self._changed_n and self._changed_n[next(reversed(self._changed_n))] == n:
            self._picture = Picture(self._picture.epoch, n, sites, stations)

    def _renew_openings(self, now: Now) -> set[str]:
        """Ids of the sites that opened, closed, or are shown for the first time."""
        touched: set[str] = set()
        self._opening_until_ms = NEVER_MS
        for site in self._inventory.sites.values():
            before = self._openings.get(site.id)
            if before is None or now.service_ms >= before.holds_until_ms:
                self._openings[site.id] = opening_of(site, now.service_ms, self._zone, self._is_workday)
            opening = self._openings[site.id]
            self._opening_until_ms = min(self._opening_until_ms, opening.holds_until_ms)
            if before is None or (before.open_now, before.opens_at) != (opening.open_now, opening.opens_at):
                touched.add(site.id)
        return touched

    def _renew_connectors(self, device: Device, now: Now, n: int) -> bool:
        state = self._heard.states.get(device.name)
        said = {c.connector: c for c in state.connectors} if state and state.connectors is not UNSET else {}
        open_now = self._openings[device.site].open_now
        changed = False
        for spec in device.connectors:
            name = f"{device.name}/{spec.id}"
            connector = said.get(spec.id)
            stale = self._stale(state, connector.observed_at if connector else None, now)
            promise = held(self._heard.turns.get(device.name), spec.id)
            if promise.from_ms is not None and promise.from_ms > now.service_ms:
                self._fresh_until.earliest(device.name, promise.from_ms)
            reserved = promise.from_ms is not None and promise.from_ms <= now.service_ms
            answer = connector_answer(
                name, spec, connector, stale=stale, open_now=open_now, reserved=reserved, free_at=promise.until
            )
            done = charged(connector)
            if self._answers.get(name) != answer or done != (name in self._charged):
                self._answers[name] = answer
                (self._charged.add if done else self._charged.discard)(name)
                self._mark(f"connector:{name}", n)
                changed = True
        return changed

    def _station(self, device: Device, now: Now) -> StationAnswer:
        state = self._heard.states.get(device.name)
        said = self._heard.stations.get(device.name, StationNow())
        return station_answer(
            self._inventory.sites[device.site],
            device,
            said,
            self._heard.refuges.get(device.name, Refuge()),
            self._openings[device.site],
            stale=self._stale(state, state.observed_at if state else None, now),
            climate_stale=self._stale(state, said.climate.observed_at, now),
        )

    def _stale(self, state: DeviceState | None, observed_at: str | None, now: Now) -> bool:
        """Whether a fact of `observed_at` is too old, or cannot be trusted; remembers when a fresh one will be."""
        if state is None or observed_at is None or not state.online or not self.believed:
            return True
        until_ms = said_ms(observed_at, state) + stale_after_ms(state.interval_s, now.speed)
        if now.service_ms > until_ms:
            return True
        self._fresh_until.earliest(f"{state.site}/{state.device}", until_ms + 1)
        return False

    def _site(self, site: Site) -> SiteAvailability:
        connectors = [self._answers[name] for name in self._connectors[site.id]]
        opening = self._openings[site.id]
        return SiteAvailability(
            site=site.id,
            name=Text(zh=site.name.zh, en=site.name.en),
            mode=site.mode,
            lat=site.lat,
            lon=site.lon,
            walk_min=None,
            open_now=opening.open_now,
            opens_at=opening.opens_at,
            price=self._price if connectors else None,
            summary=summary(connectors, self._charged),
            connectors=connectors,
        )

    def _mark(self, key: str, n: int) -> None:
        self._changed_n.pop(key, None)
        self._changed_n[key] = n
