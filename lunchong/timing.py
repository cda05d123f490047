"""How an installation's service time runs, and what of it is kept so that a restart never moves it back."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.clock import ServiceClock
from lunchong.data_folder import DataFolder
from lunchong.live_clock import LiveClock, MessageClock, clock_from, wall_ms

KEEP_EVERY_S = 1.0


@dataclass(frozen=True)
class Timing:
    """How service time runs.

    `begin_ms` is where it begins in a fresh folder, the wall's own time when None. `messages` lets the messages drive
    it. With `rests` it stands still while the installation does not run, for places whose devices end with it.
    """

    speed: float = 1.0
    begin_ms: int | None = None
    messages: bool = False
    rests: bool = False


BY_THE_WALL = Timing()


def start_clock(timing: Timing, folder: DataFolder) -> LiveClock:
    """A clock that goes on from what the folder keeps."""
    kept = folder.clock()
    if timing.messages:
        return MessageClock(kept.at(wall_ms()) if kept else 0)
    return LiveClock(clock_from(kept, timing.begin_ms, timing.speed))


class FollowedClock(LiveClock):
    """The clock that another process keeps in the folder; the wall's own until there is one."""

    def __init__(self, folder: DataFolder) -> None:
        super().__init__(ServiceClock(wall_ms(), wall_ms()))
        self._folder, self._found = folder, False
        self.look()

    def look(self) -> None:
        """Take what is kept now; to be called each `KEEP_EVERY_S`."""
        kept = self._folder.clock()
        if kept is None:
            return
        if not self._found:
            self._found, self._latest_ms = True, 0
        self.clock = kept


def keep_clock(clock: LiveClock, timing: Timing, folder: DataFolder, *, last: bool = False) -> None:
    """Note how far service time came; to be called each `KEEP_EVERY_S`, and once more as the `last`.

    The note of a clock that rests stands for all the time until the next note, so it is that far ahead.
    """
    if timing.messages or timing.rests:
        ahead_ms = 0 if last else round(2_000 * KEEP_EVERY_S * clock.speed)
        folder.keep_clock(ServiceClock(wall_ms(), clock.service_ms() + ahead_ms, 0.0))
    elif folder.clock() != clock.clock:
        folder.keep_clock(clock.clock)
