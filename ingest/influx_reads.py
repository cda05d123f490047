"""Floor 3 · What is asked of the raw readings in InfluxDB.

Rows whose clock was found wrong only after they were stored keep a time that is not theirs (`misdated`). They are
stored, and sessions are derived from them; nothing that goes by time shows them. There are nearly never any, so each
question first asks for those, which costs nothing where there are none, and lets the server do its sums.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from ingest.facts import EVENT_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, Cell
from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param, Times
from ingest.influx_lines import field_text, tag_text
from ingest.rows import NANOS

COLUMNS = {"pile": PILE_COLUMNS, "station": STATION_COLUMNS, "event": EVENT_COLUMNS}
TAGS = ("site", "device", "kind", "connector", "name", "code")

_WHOLE = {"seq", "ts_ms", "connector", "people", "seats_used", "reading_seats_used", "entries", "outlets_used"}
_YES_NO = {"skewed", "misdated", "bay_occupied", "ok", "cleared", "alarm"}
_TEXT = {"boot", "state", "suspended_by", "token", "error", "groups", "severity", "note"}

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


_LATEST = """
newest = (bucket, measurement) => from(bucket: bucket)
  |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement)
newest(bucket: raw, measurement: "pile") |> last() |> drop(columns: ["_start", "_stop"]) |> yield(name: "pile")
newest(bucket: raw, measurement: "station") |> last() |> drop(columns: ["_start", "_stop"]) |> yield(name: "station")
newest(bucket: facts, measurement: "event") |> filter(fn: (r) => r.kind == "amenity")
  |> last() |> drop(columns: ["_start", "_stop"]) |> yield(name: "event")
"""


def latest(influx: Influx, buckets: Buckets) -> list[dict[str, Cell]]:
    asked: Mapping[str, Param] = {"raw": buckets.raw, "facts": buckets.facts, "first_ns": FIRST_NS, "last_ns": LAST_NS}
    columns = ("_measurement", "_time", "_field", "_value", *TAGS)
    times = Times()
    found: dict[tuple[str, Series], dict[str, tuple[int, str]]] = {}
    for measurement, time, field, value, *tags in influx.query(_LATEST, columns, asked):
        found.setdefault((measurement, tuple(tags)), {})[field] = times.ns(time), value
    rows = []
    for (measurement, series), fields in sorted(found.items()):
        at_ns = fields["seq"][0]
        rows.append(as_row(measurement, series, at_ns, {n: v for n, (t, v) in fields.items() if t == at_ns}))
    return rows


_SEQS = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement and (r._field == "boot" or r._field == "seq"))
  |> drop(columns: ["_start", "_stop", "_measurement"])
"""


def stored(influx: Influx, buckets: Buckets) -> list[tuple[str, str, str, int, int, int]]:
    seqs: dict[tuple[str, str, str], array[int]] = {}
    for measurement in COLUMNS:
        bucket = buckets.facts if measurement == "event" else buckets.raw
        asked: Mapping[str, Param] = {
            "bucket": bucket, "measurement": measurement, "first_ns": FIRST_NS, "last_ns": LAST_NS,
        }  # fmt: skip
        unpaired: dict[tuple[str, ...], tuple[str, str]] = {}
        for field, value, *point in influx.query(_SEQS, ("_field", "_value", "_time", *TAGS), asked):
            other = unpaired.pop(tuple(point), None)
            if other is None or other[0] == field:
                unpaired[tuple(point)] = field, value
                continue
            boot, seq = (value, other[1]) if field == "boot" else (other[1], value)
            seqs.setdefault((point[1], point[2], field_text(boot)), array("q")).append(int(seq))
    return sorted((*key, *run) for key, found in seqs.items() for run in _runs(sorted(found)))


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(lowest, highest, how many) of each unbroken run of rising numbers, equal ones counted."""
    start = 0
    for place in range(1, len(seqs) + 1):
        if place == len(seqs) or seqs[place] > seqs[place - 1] + 1:
            yield seqs[start], seqs[place - 1], place - start
            start = place


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
