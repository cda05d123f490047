"""Floor 0 · The street: piles and stations in one time, and what people do to them.

Everything is an event at a service time, drawn from the seed; `advance` lives all events up to a time. Two streets of
one seed and one start live the same life.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from math import inf
from random import Random

import msgspec

from ingest.assets import DEFAULT_INTERVAL_S, Device, Inventory
from ingest.messages import CommandResult, Severity
from simulators.awaited import Awaited, Call, Place
from simulators.habits import DAY_MS, HOUR_MS, HOUSEHOLDS_A_CONNECTOR, MINUTE_MS, Household, Visit, local_midnight
from simulators.pile import Pile
from simulators.report import Report
from simulators.residents import ASKS_INSTEAD, Way, way
from simulators.room import Air
from simulators.station import HVAC, Station

WARM_UP_MS = DAY_MS
"""Lived before the start and not reported, so that cars already stand at the piles."""
FOREIGN_CARS_A_BAY_DAY = 0.04
FAULTS_A_CONNECTOR_DAY = 0.025
FAILURES_AN_AMENITY_DAY = 0.08
SMOKE_ALARMS_A_STATION_DAY = 0.01
FAULT_CODES: tuple[tuple[str, Severity], ...] = (
    ("contactor", "warning"), ("lock", "warning"), ("over_temperature", "warning"), ("leakage_current", "critical"),
)  # fmt: skip


class Street:
    """`broken_share` of the devices, at most 3 %, are out of order for good. `silence_ms` is the piles' (see Pile)."""

    def __init__(self, inventory: Inventory, *, seed: int, start_ms: int, outdoor: Callable[[int], Air],
                 interval_s: int = DEFAULT_INTERVAL_S, silence_ms: float = inf, broken_share: float = 0.02,
                 devices: Iterable[str] | None = None) -> None:  # fmt: skip
        self._rng = Random(f"{seed}/street")
        self._seed = seed
        self._events: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = count()
        self._wakes: dict[str, int] = {}
        self._said: list[tuple[str, Report]] = []
        self._awaited = Awaited()
        self._came: set[tuple[str | None, Place]] = set()
        """Turns for which a car came, and where."""
        self.piles: dict[str, Pile] = {}
        self.stations: dict[str, Station] = {}
        begin_ms = start_ms - WARM_UP_MS
        for name in sorted(devices if devices is not None else inventory.devices):
            self._add(inventory.devices[name], inventory, begin_ms, interval_s, outdoor)
        self._break_some(min(broken_share, 0.03), begin_ms)
        self._plan_life(begin_ms)
        self._warm_up(begin_ms, start_ms, silence_ms)

    @property
    def wake_ms(self) -> int:
        """When something happens next."""
        return self._events[0][0]

    @property
    def plugged(self) -> int:
        """Cars that hold a plug now."""
        return sum(1 for pile in self.piles.values() for no in pile.connectors if pile.connector(no).car)

    def advance(self, until_ms: int) -> list[tuple[str, Report]]:
        """Live until then; returns what devices had to say, each device's in order."""
        self._live(until_ms)
        said, self._said = self._said, []
        return said

    def report_all(self, name: str, now_ms: int) -> None:
        """A device says everything that it knows, as one that has just started."""
        self._live(now_ms)
        self._device(name).advance_quietly(now_ms)
        self._device(name).report_all(now_ms)
        self._collect(name, now_ms)

    def restart(self, name: str, now_ms: int) -> None:
        """A device's power was away for a moment."""
        self._live(now_ms)
        self._device(name).restart(now_ms)
        self._collect(name, now_ms)

    def heard(self, name: str, now_ms: int) -> None:
        """The service said something to a device."""
        self._live(now_ms)
        if pile := self.piles.get(name):
            pile.heard(now_ms)
            if pile.has_news:
                self._collect(name, now_ms)

    def on_turns(self, name: str, payload: bytes, now_ms: int) -> None:
        if pile := self.piles.get(name):
            pile.orders.on_turns(payload)
        self.heard(name, now_ms)
        for call in self._awaited.told(name, payload) if name in self.piles else ():
            if on_its_way := way(f"{call.name}/{call.from_ms}", self._seed):
                self._later(max(now_ms, call.from_ms) + on_its_way.after_ms, partial(self._come, call, on_its_way))

    def obey(self, name: str, payload: bytes, now_ms: int) -> CommandResult | None:
        """A device's answer to a command; None where the command had not even an id. Stations take none but `show`."""
        self._live(now_ms)
        device = self._device(name)
        answer = device.obey(payload, now_ms)
        self._collect(name, now_ms)
        return answer

    def _live(self, until_ms: int) -> None:
        """Nobody is told or asked anything before what happened earlier has happened: times never go back."""
        while self._events and self._events[0][0] <= until_ms:
            at_ms, _, happens = heapq.heappop(self._events)
            happens(at_ms)

    def _device(self, name: str) -> Pile | Station:
        return self.piles.get(name) or self.stations[name]

    def _add(self, device: Device, inventory: Inventory, begin_ms: int, interval_s: int,
             outdoor: Callable[[int], Air]) -> None:  # fmt: skip
        rng = Random(f"{self._seed}/{device.name}")
        if device.kind == "pile":
            self.piles[device.name] = Pile(
                device, start_ms=begin_ms, interval_s=interval_s, rng=rng, outdoor_c=lambda ms: outdoor(ms).temp_c
            )
        else:
            windows = inventory.sites[device.site].opening
            opening_h = (windows[0].start_min / 60, windows[0].end_min / 60) if windows else None
            self.stations[device.name] = Station(
                device, start_ms=begin_ms, interval_s=interval_s, rng=rng, outdoor=outdoor, opening_h=opening_h
            )

    def _break_some(self, share: float, at_ms: int) -> None:
        names = sorted(self.piles)
        for n, name in enumerate(self._rng.sample(names, int(share * (len(names) + len(self.stations))))):
            number = self.piles[name].connectors[0]
            if n % 2:
                self.piles[name].close_down(number, at_ms)
            else:
                self.piles[name].break_down(number, "leakage_current", "critical", at_ms)

    def _plan_life(self, begin_ms: int) -> None:
        sites: defaultdict[str, list[Place]] = defaultdict(list)
        for name, pile in self.piles.items():
            sites[name.split("/")[0]].extend((name, number) for number in pile.connectors)
        for site, places in sites.items():
            for n in range(HOUSEHOLDS_A_CONNECTOR * len(places)):
                household = Household(f"{self._seed}/{site}/{n}")
                self._later(local_midnight(begin_ms), partial(self._live_a_day, household, places, begin_ms))
            self._sometimes(FOREIGN_CARS_A_BAY_DAY * len(places), begin_ms, partial(self._foreign_car, places))
            self._sometimes(FAULTS_A_CONNECTOR_DAY * len(places), begin_ms, partial(self._fault, places))
        for name, station in self.stations.items():
            for what in [*station.amenities, HVAC]:
                self._sometimes(FAILURES_AN_AMENITY_DAY, begin_ms, partial(self._amenity_fails, name, what))
            self._sometimes(SMOKE_ALARMS_A_STATION_DAY, begin_ms, partial(self._smoke, name))

    def _warm_up(self, begin_ms: int, start_ms: int, silence_ms: float) -> None:
        for name in [*self.piles, *self.stations]:
            self._device(name).skip_reports_until(start_ms)
            self._collect(name, begin_ms)
        self.advance(start_ms)
        for pile in self.piles.values():
            pile.silence_ms = silence_ms
            pile.heard(start_ms)

    def _later(self, at_ms: int, happens: Callable[[int], None]) -> None:
        heapq.heappush(self._events, (at_ms, next(self._order), happens))

    def _sometimes(self, a_day: float, now_ms: int, happens: Callable[[int], None]) -> None:
        """It happens at random times, so often a day on average."""

        def again(at_ms: int) -> None:
            happens(at_ms)
            self._later(at_ms + int(self._rng.expovariate(a_day) * DAY_MS), again)

        self._later(now_ms + int(self._rng.expovariate(a_day) * DAY_MS), again)

    def _collect(self, name: str, now_ms: int) -> None:
        """Take what a device has to say, and look at it again when it next wakes."""
        device = self._device(name)
        self._said.extend((name, report) for report in device.advance(now_ms))
        if device.wake_ms != self._wakes.get(name):
            self._wakes[name] = device.wake_ms
            self._later(device.wake_ms, partial(self._wake, name, device.wake_ms))

    def _wake(self, name: str, planned_ms: int, now_ms: int) -> None:
        if self._wakes.get(name) == planned_ms:
            del self._wakes[name]
            self._collect(name, now_ms)

    def _live_a_day(self, household: Household, places: list[Place], not_before_ms: int, midnight_ms: int) -> None:
        visit = household.visit(midnight_ms)
        if visit and visit.arrives_ms >= not_before_ms:
            self._later(visit.arrives_ms, partial(self._arrive, visit, places, 0))
        self._later(midnight_ms + DAY_MS, partial(self._live_a_day, household, places, not_before_ms))

    def _arrive(self, visit: Visit, places: list[Place], tries: int, now_ms: int) -> None:
        """A household comes; where nothing is free it looks again twice, then gives up for the day."""
        if not tries and self._awaited.gives_turns(places[0]) and self._rng.random() < ASKS_INSTEAD:
            return
        free = [
            place
            for place in places
            if self._is_free(place) and not self._awaited.is_kept(place, now_ms, visit.stay_ms)
        ]
        if free:
            self._park(visit, self._rng.choice(free), now_ms)
        elif tries < 2:
            self._later(now_ms + self._rng.randint(15, 45) * MINUTE_MS, partial(self._arrive, visit, places, tries + 1))

    def _come(self, call: Call, on_its_way: Way, now_ms: int) -> None:
        """Somebody comes to a promised plug; where it is taken all the same, it is for the scheduler to help, and until
        then they look again.
        """
        until_ms = self._awaited.until_ms(call)
        if until_ms is None:
            begins_ms = self._awaited.begins_ms(call)
            if begins_ms is not None and now_ms < begins_ms + HOUR_MS:
                self._later(max(now_ms + MINUTE_MS, begins_ms), partial(self._come, call, on_its_way))
            return
        stay_ms = until_ms + on_its_way.longer_ms - now_ms
        turn = self._awaited.turn(call)
        if stay_ms <= MINUTE_MS or (turn, call.place) in self._came:
            return
        if not self._is_free(call.place, for_turn=turn):
            self._later(now_ms + 2 * MINUTE_MS, partial(self._come, call, on_its_way))
        else:
            self._came.add((turn, call.place))
            guest = Household(f"{self._seed}/{call.name}/{call.from_ms}")
            self._park(Visit(now_ms, stay_ms, guest.car(), False), call.place, now_ms)

    def _park(self, visit: Visit, place: Place, now_ms: int) -> None:
        name, number = place
        self.piles[name].bay(number, True, now_ms)
        self._collect(name, now_ms)
        self._later(now_ms + self._rng.randint(15_000, 90_000), partial(self._plug_in, visit, place))

    def _is_free(self, place: Place, for_turn: str | None = None) -> bool:
        return self.piles[place[0]].is_free(place[1], for_turn)

    def _plug_in(self, visit: Visit, place: Place, now_ms: int) -> None:
        name, number = place
        if self.piles[name].connector(number).state != "available":
            self._drive_off(place, now_ms)
            return
        car = msgspec.structs.replace(visit.car)
        self.piles[name].plug_in(number, car, now_ms, keeps_charging=visit.keeps_charging)
        self._collect(name, now_ms)
        self._later(now_ms + visit.stay_ms, partial(self._leave, place))

    def _leave(self, place: Place, now_ms: int) -> None:
        name, number = place
        self.piles[name].finish(number, now_ms)
        self._collect(name, now_ms)
        self._later(now_ms + self._rng.randint(15_000, 60_000), partial(self._unplug, place))

    def _unplug(self, place: Place, now_ms: int) -> None:
        name, number = place
        self.piles[name].unplug(number, now_ms)
        self._collect(name, now_ms)
        self._later(now_ms + self._rng.randint(15_000, 90_000), partial(self._drive_off, place))

    def _drive_off(self, place: Place, now_ms: int) -> None:
        name, number = place
        self.piles[name].bay(number, False, now_ms)
        self._collect(name, now_ms)

    def _foreign_car(self, places: list[Place], now_ms: int) -> None:
        """Somebody parks in a bay without charging."""
        free = [place for place in places if self._is_free(place)]
        if free:
            name, number = self._rng.choice(free)
            self.piles[name].bay(number, True, now_ms)
            self._collect(name, now_ms)
            self._later(now_ms + self._rng.randint(20, 150) * MINUTE_MS, partial(self._drive_off, (name, number)))

    def _fault(self, places: list[Place], now_ms: int) -> None:
        name, number = self._rng.choice(places)
        if self.piles[name].connector(number).error or self.piles[name].connector(number).out_of_service:
            return
        code, severity = self._rng.choice(FAULT_CODES)
        self.piles[name].break_down(number, code, severity, now_ms)
        self._collect(name, now_ms)
        self._later(now_ms + self._rng.randint(8, 60) * MINUTE_MS, partial(self._repair, (name, number)))

    def _repair(self, place: Place, now_ms: int) -> None:
        name, number = place
        self.piles[name].repair(number, now_ms)
        self._collect(name, now_ms)

    def _amenity_fails(self, name: str, what: str, now_ms: int) -> None:
        self.stations[name].fail(what, now_ms + int(self._rng.uniform(0.5, 6) * HOUR_MS), now_ms)
        self._collect(name, now_ms)

    def _smoke(self, name: str, now_ms: int) -> None:
        self.stations[name].smoke(now_ms + self._rng.randint(1, 5) * MINUTE_MS, now_ms)
        self._collect(name, now_ms)
