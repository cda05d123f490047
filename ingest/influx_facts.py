"""Floor 3 · Sessions, dead letters and how far each spool is drained, in the bucket of facts that is kept for ever."""

from __future__ import annotations

from ingest.influx_http import FIRST_NS, LAST_NS, Influx, Param
from ingest.influx_lines import tag, tag_value

_DRAINED = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "spool" and r._field == "drained" and r.id == spool_id) |> last()
"""


def drained_line(spool: str, no: int) -> str:
    return f"spool,id={tag(spool)} drained={no}i 0"


def drained(influx: Influx, bucket: str, spool: str) -> int:
    asked: dict[str, Param] = {"bucket": bucket, "spool_id": tag_value(spool), "first_ns": FIRST_NS, "last_ns": LAST_NS}
    return max((int(no) for (no,) in influx.query(_DRAINED, ("_value",), asked)), default=0)
