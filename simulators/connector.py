"""Floor 0 · One connector of a pile: the car at it, what it may draw, what it does, and its meter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import sqrt
from random import Random

from ingest.assets import ConnectorSpec
from ingest.messages import ConnectorCondition, SuspendedBy
from simulators.car import Car

LEAST_KW = 1.3
"""Six amperes: the least that a plug can offer an AC car; below it the pile pauses."""
HOUR_MS = 3_600_000
NEVER_MS = 2**62


@dataclass(slots=True)
class Reservation:
    """A turn's hold on the connector. `opened` once its code was given, or `start` came."""

    turn: str
    code_hash: str
    until_ms: int
    opened: bool = False

    def fits(self, code: str) -> bool:
        return hashlib.sha256(f"{self.turn}:{code}".encode()).hexdigest()[:32] == self.code_hash


class Connector:
    """Advance it with `settle`; it then is in the state that its circumstances ask for.

    `keeps_charging` is a car's quirk, and a common one: full, it goes on saying charging, at no power.
    """

    def __init__(self, spec: ConnectorSpec, *, at_ms: int, energy_kwh: float, rng: Random) -> None:
        self.spec = spec
        self.at_ms = at_ms
        self.energy_kwh = energy_kwh
        self.power_kw = 0.0
        self.state: ConnectorCondition = "available"
        self.suspended_by: SuspendedBy | None = None
        self.car: Car | None = None
        self.bay_occupied = False
        self.token: str | None = None
        self.error: str | None = None
        self.out_of_service = False
        self.keeps_charging = False
        self.stopped = False
        self.ready_ms = 0
        self.limit_kw: float | None = None
        self.limit_until_ms = 0
        self.fallback_kw: float | None = None
        self.reservation: Reservation | None = None
        self.offered_kw = 0.0
        self.wake_ms = NEVER_MS
        """When it will change by itself, if nothing happens to it."""
        self._rng = rng

    def settle(self, now_ms: int, silent: bool) -> None:
        """Charge until now at the power of before, then decide what holds from now on."""
        if self.car and self.power_kw > 0:
            self.energy_kwh += self.car.charge(self.offered_kw, (now_ms - self.at_ms) / HOUR_MS)
        self.at_ms = now_ms
        if self.reservation and now_ms >= self.reservation.until_ms:
            self.reservation = None
        if silent and self.limit_until_ms > now_ms:
            self.limit_until_ms = now_ms
        self.offered_kw = self._allowed_kw(now_ms, silent)
        self.state, self.suspended_by = self._judge(now_ms)
        charging = self.car is not None and self.state == "charging"
        self.power_kw = self.car.takes_kw(self.offered_kw) if self.car and charging else 0.0
        self.wake_ms = self._next_change_ms()

    def _allowed_kw(self, now_ms: int, silent: bool) -> float:
        """What may be drawn: a limit holds for its time, then its fallback; in silence of the service, the fallback."""
        most = self.spec.max_kw
        if self.car:
            most = min(most, self.car.max_dc_kw if self.is_dc else self.car.max_ac_kw)
        if not silent and now_ms < self.limit_until_ms and self.limit_kw is not None:
            return min(most, self.limit_kw)
        if self.fallback_kw is not None and (silent or self.limit_kw is not None):
            return min(most, self.fallback_kw)
        return most

    def _next_change_ms(self) -> int:
        times = [NEVER_MS]
        if self.state == "preparing" and self.ready_ms > self.at_ms:
            times.append(self.ready_ms)
        if self.car and self.power_kw > 0:
            times.append(self.at_ms + int(self.car.full_after_h(self.offered_kw) * HOUR_MS) + 1)
        if self.limit_until_ms > self.at_ms:
            times.append(self.limit_until_ms)
        if self.reservation:
            times.append(self.reservation.until_ms)
        return min(times)

    def plug_in(self, car: Car, now_ms: int, token: str | None) -> None:
        self.car, self.token, self.stopped = car, token, False
        self.bay_occupied = True
        self.ready_ms = now_ms + self._rng.randint(5_000, 40_000)
        if token and self.reservation and self.reservation.fits(token):
            self.reservation.opened = True

    def unplug(self) -> None:
        self.car = self.token = None
        self.stopped = self.keeps_charging = False

    @property
    def is_dc(self) -> bool:
        return self.spec.type == "GBT_DC"

    def meter(self, temp_c: float) -> dict[str, object]:
        voltage_v, current_a = self._electrical()
        said: dict[str, object] = {
            "kind": "meter",
            "connector": self.spec.id,
            "power_kw": round(self.power_kw, 3),
            "energy_kwh": round(self.energy_kwh, 4),
            "current_a": round(current_a, 2),
            "voltage_v": round(voltage_v, 1),
            "temp_c": round(temp_c, 1),
        }
        if self.is_dc and self.car:
            said["soc_pct"] = round(self.car.soc * 100, 1)
        return said

    def word(self) -> dict[str, object]:
        """The `connector` message for what it does now."""
        said: dict[str, object] = {"kind": "connector", "connector": self.spec.id, "state": self.state}
        if self.suspended_by:
            said["suspended_by"] = self.suspended_by
        if self.token:
            said["token"] = self.token
        if self.error:
            said["error"] = self.error
        said["bay_occupied"] = self.bay_occupied
        return said

    def _judge(self, now_ms: int) -> tuple[ConnectorCondition, SuspendedBy | None]:
        if self.error:
            return "faulted", None
        if self.out_of_service:
            return "unavailable", None
        if self.car is None:
            return "available", None
        if self.stopped:
            return "finishing", None
        if now_ms < self.ready_ms or (self.reservation and not self.reservation.opened):
            return "preparing", None
        if self.car.is_full:
            return ("charging", None) if self.keeps_charging else ("suspended", "ev")
        if self.offered_kw < LEAST_KW:
            return "suspended", "evse"
        return "charging", None

    def _electrical(self) -> tuple[float, float]:
        """Volts and amperes of the power now; three phases above what one carries."""
        noise = self._rng.gauss(0, 0.6)
        if self.is_dc:
            voltage_v = 330 + 90 * (self.car.soc if self.car else 0) if self.power_kw else 0.0
            return voltage_v, self.power_kw * 1_000 / voltage_v if voltage_v else 0.0
        if self.spec.max_kw > 7.5:
            voltage_v = 380 + 2 * noise - 0.2 * self.power_kw
            return voltage_v, self.power_kw * 1_000 / (sqrt(3) * voltage_v)
        voltage_v = 222 + noise - 0.5 * self.power_kw
        return voltage_v, self.power_kw * 1_000 / voltage_v
