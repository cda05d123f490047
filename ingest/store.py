"""Floor 1 · The port behind which facts are kept, and the rows that cross it.

A batch carries rows as plain tuples in the column order given here, because a batch holds thousands of them.
`at_ns` is a point's time: effective milliseconds × 10⁶ + seq mod 10⁶, so that two messages of one millisecond
are two points and a second write of one is the same point.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

Cell = str | int | float | bool | None
Row = tuple[Cell, ...]
Level = Literal["hour", "day"]

KEY_COLUMNS = ("at_ns", "site", "device", "kind", "boot", "seq", "ts_ms", "skewed")
"""Every row begins with these. `boot` is the inside name (`BOOT~2` for a boot used again); `ts_ms` is what the device said."""

PILE_COLUMNS = (*KEY_COLUMNS, "connector", "power_kw", "energy_kwh", "current_a", "voltage_v", "temp_c", "soc_pct",
                "state", "suspended_by", "bay_occupied", "token", "error")  # fmt: skip
STATION_COLUMNS = (*KEY_COLUMNS, "indoor_c", "indoor_rh_pct", "outdoor_c", "outdoor_rh_pct", "pm25", "co2_ppm",
                   "people", "seats_used", "reading_seats_used", "entries", "groups", "outlets_used", "energy_wh")  # fmt: skip
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
    skewed: list[SkewMark] = []


class Position(Struct, frozen=True):
    """A message of a device by where it stands: its boot's place in the device's order, and its seq."""

    boot: str
    seq: int


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


class HistoryPoint(Struct, frozen=True):
    at_ms: int
    values: dict[str, float | None]
    """Means over the step for instantaneous fields, the last value for counters."""


class SessionPage(Struct, frozen=True):
    items: list[Session]
    next: str | None


class RollupRow(Struct, frozen=True, kw_only=True):
    """One instrument over one hour or day. `connector` is 0 for a station."""

    level: Level
    start_ms: int
    site: str
    device: str
    connector: int
    samples: int
    energy_kwh: float | None = None
    power_kw_max: float | None = None
    power_kw_mean: float | None = None
    people_max: float | None = None
    people_mean: float | None = None
    indoor_c_max: float | None = None
    indoor_c_min: float | None = None
    outlet_wh: float | None = None
    entries: int | None = None


class StoreUnavailable(Exception):
    """The store did not take the batch; nothing of it may be assumed written. Try it again after `retry_s`."""

    def __init__(self, why: str, retry_s: float = 1.0) -> None:
        super().__init__(why)
        self.retry_s = retry_s


class TelemetryStore(Protocol):
    """Where facts are kept. Safe to call from several threads; a method either did all it says or raises."""

    def write(self, batch: Batch) -> None:
        """Store a batch once: a `no` at or below `drained(batch.spool)` is skipped. Raises StoreUnavailable."""

    def drained(self, spool: str) -> int:
        """The number of the last batch stored of that spool; 0 before the first."""

    def latest(self) -> list[dict[str, Cell]]:
        """The newest meter and connector row of each connector and the newest row of each station instrument, by column name."""

    def history(
        self, site: str, device: str, connector: int | None, start_ms: int, end_ms: int, every_ms: int
    ) -> list[HistoryPoint]:
        """Steps of `every_ms` in [start_ms, end_ms) that hold a reading, oldest first."""

    def sessions(self, *, site: str | None = None, device: str | None = None, connector: int | None = None,
                 start_ms: int | None = None, end_ms: int | None = None, cursor: str | None = None, limit: int = 100) -> SessionPage:  # fmt: skip
        """Sessions that started in [start_ms, end_ms), oldest first. A bad cursor raises ValueError."""

    def open_sessions(self) -> list[Session]: ...

    def sessions_after(self, site: str, device: str, since_ms: int) -> list[Session]:
        """Every session of a device that is open or ended at or after `since_ms`, by start."""

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        """Pile rows of one connector with effective time at or after `since_ms`, in no order."""

    def roll_up(self, before_ms: int, limit_hours: int = 2_000) -> int:
        """Make or renew the rollups of every whole hour and day before `before_ms` that changed; how many hours were done."""

    def rollups(
        self, level: Level, start_ms: int, end_ms: int, *, site: str | None = None, device: str | None = None
    ) -> list[RollupRow]: ...

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:
        """(site, device, boot, lowest seq, highest seq, rows) of each unbroken run of seqs stored; of batches after
        `since_batch` (spool, no) where given. Rows above hi − lo + 1 are duplicates."""

    def dead_letters(self, *, limit: int = 100, after: str | None = None) -> list[DeadLetter]:
        """Newest first; `after` is the id of the last one seen."""

    def purge_dead(self, ids: list[str] | None = None, before_ms: int | None = None) -> int: ...

    def expire(self, before_ms: int) -> int:
        """Delete raw rows older than `before_ms`; sessions, events and rollups stay."""

    def close(self) -> None: ...
