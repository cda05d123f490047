"""Floor 0 · One telemetry message as a row of its measurement, in the column order of ingest.facts."""

from __future__ import annotations

import json
from binascii import crc32
from typing import Literal

from ingest.facts import Reading, Row
from ingest.messages import (
    TEXT_LIMIT,
    Amenity,
    Climate,
    Connector,
    Fault,
    Meter,
    Outlets,
    Presence,
    Smoke,
    Telemetry,
)

Measurement = Literal["pile", "station", "event"]
NANOS = 1_000_000


def shift_of(boot: str) -> int:
    """What keeps a boot's points apart from those of a boot whose times it shares."""
    return 1 + crc32(boot.encode()) % (NANOS - 1)


def row(
    message: Telemetry, site: str, device: str, boot: str, ts_ms: int, effective_ms: int, skewed: bool, shift: int
) -> tuple[Measurement, Row]:
    """The measurement that a message belongs to, and its row there. `shift` is that of its boot, usually 0."""
    seq = message.seq
    ns = effective_ms * NANOS + (seq + shift) % NANOS
    match message:
        case Meter():
            return "pile", (
                ns, site, device, "meter", boot, seq, ts_ms, skewed,
                message.connector, message.power_kw, message.energy_kwh, message.current_a, message.voltage_v,
                message.temp_c, message.soc_pct, None, None, None, None, None,
            )  # fmt: skip
        case Connector():
            return "pile", (
                ns, site, device, "connector", boot, seq, ts_ms, skewed,
                message.connector, None, None, None, None, None, None,
                message.state, message.suspended_by, message.bay_occupied, cut(message.token), cut(message.error),
            )  # fmt: skip
        case Climate():
            return "station", (
                ns, site, device, "climate", boot, seq, ts_ms, skewed,
                message.indoor_c, message.indoor_rh_pct, message.outdoor_c, message.outdoor_rh_pct,
                message.pm25, message.co2_ppm, None, None, None, None, None, None, None,
            )  # fmt: skip
        case Presence():
            groups = None if message.groups is None else json.dumps(message.groups, ensure_ascii=False, sort_keys=True)
            return "station", (
                ns, site, device, "presence", boot, seq, ts_ms, skewed,
                None, None, None, None, None, None,
                message.people, message.seats_used, message.reading_seats_used, message.entries, groups, None, None,
            )  # fmt: skip
        case Outlets():
            return "station", (
                ns, site, device, "outlets", boot, seq, ts_ms, skewed,
                None, None, None, None, None, None, None, None, None, None, None,
                message.outlets_used, message.energy_wh,
            )  # fmt: skip
        case Amenity():
            return "event", (
                ns, site, device, "amenity", boot, seq, ts_ms, skewed,
                cut(message.name), message.ok, None, None, None, cut(message.note), None, None,
            )  # fmt: skip
        case Fault():
            return "event", (
                ns, site, device, "fault", boot, seq, ts_ms, skewed,
                None, None, cut(message.code), message.severity, message.cleared, cut(message.note), None, None,
            )  # fmt: skip
        case Smoke():
            return "event", (
                ns, site, device, "smoke", boot, seq, ts_ms, skewed,
                None, None, None, None, None, None, message.alarm, message.temp_c,
            )  # fmt: skip


def cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT]


def reading(message: Telemetry, boot: str, effective_ms: int) -> Reading | None:
    """What session derivation needs of a message; None for one that says nothing of a connector."""
    if isinstance(message, Meter):
        return Reading(
            boot, message.seq, effective_ms, message.connector, None, None, message.power_kw, message.energy_kwh
        )
    if isinstance(message, Connector):
        return Reading(
            boot, message.seq, effective_ms, message.connector, message.state, message.suspended_by, None, None
        )
    return None


def instrument(message: Telemetry) -> str:
    """The name under which the latest of this kind is kept: `meter/1`, `climate`, `amenity/water`, `fault/CODE`."""
    if isinstance(message, Meter | Connector):
        return f"{message.__struct_config__.tag}/{message.connector}"
    if isinstance(message, Amenity):
        return f"amenity/{cut(message.name)}"
    if isinstance(message, Fault):
        return f"fault/{cut(message.code)}"
    return str(message.__struct_config__.tag)
