"""Floor 0 · The retained state of a device, made from what is remembered of it (docs/contracts/mqtt.md, state)."""

from __future__ import annotations

from msgspec import UNSET, UnsetType, to_builtins

from ingest.assets import Device
from ingest.clock import rfc3339
from ingest.conditions import device_conditions
from ingest.facts import Session
from ingest.memory import DeviceMemory, Latest
from ingest.messages import (
    Amenity,
    Connector,
    ConnectorState,
    DeviceState,
    Fault,
    Meter,
    SessionEvent,
    SessionNotice,
    SessionNow,
)
from ingest.sessions import PLUGGED, Life, measured

LEAST_BEHIND_MS = 5_000
"""A clock that is less behind is not worth saying: a status takes its time, too."""
_ENVELOPE = ("v", "boot", "seq", "ts", "kind", "token")


def device_state(memory: DeviceMemory, device: Device, rev: int, now_ms: int) -> DeviceState:
    record = memory.record
    newest = max((latest.at_ms for latest in record.latest.values()), default=None)
    return DeviceState(
        rev=rev,
        site=record.site,
        device=record.device,
        kind=device.kind,
        ts=rfc3339(now_ms),
        observed_at=None if newest is None else rfc3339(newest),
        online=record.online,
        interval_s=record.interval_s,
        clock_skew_s=_skew_s(memory),
        clock_behind_s=_behind_s(memory),
        connectors=_connectors(memory, device) if device.kind == "pile" else UNSET,
        station=_station(memory) if device.kind == "station" else UNSET,
        conditions=device_conditions(memory),
    )


def tokens(memory: DeviceMemory) -> dict[str, str]:
    """The codes that were typed at its connectors, while a car is there."""
    said = (latest.message for latest in memory.record.latest.values())
    there = (one for one in said if isinstance(one, Connector) and one.token and one.state in PLUGGED)
    return {str(one.connector): one.token or "" for one in there}


def session_notice(before: Session | None, session: Session) -> SessionNotice:
    """What happened to a session, told from what it was before."""
    if before is None and session.ended_ms is None:
        return _notice("opened", session)
    if session.ended_ms is not None and (before is None or before.ended_ms is None):
        return _notice("closed", session)
    if session.charge_ended_ms is not None and (before is None or session.charge_ended_ms != before.charge_ended_ms):
        return _notice("charge_ended", session)
    return _notice("changed", session)


def withdrawn_notice(session: Session) -> SessionNotice:
    return _notice("withdrawn", session)


def _notice(event: SessionEvent, session: Session) -> SessionNotice:
    return SessionNotice(
        event=event,
        id=session.id,
        site=session.site,
        device=session.device,
        connector=session.connector,
        started_at=rfc3339(session.started_ms),
        charge_ended_at=None if session.charge_ended_ms is None else rfc3339(session.charge_ended_ms),
        ended_at=None if session.ended_ms is None else rfc3339(session.ended_ms),
        energy_kwh=session.energy_kwh,
        incomplete=session.incomplete,
    )


def _skew_s(memory: DeviceMemory) -> float | UnsetType:
    record = memory.record
    boot = record.boots.get(record.status_boot or (record.order[-1] if record.order else ""))
    offset_ms = boot.clock.offsets[-1].offset_ms if boot is not None and boot.clock.offsets else 0
    return -offset_ms / 1000 if offset_ms else UNSET


def _behind_s(memory: DeviceMemory) -> float | UnsetType:
    """Of the boot that speaks, once what is known of the device is of it."""
    record = memory.record
    newest = max(record.latest.values(), key=lambda latest: latest.at_ms, default=None)
    boot = record.boots.get(record.status_boot or "")
    if boot is None or newest is None or newest.boot != record.status_boot or boot.clock.behind_ms < LEAST_BEHIND_MS:
        return UNSET
    return boot.clock.behind_ms / 1000


def _connectors(memory: DeviceMemory, device: Device) -> list[ConnectorState]:
    found = []
    for spec in device.connectors:
        said = memory.record.latest.get(f"connector/{spec.id}")
        meter = memory.record.latest.get(f"meter/{spec.id}")
        if said is not None or meter is not None:
            found.append(_connector(spec.id, said, meter, memory.record.lives.get(spec.id)))
    return found


def _connector(number: int, said: Latest | None, meter: Latest | None, life: Life | None) -> ConnectorState:
    state = said.message if said is not None and isinstance(said.message, Connector) else None
    measures = meter.message if meter is not None and isinstance(meter.message, Meter) else None
    return ConnectorState(
        connector=number,
        state=UNSET if state is None else state.state,
        suspended_by=UNSET if state is None or state.suspended_by is None else state.suspended_by,
        since=UNSET if said is None else rfc3339(said.since_ms),
        observed_at=rfc3339(max(latest.at_ms for latest in (said, meter) if latest is not None)),
        power_kw=UNSET if measures is None else measures.power_kw,
        energy_kwh=UNSET if measures is None else measures.energy_kwh,
        bay_occupied=UNSET if state is None or state.bay_occupied is None else state.bay_occupied,
        session=None if life is None else _session(life),
    )


def _session(life: Life) -> SessionNow | None:
    session = measured(life)
    if session is None:
        return None
    ended_ms = session.charge_ended_ms
    return SessionNow(
        id=session.id,
        started_at=rfc3339(session.started_ms),
        energy_kwh=session.energy_kwh,
        charge_ended_at=UNSET if ended_ms is None else rfc3339(ended_ms),
    )


def _station(memory: DeviceMemory) -> dict[str, object]:
    """By instrument: what it said last, with `observed_at`. Amenities are a map by name; faults stand in conditions."""
    found: dict[str, object] = {}
    amenities: dict[str, object] = {}
    for key, latest in memory.record.latest.items():
        said = latest.message
        if isinstance(said, Fault):
            continue
        fields = {name: value for name, value in to_builtins(said).items() if name not in _ENVELOPE}
        fields["observed_at"] = rfc3339(latest.at_ms)
        if isinstance(said, Amenity):
            amenities[fields.pop("name")] = fields
        else:
            found[key] = fields
    if amenities:
        found["amenities"] = amenities
    return found
