"""Floor 3 · Which messages stand in InfluxDB, seq by seq, and letting the oldest of them go."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param
from ingest.influx_lines import field_text, tag_text
from ingest.influx_reads import COLUMNS, TAGS, Buckets
from ingest.rows import NANOS

_OF = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement)
"""
_SEQS = (
    _OF
    + """
  |> filter(fn: (r) => r._field == "seq") |> drop(columns: ["_start", "_stop", "_time", "_field", "_measurement"])
"""
)
_BOOTS = (
    _OF
    + """
  |> filter(fn: (r) => r._field == "boot") |> distinct() |> drop(columns: ["_start", "_stop", "_measurement"])
"""
)
_BOTH = (
    _OF
    + """
  |> filter(fn: (r) => r.site == wanted_site and r.device == wanted_device)
  |> filter(fn: (r) => r._field == "boot" or r._field == "seq") |> drop(columns: ["_start", "_stop", "_measurement"])
"""
)

Seqs = dict[tuple[str, str, str], "array[int]"]
"""By site, device and boot, in no order."""


def stored(influx: Influx, buckets: Buckets) -> list[tuple[str, str, str, int, int, int]]:
    seqs: Seqs = {}
    for measurement in COLUMNS:
        bucket = buckets.facts if measurement == "event" else buckets.raw
        _add(influx, seqs, {"bucket": bucket, "measurement": measurement, "first_ns": FIRST_NS, "last_ns": LAST_NS})
    return sorted((*key, *run) for key, found in seqs.items() for run in _runs(sorted(found)))


def _add(influx: Influx, seqs: Seqs, asked: dict[str, Param]) -> None:
    """The seqs of a measurement. Where a series knew one boot alone, and nearly all do, the server need not tell the
    boot of each row. Boots are asked for after the seqs, so that they are those of all that was read."""
    of_series: dict[tuple[str, ...], array[int]] = {}
    for seq, *series in influx.query(_SEQS, ("_value", *TAGS), asked):
        of_series.setdefault(tuple(series), array("q")).append(int(seq))
    boots: dict[tuple[str, ...], set[str]] = {}
    for boot, *series in influx.query(_BOOTS, ("_value", *TAGS), asked):
        boots.setdefault(tuple(series), set()).add(boot)
    several = {series[:2] for series, found in boots.items() if len(found) > 1}
    for series_, found in of_series.items():
        if series_[:2] not in several:
            for boot in boots.get(series_, ()):  # none where they were let go of meanwhile
                key = tag_text(series_[0]), tag_text(series_[1]), field_text(boot)
                seqs.setdefault(key, array("q")).extend(found)
    for site, device in several:
        _add_one_by_one(influx, seqs, {**asked, "wanted_site": site, "wanted_device": device})


def _add_one_by_one(influx: Influx, seqs: Seqs, asked: Mapping[str, Param]) -> None:
    """The same of one device, row by row."""
    unpaired: dict[tuple[str, ...], tuple[str, str]] = {}
    for field, value, *point in influx.query(_BOTH, ("_field", "_value", "_time", *TAGS), asked):
        other = unpaired.pop(tuple(point), None)
        if other is None or other[0] == field:
            unpaired[tuple(point)] = field, value
            continue
        boot, seq = (value, other[1]) if field == "boot" else (other[1], value)
        key = tag_text(point[1]), tag_text(point[2]), field_text(boot)
        seqs.setdefault(key, array("q")).append(int(seq))


_COUNT = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._field == "seq") |> count() |> keep(columns: ["_value"])
"""


def expire(influx: Influx, buckets: Buckets, before_ms: int) -> int:
    """Delete the raw rows before a time; how many there were. Deleting is heavy, so nothing is not deleted."""
    if before_ms <= 0:
        return 0
    last_ns = min(before_ms * NANOS, LAST_NS)
    asked: dict[str, Param] = {"bucket": buckets.raw, "first_ns": FIRST_NS, "last_ns": last_ns}
    rows = sum(int(count) for (count,) in influx.query(_COUNT, ("_value",), asked))
    if rows:
        influx.delete(buckets.raw, FIRST_NS, last_ns - 1, "")
    return rows


def _runs(seqs: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(lowest, highest, how many) of each unbroken run of rising numbers, equal ones counted."""
    start = 0
    for place in range(1, len(seqs) + 1):
        if place == len(seqs) or seqs[place] > seqs[place - 1] + 1:
            yield seqs[start], seqs[place - 1], place - start
            start = place
