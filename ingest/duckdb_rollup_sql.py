"""Floor 3 · The statements of the DuckDB rollups, in the order in which one renewal runs them.

`greatest` passes over NULLs: a difference to nothing counts 0, and so does a fall, which is a replaced meter.
"""

from __future__ import annotations

from ingest.duckdb_reads import IN_TIME
from ingest.duckdb_schema import COUNTERS

HOUR_MS = 3_600_000
HOUR_NS = HOUR_MS * 1_000_000

STEP = 20_000
"""Hours of a device renewed in one transaction; bounds the memory and how long a writer waits."""


def _each(form: str) -> str:
    """`form` once for each counter, in place of its {}."""
    return ", ".join(form.replace("{}", name) for name in COUNTERS)


def _same(one: str, other: str, *columns: str) -> str:
    return " AND ".join(f"{one}.{column} = {other}.{column}" for column in columns)


TAKEN = f"""
CREATE OR REPLACE TEMP TABLE taken AS
SELECT DISTINCT site, device, hour_ms FROM dirty WHERE hour_ms <= ? AND mark <= ?
ORDER BY hour_ms, site, device LIMIT {STEP}"""

FRESH = f"""
CREATE OR REPLACE TEMP TABLE fresh AS
WITH row AS (
  SELECT site, device, connector, at_ns, skewed, ts_ms, power_kw, energy_kwh,
         NULL::INTEGER AS people, NULL::DOUBLE AS indoor_c, NULL::DOUBLE AS energy_wh, NULL::BIGINT AS entries FROM pile
  UNION ALL BY NAME
  SELECT site, device, 0 AS connector, at_ns, skewed, ts_ms, people, indoor_c, energy_wh, entries FROM station),
said AS (
  SELECT row.*, hour_ms, {_each("lag({} IGNORE NULLS) OVER line AS {}_was")}
  FROM row JOIN taken ON {_same("row", "taken", "site", "device")} AND at_ns // {HOUR_NS} * {HOUR_MS} = hour_ms
  WHERE at_ns >= $start AND at_ns < $end AND {IN_TIME}
  WINDOW line AS (PARTITION BY row.site, row.device, connector, hour_ms ORDER BY at_ns))
SELECT site, device, connector, hour_ms, count(*) AS samples,
       max(power_kw) AS power_max, sum(power_kw) AS power_sum, count(power_kw) AS power_n,
       max(people) AS people_max, sum(people) AS people_sum, count(people) AS people_n,
       max(indoor_c) AS indoor_max, min(indoor_c) AS indoor_min, {_each("arg_min({}, at_ns) AS {}_first")},
       {_each("arg_max({}, at_ns) AS {}_last")}, {_each("sum(greatest({} - {}_was, 0)) AS {}_inner")}
FROM said GROUP BY ALL"""

RENEWED = """
CREATE OR REPLACE TEMP TABLE renewed AS
WITH kept AS (
  SELECT hour.* FROM hour JOIN taken USING (site, device, hour_ms)
  LEFT JOIN fresh USING (site, device, connector, hour_ms)
  WHERE hour_ms < ? AND coalesce(fresh.samples, 0) < hour.samples)
FROM fresh ANTI JOIN kept USING (site, device, connector, hour_ms) UNION ALL BY NAME FROM kept"""
"""An hour whose raw rows have expired keeps its rollup, unless more rows came afterwards than it was made of."""

FORGET = f"DELETE FROM hour USING taken WHERE {_same('hour', 'taken', 'site', 'device', 'hour_ms')}"
INSERT = "INSERT INTO hour BY NAME FROM renewed"

BEFORE = f"""
WITH touched AS (SELECT site, device, min(hour_ms) AS from_ms FROM taken GROUP BY ALL),
line AS (
  SELECT site, device, connector, -1 AS hour_ms, {_each("arg_max({}_last, hour_ms) AS {}_last")}
  FROM hour JOIN touched USING (site, device) WHERE hour_ms < from_ms GROUP BY ALL
  UNION ALL BY NAME
  SELECT site, device, connector, hour_ms, {_each("{}_last")}
  FROM hour JOIN touched USING (site, device) WHERE hour_ms >= from_ms),
stood AS (
  SELECT site, device, connector, hour_ms, {_each("lag({}_last IGNORE NULLS) OVER w AS {}")}
  FROM line WINDOW w AS (PARTITION BY site, device, connector ORDER BY hour_ms))
UPDATE hour SET {_each("{}_before = stood.{}")} FROM stood
WHERE {_same("hour", "stood", "site", "device", "connector", "hour_ms")}
  AND ({_each("{}_before IS DISTINCT FROM stood.{}").replace(",", " OR")})"""
"""Where each counter stood before the hour: from the first renewed hour of a device on, set only where it changed."""

CLEAN = f"DELETE FROM dirty USING taken WHERE mark <= ? AND {_same('dirty', 'taken', 'site', 'device', 'hour_ms')}"

_COUNTED = "sum({}_inner + greatest({}_first - {}_before, 0)) FILTER ({}_last IS NOT NULL)"
_SUM_OF = {
    "site": "site",
    "device": "device",
    "connector": "connector",
    "samples": "sum(samples)::BIGINT",
    "energy_kwh": _COUNTED.replace("{}", "energy_kwh"),
    "power_kw_max": "max(power_max)",
    "power_kw_mean": "sum(power_sum) / nullif(sum(power_n), 0)",
    "people_max": "max(people_max)",
    "people_mean": "sum(people_sum) / nullif(sum(people_n), 0)",
    "indoor_c_max": "max(indoor_max)",
    "indoor_c_min": "min(indoor_min)",
    "outlet_wh": _COUNTED.replace("{}", "energy_wh"),
    "entries": f"({_COUNTED.replace('{}', 'entries')})::BIGINT",
}
RESULTS = ("start_ms", *_SUM_OF)

_WANTED = (
    "hour_ms >= $start AND hour_ms < $end AND ($site IS NULL OR site = $site) AND ($device IS NULL OR device = $device)"
)
_SUMS = ", ".join(_SUM_OF.values())
HOURS = f"SELECT hour_ms, {_SUMS} FROM hour WHERE {_WANTED} GROUP BY ALL ORDER BY hour_ms, site, device, connector"
DAYS = f"""
SELECT day_ms, {_SUMS} FROM hour ASOF JOIN (SELECT unnest($days) AS day_ms) ON hour_ms >= day_ms
WHERE {_WANTED} GROUP BY ALL ORDER BY day_ms, site, device, connector"""
