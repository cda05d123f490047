"""Floor 0 · A station: a room against the weather outside, people who come and go, seats, outlets, and what fails."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from ingest.assets import Device
from ingest.clock import from_ms
from ingest.messages import CommandResult, Show
from simulators.orders import Orders
from simulators.report import Report
from simulators.room import COOL_TO_C, HEAT_TO_C, Air, Room

HOUR_MS = 3_600_000
STEP_MS = 60_000
LOCAL_OFFSET_MS = 8 * HOUR_MS
HVAC = "hvac"
HOT_C, COLD_C = 33.0, 3.0
"""From here on a station is a refuge, and more people come."""


class Group(NamedTuple):
    """Who comes: local hours with arrivals an hour to an ordinary station, minutes of stay, who plugs in, who reads."""

    name: str
    hours: tuple[tuple[float, float, float], ...]
    stay_min: tuple[float, float]
    outlet: float
    reads: float


GROUPS = (
    Group("rider", ((10.5, 13.5, 4.0), (14, 17, 6.0), (19.5, 22.5, 4.0), (22.5, 26, 1.2)), (12, 40), 0.6, 0.0),
    Group("sweeper", ((5, 7, 2.5), (10, 11.5, 3.0), (14, 16, 3.0)), (15, 35), 0.2, 0.0),
    Group("neighbour", ((8, 11.5, 4.0), (13.5, 17.5, 4.0), (18.5, 21, 3.0)), (20, 90), 0.15, 0.25),
    Group("reader", ((9, 12, 1.5), (14, 17.5, 2.0), (18.5, 22, 3.0), (22, 25, 0.5)), (45, 150), 0.5, 0.95),
)


@dataclass(slots=True)
class _Visitor:
    group: Group
    until_ms: int
    seated: bool
    reading: bool
    outlet_kw: float


class Station:
    """One station, living in steps of a minute. `opening_h` are its local hours, or None for always open."""

    def __init__(self, device: Device, *, start_ms: int, interval_s: int, rng: Random,
                 outdoor: Callable[[int], Air], opening_h: tuple[float, float] | None = None) -> None:  # fmt: skip
        self.name = device.name
        self.interval_ms = interval_s * 1_000
        self._device = device
        self._rng = rng
        self._outdoor = outdoor
        self._opening_h = opening_h
        self._at_ms = start_ms
        self._next_report_ms = start_ms + rng.randrange(self.interval_ms)
        self._visitors: list[_Visitor] = []
        self._entries = rng.randint(1_000, 60_000)
        self._outlet_wh = rng.uniform(5e4, 3e6)
        self._popularity = rng.uniform(0.6, 1.4) * (device.seats or 8) / 12
        self._amenities = dict.fromkeys(device.amenities, True)
        self._repairs: list[tuple[int, str]] = []
        self._smoke_until_ms = 0
        self._said: list[Report] = []
        self._orders = Orders()
        volume_m3 = 25.0 + 4.0 * (device.seats or 8)
        outdoors = device.placement == "outdoor"
        self.room = Room(
            volume_m3=volume_m3,
            loss_kw_per_c=volume_m3 * (0.0042 if outdoors else 0.0022),
            capacity_kwh_per_c=volume_m3 * 0.006,
            hvac_kw=volume_m3 * rng.uniform(0.06, 0.09),
            indoor_c=max(HEAT_TO_C, min(COOL_TO_C, outdoor(start_ms).temp_c)),
        )

    @property
    def wake_ms(self) -> int:
        return min(self._at_ms + STEP_MS, self._next_report_ms)

    @property
    def people(self) -> int:
        return len(self._visitors)

    @property
    def entries(self) -> int:
        return self._entries

    def advance(self, until_ms: int) -> list[Report]:
        """Live until then; returns what it had to say since it was last asked, in order."""
        while (now_ms := self.wake_ms) <= until_ms:
            self._step(now_ms)
            if now_ms >= self._next_report_ms:
                self.report_all(now_ms)
                self._next_report_ms += self.interval_ms
        said, self._said = self._said, []
        return said

    def skip_reports_until(self, ms: int) -> None:
        """Be quiet at the intervals until then."""
        self._next_report_ms = max(self._next_report_ms, ms + self._rng.randrange(self.interval_ms))

    def report_all(self, now_ms: int) -> None:
        self._say(now_ms, self._climate(now_ms))
        self._say(now_ms, self._presence())
        if self._device.outlets:
            self._say(now_ms, self._outlets())
        for name in self._amenities:
            self._say(now_ms, self._amenity(name))
        self._say(now_ms, self._smoke(now_ms))

    def advance_quietly(self, until_ms: int) -> None:
        """Live until then; what there is to say is kept for the next `advance`."""
        self._said = self.advance(until_ms)

    def restart(self, now_ms: int) -> None:
        self.advance_quietly(now_ms)
        self.report_all(now_ms)

    def obey(self, payload: bytes, now_ms: int) -> CommandResult | None:
        """A station can show a text, and knows no other order."""
        self.advance_quietly(now_ms)
        return self._orders.take(payload, lambda command: None if isinstance(command, Show) else "unsupported")

    @property
    def amenities(self) -> list[str]:
        return list(self._amenities)

    def fail(self, name: str, until_ms: int, now_ms: int) -> None:
        """An amenity, or the air conditioning (`hvac`), breaks until then."""
        self._works(name, False, now_ms)
        heapq.heappush(self._repairs, (until_ms, name))

    def smoke(self, until_ms: int, now_ms: int) -> None:
        """The smoke alarm sounds until then."""
        self._smoke_until_ms = until_ms
        self._say(now_ms, self._smoke(now_ms))

    def _step(self, now_ms: int) -> None:
        hours = (now_ms - self._at_ms) / HOUR_MS
        if hours <= 0:
            return
        self._at_ms = now_ms
        self._repair(now_ms)
        people_before = self._counts()
        self._leave(now_ms)
        self._arrive(now_ms, hours)
        outdoor = self._outdoor(now_ms)
        local_h = (now_ms + LOCAL_OFFSET_MS) / HOUR_MS % 24
        sun_kw = max(0.0, 1 - ((local_h - 13) / 6) ** 2) * self.room.volume_m3 * 0.008
        self.room.step(outdoor.temp_c, self.people, sun_kw, hours)
        self._outlet_wh += sum(v.outlet_kw for v in self._visitors) * hours * 1_000
        if self._counts() != people_before:
            self._say(now_ms, self._presence())

    def _repair(self, now_ms: int) -> None:
        while self._repairs and self._repairs[0][0] <= now_ms:
            _, name = heapq.heappop(self._repairs)
            self._works(name, True, now_ms)
        if self._smoke_until_ms and now_ms >= self._smoke_until_ms:
            self._smoke_until_ms = 0
            self._say(now_ms, self._smoke(now_ms))

    def _leave(self, now_ms: int) -> None:
        closed = not self._is_open(now_ms)
        self._visitors = [v for v in self._visitors if v.until_ms > now_ms and not closed]

    def _arrive(self, now_ms: int, hours: float) -> None:
        if not self._is_open(now_ms):
            return
        outdoor_c = self._outdoor(now_ms).temp_c
        pull = self._popularity * (1.0 + max(0.0, outdoor_c - HOT_C) * 0.2 + max(0.0, COLD_C - outdoor_c) * 0.1)
        local_h = (now_ms + LOCAL_OFFSET_MS) / HOUR_MS % 24
        weekend = from_ms(now_ms + LOCAL_OFFSET_MS).weekday() >= 5
        for group in GROUPS:
            per_hour = sum(rate for lo, hi, rate in group.hours if lo <= local_h < hi or lo <= local_h + 24 < hi)
            if weekend and group.name == "neighbour":
                per_hour *= 1.4
            if self._rng.random() < min(0.9, per_hour * pull * hours):
                self._enter(group, now_ms)

    def _enter(self, group: Group, now_ms: int) -> None:
        """Somebody looks in; who finds a full house goes on."""
        reading = self._rng.random() < group.reads and self._used("reading") < (self._device.reading_seats or 0)
        seated = reading or self._used("seated") < (self._device.seats or 0)
        if not seated and self.people >= 2 * (self._device.seats or 4):
            return
        wants_outlet = self._rng.random() < group.outlet and self._used("outlet_kw") < (self._device.outlets or 0)
        outlet_kw = self._rng.choice((0.015, 0.02, 0.06, 0.12)) if wants_outlet else 0.0
        stay_ms = int(self._rng.uniform(*group.stay_min) * 60_000 * (1.0 if seated else 0.3))
        self._visitors.append(_Visitor(group, now_ms + stay_ms, seated and not reading, reading, outlet_kw))
        self._entries += 1

    def _used(self, what: str) -> int:
        return sum(1 for visitor in self._visitors if getattr(visitor, what))

    def _counts(self) -> tuple[int, int]:
        return self._entries, len(self._visitors)

    def _is_open(self, now_ms: int) -> bool:
        if self._opening_h is None:
            return True
        local_h = (now_ms + LOCAL_OFFSET_MS) / HOUR_MS % 24
        return self._opening_h[0] <= local_h < self._opening_h[1]

    def _say(self, now_ms: int, fields: dict[str, object]) -> None:
        self._said.append(Report(now_ms, fields))

    def _works(self, name: str, ok: bool, now_ms: int) -> None:
        if name == HVAC:
            self.room.hvac_ok = ok
            self._say(now_ms, {"kind": "fault", "code": HVAC, "severity": "warning", "cleared": ok})
        else:
            self._amenities[name] = ok
            self._say(now_ms, self._amenity(name))

    def _climate(self, now_ms: int) -> dict[str, object]:
        outdoor = self._outdoor(now_ms)
        return {
            "kind": "climate",
            "indoor_c": round(self.room.indoor_c, 1),
            "indoor_rh_pct": round(self.room.humidity_pct(outdoor), 1),
            "outdoor_c": round(outdoor.temp_c, 1),
            "outdoor_rh_pct": round(min(100.0, outdoor.rh_pct), 1),
            "pm25": round(outdoor.pm25 * 0.45, 1),
            "co2_ppm": round(self.room.co2_ppm),
        }

    def _presence(self) -> dict[str, object]:
        groups: dict[str, int] = {}
        for visitor in self._visitors:
            groups[visitor.group.name] = groups.get(visitor.group.name, 0) + 1
        said: dict[str, object] = {"kind": "presence", "people": self.people, "seats_used": self._used("seated")}
        if self._device.reading_seats:
            said["reading_seats_used"] = self._used("reading")
        said["entries"] = self._entries
        said["groups"] = groups
        return said

    def _outlets(self) -> dict[str, object]:
        return {"kind": "outlets", "outlets_used": self._used("outlet_kw"), "energy_wh": round(self._outlet_wh, 1)}

    def _amenity(self, name: str) -> dict[str, object]:
        ok = self._amenities[name]
        return {"kind": "amenity", "name": name, "ok": ok} | ({} if ok else {"note": "under repair"})

    def _smoke(self, now_ms: int) -> dict[str, object]:
        alarm = now_ms < self._smoke_until_ms
        return {"kind": "smoke", "alarm": alarm, "temp_c": round(self.room.indoor_c + (30 if alarm else 0), 1)}
