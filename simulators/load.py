"""Floor 0 · A plain load: so many messages a second, spread over devices, each an honest report of a made-up life.

Connectors go through short sessions with a counter that only grows, so that what ingest derives can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle

from ingest.assets import Device

STEPS = 64
PLUGGED_AT, CHARGES_AT, FULL_AT, GONE_AT = 8, 9, 52, 60
STEP_KWH = 0.02


class Load:
    """`due` says what to report by a time. `rate_per_s` counts messages over all devices."""

    def __init__(self, devices: Iterable[Device], rate_per_s: float, begin_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._begin_s = begin_s
        self._count = 0
        numbered = [(device, number) for device in devices for number in [c.id for c in device.connectors] or [0]]
        self._turns: Iterator[_Instrument] = cycle([_Instrument(*one) for one in numbered])

    def due(self, mono_s: float) -> list[tuple[str, dict[str, object]]]:
        """(device, fields) of all messages that should have been said by then and were not."""
        until = int((mono_s - self._begin_s) * self._rate_per_s)
        said = [next(self._turns).report() for _ in range(until - self._count)]
        self._count = max(self._count, until)
        return said


class _Instrument:
    """A connector of a pile, or a station's climate."""

    def __init__(self, device: Device, number: int) -> None:
        self._name, self._is_pile, self._number = device.name, device.kind == "pile", number
        self._step = sum(device.name.encode()) % STEPS
        self._energy_kwh = 100.0

    def report(self) -> tuple[str, dict[str, object]]:
        self._step = (self._step + 1) % STEPS
        if not self._is_pile:
            return self._name, {"kind": "climate", "indoor_c": 20 + self._step / 10, "indoor_rh_pct": 50.0}
        states = {PLUGGED_AT: "preparing", CHARGES_AT: "charging", FULL_AT: "suspended", GONE_AT: "available"}
        if state := states.get(self._step):
            fields: dict[str, object] = {"kind": "connector", "connector": self._number, "state": state}
            return self._name, fields | ({"suspended_by": "ev"} if state == "suspended" else {})
        power_kw = 6.6 if CHARGES_AT < self._step < FULL_AT else 0.0
        self._energy_kwh += STEP_KWH if power_kw else 0.0
        return self._name, {
            "kind": "meter",
            "connector": self._number,
            "power_kw": power_kw,
            "energy_kwh": round(self._energy_kwh, 3),
            "current_a": round(power_kw / 0.22, 1),
            "voltage_v": 220.0,
        }
