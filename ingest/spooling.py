"""Floor 1 · The port of the spool: what is committed and synced before anybody is told that it is safe."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct, msgpack

from ingest.facts import Batch
from ingest.memory import DeviceRecord

encode_record = msgpack.Encoder().encode
decode_record = msgpack.Decoder(DeviceRecord).decode


class SeenChange(Struct, frozen=True):
    """The seqs seen of one boot: its ranges that begin at `from_lo` or above are now these."""

    device: str
    boot: str
    from_lo: int
    ranges: list[tuple[int, int]]


class DeadSeen(Struct, frozen=True):
    """That these bytes went to the dead letters already, under which id, first when, how often."""

    digest: bytes
    id: str
    first_ms: int
    count: int


class Commit(Struct, frozen=True):
    """What becomes durable together. `batch.no` and `batch.spool` are given by the spool."""

    batch: Batch
    seen: list[SeenChange]
    records: dict[str, bytes]
    """By SITE/DEVICE: its record as `encode_record` made it when the batch was drawn; later changes are not in it."""
    dead_seen: list[DeadSeen]


class Kept(Struct, frozen=True):
    """What a spool remembers from before."""

    records: list[DeviceRecord]
    seen: list[tuple[str, str, int, int]]
    """(SITE/DEVICE, boot, lo, hi)"""
    dead_seen: list[DeadSeen]


class Damage(Struct, frozen=True):
    """Batches that were acknowledged and that the spool no longer has; of those `stored` had reached the store."""

    first_no: int
    last_no: int
    stored: int
    found_ms: int


class Lost(Struct, frozen=True):
    """First and last number of acknowledged batches of a spool that were gone when it was opened."""

    spool: str
    first_no: int
    last_no: int


class SpoolFull(OSError):
    """The disk did not take it; nothing of it was kept. The same may be tried again."""


class SpoolSize(Struct, frozen=True):
    """What waits for the store. `oldest_ms` is service time; None of an empty spool."""

    batches: int
    rows: int
    bytes: int
    oldest_ms: int | None


class Spool(Protocol):
    """`id` is random and the spool's own; `starts` says how often it was opened, and grows over restarts."""

    id: str
    last_no: int
    starts: int
    lost: Lost | None
    damage: list[Damage]

    def load(self) -> Kept: ...

    def commit(self, commit: Commit, drained: int, now_ms: int) -> Batch:
        """Make it durable: on return it is synced, and so is the mark beside it. Forgets batches up to `drained`.
        Raises SpoolFull; the same commit may then be given again."""

    def catch_up(self, stored_no: int) -> None:
        """Say how far the store is: a spool that was behind it when it was opened was set back, and knows by `lost`."""

    def leap(self) -> None:
        """The store cannot be asked now. Go on with numbers far beyond any that it can have, so that none is taken
        for one that it has."""

    def forget(self, drained: int) -> None:
        """Let go of batches that the store has, when no commit is due that would do it. Raises SpoolFull."""

    def pending(self, after: int, most_rows: int) -> list[Batch]:
        """Committed batches with a number above `after`, in order, until they hold `most_rows`, or fewer where they
        are large. From any thread."""

    def revived(self) -> dict[str, int]:
        """Dead letters that were taken by batches not yet let go of, with the number of each one's batch."""

    def size(self, drained: int) -> SpoolSize:
        """What waits behind batch `drained`. From any thread. Raises SpoolFull."""

    def record_damage(self, damage: Damage) -> None:
        """What was lost is learned again: say it from now on, until somebody has seen it."""

    def forget_damage(self) -> None: ...

    def expire(self, dead_before_ms: int) -> None:
        """Raises SpoolFull."""

    def close(self) -> None: ...
