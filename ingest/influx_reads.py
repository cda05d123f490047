"""Floor 3 · What is asked of the raw readings in InfluxDB.

Rows whose clock was found wrong only after they were stored keep a time that is not theirs (`misdated`). They are
stored, and sessions are derived from them; nothing that goes by time shows them. There are nearly never any, so each
question first asks for those, which costs nothing where there are none, and lets the server do its sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import fmean

from ingest.facts import EVENT_COLUMNS, KEY_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, Cell, Reading
from ingest.influx_http import FIRST_NS, LAST_NS, OF_DEVICE, PLAIN, Influx, Param
from ingest.influx_lines import field_text, tag_text, tag_value
from ingest.rows import NANOS
from ingest.store import HistoryPoint

COLUMNS = {"pile": PILE_COLUMNS, "station": STATION_COLUMNS, "event": EVENT_COLUMNS}
TAGS = ("site", "device", "kind", "connector", "name", "code")

COUNTERS = ("energy_kwh", "energy_wh", "entries")
PILE_NUMBERS = ("power_kw", "energy_kwh", "current_a", "voltage_v", "temp_c", "soc_pct")
STATION_NUMBERS = tuple(column for column in STATION_COLUMNS if column not in (*KEY_COLUMNS, "groups"))

_WHOLE = {"seq", "ts_ms", "connector", "people", "seats_used", "reading_seats_used", "entries", "outlets_used"}
_YES_NO = {"skewed", "misdated", "bay_occupied", "ok", "cleared", "alarm"}
_TEXT = {"boot", "state", "suspended_by", "token", "error", "groups", "severity", "note"}

RECENT_NS = 3_600_000 * NANOS

Series = tuple[str, ...]
"""The tags of a series in the order of TAGS, "" where it has none."""


class Buckets:
    """The names of an installation's three buckets."""

    def __init__(self, prefix: str) -> None:
        self.raw = prefix
        self.facts = f"{prefix}_facts"
        self.rollups = f"{prefix}_rollups"

    def __iter__(self) -> Iterator[str]:
        return iter((self.raw, self.facts, self.rollups))


def cell(field: str, text: str) -> Cell:
    """The value of a field from its text in an answer."""
    if field in _WHOLE:
        return int(text)
    if field in _YES_NO:
        return text == "true"
    return field_text(text) if field in _TEXT else float(text)


_ROWS = """
rows = (bucket, measurement) => from(bucket: bucket)
  |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement)
"""
_EACH = """
rows(bucket: raw, measurement: "pile") {then} |> yield(name: "pile")
rows(bucket: raw, measurement: "station") {then} |> yield(name: "station")
rows(bucket: facts, measurement: "event") |> filter(fn: (r) => r.kind == "amenity") {then} |> yield(name: "event")
"""
_NEWEST = _EACH.replace("{then}", '|> filter(fn: (r) => r._field == "seq") |> last()')
_MISDATED = _EACH.replace("{then}", '|> filter(fn: (r) => r._field == "misdated")').replace('name: "', 'name: "not ')
_LATEST = _EACH.replace("{then}", '|> last() |> drop(columns: ["_start", "_stop"])')
_OF_CONNECTOR = "  |> filter(fn: (r) => r.connector == wanted_connector)\n"
_POINT = ("_field", "_value", "_time", *TAGS)


def latest(influx: Influx, buckets: Buckets) -> list[dict[str, Cell]]:
    """First when each series was heard last; then what it said, of a short time where it was not long ago."""
    asked: dict[str, Param] = {
        "raw": buckets.raw, "facts": buckets.facts, "first_ns": FIRST_NS, "last_ns": LAST_NS,
    }  # fmt: skip
    newest: dict[tuple[str, Series], int] = {}
    misdated: dict[tuple[str, Series], set[int]] = {}
    for result, time, *tags in influx.query(_ROWS + _NEWEST + _MISDATED, ("result", "_time", *TAGS), asked):
        measurement = result.removeprefix("not ")
        if measurement == result:
            newest[measurement, tuple(tags)] = influx.ns(time)
        else:
            misdated.setdefault((measurement, tuple(tags)), set()).add(influx.ns(time))
    if not newest:
        return []
    recent_ns = max(newest.values()) - RECENT_NS
    stretches = [(recent_ns, LAST_NS)]
    if min(newest.values()) < recent_ns:
        stretches.append((min(newest.values()), recent_ns))
    found: dict[tuple[str, Series], dict[str, tuple[int, str]]] = {}
    for first_ns, last_ns in stretches:
        asked |= {"first_ns": max(first_ns, FIRST_NS), "last_ns": last_ns}
        for measurement, field, value, time, *tags in influx.query(_ROWS + _LATEST, ("result", *_POINT), asked):
            fields = found.setdefault((measurement, tuple(tags)), {})
            fields.setdefault(field, (influx.ns(time), value))
    rows = []
    for (measurement, series), fields in sorted(found.items()):
        at_ns, wrong = fields["seq"][0], misdated.get((measurement, series), set())
        if at_ns not in wrong:
            rows.append(as_row(measurement, series, at_ns, {n: v for n, (t, v) in fields.items() if t == at_ns}))
        elif earlier := _newest_but(influx, buckets, measurement, series, wrong):
            rows.append(earlier)
    return rows


_SOME = """
rows(bucket: bucket, measurement: measurement)
  |> filter(fn: (r) => r.site == wanted_site and r.device == wanted_device and r.kind == wanted_kind)
"""


def _newest_but(
    influx: Influx, buckets: Buckets, measurement: str, series: Series, wrong: set[int]
) -> dict[str, Cell] | None:
    """The newest row of a series whose time is none of `wrong`."""
    asked: dict[str, Param] = {
        "bucket": buckets.facts if measurement == "event" else buckets.raw,
        "measurement": measurement, "first_ns": FIRST_NS, "last_ns": LAST_NS, "most": len(wrong) + 1,
    }  # fmt: skip
    script = _ROWS + _SOME
    for name, value in zip(TAGS, series, strict=True):
        if value:
            asked[f"wanted_{name}"] = value
            script += f"  |> filter(fn: (r) => r.{name} == wanted_{name})\n"
    tail = script + '  |> filter(fn: (r) => r._field == "seq") |> tail(n: most)\n'
    times = {influx.ns(time) for (time,) in influx.query(tail, ("_time",), asked)} - wrong
    if not times:
        return None
    at_ns = max(times)
    asked |= {"first_ns": at_ns, "last_ns": at_ns + 1}
    return next((as_row(measurement, series, at_ns, fields) for *_, fields in points(influx, script, asked)), None)


_OF_KIND = "rows(bucket: raw, measurement: measurement)\n"
# A function, not a value: the server does its sums in the storage only for what is not shared.
# `wanted` is a function, not a value: the server does sums in its storage only where nobody shares the rows.
_STEPS = """
steps = (fn, fields) => wanted()
  |> filter(fn: fields)
  |> aggregateWindow(every: every, offset: offset, fn: fn, createEmpty: false, timeSrc: "_start")
  |> keep(columns: ["_time", "_value", "_field"])
"""
_SOME_STEPS = """
steps(fn: count, fields: (r) => r._field == "seq" or r._field == "misdated") |> yield(name: "count")
steps(fn: mean, fields: (r) => {means}) |> yield(name: "mean")
steps(fn: last, fields: (r) => {lasts}) |> yield(name: "last")
"""


def _any_of(fields: Sequence[str]) -> str:
    return " or ".join(f'r._field == "{field}"' for field in fields)


def history(
    influx: Influx, buckets: Buckets, site: str, device: str, connector: int | None,
    start_ms: int, end_ms: int, every_ms: int,
) -> list[HistoryPoint]:  # fmt: skip
    measurement, numbers = ("station", STATION_NUMBERS) if connector is None else ("pile", PILE_NUMBERS)
    asked, place = _of(buckets, measurement, site, device, connector, start_ms, end_ms)
    if asked["first_ns"] >= asked["last_ns"]:  # type: ignore[operator]
        return []
    asked |= {"every": timedelta(milliseconds=every_ms), "offset": timedelta(milliseconds=start_ms % every_ms)}
    script = _SOME_STEPS.format(
        means=_any_of([name for name in numbers if name not in COUNTERS]),
        lasts=_any_of([name for name in numbers if name in COUNTERS]),
    )
    steps: dict[int, dict[str, float | None]] = {}
    for field, value, time in influx.query(
        _ROWS + "wanted = () => " + _OF_KIND + place + _STEPS + script, ("_field", "_value", "_time"), asked
    ):
        if field == "misdated":
            return _slow_history(influx, asked, place, numbers, start_ms, every_ms)
        step = steps.setdefault(influx.ns(time) // NANOS, dict.fromkeys(numbers))
        if field != "seq":
            step[field] = float(value)
    return [HistoryPoint(at_ms, values) for at_ms, values in sorted(steps.items())]


def _slow_history(
    influx: Influx, asked: Mapping[str, Param], place: str, numbers: Sequence[str], start_ms: int, every_ms: int
) -> list[HistoryPoint]:
    """The same from every row, for a stretch that has rows to be passed over."""
    steps: dict[int, dict[str, list[float]]] = {}
    for _series, at_ns, fields in points(influx, _ROWS + _OF_KIND + place + PLAIN, asked):
        if "misdated" in fields:
            continue
        step = steps.setdefault(start_ms + (at_ns // NANOS - start_ms) // every_ms * every_ms, {})
        for name in numbers:
            if name in fields:
                step.setdefault(name, []).append(float(fields[name]))
    return [
        HistoryPoint(
            at_ms,
            {
                name: None if name not in step else step[name][-1] if name in COUNTERS else fmean(step[name])
                for name in numbers
            },
        )
        for at_ms, step in sorted(steps.items())
    ]


_READING = """
  |> filter(fn: (r) => r._field == "boot" or r._field == "seq" or r._field == "state" or r._field == "suspended_by"
                    or r._field == "power_kw" or r._field == "energy_kwh")
"""


def readings(influx: Influx, buckets: Buckets, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
    asked, place = _of(buckets, "pile", site, device, connector, since_ms, LAST_NS // NANOS)
    if asked["first_ns"] >= asked["last_ns"]:  # type: ignore[operator]
        return []
    found = list[Reading]()
    for _series, at_ns, fields in points(influx, _ROWS + _OF_KIND + place + _READING + PLAIN, asked):
        power, energy = fields.get("power_kw"), fields.get("energy_kwh")
        found.append(
            Reading(
                field_text(fields["boot"]),
                int(fields["seq"]),
                at_ns // NANOS,
                connector,
                fields.get("state"),
                fields.get("suspended_by"),
                None if power is None else float(power),
                None if energy is None else float(energy),
            )
        )
    return found


def _of(
    buckets: Buckets, measurement: str, site: str, device: str, connector: int | None, start_ms: int, end_ms: int
) -> tuple[dict[str, Param], str]:
    """What to ask of one device, or one of its connectors, in [start, end), and the part of the script for it."""
    asked: dict[str, Param] = {
        "raw": buckets.raw, "measurement": measurement,
        "first_ns": max(start_ms * NANOS, FIRST_NS), "last_ns": min(end_ms * NANOS, LAST_NS),
        "wanted_site": tag_value(site), "wanted_device": tag_value(device),
    }  # fmt: skip
    if connector is None:
        return asked, OF_DEVICE
    return asked | {"wanted_connector": str(connector)}, OF_DEVICE + _OF_CONNECTOR


def points(influx: Influx, script: str, asked: Mapping[str, Param]) -> list[tuple[Series, int, dict[str, str]]]:
    """(series, time, fields by name) of the points that a script answers field by field, by series and time."""
    found: dict[tuple[Series, str], dict[str, str]] = {}
    for field, value, time, *tags in influx.query(script, _POINT, asked):
        found.setdefault((tuple(tags), time), {})[field] = value
    rows = [(series, influx.ns(time), fields) for (series, time), fields in found.items() if "seq" in fields]
    return sorted(rows, key=lambda row: row[:2])


def as_row(measurement: str, series: Sequence[str], at_ns: int, fields: Mapping[str, str]) -> dict[str, Cell]:
    """A row by column name, as it was written."""
    columns = COLUMNS[measurement]
    row: dict[str, Cell] = dict.fromkeys(columns)
    row |= {"at_ns": at_ns, "ts_ms": at_ns // NANOS, "skewed": False}
    row |= {tag: tag_text(value) for tag, value in zip(TAGS, series, strict=True) if value and tag in columns}
    row |= {name: cell(name, value) for name, value in fields.items() if name in columns}
    if row.get("connector") is not None:
        row["connector"] = int(str(row["connector"]))
    return row
