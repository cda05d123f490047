"""Floor 3 · Which messages stand in InfluxDB, seq by seq, and letting the oldest of them go."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param
from ingest.influx_lines import field_text
from ingest.influx_reads import COLUMNS, TAGS, Buckets
from ingest.rows import NANOS

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
