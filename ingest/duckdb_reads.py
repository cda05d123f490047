"""Floor 3 · What is asked of the DuckDB store, rollups apart.

Each function is one query on a cursor of its own and fetches its result whole: DuckDB refuses other work on a cursor
with an unfinished one.

Rows whose clock was found wrong only after they were stored keep a time that is not theirs (`skewed`, and their time is
still what the device said). They are stored, and sessions are derived from them; nothing that goes by time shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap

from ingest.duckdb_file import Cursor
from ingest.duckdb_schema import COUNTERS, DEAD_COLUMNS, RAW, SESSION_COLUMNS
from ingest.facts import KEY_COLUMNS, STATION_COLUMNS, Cell, DeadLetter, Reading, Session
from ingest.paging import cursor_after
from ingest.store import HistoryPoint, SessionPage

NS_PER_MS = 1_000_000
IN_TIME = "NOT (skewed AND at_ns // 1000000 = ts_ms)"

PILE_NUMBERS = ("power_kw", "energy_kwh", "current_a", "voltage_v", "temp_c", "soc_pct")
STATION_NUMBERS = tuple(column for column in STATION_COLUMNS if column not in (*KEY_COLUMNS, "groups"))


def drained(cursor: Cursor, spool: str) -> int | None:
    found = cursor.execute("SELECT drained FROM spool WHERE id = ?", [spool]).fetchall()
    return found[0][0] if found else None


def latest(cursor: Cursor) -> list[dict[str, Cell]]:
    instruments = {"pile": ("connector", "kind"), "station": ("kind",), "event": ("name",)}
    rows = []
    for table, parts in instruments.items():
        one = ", ".join(("site", "device", *parts))
        only = f"{IN_TIME} AND kind = 'amenity'" if table == "event" else IN_TIME
        columns = RAW[table]
        found = cursor.execute(
            f"SELECT {', '.join(columns)} FROM {table} JOIN ("
            f" SELECT {one}, max(at_ns) AS at_ns FROM {table} WHERE {only} GROUP BY ALL"
            f") USING ({one}, at_ns) WHERE {only}"
        ).fetchall()
        rows += [dict(zip(columns, row, strict=True)) for row in found]
    return rows


def history(
    cursor: Cursor, site: str, device: str, connector: int | None, start_ms: int, end_ms: int, every_ms: int
) -> list[HistoryPoint]:
    table, numbers = ("station", STATION_NUMBERS) if connector is None else ("pile", PILE_NUMBERS)
    values = ", ".join(f"arg_max({name}, at_ns)::DOUBLE" if name in COUNTERS else f"avg({name})" for name in numbers)
    found = cursor.execute(
        f"SELECT $start + (at_ns // 1000000 - $start) // $every * $every AS step, {values} FROM {table}"
        f" WHERE site = $site AND device = $device {'' if connector is None else 'AND connector = $connector'}"
        f" AND at_ns >= $start * 1000000 AND at_ns < $end * 1000000 AND {IN_TIME} GROUP BY step ORDER BY step",
        {"site": site, "device": device, "start": start_ms, "end": end_ms, "every": every_ms}
        | ({} if connector is None else {"connector": connector}),
    ).fetchall()
    return [HistoryPoint(step, dict(zip(numbers, row, strict=True))) for step, *row in found]


def sessions(
    cursor: Cursor,
    equal: Mapping[str, str | int | None],
    start_ms: int | None,
    end_ms: int | None,
    after: tuple[int, str] | None,
    limit: int,
) -> SessionPage:
    wanted, values = ["true"], list[str | int]()
    for column, value in equal.items():
        if value is not None:
            wanted.append(f"{column} = ?")
            values.append(value)
    for bound, test in ((start_ms, "started_ms >= ?"), (end_ms, "started_ms < ?")):
        if bound is not None:
            wanted.append(test)
            values.append(bound)
    if after is not None:
        wanted.append("(started_ms, id) > (?, ?)")
        values += after
    found = some_sessions(cursor, " AND ".join(wanted), values, limit + 1)
    items = found[:limit]
    return SessionPage(items, cursor_after(items[-1]) if len(found) > limit and items else None)


def some_sessions(cursor: Cursor, wanted: str, values: Sequence[str | int], limit: int | None = None) -> list[Session]:
    found = cursor.execute(
        f"SELECT {', '.join(SESSION_COLUMNS)} FROM session WHERE {wanted} ORDER BY started_ms, id LIMIT ?",
        [*values, limit],
    ).fetchall()
    return [Session(**dict(zip(SESSION_COLUMNS, row, strict=True))) for row in found]


def readings(cursor: Cursor, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
    cursor.execute(
        "SELECT boot, seq, at_ns // 1000000, connector, state, suspended_by, power_kw, energy_kwh FROM pile"
        " WHERE site = ? AND device = ? AND connector = ? AND at_ns >= ?",
        [site, device, connector, since_ms * NS_PER_MS],
    )
    found = list[Reading]()
    while rows := cursor.fetchmany(10_000):
        found.extend(starmap(Reading, rows))
    return found


def stored(cursor: Cursor, since_batch: tuple[str, int] | None) -> list[tuple[str, str, str, int, int, int]]:
    newer = "" if since_batch is None else " WHERE spool = $spool AND batch > $batch"
    every = " UNION ALL ".join(f"SELECT site, device, boot, seq FROM {table}{newer}" for table in RAW)
    # Within a run of seqs, seq minus its rank among the distinct seqs stays the same.
    return cursor.execute(
        "SELECT site, device, boot, min(seq), max(seq), count(*) FROM ("
        "  SELECT *, seq - dense_rank() OVER (PARTITION BY site, device, boot ORDER BY seq) AS island"
        f" FROM ({every})) GROUP BY site, device, boot, island ORDER BY site, device, boot, min(seq)",
        None if since_batch is None else {"spool": since_batch[0], "batch": since_batch[1]},
    ).fetchall()


def dead_letters(cursor: Cursor, limit: int, after: str | None) -> list[DeadLetter]:
    """Newest first. Raises ValueError when `after` is not, or no longer, the id of one."""
    older, values = "", list[str | int]()
    if after is not None:
        last = cursor.execute("SELECT received_ms, id FROM dead_letter WHERE id = ?", [after]).fetchall()
        if not last:
            raise ValueError(f"there is no dead letter {after!r} to go on after")
        older, values = "WHERE (received_ms, id) < (?, ?)", [*last[0]]
    found = cursor.execute(
        f"SELECT {', '.join(DEAD_COLUMNS)} FROM dead_letter {older} ORDER BY received_ms DESC, id DESC LIMIT ?",
        [*values, limit],
    ).fetchall()
    return [DeadLetter(**dict(zip(DEAD_COLUMNS, row, strict=True))) for row in found]


def count(cursor: Cursor, statement: str, values: Mapping[str, object] | Sequence[object]) -> int:
    """The one number that a statement answers: of a DELETE or UPDATE, how many rows it touched."""
    [(rows,)] = cursor.execute(statement, values).fetchall()
    return int(rows)
