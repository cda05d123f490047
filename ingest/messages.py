"""Floor 0 · What devices say and are told on the bus, as frozen values.

Field names, units and ranges are those of docs/contracts/mqtt.md; every struct encodes to the JSON of that page.
Times on the wire are RFC 3339 text; inside the service they are whole milliseconds since 1970 (`_ms`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Boot = Annotated[str, Meta(min_length=1, max_length=64)]
Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
LastSeq = Annotated[int, Meta(ge=0, le=2**63 - 1)]
ConnectorNo = Annotated[int, Meta(ge=1, le=64)]
PowerKw = Annotated[float, Meta(ge=-1_000, le=1_000)]
EnergyKwh = Annotated[float, Meta(ge=0, le=1e9)]
EnergyWh = Annotated[float, Meta(ge=0, le=1e12)]
CurrentA = Annotated[float, Meta(ge=-2_000, le=2_000)]
VoltageV = Annotated[float, Meta(ge=0, le=1_500)]
Celsius = Annotated[float, Meta(ge=-60, le=200)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Count = Annotated[int, Meta(ge=0, le=100_000)]
Entries = Annotated[int, Meta(ge=0, le=10**12)]
Air = Annotated[float, Meta(ge=0, le=100_000)]

ConnectorCondition = Literal["available", "preparing", "charging", "suspended", "finishing", "faulted", "unavailable"]
SuspendedBy = Literal["ev", "evse"]
Severity = Literal["info", "warning", "critical"]
SessionEvent = Literal["opened", "charge_ended", "closed", "changed", "withdrawn"]

TEXT_LIMIT = 200
"""Notes, tokens, codes and errors are cut beyond this many characters."""


class Message(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """The envelope of one telemetry message. `seq` counts every message of a boot, over all kinds, from 1."""

    v: Literal[1]
    boot: Boot
    seq: Seq
    ts: Annotated[datetime, Meta(tz=True)]


class Meter(Message, frozen=True, kw_only=True, tag="meter"):
    """A connector's meter. `energy_kwh` is the lifetime counter; `soc_pct` is known on direct current only."""

    connector: ConnectorNo
    power_kw: PowerKw
    energy_kwh: EnergyKwh
    current_a: CurrentA
    voltage_v: VoltageV
    temp_c: Celsius | None = None
    soc_pct: Percent | None = None


class Connector(Message, frozen=True, kw_only=True, tag="connector"):
    """What a connector is doing. `token` is a turn's code and never leaves the service."""

    connector: ConnectorNo
    state: ConnectorCondition
    suspended_by: SuspendedBy | None = None
    token: str | None = None
    error: str | None = None
    bay_occupied: bool | None = None


class Climate(Message, frozen=True, kw_only=True, tag="climate"):
    indoor_c: Celsius
    indoor_rh_pct: Percent
    outdoor_c: Celsius | None = None
    outdoor_rh_pct: Percent | None = None
    pm25: Air | None = None
    co2_ppm: Air | None = None


GroupName = Annotated[str, Meta(max_length=TEXT_LIMIT)]
MOST_GROUPS = 64


class Presence(Message, frozen=True, kw_only=True, tag="presence"):
    """People in a station, counted without keeping images. `entries` is a lifetime counter."""

    people: Count
    seats_used: Count
    reading_seats_used: Count | None = None
    entries: Entries | None = None
    groups: Annotated[dict[GroupName, Count], Meta(max_length=MOST_GROUPS)] | None = None


class Outlets(Message, frozen=True, kw_only=True, tag="outlets"):
    outlets_used: Count
    energy_wh: EnergyWh


class Amenity(Message, frozen=True, kw_only=True, tag="amenity"):
    name: Annotated[str, Meta(min_length=1)]
    ok: bool
    note: str | None = None


class Fault(Message, frozen=True, kw_only=True, tag="fault"):
    code: Annotated[str, Meta(min_length=1)]
    severity: Severity
    cleared: bool
    note: str | None = None


class Smoke(Message, frozen=True, kw_only=True, tag="smoke"):
    alarm: bool
    temp_c: Celsius | None = None


Telemetry = Meter | Connector | Climate | Presence | Outlets | Amenity | Fault | Smoke

PILE_KINDS = frozenset({"meter", "connector", "fault", "smoke"})
STATION_KINDS = frozenset({"climate", "presence", "outlets", "amenity", "fault", "smoke"})


class KeptBoot(Struct, frozen=True):
    """A boot of which the device still keeps, or has dropped, messages."""

    boot: Boot
    last_seq: LastSeq
    dropped_ranges: list[tuple[Seq, Seq]] = []


class Status(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device's retained word about itself. As its will it has only v, boot and `online: false`."""

    v: Literal[1]
    boot: Boot
    online: bool
    ts: Annotated[datetime, Meta(tz=True)] | None = None
    interval_s: Annotated[int, Meta(ge=1, le=900)] | None = None
    last_seq: LastSeq | None = None
    model: str | None = None
    firmware: str | None = None
    boots: list[KeptBoot] | None = None


class Ack(Struct, frozen=True):
    """Seqs of one boot that are durable, as closed ranges."""

    boot: str
    ranges: list[tuple[int, int]]
    v: Literal[1] = 1


class Command(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """An order to a device. `epoch` fences out a scheduler that lost its lease; `ttl_s` is service seconds."""

    id: str
    epoch: int
    ttl_s: float
    connector: ConnectorNo | None = None
    v: Literal[1]


class SetLimit(Command, frozen=True, kw_only=True, tag="set_limit"):
    limit_kw: float
    fallback_kw: float


class Reserve(Command, frozen=True, kw_only=True, tag="reserve"):
    turn: str
    code_hash: str
    until: str


class Release(Command, frozen=True, kw_only=True, tag="release"):
    turn: str


class Start(Command, frozen=True, kw_only=True, tag="start"):
    turn: str


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    reason: str | None = None


class Show(Command, frozen=True, kw_only=True, tag="show"):
    text: str
    code: str | None = None


AnyCommand = SetLimit | Reserve | Release | Start | Stop | Show
Refusal = Literal["stale_epoch", "unknown_connector", "unknown_turn", "busy", "faulted", "unsupported"]


class CommandResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    v: Literal[1]
    id: str
    result: Literal["accepted", "rejected", "failed"]
    reason: str | None = None


class Tokens(Struct, frozen=True, kw_only=True):
    """`token`: the codes that were typed at a pile's connectors, by their number, while a car is there. From ingest to
    the scheduler, and to nobody else.
    """

    v: Literal[1] = 1
    tokens: dict[str, str]


NO_CODE = "-"
"""The `code_hash` of a car that came without a turn: nothing is hashed to it, and nobody else is awaited."""


class TurnNow(Struct, frozen=True, kw_only=True):
    turn: str
    call: str
    code_hash: str
    until: str


class TurnNext(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    call: str
    from_: str


class TurnsAt(Struct, frozen=True, kw_only=True):
    connector: ConnectorNo
    now: TurnNow | None
    next: list[TurnNext]


class Turns(Struct, frozen=True, kw_only=True):
    v: Literal[1]
    ts: str
    epoch: int
    connectors: list[TurnsAt]


class SessionNow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The charging session that a connector lives now."""

    id: str
    started_at: str
    energy_kwh: float
    charge_ended_at: str | UnsetType = UNSET


class ConnectorState(Struct, frozen=True, kw_only=True):
    """The latest of one connector; a field that was never said is left out."""

    connector: int
    state: ConnectorCondition | UnsetType = UNSET
    suspended_by: SuspendedBy | UnsetType = UNSET
    since: str | UnsetType = UNSET
    observed_at: str
    power_kw: float | UnsetType = UNSET
    energy_kwh: float | UnsetType = UNSET
    bay_occupied: bool | UnsetType = UNSET
    session: SessionNow | None = None


class Condition(Struct, frozen=True, kw_only=True):
    """A level that holds: something is not as it should be, since when, and what shows it."""

    code: str
    since: str
    severity: Severity
    evidence: str


class DeviceState(Struct, frozen=True, kw_only=True):
    """The canonical retained state of a device. `station` holds the latest of each instrument."""

    v: Literal[1] = 1
    rev: int
    site: str
    device: str
    kind: Literal["pile", "station"]
    ts: str
    observed_at: str | None
    online: bool
    interval_s: int
    clock_skew_s: float | UnsetType = UNSET
    clock_behind_s: float | UnsetType = UNSET
    connectors: list[ConnectorState] | UnsetType = UNSET
    station: dict[str, object] | UnsetType = UNSET
    conditions: list[Condition] = []


class ClockReading(Struct, frozen=True):
    """Service time = service0 + (wall − wall0) × speed. Both zeros are RFC 3339 text on the wire."""

    wall0: str
    service0: str
    speed: float


class ServiceNotice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`service/{name}`: a process speaks of itself; as its will only v and `online: false`."""

    v: Literal[1]
    online: bool
    version: str | UnsetType = UNSET
    since: str | UnsetType = UNSET
    clock: ClockReading | UnsetType = UNSET
    accepting: bool | UnsetType = UNSET
    conditions: list[Condition] | UnsetType = UNSET


class SessionNotice(Struct, frozen=True, kw_only=True):
    """`session`: what happened to a charging session, and the session as it is now."""

    v: Literal[1] = 1
    event: SessionEvent
    id: str
    site: str
    device: str
    connector: int
    started_at: str
    charge_ended_at: str | None
    ended_at: str | None
    energy_kwh: float
    incomplete: bool
