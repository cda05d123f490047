"""A real InfluxDB for the benchmarks, as a child process, and what they ask of it."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from influxdb_client.client.influxdb_client import InfluxDBClient

from ingest.influx_setup import prepare
from tests.influx import Influxd, influxd_program

ORG = "lunchong"


class Influx(NamedTuple):
    url: str
    token: str

    @contextmanager
    def buckets(self) -> Iterator[str]:
        """Fresh buckets; their prefix."""
        prefix = f"bench-{secrets.token_hex(4)}"
        prepare(self.url, self.token, org=ORG, prefix=prefix, retention_days=0)
        yield prefix

    @contextmanager
    def bucket(self, name: str) -> Iterator[str]:
        with InfluxDBClient(self.url, self.token, org=ORG) as client:
            found = client.buckets_api().create_bucket(bucket_name=f"{name}-{secrets.token_hex(4)}", org=ORG)
        yield str(found.name)

    def points(self, bucket: str, measurement: str, field: str) -> int:
        """How many points have this field."""
        flux = """from(bucket: bucket) |> range(start: 0)
          |> filter(fn: (r) => r._measurement == measurement and r._field == field) |> count() |> group() |> sum()"""
        with InfluxDBClient(self.url, self.token, org=ORG, timeout=120_000) as client:
            said = {"bucket": bucket, "measurement": measurement, "field": field}
            rows = client.query_api().query_raw(flux, params=said).data.decode().splitlines()
        return sum(int(row["_value"]) for row in csv.DictReader(line for line in rows if not line.startswith("#")))


@contextmanager
def influx_server() -> Iterator[Influx]:
    if influxd_program() is None:
        raise SystemExit("InfluxDB is missing: tools/influxd install")
    with TemporaryDirectory(prefix="lunchong-bench-") as folder:
        server = Influxd(Path(folder))
        try:
            yield Influx(server.url, server.token)
        finally:
            server.stop()
