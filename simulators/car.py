"""Floor 0 · A car's battery: what it takes from a plug, first at constant current, then at constant voltage.

The battery takes all that plug and on-board charger give until its voltage is at the limit; from then on the current,
and with it the power, falls with the charge that is missing. Both parts are solved exactly, so a step may be of any
length. Powers and energies are at the meter; what the charger loses on the way is `EFFICIENCY`.
"""

from __future__ import annotations

from math import exp, log

from msgspec import Struct

EFFICIENCY = 0.92
TAPER_PER_H = 4.0
"""At constant voltage the missing charge shrinks by this rate: a 50 kWh battery at 7 kW tapers from 97 %."""
CUT_OFF_KW = 0.2
FULL = 1e-6


class Car(Struct):
    """`soc` and `target_soc` are shares of the battery, 0 to 1. The car stops by itself at its target, or when full."""

    battery_kwh: float
    soc: float
    target_soc: float = 1.0
    max_ac_kw: float = 7.0
    max_dc_kw: float = 80.0

    def __post_init__(self) -> None:
        if not (0 <= self.soc <= 1 and 0 < self.target_soc <= 1 and self.battery_kwh > 0):
            raise ValueError(f"no such battery: {self}")

    @property
    def wants_kwh(self) -> float:
        """Energy at the meter until the target."""
        return max(0.0, self._end_soc - self.soc) * self.battery_kwh / EFFICIENCY

    @property
    def is_full(self) -> bool:
        return self.soc >= self._end_soc - FULL

    def takes_kw(self, limit_kw: float) -> float:
        """The power it takes now of what is offered."""
        if self.is_full or limit_kw <= 0:
            return 0.0
        return min(limit_kw, TAPER_PER_H * self.battery_kwh * (1 - self.soc) / EFFICIENCY)

    def charge(self, limit_kw: float, hours: float) -> float:
        """Charge for a while at up to `limit_kw`; returns the energy at the meter in kWh."""
        before = self.soc
        if limit_kw > 0 and not self.is_full:
            self.soc = max(before, min(self._soc_after(limit_kw, hours), self._end_soc))
        return (self.soc - before) * self.battery_kwh / EFFICIENCY

    def full_after_h(self, limit_kw: float) -> float:
        """Hours until it stops by itself; infinite without power."""
        if self.is_full:
            return 0.0
        if limit_kw <= 0:
            return float("inf")
        knee, end = self._knee_soc(limit_kw), self._end_soc
        constant_current_h = max(0.0, min(knee, end) - self.soc) / self._rate_per_h(limit_kw)
        if end <= knee:
            return constant_current_h
        return constant_current_h + log((1 - max(self.soc, knee)) / (1 - end)) / TAPER_PER_H

    @property
    def _end_soc(self) -> float:
        return min(self.target_soc, 1 - CUT_OFF_KW * EFFICIENCY / (TAPER_PER_H * self.battery_kwh))

    def _rate_per_h(self, limit_kw: float) -> float:
        return limit_kw * EFFICIENCY / self.battery_kwh

    def _knee_soc(self, limit_kw: float) -> float:
        """Where constant current ends: below it the battery would take more than it is given."""
        return 1 - self._rate_per_h(limit_kw) / TAPER_PER_H

    def _soc_after(self, limit_kw: float, hours: float) -> float:
        knee = self._knee_soc(limit_kw)
        constant_current_h = min(hours, max(0.0, knee - self.soc) / self._rate_per_h(limit_kw))
        soc = self.soc + self._rate_per_h(limit_kw) * constant_current_h
        if constant_current_h == hours:
            return soc
        return 1 - (1 - soc) * exp(-TAPER_PER_H * (hours - constant_current_h))
