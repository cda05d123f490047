"""Floor 3 · The tables of the DuckDB store.

Raw tables have no keys: duplicates are shut out before the spool, and an index would cost stalls. Their rows begin with
the spool and the number of the batch that brought them. A row of `hour` keeps the parts of a rollup, not its results:
what a counter did inside the hour, and where it stood before it, so that a neighbour that comes late changes one field.
"""

from __future__ import annotations

from ingest.facts import EVENT_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, DeadLetter, Session

SCHEMA = 1

RAW = {"pile": PILE_COLUMNS, "station": STATION_COLUMNS, "event": EVENT_COLUMNS}
SESSION_COLUMNS = Session.__struct_fields__
DEAD_COLUMNS = DeadLetter.__struct_fields__

COUNTERS = {"energy_kwh": "DOUBLE", "energy_wh": "DOUBLE", "entries": "BIGINT"}
"""Lifetime counters: they only rise, and a fall means that the meter was replaced."""

_TEXT = {"site", "device", "kind", "boot", "state", "suspended_by", "token", "error", "groups", "name", "code",
         "severity", "note", "id", "open_boot", "close_boot", "topic", "reason"}  # fmt: skip
_WHOLE = {"at_ns", "seq", "ts_ms", "entries", "started_ms", "open_seq", "charge_ended_ms", "ended_ms", "close_seq",
          "received_ms", "count"}  # fmt: skip
_SMALL = {"connector", "people", "seats_used", "reading_seats_used", "outlets_used"}
_YES_NO = {"skewed", "bay_occupied", "ok", "cleared", "alarm", "incomplete"}


def column_type(column: str) -> str:
    if column in _TEXT:
        return "VARCHAR"
    if column in _WHOLE:
        return "BIGINT"
    if column in _SMALL:
        return "INTEGER"
    if column in _YES_NO:
        return "BOOLEAN"
    return "BLOB" if column == "payload" else "DOUBLE"


def _table(name: str, columns: tuple[str, ...], before: str = "") -> str:
    return f"CREATE TABLE {name} ({before}{', '.join(f'{column} {column_type(column)}' for column in columns)});"


def _counter(name: str, kind: str) -> str:
    return ", ".join(f"{name}_{part} {kind}" for part in ("first", "last", "inner", "before"))


TABLES = "\n".join(
    [
        "CREATE TABLE meta (name VARCHAR, value BIGINT);",
        "CREATE TABLE spool (id VARCHAR, drained BIGINT);",
        *(_table(name, columns, "spool VARCHAR, batch BIGINT, ") for name, columns in RAW.items()),
        _table("session", SESSION_COLUMNS),
        _table("dead_letter", DEAD_COLUMNS),
        "CREATE TABLE dirty (mark BIGINT, site VARCHAR, device VARCHAR, hour_ms BIGINT);",
        f"""CREATE TABLE hour (site VARCHAR, device VARCHAR, connector INTEGER, hour_ms BIGINT, samples BIGINT,
            power_max DOUBLE, power_sum DOUBLE, power_n BIGINT, people_max DOUBLE, people_sum DOUBLE, people_n BIGINT,
            indoor_max DOUBLE, indoor_min DOUBLE, {", ".join(_counter(*counter) for counter in COUNTERS.items())});""",
    ]
)
