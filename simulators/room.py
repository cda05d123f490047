"""Floor 0 · A room's heat, moisture and air, against the weather outside and the people in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp
from typing import NamedTuple

COOL_TO_C = 26.0
HEAT_TO_C = 19.0
"""Public buildings may not cool below 26 or heat above 20 degrees."""
OUTDOOR_CO2_PPM = 420.0
PERSON_KW = 0.1
PERSON_CO2_M3_H = 0.02
LIGHTS_KW = 0.15
AIR_CHANGES_H = 1.5


class Air(NamedTuple):
    """Outdoor air: degrees Celsius, relative humidity, PM2.5 in µg/m³."""

    temp_c: float
    rh_pct: float
    pm25: float


@dataclass
class Room:
    """The air conditioning gives at most `hvac_kw` of heat or cold; `step` is exact for constant conditions."""

    volume_m3: float
    loss_kw_per_c: float
    capacity_kwh_per_c: float
    hvac_kw: float
    indoor_c: float
    co2_ppm: float = 500.0
    hvac_ok: bool = True
    cooling: bool = field(default=False, init=False)

    def step(self, outdoor_c: float, people: int, sun_kw: float, hours: float) -> None:
        gains_kw = people * PERSON_KW + sun_kw + LIGHTS_KW
        hvac_kw = self._hvac_kw(outdoor_c, gains_kw)
        steady_c = outdoor_c + (gains_kw + hvac_kw) / self.loss_kw_per_c
        fade = exp(-hours * self.loss_kw_per_c / self.capacity_kwh_per_c)
        self.indoor_c = steady_c + (self.indoor_c - steady_c) * fade
        self.cooling = hvac_kw < 0
        steady_ppm = OUTDOOR_CO2_PPM + people * PERSON_CO2_M3_H / (self.volume_m3 * AIR_CHANGES_H) * 1e6
        self.co2_ppm = steady_ppm + (self.co2_ppm - steady_ppm) * exp(-hours * AIR_CHANGES_H)

    def humidity_pct(self, outdoor: Air) -> float:
        """The outdoor moisture at the indoor temperature; cooling dries, and nobody stands in a cloud."""
        indoor_pct = outdoor.rh_pct * _saturation(outdoor.temp_c) / _saturation(self.indoor_c)
        return max(15.0, min(62.0 if self.cooling else 95.0, indoor_pct))

    def _hvac_kw(self, outdoor_c: float, gains_kw: float) -> float:
        """What pulls the room to its set point and holds it there, as far as the machine goes."""
        if not self.hvac_ok:
            return 0.0
        if self.indoor_c > COOL_TO_C:
            return max(-self.hvac_kw, min(0.0, self._pull_kw(COOL_TO_C, outdoor_c, gains_kw)))
        if self.indoor_c < HEAT_TO_C:
            return min(self.hvac_kw, max(0.0, self._pull_kw(HEAT_TO_C, outdoor_c, gains_kw)))
        return 0.0

    def _pull_kw(self, set_c: float, outdoor_c: float, gains_kw: float) -> float:
        hold_kw = self.loss_kw_per_c * (set_c - outdoor_c) - gains_kw
        return hold_kw + (set_c - self.indoor_c) * self.capacity_kwh_per_c * 4


def _saturation(temp_c: float) -> float:
    """Water vapour pressure of saturated air, relative (Magnus)."""
    return exp(17.62 * temp_c / (243.12 + temp_c))
