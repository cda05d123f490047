"""Floor 1 · The port behind which facts are kept."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from ingest.facts import Batch, Cell, DeadLetter, Level, Reading, Session


class HistoryPoint(Struct, frozen=True):
    """One step of a history, by its beginning."""

    at_ms: int
    values: dict[str, float | None]
    """Means over the step for instantaneous fields, the last value for counters."""


class SessionPage(Struct, frozen=True):
    """`next` is the cursor of the page after this one; None on the last."""

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


class StoreUnusable(Exception):
    """The store cannot be used as it is; one line that says why and what to do."""


class TelemetryStore(Protocol):
    """Where facts are kept. Safe to call from several threads; a method either did all it says or raises."""

    def write(self, batch: Batch) -> list[DeadLetter]:
        """Store a batch once, however often it is given. Raises StoreUnavailable.

        Returns the dead letters, kept already, of those messages that the store refuses for good.
        """

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

    def open_sessions(self) -> list[Session]:
        """Every session without an end, by start."""

    def sessions_after(self, site: str, device: str, since_ms: int) -> list[Session]:
        """Every session of a device that is open or ended at or after `since_ms`, by start."""

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        """Pile rows of one connector with effective time at or after `since_ms`, in no order."""

    def roll_up(self, before_ms: int, limit_hours: int = 2_000) -> int:
        """Make or renew the rollups of every whole hour and day before `before_ms` that changed; how many hours were done."""

    def rollups(
        self, level: Level, start_ms: int, end_ms: int, *, site: str | None = None, device: str | None = None
    ) -> list[RollupRow]:
        """Rows of the hours or days that begin in [start_ms, end_ms) and are whole, oldest first."""

    def stored(self, since_batch: tuple[str, int] | None = None) -> list[tuple[str, str, str, int, int, int]]:
        """(site, device, boot, lowest seq, highest seq, rows) of each unbroken run of seqs stored. Of batches after
        `since_batch` (spool, no) where given and where the store knows its rows by batch, else of all. Rows above
        hi − lo + 1 are duplicates."""

    def dead_letters(self, *, limit: int = 100, after: str | None = None) -> list[DeadLetter]:
        """Newest first; `after` is the id of the last one seen."""

    def count_dead(self) -> int:
        """How many dead letters there are."""

    def purge_dead(self, ids: list[str] | None = None, before_ms: int | None = None) -> int:
        """Delete dead letters that are among `ids` and received before `before_ms`, where given; how many went."""

    def expire(self, before_ms: int) -> int:
        """Delete raw rows of the whole hours before `before_ms` that are rolled up; sessions, events and rollups stay.
        How many rows went."""

    def close(self) -> None:
        """End what is under way. Calls afterwards raise StoreUnavailable."""
