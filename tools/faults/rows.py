"""Rows as the store has them, read past our own adapters: what they say of themselves is not to be believed here."""

from __future__ import annotations

import csv
from contextlib import closing
from typing import NamedTuple

import duckdb
from influxdb_client.client.influxdb_client import InfluxDBClient

from ingest.clock import parse_rfc3339
from tests.influx import ORG
from tools.faults.stage import PREFIX, Stage

FLUX = """from(bucket: bucket) |> range(start: 0, stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == "pile" and r.site == site and r.device == device)
  |> filter(fn: (r) => r._field == "boot" or r._field == "seq" or r._field == "skewed")
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")"""


class Row(NamedTuple):
    boot: str
    seq: int
    at_ms: int
    skewed: bool


def rows_of(stage: Stage, name: str) -> list[Row]:
    """Every row of a pile, `SITE/DEVICE`, in no order."""
    return _in_influxdb(stage, name) if stage.on == "production" else _in_duckdb(stage, name)


def _in_duckdb(stage: Stage, name: str) -> list[Row]:
    with closing(duckdb.connect(stage.data / "facts.duckdb", read_only=True)) as con:
        found = con.execute(
            "SELECT boot, seq, at_ns // 1000000, skewed FROM pile WHERE site = ? AND device = ?", name.split("/")
        ).fetchall()
    return [Row(*row) for row in found]


def _in_influxdb(stage: Stage, name: str) -> list[Row]:
    site, device = name.split("/")
    influxd = stage.influxd()
    with InfluxDBClient(influxd.url, influxd.token, org=ORG, timeout=60_000) as client:
        said = {"bucket": PREFIX, "site": site, "device": device}
        text = client.query_api().query_raw(FLUX, params=said).data.decode()
    found: list[Row] = []
    header: list[str] | None = None
    for cells in csv.reader(line for line in text.splitlines() if not line.startswith("#")):
        if not cells:
            header = None
        elif header is None:
            header = cells
        else:
            row = dict(zip(header, cells, strict=True))
            at_ms = parse_rfc3339(f"{row['_time'].removesuffix('Z'):.23}Z")
            found.append(Row(row["boot"], int(row["seq"]), at_ms, row.get("skewed") == "true"))
    return found
