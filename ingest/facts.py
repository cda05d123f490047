"""Floor 0 · Facts as they are kept: rows, sessions, dead letters, and the batch that carries them to the store.

A batch carries rows as plain tuples in the column order given here, because a batch holds thousands of them.
`at_ns` is a point's time: effective milliseconds × 10⁶ + seq mod 10⁶, so that two messages of one millisecond
are two points and a second write of one is the same point.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Cell = str | int | float | bool | None
Row = tuple[Cell, ...]
Level = Literal["hour", "day"]

KEY_COLUMNS = ("at_ns", "site", "device", "kind", "boot", "seq", "ts_ms", "skewed")
"""Every row begins with these. `boot` is the inside name (`BOOT~2` if used again), `ts_ms` is what the device said."""

PILE_COLUMNS = (
    *KEY_COLUMNS,
    *("connector", "power_kw", "energy_kwh", "current_a", "voltage_v", "temp_c", "soc_pct"),
    *("state", "suspended_by", "bay_occupied", "token", "error"),
)
STATION_COLUMNS = (
    *KEY_COLUMNS,
    *("indoor_c", "indoor_rh_pct", "outdoor_c", "outdoor_rh_pct", "pm25", "co2_ppm"),
    *("people", "seats_used", "reading_seats_used", "entries", "groups", "outlets_used", "energy_wh"),
)
EVENT_COLUMNS = (*KEY_COLUMNS, "name", "ok", "code", "severity", "cleared", "note", "alarm", "temp_c")
"""Measurements: `pile` (meter, connector), `station` (climate, presence, outlets), `event` (amenity, fault, smoke)."""


class Session(Struct, frozen=True, kw_only=True):
    """One car at one connector, from plug-in to unplug. Times are milliseconds of effective time.

    `energy_kwh` is the counter's last minus its first, replaced meters bridged. `open_*` and `close_*` name the
    messages that opened and closed it; `incomplete` says that messages of its time were never received.
    """

    id: str
    site: str
    device: str
    connector: int
    started_ms: int
    open_boot: str
    open_seq: int
    energy_kwh: float = 0.0
    charge_ended_ms: int | None = None
    ended_ms: int | None = None
    close_boot: str | None = None
    close_seq: int | None = None
    incomplete: bool = False


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A message that could not be taken, as it came. The same bytes within a day raise `count`, not the rows."""

    id: str
    received_ms: int
    topic: str
    payload: bytes
    reason: str
    boot: str | None = None
    seq: int | None = None
    count: int = 1


class SkewMark(Struct, frozen=True):
    """Messages of one boot, already stored, whose clock was found wrong afterwards: they keep their time, flagged."""

    site: str
    device: str
    boot: str
    lo: int
    hi: int


class Batch(Struct, frozen=True, kw_only=True):
    """What one spool commit hands to the store. `no` counts up without a hole within one `spool`."""

    spool: str
    no: int
    pile: list[Row] = []
    station: list[Row] = []
    event: list[Row] = []
    sessions: list[Session] = []
    """New and changed sessions; the same id overwrites."""
    withdrawn: list[str] = []
    """Ids of sessions that did not happen so."""
    dead: list[DeadLetter] = []
    revived: list[str] = []
    """Ids of dead letters that were taken after all."""
    skewed: list[SkewMark] = []


class Reading(Struct, frozen=True):
    """What session derivation needs of one pile row."""

    boot: str
    seq: int
    at_ms: int
    connector: int
    state: str | None
    suspended_by: str | None
    power_kw: float | None
    energy_kwh: float | None
