"""Floor 3 · Flags on rows in InfluxDB whose clock was found wrong after they were stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ingest.facts import SkewMark
from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param
from ingest.influx_lines import field_value, tag_text, tag_value
from ingest.influx_reads import COLUMNS, TAGS, Buckets, Series
from ingest.rows import NANOS

_MARKED = """
rows = () => from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == measurement and r.site == wanted_site and r.device == wanted_device)
rows() |> filter(fn: (r) => r._field == "seq" and r._value >= lo and r._value <= hi) |> yield(name: "seq")
rows() |> filter(fn: (r) => r._field == "boot" and r._value == boot) |> yield(name: "boot")
rows() |> filter(fn: (r) => r._field == "ts_ms") |> yield(name: "ts_ms")
"""


class Flag:
    """A row that gets flagged: its series, its time, and whether that is not its own."""

    def __init__(self, measurement: str, series: Series, at_ns: int, ts_ms: int | None) -> None:
        self.measurement, self.series, self.at_ns = measurement, series, at_ns
        self.misdated = ts_ms is None or ts_ms == at_ns // NANOS

    @property
    def device(self) -> tuple[str, str]:
        return tag_text(self.series[0]), tag_text(self.series[1])

    def line(self) -> str:
        tags = sorted((name, value) for name, value in zip(TAGS, self.series, strict=True) if value)
        said = "skewed=true,misdated=true" if self.misdated else "skewed=true"
        return f"{self.measurement},{','.join(f'{name}={escaped(value)}' for name, value in tags)} {said} {self.at_ns}"


def escaped(value: str) -> str:
    """A tag's value in a line, from what the server keeps."""
    return value.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def flags(influx: Influx, buckets: Buckets, marks: Iterable[SkewMark]) -> Iterator[Flag]:
    """The rows that `marks` speak of, those that are flagged already among them."""
    for mark in marks:
        for measurement in COLUMNS:
            asked: dict[str, Param] = {
                "bucket": buckets.facts if measurement == "event" else buckets.raw, "measurement": measurement,
                "first_ns": FIRST_NS, "last_ns": LAST_NS, "boot": field_value(mark.boot), "lo": mark.lo, "hi": mark.hi,
                "wanted_site": tag_value(mark.site), "wanted_device": tag_value(mark.device),
            }  # fmt: skip
            found: dict[str, dict[tuple[str, ...], str]] = {"seq": {}, "boot": {}, "ts_ms": {}}
            for field, value, *where in influx.query(_MARKED, ("_field", "_value", "_time", *TAGS), asked):
                found[field][tuple(where)] = value
            for point in sorted(found["seq"].keys() & found["boot"].keys()):
                said = found["ts_ms"].get(point)
                yield Flag(measurement, point[1:], influx.ns(point[0]), None if said is None else int(said))
