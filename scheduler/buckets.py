"""Floor 0 · Time in buckets of a quarter of an hour, and places at a plug, which are made of them.

A bucket is a whole number: quarters of an hour since 1970, UTC. A claim is one connector for one bucket.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

BUCKET_MS = 15 * 60_000
BUCKETS_PER_DAY = 96


def bucket_at(at_ms: int) -> int:
    """The bucket that runs at that time."""
    return at_ms // BUCKET_MS


def buckets_between(start_ms: int, end_ms: int) -> range:
    """All buckets that [start, end) touches: from floor(start) to ceil(end)."""
    return range(bucket_at(start_ms), -(-end_ms // BUCKET_MS))


class Place(Struct, frozen=True):
    """A connector for buckets in a row, and the power that it may draw in each.

    `watts[i]` is for bucket `first + i`; 0 where the car only stays plugged. `connector` is `SITE/DEVICE/1`.
    """

    connector: str
    first: int
    watts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.watts or min(self.watts) < 0:
            raise ValueError(f"a place needs a bucket, and no power below 0: {self}")

    @property
    def end(self) -> int:
        """The first bucket after it."""
        return self.first + len(self.watts)

    @property
    def buckets(self) -> range:
        return range(self.first, self.end)

    @property
    def start_ms(self) -> int:
        return self.first * BUCKET_MS

    @property
    def end_ms(self) -> int:
        return self.end * BUCKET_MS

    @property
    def energy_kwh(self) -> float:
        """What can be charged in it."""
        return sum(self.watts) * BUCKET_MS / 3_600_000 / 1_000

    def longer(self, buckets: int, watts: int = 0) -> Place:
        """The same with more buckets at its end."""
        return replace(self, watts=(*self.watts, *(watts,) * buckets))
