"""Floor 3 · Charging sessions, and how far each spool is drained, in InfluxDB's bucket of facts that is kept for ever.

A session's point stands at its start; the nanoseconds below a millisecond are a hash of its id. A field cannot be taken
back, so what a session has not yet is written as −1 or as no text, and `open` tells open ones from ended ones cheaply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from msgspec import convert

from ingest.facts import Session
from ingest.influx_http import LAST_NS, PLAIN, Influx, Param, in_bucket
from ingest.influx_lines import field_text, field_value, quoted, tag, tag_text, tag_value
from ingest.paging import cursor_after
from ingest.prepared import prepared
from ingest.rows import NANOS
from ingest.store import SessionPage

DAY_NS = 86_400_000 * NANOS
NOT_YET = -1
SESSION = prepared(Session)

_TAGS = ("site", "device", "connector")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]+")
_TEXTS = {"id", "open_boot", "close_boot"}

_DRAINED = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "spool" and r._field == "drained" and r.id == spool_id) |> last()
"""
_SESSIONS = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "session")
"""
_IS = {name: f"  |> filter(fn: (r) => r.{name} == wanted_{name})\n" for name in _TAGS}
_AFTER = """
  |> filter(fn: (r) => r._time >= time(v: after_ns) or r._value > after_id)
"""
_FIRST_STARTS = """
  |> keep(columns: ["_time", "site", "device", "connector"]) |> limit(n: most)
  |> keep(columns: ["_time"]) |> group() |> sort(columns: ["_time"]) |> limit(n: most)
"""


def drained_line(spool: str, no: int) -> str:
    return f"spool,id={tag(spool)} drained={no}i 0"


def drained(influx: Influx, bucket: str, spool: str) -> int:
    asked = in_bucket(bucket) | {"spool_id": tag_value(spool)}
    return max((int(no) for (no,) in influx.query(_DRAINED, ("_value",), asked)), default=0)


def hashed_ns(ms: int, name: str) -> int:
    """A time within a millisecond that a name always has."""
    return ms * NANOS + int.from_bytes(sha256(name.encode()).digest()[:8]) % NANOS


def session_line(session: Session) -> str:
    def ms(value: int | None) -> int:
        return NOT_YET if value is None else value

    return (
        f"session,connector={session.connector},device={tag(session.device)},site={tag(session.site)}"
        f" id={quoted(session.id)},started_ms={session.started_ms}i,energy_kwh={session.energy_kwh},"
        f"open={session.ended_ms is None},incomplete={session.incomplete},"
        f"charge_ended_ms={ms(session.charge_ended_ms)}i,ended_ms={ms(session.ended_ms)}i,"
        f"open_boot={quoted(session.open_boot)},open_seq={session.open_seq}i,"
        f"close_boot={quoted(session.close_boot or '')},close_seq={ms(session.close_seq)}i"
        f" {hashed_ns(session.started_ms, session.id)}"
    )


def sessions(
    influx: Influx,
    bucket: str,
    equal: Mapping[str, str | int | None],
    start_ms: int | None,
    end_ms: int | None,
    after: tuple[int, str] | None,
    limit: int,
) -> SessionPage:
    """First where the page ends is found, from the starts alone; then what lies up to there is read."""
    first_ns = max(start_ms or 0, after[0] if after else 0) * NANOS
    last_ns = LAST_NS if end_ms is None else min(end_ms * NANOS, LAST_NS)
    if first_ns >= last_ns:
        return SessionPage([], None)
    asked, place = _of(equal)
    asked |= in_bucket(bucket, first_ns, last_ns) | {"most": limit + 1}
    script = _SESSIONS + place + '  |> filter(fn: (r) => r._field == "id")\n'
    if after is not None:
        script += _AFTER
        asked |= {"after_ns": max(after[0] + 1, 0) * NANOS, "after_id": after[1]}
    starts = [influx.ns(time) for (time,) in influx.query(script + _FIRST_STARTS, ("_time",), asked)]
    if not starts:
        return SessionPage([], None)
    asked["last_ns"] = min((max(starts) // NANOS + 1) * NANOS, last_ns)
    found = [
        session
        for session in _read(influx, _SESSIONS + place + PLAIN, asked)
        if after is None or (session.started_ms, session.id) > after
    ]
    items = found[:limit]
    return SessionPage(items, cursor_after(items[-1]) if len(found) > limit and items else None)


def open_sessions(influx: Influx, bucket: str) -> list[Session]:
    where = '  |> filter(fn: (r) => r._field == "open" and r._value == true)\n'
    return [session for session in _at(influx, bucket, {}, where, {}) if session.ended_ms is None]


def sessions_after(influx: Influx, bucket: str, site: str, device: str, since_ms: int) -> list[Session]:
    where = '  |> filter(fn: (r) => r._field == "ended_ms" and (r._value < 0 or r._value >= since_ms))\n'
    found = _at(influx, bucket, {"site": site, "device": device}, where, {"since_ms": since_ms})
    return [session for session in found if session.ended_ms is None or session.ended_ms >= since_ms]


def withdraw(influx: Influx, bucket: str, ids: Iterable[str]) -> None:
    """Delete sessions by their ids."""
    for name in ids:
        script = _SESSIONS + '  |> filter(fn: (r) => r._field == "id" and r._value == session_id)\n'
        asked = in_bucket(bucket) | {"session_id": field_value(name)}
        for time, *tags in list(influx.query(script, ("_time", *_TAGS), asked)):
            at_ns = influx.ns(time)
            influx.delete(bucket, at_ns, at_ns, _predicate(tags))


def _at(influx: Influx, bucket: str, equal: Mapping[str, str], where: str, more: Mapping[str, Param]) -> list[Session]:
    """Sessions around the starts of those for which `where` holds: a read for each stretch of days that has such."""
    asked, place = _of(equal)
    times = influx.query(_SESSIONS + place + where, ("_time",), {**asked, **in_bucket(bucket), **more})
    found: list[Session] = []
    for first_ns, last_ns in _stretches(sorted(influx.ns(time) for (time,) in times)):
        found += _read(influx, _SESSIONS + place + PLAIN, asked | in_bucket(bucket, first_ns, last_ns + 1))
    return found


def _stretches(times_ns: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(times_ns) + 1):
        if place == len(times_ns) or times_ns[place] - times_ns[place - 1] > DAY_NS:
            yield times_ns[start], times_ns[place - 1]
            start = place


def _read(influx: Influx, script: str, asked: Mapping[str, Param]) -> list[Session]:
    points: dict[tuple[str, ...], dict[str, str]] = {}
    for field, value, *point in influx.query(script, ("_field", "_value", "_time", *_TAGS), asked):
        points.setdefault(tuple(point), {})[field] = value
    found = [_session(point[1:], fields) for point, fields in points.items() if len(fields) == _WHOLE]
    return sorted(found, key=lambda session: (session.started_ms, session.id))


_WHOLE = session_line(
    Session(id="x", site="x", device="x", connector=1, started_ms=0, open_boot="x", open_seq=1)
).count("=") - len(_TAGS)  # fmt: skip
"""Fields of a session; a point with fewer is being deleted or written."""


def _session(tags: Iterable[str], fields: Mapping[str, str]) -> Session:
    site, device, connector = tags
    said: dict[str, object] = {"site": tag_text(site), "device": tag_text(device), "connector": int(connector)}
    for name, value in fields.items():
        if name in _TEXTS:
            said[name] = field_text(value) or None
        elif name == "incomplete":
            said[name] = value == "true"
        elif name == "energy_kwh":
            said[name] = float(value)
        elif name != "open":
            said[name] = None if int(value) == NOT_YET else int(value)
    return convert(said, SESSION)


def _of(equal: Mapping[str, str | int | None]) -> tuple[dict[str, Param], str]:
    """The part of a script, and its parameters, that asks for these tags."""
    given = {name: tag_value(str(value)) for name, value in equal.items() if value is not None}
    return {f"wanted_{name}": value for name, value in given.items()}, "".join(_IS[name] for name in given)


def _predicate(tags: Iterable[str]) -> str:
    """Ids are plain, so they may stand in quotes; whatever is not is left to the time, which hardly two share."""
    plain = [(name, value) for name, value in zip(_TAGS, tags, strict=True) if _PLAIN_ID.fullmatch(value)]
    return " AND ".join(['_measurement="session"', *(f'{name}="{value}"' for name, value in plain)])
