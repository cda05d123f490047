"""Floor 0 · The levels that hold at a device: what is not as it should be, since when, and what shows it."""

from __future__ import annotations

from ingest.clock import Now, rfc3339
from ingest.memory import DeviceMemory
from ingest.messages import Amenity, Condition, Connector, Fault, Severity, Smoke
from ingest.rows import cut

CODES = {
    "smoke": "a device reports smoke",
    "fault": "a device reports a fault that it has not cleared; the code follows the colon",
    "connector_faulted": "a connector is faulted",
    "bay_blocked": "a bay is taken by a car that is not plugged in",
    "amenity_out": "an amenity of a station is out of order",
    "offline": "a device said, or its will said, that it is offline",
    "silent": "a device that is online said nothing for three of its intervals",
    "clock_skew": "a device's clock is wrong; its messages are kept at corrected times",
    "boot_reuse": "a device started again under a boot that it had used",
    "messages_lost": "messages of an ended boot never came, and nothing explains it",
    "messages_dropped": "a device had to drop messages that its buffer could not hold",
}
"""Every code that a device's state can carry, with its meaning; `fault` carries the device's own code after a colon."""


def count_again(memory: DeviceMemory, now: Now) -> bool:
    """Hold or drop the conditions that follow from counts and clocks; True if one changed."""
    lost, dropped = memory.lost(), memory.dropped()
    changed = memory.hold("messages_lost", now, f"{lost} messages never came" if lost else None)
    changed |= memory.hold("messages_dropped", now, f"{dropped} messages were dropped" if dropped else None)
    return memory.hold("clock_skew", now, _skew_evidence(memory)) or changed


def device_conditions(memory: DeviceMemory) -> list[Condition]:
    """By severity, then code. Pure: the same memory gives the same conditions."""
    record = memory.record
    found: list[Condition] = []

    def hold(code: str, since_ms: int, severity: Severity, evidence: str) -> None:
        found.append(Condition(code=code, since=rfc3339(since_ms), severity=severity, evidence=evidence))

    for latest in record.latest.values():
        said = latest.message
        if isinstance(said, Smoke) and said.alarm:
            hold(
                "smoke", latest.since_ms, "critical", f"smoke alarm, {said.temp_c} °C" if said.temp_c else "smoke alarm"
            )
        elif isinstance(said, Fault) and not said.cleared:
            hold(f"fault:{cut(said.code)}", latest.since_ms, said.severity, cut(said.note) or said.code[:200])
        elif isinstance(said, Connector) and said.state == "faulted":
            hold(
                "connector_faulted",
                latest.since_ms,
                "warning",
                f"connector {said.connector}: {cut(said.error) or 'faulted'}",
            )
        elif isinstance(said, Connector) and said.state == "available" and said.bay_occupied:
            hold("bay_blocked", latest.at_ms, "warning", f"connector {said.connector}: bay taken without a plug")
        elif isinstance(said, Amenity) and not said.ok:
            hold("amenity_out", latest.since_ms, "warning", f"{cut(said.name)}: {cut(said.note) or 'out of order'}")
    if not record.online and record.status_boot is not None:
        hold("offline", record.heard_ms or 0, "warning", "the device is offline")
    for code, noted in record.noted.items():
        hold(code, noted.since_ms, "info" if code == "messages_dropped" else "warning", noted.evidence)
    rank = {"critical": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda condition: (rank[condition.severity], condition.code))


def _skew_evidence(memory: DeviceMemory) -> str | None:
    boot = memory.record.boots.get(memory.record.status_boot or "")
    if boot is None or not boot.clock.offsets or not boot.clock.offsets[-1].offset_ms:
        return None
    off_s = -boot.clock.offsets[-1].offset_ms / 1000
    return f"the clock is {abs(off_s):.0f} s {'ahead' if off_s > 0 else 'behind'}"
