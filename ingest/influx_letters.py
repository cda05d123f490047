"""Floor 3 · Dead letters in InfluxDB. A letter's point stands at its receipt, in a nanosecond of its own."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence

from ingest.facts import DeadLetter
from ingest.influx_facts import NOT_YET, hashed_ns
from ingest.influx_http import FIRST_NS, LAST_NS, PLAIN, Influx, in_bucket
from ingest.influx_lines import field_text, field_value, quoted
from ingest.rows import NANOS

CHUNK = 60_000
"""A string field is kept well below 64 KiB; a payload of more has several."""
FEW = 20
"""As many ids are looked up by themselves; for more, all are read."""

_LETTERS = """
from(bucket: bucket) |> range(start: time(v: first_ns), stop: time(v: last_ns))
  |> filter(fn: (r) => r._measurement == "dead_letter")
"""
_IDS = _LETTERS + '  |> filter(fn: (r) => r._field == "id")\n'


def letter_lines(influx: Influx, bucket: str, letters: Iterable[DeadLetter]) -> list[str]:
    """A line for each; the last holds of those with one id. Letters of one millisecond get nanoseconds of their own."""
    newest = {letter.id: letter for letter in letters}
    if not newest:
        return []
    received = [letter.received_ms for letter in newest.values()]
    near = _ids(influx, bucket, min(received) * NANOS, (max(received) + 1) * NANOS)
    taken = {at_ns: name for name, at_ns in near}
    lines = []
    for letter in newest.values():
        at_ns = hashed_ns(letter.received_ms, letter.id)
        while taken.setdefault(at_ns, letter.id) != letter.id:
            at_ns = letter.received_ms * NANOS + (at_ns + 1) % NANOS
        lines.append(f"{_fields(letter)} {at_ns}")
    return lines


def dead_letters(influx: Influx, bucket: str, limit: int, after: str | None) -> list[DeadLetter]:
    """Newest first. Raises ValueError when `after` is not, or no longer, the id of one."""
    asked = in_bucket(bucket) | {"most": limit}
    script, before = _IDS, None
    if after is not None:
        last = next(iter(_find(influx, bucket, [after])), None)
        if last is None:
            raise ValueError(f"there is no dead letter {after!r} to go on after")
        before = last[1] // NANOS, after
        script += "  |> filter(fn: (r) => r._time < time(v: after_ns) or r._value < after_id)\n"
        asked |= {"last_ns": (before[0] + 1) * NANOS, "after_ns": before[0] * NANOS, "after_id": field_value(after)}
    times = [influx.ns(time) for (time,) in influx.query(script + "  |> tail(n: most)\n", ("_time",), asked)]
    if not times or limit < 1:
        return []
    asked["first_ns"] = min(times) // NANOS * NANOS
    points: dict[str, dict[str, str]] = {}
    for field, value, time in influx.query(_LETTERS + PLAIN, ("_field", "_value", "_time"), asked):
        points.setdefault(time, {})[field] = value
    found = [_letter(fields) for fields in points.values() if "payload_0" in fields]
    found.sort(key=lambda letter: (letter.received_ms, letter.id), reverse=True)
    return [letter for letter in found if before is None or (letter.received_ms, letter.id) < before][:limit]


def count_dead(influx: Influx, bucket: str, before_ms: int | None = None) -> int:
    asked = in_bucket(bucket)
    if before_ms is not None:
        if before_ms <= 0:
            return 0
        asked["last_ns"] = min(before_ms * NANOS, LAST_NS)
    return sum(int(count) for (count,) in influx.query(_IDS + "  |> count()\n", ("_value",), asked))


def received_before(influx: Influx, bucket: str, ids: Sequence[str]) -> dict[str, int]:
    """When those that are kept already were received, in milliseconds, by id."""
    return {name: at_ns // NANOS for name, at_ns in _find(influx, bucket, ids)}


def purge_dead(influx: Influx, bucket: str, ids: Sequence[str] | None, before_ms: int | None) -> int:
    """Delete those among `ids` and older than `before_ms`, where given; how many went."""
    if ids is None:
        count = count_dead(influx, bucket, before_ms)
        if count:
            last_ns = LAST_NS if before_ms is None else before_ms * NANOS
            influx.delete(bucket, FIRST_NS, last_ns - 1, '_measurement="dead_letter"')
        return count
    going = [at_ns for _name, at_ns in _find(influx, bucket, ids) if before_ms is None or at_ns < before_ms * NANOS]
    if len(going) <= FEW:
        stretches = [(at_ns, at_ns) for at_ns in going]
    else:
        stretches = _stretches(set(going), [at_ns for _name, at_ns in _ids(influx, bucket, FIRST_NS, LAST_NS)])
    for first_ns, last_ns in stretches:
        influx.delete(bucket, first_ns, last_ns, '_measurement="dead_letter"')
    return len(going)


def _stretches(going: set[int], standing: list[int]) -> list[tuple[int, int]]:
    """Unbroken stretches of those that go, so that a thousand letters are not a thousand deletes."""
    found: list[tuple[int, int]] = []
    since_ns: int | None = None
    for at_ns in sorted(standing):
        if at_ns not in going:
            since_ns = None
        elif since_ns is None:
            since_ns = at_ns
            found.append((at_ns, at_ns))
        else:
            found[-1] = since_ns, at_ns
    return found


def _find(influx: Influx, bucket: str, ids: Sequence[str]) -> list[tuple[str, int]]:
    """(id, time) of those that are kept."""
    if len(ids) > FEW:
        wanted = set(ids)
        return [found for found in _ids(influx, bucket, FIRST_NS, LAST_NS) if found[0] in wanted]
    if not ids:
        return []
    any_of = " or ".join(f"r._value == id_{n}" for n in range(len(ids)))
    asked = in_bucket(bucket) | {f"id_{n}": field_value(name) for n, name in enumerate(ids)}
    script = f"{_IDS}  |> filter(fn: (r) => {any_of})\n"
    return [(field_text(name), influx.ns(time)) for name, time in influx.query(script, ("_value", "_time"), asked)]


def _ids(influx: Influx, bucket: str, first_ns: int, last_ns: int) -> list[tuple[str, int]]:
    rows = influx.query(_IDS, ("_value", "_time"), in_bucket(bucket, first_ns, last_ns))
    return [(field_text(name), influx.ns(time)) for name, time in rows]


def _fields(letter: DeadLetter) -> str:
    text = b64encode(letter.payload).decode()
    chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)] or [""]
    payload = ",".join(f'payload_{n}="{chunk}"' for n, chunk in enumerate(chunks))
    return (
        f"dead_letter id={quoted(letter.id)},received_ms={letter.received_ms}i,topic={quoted(letter.topic)},"
        f"reason={quoted(letter.reason)},boot={quoted(letter.boot or '')},"
        f"seq={NOT_YET if letter.seq is None else letter.seq}i,count={letter.count}i,{payload}"
    )


def _letter(fields: dict[str, str]) -> DeadLetter:
    chunks = sum(name.startswith("payload_") for name in fields)
    return DeadLetter(
        id=field_text(fields["id"]),
        received_ms=int(fields["received_ms"]),
        topic=field_text(fields["topic"]),
        payload=b64decode("".join(fields[f"payload_{n}"] for n in range(chunks))),
        reason=field_text(fields["reason"]),
        boot=field_text(fields["boot"]) or None,
        seq=None if int(fields["seq"]) == NOT_YET else int(fields["seq"]),
        count=int(fields["count"]),
    )
