"""Floor 0 · Service time: the wall's time, shifted and sped up by one rule. And time as text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from ingest.messages import ClockReading

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Times of ours are at or after EPOCH and before this."""
DAY_MS = 24 * 3_600_000


class ServiceClock(Struct, frozen=True):
    """Service time is `service0_ms + (wall − wall0_ms) × speed`; all in whole milliseconds since 1970."""

    wall0_ms: int
    service0_ms: int
    speed: float = 1.0

    def at(self, wall_ms: int) -> int:
        return self.service0_ms + round((wall_ms - self.wall0_ms) * self.speed)

    def reading(self) -> ClockReading:
        return ClockReading(rfc3339(self.wall0_ms), rfc3339(self.service0_ms), self.speed)


def resumed(kept: ServiceClock | None, wall_ms: int, service_ms: int, speed: float) -> ServiceClock:
    """The clock to run on from now at `speed`; it never shows less than `kept` would show now."""
    at_least = kept.at(wall_ms) if kept else service_ms
    return ServiceClock(wall_ms, at_least if kept else service_ms, speed)


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970; parts of a millisecond are cut off."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def all_to_ms(moments: Iterable[datetime]) -> list[int]:
    """`to_ms` of many."""
    since = [moment - EPOCH for moment in moments]
    return [one.days * 86_400_000 + one.seconds * 1_000 + one.microseconds // 1_000 for one in since]


def from_ms(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def rfc3339(ms: int) -> str:
    """`2026-11-22T04:05:06.250Z`."""
    return f"{from_ms(ms - ms % 1000):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """Milliseconds of an RFC 3339 text with a zone. Raises ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it with Z")
    return to_ms(moment)


class Now(Struct, frozen=True):
    """One instant on both clocks: service time for what concerns people, a steady wall for what concerns machines."""

    service_ms: int
    mono_s: float
