"""Floor 0 · Which plug of a station each session of a file was at, where the file does not say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace


class FileSession(Struct, frozen=True, kw_only=True):
    """One row of a sessions file. `plug` is 0 where the file does not say it.

    It is lived from `start_ms` to `end_ms`, the first `charging_ms` of it charging. The `said_…` are the file's own
    figures, which may differ from the lived ones by the file's resolution.
    """

    line: int
    station: str
    plug: int = 0
    start_ms: int
    end_ms: int
    charging_ms: int
    energy_kwh: float
    said_plugged_ms: int
    said_charging_ms: int


class NotLivable(Struct, frozen=True):
    """A row that no pile can have lived, and why."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def allot(
    rows: Iterable[FileSession], per_station: int, resolution_ms: int
) -> tuple[list[FileSession], list[NotLivable]]:
    """Give each session the lowest plug that is free when it starts.

    Times are known to `resolution_ms` only, so a start may wait for less than that until a plug is free: of two
    retries and the session that followed them in one minute, each gets its plug. A shorter session keeps its length.
    """
    free_ms: defaultdict[str, list[int]] = defaultdict(lambda: [0] * per_station)
    placed: list[FileSession] = []
    refused: list[NotLivable] = []
    for row in sorted(rows, key=lambda row: (row.start_ms, row.end_ms, row.line)):
        plugs_free_ms = free_ms[row.station]
        allowed = range(per_station) if row.plug == 0 else range(row.plug - 1, row.plug)
        plug = min(allowed, key=lambda plug: (max(plugs_free_ms[plug], row.start_ms), plug))
        wait_ms = max(0, plugs_free_ms[plug] - row.start_ms)
        if wait_ms >= resolution_ms:
            where = f"plug {row.plug}" if row.plug else "every plug" if per_station > 1 else "the plug"
            refused.append(
                NotLivable(
                    row.line, f"{where} of {row.station!r} is taken for {wait_ms / 1000:.0f} s more when it starts"
                )
            )
            continue
        start_ms = row.start_ms + wait_ms
        end_ms = row.end_ms + wait_ms if row.end_ms - row.start_ms < resolution_ms else row.end_ms
        plugs_free_ms[plug] = end_ms
        charging_ms = min(row.charging_ms, end_ms - start_ms)
        placed.append(replace(row, plug=plug + 1, start_ms=start_ms, end_ms=end_ms, charging_ms=charging_ms))
    return placed, refused
