"""Floor 3 · The parts of hours, computed from the raw readings in InfluxDB: by the server where it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ingest.influx_http import OF_DEVICE, PLAIN, Influx, Param
from ingest.influx_lines import tag_text, tag_value
from ingest.influx_parts import GAUGES, HOUR_MS, Counted, Gauge, Key, Parts, all_of, of_reading
from ingest.influx_reads import COUNTERS, TAGS, points
from ingest.rows import NANOS

Hours = dict[tuple[Key, int], Parts]
"""By instrument and by the beginning of the hour, in milliseconds."""

_ROWS = """
rows = () => from(bucket: raw) |> range(start: time(v: first_ns), stop: time(v: last_ns))
"""
_HOURLY = """
hourly = (fn, fields) => rows() |> filter(fn: fields)
  |> aggregateWindow(every: 1h, fn: fn, createEmpty: false, timeSrc: "_start")
  |> keep(columns: ["_time", "_value", "_field", "site", "device", "kind", "connector"])
gauge = (r) => r._field == "power_kw" or r._field == "people" or r._field == "indoor_c"
meant = (r) => r._field == "power_kw" or r._field == "people"
counter = (r) => r._field == "energy_kwh" or r._field == "energy_wh" or r._field == "entries"
hourly(fn: count, fields: (r) => r._field == "seq" or r._field == "misdated") |> yield(name: "samples")
hourly(fn: count, fields: meant) |> yield(name: "n")
hourly(fn: sum, fields: meant) |> yield(name: "sum")
hourly(fn: max, fields: gauge) |> yield(name: "max")
hourly(fn: min, fields: (r) => r._field == "indoor_c") |> yield(name: "min")
hourly(fn: first, fields: counter) |> yield(name: "first")
hourly(fn: last, fields: counter) |> yield(name: "last")
rows() |> filter(fn: counter) |> difference() |> min()
  |> keep(columns: ["_time", "_value", "_field", "site", "device", "kind", "connector"]) |> yield(name: "step")
"""
_STEPS = """
counter = (r) => r._field == "energy_kwh" or r._field == "energy_wh" or r._field == "entries"
rows() |> filter(fn: counter) |> difference()
"""
_FIRST = """
  |> filter(fn: (r) => r._field == "seq") |> first() |> keep(columns: ["_time"]) |> group() |> min(column: "_time")
"""


def fresh_hours(
    influx: Influx, raw: str, first_ms: int, last_ms: int, device: tuple[str, str] | None = None
) -> tuple[Hours, set[int]]:
    """The parts of every hour in [first, last), whole hours both, of one (site, device) or of all; and the hours that
    hold any row, also those of which all rows are passed over.

    A counter that fell nowhere rose by its last minus its first; hours in which one fell are read reading by reading.
    """
    asked, rows = _of(raw, first_ms, last_ms, device)
    said: dict[tuple[Key, int], dict[str, float]] = {}
    hours: set[int] = set()
    odd: set[tuple[str, str, int]] = set()
    fell: set[tuple[str, str]] = set()
    columns = ("result", "_field", "_value", "_time", "site", "device", "connector")
    for part, field, value, time, site, name, connector in influx.query(rows + _HOURLY, columns, asked):
        if part == "step":
            if float(value or 0.0) < 0.0:
                fell.add((tag_text(site), tag_text(name)))
            continue
        hour_ms = influx.ns(time) // NANOS
        hours.add(hour_ms)
        if field == "misdated":
            odd.add((tag_text(site), tag_text(name), hour_ms))
            continue
        key = (tag_text(site), tag_text(name), int(connector or 0))
        parts = said.setdefault((key, hour_ms), {})
        place = f"{field} {part}"
        parts[place] = parts.get(place, 0.0) + float(value or 0.0)  # the samples of two kinds are one instrument's
    found = {at: _parts(parts) for at, parts in said.items()}
    for where in sorted(fell):
        asked, rows = _of(raw, first_ms, last_ms, where)
        # The field stays in the key: counters of whole numbers and others in one table are an error to the server.
        for value, time in influx.query(rows + _STEPS + PLAIN, ("_value", "_time"), asked):
            if float(value) < 0.0:
                odd.add((*where, influx.ns(time) // NANOS // HOUR_MS * HOUR_MS))
    found = {at: parts for at, parts in found.items() if (*at[0][:2], at[1]) not in odd}
    for site, name, hour_ms in sorted(odd):
        found |= _one_by_one(influx, raw, hour_ms, (site, name))
    return found, hours


def first_hour(influx: Influx, raw: str, first_ms: int, last_ms: int) -> int | None:
    """The first hour in [first, last) that holds a row."""
    asked, rows = _of(raw, first_ms, last_ms, None)
    times = influx.query(rows + "rows()" + _FIRST, ("_time",), asked)
    return min((influx.ns(time) // NANOS // HOUR_MS * HOUR_MS for (time,) in times), default=None)


def _one_by_one(influx: Influx, raw: str, hour_ms: int, device: tuple[str, str]) -> Hours:
    """The same from every reading, for an hour in which some are passed over, or a counter fell."""
    asked, rows = _of(raw, hour_ms, hour_ms + HOUR_MS, device)
    readings: dict[Key, list[tuple[int, Parts]]] = {}
    for series, at_ns, fields in points(influx, rows + "rows()" + PLAIN, asked):
        if "misdated" not in fields:
            key = (*device, int(series[TAGS.index("connector")] or 0))
            readings.setdefault(key, []).append((at_ns, of_reading(fields)))
    return {(key, hour_ms): all_of(_in_order(some)) for key, some in readings.items()}


def _in_order(readings: Iterable[tuple[int, Parts]]) -> Iterable[Parts]:
    return (parts for _at_ns, parts in sorted(readings, key=lambda reading: reading[0]))


def _parts(said: Mapping[str, float]) -> Parts:
    return Parts(
        int(said.get("seq samples", 0)),
        {
            name: Gauge(
                max=said[f"{field} max"],
                min=said.get(f"{field} min", 0.0),
                sum=said.get(f"{field} sum", 0.0),
                n=int(said.get(f"{field} n", 0)),
            )
            for field, name in GAUGES.items()
            if f"{field} max" in said
        },
        {
            name: Counted(said[f"{name} first"], said[f"{name} last"], said[f"{name} last"] - said[f"{name} first"])
            for name in COUNTERS
            if f"{name} last" in said
        },
    )


def _of(raw: str, first_ms: int, last_ms: int, device: tuple[str, str] | None) -> tuple[dict[str, Param], str]:
    asked: dict[str, Param] = {"raw": raw, "first_ns": first_ms * NANOS, "last_ns": last_ms * NANOS}
    if device is None:
        return asked, _ROWS
    return asked | {"wanted_site": tag_value(device[0]), "wanted_device": tag_value(device[1])}, _ROWS + OF_DEVICE
