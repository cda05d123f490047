"""Floor 1 · From the text of a sessions file and its map to sessions that piles can live, and the rows none can."""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import datetime, tzinfo
from functools import lru_cache
from itertools import product

from msgspec import Struct

from ingest.clock import LATEST, from_ms, to_ms
from ingest.inventory import Mistake
from simulators.plugs import FileSession, NotLivable, allot
from simulators.session_map import Columns, MapError, SessionMap, TimeForm, zone_of

KWH = {"Wh": 0.001, "kWh": 1.0, "MWh": 1000.0}
UNIT_MS = {"hours": 3_600_000, "minutes": 60_000, "seconds": 1_000}
CLOCK_DURATION = {"h:mm:ss": re.compile(r"(\d+):([0-5]\d):([0-5]\d)"), "h:mm": re.compile(r"(\d+):([0-5]\d)")}
SHORTEST_MS = 1_000
HIGHEST_KW = 1_000
"""What a meter message may say."""


class SessionsFile(Struct, frozen=True):
    """`sessions` by start, each at its plug; `not_livable` by line. Together they are `rows`."""

    rows: int
    sessions: list[FileSession]
    not_livable: list[NotLivable]


class _Unreadable(ValueError):
    pass


def read_sessions(text: str, how: SessionMap) -> SessionsFile:
    """Raises MapError where the map names columns that the header does not have."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=how.file.separator)
    header = next(rows, [])
    reader = _RowReader(how, _positions(header, how))
    read: list[FileSession] = []
    refused: list[NotLivable] = []
    for cells in rows:
        if not any(cells):
            continue
        try:
            if len(cells) != len(header):
                raise _Unreadable(f"{len(cells)} cells where the header has {len(header)}")
            read.append(reader.session(rows.line_num, cells))
        except _Unreadable as error:
            refused.append(NotLivable(rows.line_num, str(error)))
    placed, crowded = allot(read, how.plugs.per_station, how.time.resolution_s * 1000)
    not_livable = sorted([*refused, *crowded], key=lambda row: row.line)
    return SessionsFile(len(placed) + len(not_livable), placed, not_livable)


def _positions(header: list[str], how: SessionMap) -> dict[str, int]:
    wanted = {key: name for key in Columns.__struct_fields__ if (name := getattr(how.columns, key)) is not None}
    missing = [(key, name) for key, name in wanted.items() if name not in header]
    if missing:
        has = ", ".join(header) or "no header"
        raise MapError(
            Mistake(how.column_lines.get(key, 1), f"{key}: the file has no column {name!r}; it has {has}")
            for key, name in missing
        )
    return {key: header.index(name) for key, name in wanted.items()}


class _RowReader:
    """Reads rows one after the other; remembers the last start, for files that are ordered by it."""

    def __init__(self, how: SessionMap, positions: dict[str, int]) -> None:
        self._how = how
        self._at = positions
        self._resolution_ms = how.time.resolution_s * 1000
        self._last_start_ms = 0

    def _cell(self, cells: list[str], key: str) -> str:
        return cells[self._at[key]].strip() if key in self._at else ""

    def session(self, line: int, cells: list[str]) -> FileSession:
        station = self._cell(cells, "station")
        if not station:
            raise _Unreadable("no station")
        plugged_ms = self._duration(cells, "plugged_time")
        charging_ms = self._duration(cells, "charging_time")
        start_ms, end_ms = self._span(cells, plugged_ms if plugged_ms is not None else charging_ms)
        said_ms = plugged_ms if plugged_ms is not None else end_ms - start_ms
        energy_kwh = self._number(self._cell(cells, "energy"), "energy") * KWH[self._how.file.energy_unit]
        if charging_ms is None:
            charging_ms = end_ms - start_ms
        if charging_ms > max(end_ms - start_ms, said_ms) + self._resolution_ms:
            raise _Unreadable(f"charges for {charging_ms / 1000:.0f} s but is plugged for {said_ms / 1000:.0f} s")
        lived_charging_ms = min(charging_ms, end_ms - start_ms)
        if energy_kwh > 0 and energy_kwh * 3_600_000 > HIGHEST_KW * lived_charging_ms:
            raise _Unreadable(f"{energy_kwh:g} kWh in {charging_ms / 1000:.0f} s of charging")
        return FileSession(
            line=line,
            station=station,
            plug=self._plug(cells),
            start_ms=start_ms,
            end_ms=end_ms,
            charging_ms=lived_charging_ms,
            energy_kwh=energy_kwh,
            said_plugged_ms=said_ms,
            said_charging_ms=charging_ms,
        )

    def _span(self, cells: list[str], length_ms: int | None) -> tuple[int, int]:
        """Start and end. Where the clock showed a time twice, it is read both ways, and that pair is taken in which the
        end is not before the start, the start not before the last row's (in a file ordered by start), the length agrees
        with the duration that the row states, and, of what is left, the earlier."""
        start, zone, fold = (self._cell(cells, key) for key in ("start", "zone", "fold"))
        starts = _readings(self._how.time, start, zone, fold, name="start")
        end = self._cell(cells, "end")
        if end:
            zone, fold = (self._cell(cells, f"end_{key}") or said for key, said in (("zone", zone), ("fold", fold)))
            pairs = list(product(starts, _readings(self._how.time, end, zone, fold, name="end")))
        elif length_ms is not None:
            pairs = [(start_ms, start_ms + length_ms) for start_ms in starts]
        else:
            raise _Unreadable("no end, and no duration to live it by")
        start_ms, end_ms = min(pairs, key=lambda pair: self._doubts(pair[0], pair[1], length_ms))
        if end_ms < start_ms:
            raise _Unreadable(f"ends before it starts ({from_ms(end_ms):%Y-%m-%d %H:%M:%S} UTC)")
        if end_ms == start_ms:
            end_ms = start_ms + (length_ms or 0)
        if self._how.time.ordered:
            self._last_start_ms = max(self._last_start_ms, start_ms)
        return start_ms, max(end_ms, start_ms + SHORTEST_MS)

    def _doubts(self, start_ms: int, end_ms: int, length_ms: int | None) -> tuple[bool, bool, int, int, int]:
        off_ms = 0 if length_ms is None else abs(end_ms - start_ms - length_ms)
        return end_ms < start_ms, start_ms < self._last_start_ms, off_ms // (2 * self._resolution_ms), start_ms, end_ms

    def _plug(self, cells: list[str]) -> int:
        if "plug" not in self._at:
            return 0
        said, last = self._cell(cells, "plug"), self._how.plugs.per_station
        if not said.isdecimal() or not 1 <= int(said) <= last:
            raise _Unreadable(f"plug {said!r} is not one of 1 to {last}")
        return int(said)

    def _duration(self, cells: list[str], key: str) -> int | None:
        said = self._cell(cells, key)
        if not said:
            return None
        form = self._how.time.duration
        if form in CLOCK_DURATION:
            match = CLOCK_DURATION[form].fullmatch(said)
            if match is None:
                raise _Unreadable(f"{key} {said!r} is not like {form}")
            hours, minutes, seconds = (*map(int, match.groups()), 0)[:3]
            return ((hours * 60 + minutes) * 60 + seconds) * 1000
        return round(self._number(said, key) * UNIT_MS[form])

    def _number(self, said: str, name: str) -> float:
        mark = self._how.file.decimal_mark
        if not re.fullmatch(rf"\d+(?:[{mark}]\d*)?(?:[eE][+-]?\d+)?", said):
            what = "is missing" if not said else f"{said!r} is no number from 0 up with the decimal mark {mark!r}"
            raise _Unreadable(f"{name} {what}")
        value = float(said.replace(mark, "."))
        if not math.isfinite(value):
            raise _Unreadable(f"{name} {said!r} is too large")
        return value


def _readings(how: TimeForm, said: str, zone: str, fold: str, *, name: str) -> list[int]:
    """The instants that a local time may mean: one, or two where the clock was set back over it."""
    if not said:
        raise _Unreadable(f"no {name}")
    try:
        moment = datetime.strptime(said, how.format)  # noqa: DTZ007 -- the zone is what the map says, and comes next
        if moment.tzinfo is not None:
            instants = [to_ms(moment)]
        else:
            local = moment.replace(tzinfo=_zone(how.zone or how.zones.get(zone, zone)))
            instants = sorted({to_ms(local.replace(fold=second)) for second in (0, 1)})
            if len(instants) == 2 and from_ms(instants[0]).astimezone(local.tzinfo).replace(tzinfo=None) != moment:
                raise _Unreadable(f"{name} {said!r} was skipped when the clock was set forward")
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, _Unreadable) else _Unreadable(f"{name} {said!r}: {error}") from None
    if instants[0] < 0 or instants[-1] >= to_ms(LATEST):
        raise _Unreadable(f"{name} {said!r} is not between 1970 and 2199")
    if fold and len(instants) == 2:
        instants = instants[1:] if fold in how.second else instants[:1]
    return instants


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return zone_of(name)
