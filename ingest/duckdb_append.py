"""Floor 3 · Rows into a DuckDB table by columns: an array each, which DuckDB reads without a Python object a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ingest.duckdb_file import Cursor
from ingest.duckdb_schema import RAW, column_type
from ingest.facts import Row

FEW = 200
"""Below, the appender is quicker than making arrays."""

_TYPES: dict[str, type] = {"BIGINT": np.int64, "INTEGER": np.int32, "DOUBLE": np.float64, "BOOLEAN": np.bool_}


def append_rows(cursor: Cursor, table: str, spool: str, batch: int, rows: Sequence[Row]) -> None:
    """Append raw rows of one batch. Raises ValueError when a row has not the columns of its table."""
    columns = RAW[table]
    if set(map(len, rows)) - {len(columns)}:
        raise ValueError(f"a row of {table} has not {len(columns)} values")
    if len(rows) < FEW:
        append(cursor, table, [(spool, batch, *row) for row in rows])
        return
    arrays = {
        name: _array(name, values)
        for name, values in zip(columns, zip(*rows, strict=True), strict=True)
        if values.count(None) < len(values)
    }
    names = ", ".join(arrays)
    cursor.execute(f"INSERT INTO {table} (spool, batch, {names}) SELECT ?, ?, {names} FROM arrays", [spool, batch])


def append(cursor: Cursor, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Append whole rows of any table."""
    if not rows:
        return
    appender = cursor.appender(table)
    try:
        appender.append_rows(rows)
        appender.flush()
    except BaseException:
        appender.clear()
        raise


def _array(name: str, values: tuple[Any, ...]) -> np.ndarray[Any, Any]:
    kind = _TYPES.get(column_type(name), np.object_)
    if kind is np.object_ or None not in values:
        return np.array(values, dtype=kind)
    filled: np.ndarray[Any, Any] = np.array([0 if value is None else value for value in values], dtype=kind)
    return np.ma.masked_array(filled, mask=[value is None for value in values])
