"""Floor 1 · The map of a sessions file: TOML that says how the file is written, each mistake named by its line."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable
from datetime import timedelta, timezone, tzinfo
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from ingest.inventory import Mistake
from ingest.messages import Id
from ingest.toml_lines import Path, lines_of

Text = Annotated[str, Meta(min_length=1)]
DurationFormat = Literal["h:mm:ss", "h:mm", "hours", "minutes", "seconds"]

OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


class FileForm(Struct, frozen=True, forbid_unknown_fields=True):
    """How the text is written. `energy_unit` is that of the energy column."""

    separator: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    decimal_mark: Literal[".", ","] = "."
    energy_unit: Literal["Wh", "kWh", "MWh"] = "kWh"
    encoding: Text = "utf-8-sig"


class Columns(Struct, frozen=True, forbid_unknown_fields=True):
    """Which column says what. `plugged_time` is from plug-in to unplug, `charging_time` with current flowing.

    `zone` and `end_zone` name the columns of a time zone for each row, `fold` and `end_fold` those that tell the first
    from the second of an hour that the clock showed twice; an end for which none is named uses the start's.
    """

    station: Text
    start: Text
    energy: Text
    end: Text | None = None
    plugged_time: Text | None = None
    charging_time: Text | None = None
    plug: Text | None = None
    zone: Text | None = None
    end_zone: Text | None = None
    fold: Text | None = None
    end_fold: Text | None = None


class TimeForm(Struct, frozen=True, forbid_unknown_fields=True):
    """How times are written. `format` is strptime's; with `%z` in it each time brings its own zone.

    `zone` is `UTC`, an offset as `+08:00`, or an IANA name; `zones` translates what a zone column says into such a
    name. `ordered` says that rows stand in the order of their starts. `second` lists what a fold column says of the
    second of two equal hours.
    """

    format: Text
    zone: Text | None = None
    zones: dict[str, str] = {}
    duration: DurationFormat = "h:mm:ss"
    resolution_s: Annotated[int, Meta(ge=1, le=3_600)] = 1
    ordered: bool = False
    second: tuple[str, ...] = ()


class Plugs(Struct, frozen=True, forbid_unknown_fields=True):
    """The plugs of each station, and what its meter says that the file does not."""

    per_station: Annotated[int, Meta(ge=1, le=64)] = 1
    max_kw: Annotated[float, Meta(gt=0, le=1_000)] = 7.0
    voltage_v: Annotated[float, Meta(gt=0, le=1_500)] = 230.0


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """The one site at which the stations of the file are lived."""

    id: Id
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    name: Text | None = None


class SessionMap(Struct, frozen=True):
    file: FileForm
    columns: Columns
    time: TimeForm
    plugs: Plugs
    site: Place
    column_lines: dict[str, int] = {}
    """On which line of the map each key of `[columns]` stands."""


class MapError(ValueError):
    """The text is no map, or not one of this file. `mistakes` holds all that is wrong with it, by line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def load_map(text: str) -> SessionMap:
    """Raises MapError naming every mistake in the map."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+)", str(error))
        raise MapError([Mistake(int(place[1]) if place else text.count("\n") + 1, f"not TOML: {error}")]) from None
    checked = _Checked(document, lines_of(text))
    parts = (
        checked.table("file", FileForm),
        checked.table("columns", Columns),
        checked.table("time", TimeForm),
        checked.table("plugs", Plugs),
        checked.table("site", Place),
    )
    checked.unknown_tables()
    file, columns, time, plugs, site = parts
    if columns and time:
        checked.agree(columns, time)
    if file:
        checked.encoding(file)
    if file and columns and time and plugs and site and not checked.mistakes:
        lines = {key: checked.line(("columns", key)) for key in document["columns"]}
        return SessionMap(file, columns, time, plugs, site, lines)
    raise MapError(checked.mistakes)


def zone_of(name: str) -> tzinfo:
    """The zone that a map or a zone column names. Raises ValueError for a name that no zone has."""
    if offset := OFFSET.fullmatch(name):
        hours, minutes = int(offset[2]), int(offset[3])
        if hours > 14 or minutes > 59:
            raise ValueError(f"no zone is {name} away from UTC")
        return timezone((-1 if offset[1] == "-" else 1) * timedelta(hours=hours, minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = "UTC, an offset as +08:00, or an IANA name as Asia/Shanghai"
        raise ValueError(f"there is no time zone {name!r}; write {known}") from None


T = TypeVar("T", bound=Struct)


class _Checked:
    def __init__(self, document: dict[str, object], lines: dict[Path, int]) -> None:
        self.mistakes: list[Mistake] = []
        self._document = document
        self._lines = lines
        self._known: list[str] = []

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest thing around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _wrong(self, path: Path, what: str) -> None:
        self.mistakes.append(Mistake(self.line(path), what))

    def table(self, name: str, kind: type[T]) -> T | None:
        """One table as its struct; None where it is wrong, and its mistakes are noted."""
        self._known.append(name)
        said = self._document.get(name, {})
        if not isinstance(said, dict):
            self._wrong((name,), f"write {name} as a table [{name}]")
            return None
        before = len(self.mistakes)
        known = {field.name: field for field in msgspec.structs.fields(kind)}
        for key, value in said.items():
            if key not in known:
                self._wrong((name, key), f"unknown key {key!r} in [{name}]; known are {', '.join(known)}")
                continue
            try:
                msgspec.convert(value, known[key].type)
            except msgspec.ValidationError as error:
                self._wrong((name, key), f"{key}: {_plain(str(error))}, not {value!r}")
        for key, field in known.items():
            if field.required and key not in said:
                self._wrong((name,), f"[{name}] needs {key}")
        return msgspec.convert(said, kind) if len(self.mistakes) == before else None

    def unknown_tables(self) -> None:
        for name in self._document:
            if name not in self._known:
                self._wrong((name,), f"unknown table {name!r}; known are {', '.join(self._known)}")

    def agree(self, columns: Columns, time: TimeForm) -> None:
        """The mistakes that show only where two keys are seen together."""
        own_zone = "%z" in time.format
        if sum((own_zone, time.zone is not None, columns.zone is not None)) != 1:
            self._wrong(("time",), "the zone must be said once: zone here, zone in [columns], or %z in format")
        if columns.end is None and columns.plugged_time is None and columns.charging_time is None:
            self._wrong(
                ("columns",), "[columns] needs end, plugged_time or charging_time, to tell when a session is over"
            )
        if columns.fold is not None and not time.second:
            self._wrong(("columns", "fold"), "fold needs second in [time]: what the column says of the second hour")
        zones: dict[Path, str] = {("time", "zones", said): name for said, name in time.zones.items()}
        for path, name in {("time", "zone"): time.zone or "UTC", **zones}.items():
            try:
                zone_of(name)
            except ValueError as error:
                self._wrong(path, str(error))

    def encoding(self, file: FileForm) -> None:
        try:
            codecs.lookup(file.encoding)
        except LookupError:
            self._wrong(("file", "encoding"), f"there is no encoding {file.encoding!r}")


def _plain(said: str) -> str:
    return said[0].lower() + said[1:].partition(" - at ")[0]
