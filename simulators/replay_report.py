"""Floor 1 · Derived sessions against those of the file that was replayed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from msgspec import Struct

from ingest.facts import Session
from simulators.plugs import FileSession

MEANT_KWH = 0.1
"""Medians of times are taken over sessions above this: below it most are failed attempts."""


class Comparison(Struct, frozen=True):
    """Differences in percent of the file's figure, ratios of derived to the file's; None: nothing to compare."""

    sessions_file: int
    sessions_derived: int
    count_diff_pct: float | None
    energy_diff_pct: float | None
    occupied_median_ratio: float | None
    charging_median_ratio: float | None

    @property
    def agrees(self) -> bool:
        """Count within 1 %, energy within 0.5 %, both medians within 2 %."""
        return (
            _within(self.count_diff_pct, 0, 1)
            and _within(self.energy_diff_pct, 0, 0.5)
            and _within(self.occupied_median_ratio, 1, 0.02)
            and _within(self.charging_median_ratio, 1, 0.02)
        )


def compare(lived: Sequence[FileSession], derived: Iterable[Session]) -> Comparison:
    """Compares sessions that are over. A derived session without an end of charging has no charging time."""
    over = [session for session in derived if session.ended_ms is not None]
    meant = [session for session in lived if session.energy_kwh > MEANT_KWH]
    found = [session for session in over if session.energy_kwh > MEANT_KWH]
    occupied_ms = [one.ended_ms - one.started_ms for one in found if one.ended_ms is not None]
    charging_ms = [one.charge_ended_ms - one.started_ms for one in found if one.charge_ended_ms is not None]
    return Comparison(
        sessions_file=len(lived),
        sessions_derived=len(over),
        count_diff_pct=_diff_pct(len(over), len(lived)),
        energy_diff_pct=_diff_pct(sum(one.energy_kwh for one in over), sum(one.energy_kwh for one in lived)),
        occupied_median_ratio=_median_ratio(occupied_ms, [session.said_plugged_ms for session in meant]),
        charging_median_ratio=_median_ratio(charging_ms, [session.said_charging_ms for session in meant]),
    )


def _diff_pct(derived: float, file: float) -> float | None:
    return round((derived - file) / file * 100, 4) + 0.0 if file else None


def _median_ratio(derived_ms: list[int], file_ms: list[int]) -> float | None:
    return round(median(derived_ms) / median(file_ms), 4) if derived_ms and file_ms and median(file_ms) else None


def _within(value: float | None, target: float, by: float) -> bool:
    return value is not None and abs(value - target) <= by
