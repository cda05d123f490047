"""Facts for the tests of the store, one in a line, and what a store must say of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from ingest.facts import EVENT_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, Batch, Cell, DeadLetter, Row, Session, SkewMark

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NINE_MS = 1_795_338_000_000 // HOUR_MS * HOUR_MS
"""2026-11-22T09:00:00Z."""
EVENING_MS = NINE_MS + 4 * HOUR_MS
"""Three hours before midnight in Shanghai."""
LATER_MS = NINE_MS + 10 * DAY_MS

_seqs = itertools.count(1)


def meter(at_ms: int, energy_kwh: float | None = 10.0, **said: Cell) -> Row:
    return _row(PILE_COLUMNS, at_ms, said, kind="meter", connector=1, power_kw=7.0, energy_kwh=energy_kwh)


def connector(at_ms: int, state: str, **said: Cell) -> Row:
    return _row(PILE_COLUMNS, at_ms, said, kind="connector", connector=1, state=state)


def climate(at_ms: int, indoor_c: float, **said: Cell) -> Row:
    return _row(STATION_COLUMNS, at_ms, said, device="station-01", kind="climate", indoor_c=indoor_c)


def presence(at_ms: int, people: int, **said: Cell) -> Row:
    return _row(STATION_COLUMNS, at_ms, said, device="station-01", kind="presence", people=people)


def outlets(at_ms: int, energy_wh: float, **said: Cell) -> Row:
    return _row(STATION_COLUMNS, at_ms, said, device="station-01", kind="outlets", energy_wh=energy_wh)


def amenity(at_ms: int, name: str, ok: bool, **said: Cell) -> Row:
    return _row(EVENT_COLUMNS, at_ms, said, device="station-01", kind="amenity", name=name, ok=ok)


def fault(at_ms: int, code: str, **said: Cell) -> Row:
    return _row(EVENT_COLUMNS, at_ms, said, kind="fault", code=code, severity="info", cleared=False)


def _row(columns: tuple[str, ...], at_ms: int, said: dict[str, Cell], **usual: Cell) -> Row:
    seq = said.get("seq") or next(_seqs)
    given: dict[str, Cell] = {"site": "jn-01", "device": "pile-01", "boot": "boot", "seq": seq, "ts_ms": at_ms}
    at: dict[str, Cell] = {"at_ns": at_ms * 1_000_000 + int(seq) % 1_000_000, "skewed": False}
    row = given | at | usual | said
    assert row.keys() <= set(columns), row.keys() - set(columns)
    return tuple(row.get(column) for column in columns)


class Spool:
    """Hands out batches with rising numbers, and sorts rows by what they are."""

    def __init__(self, name: str = "spool-a") -> None:
        self.name = name
        self.no = 0

    def batch(
        self,
        *rows: Row,
        sessions: Iterable[Session] = (),
        withdrawn: Iterable[str] = (),
        dead: Iterable[DeadLetter] = (),
        skewed: Iterable[SkewMark] = (),
    ) -> Batch:
        self.no += 1
        of = {"meter": "pile", "connector": "pile", "climate": "station", "presence": "station", "outlets": "station"}
        sorted_rows: dict[str, list[Row]] = {"pile": [], "station": [], "event": []}
        for row in rows:
            sorted_rows[of.get(str(row[3]), "event")].append(row)
        return Batch(
            spool=self.name,
            no=self.no,
            pile=sorted_rows["pile"],
            station=sorted_rows["station"],
            event=sorted_rows["event"],
            sessions=list(sessions),
            withdrawn=list(withdrawn),
            dead=list(dead),
            skewed=list(skewed),
        )


def session(started_ms: int, *, name: str | None = None, ended_ms: int | None = None, **said: object) -> Session:
    given: dict[str, object] = {
        "site": "jn-01",
        "device": "pile-01",
        "connector": 1,
        "open_boot": "boot",
        "open_seq": 1,
    }
    times = {"id": name or f"at-{started_ms}", "started_ms": started_ms, "ended_ms": ended_ms}
    return msgspec.convert(given | times | said, Session)


def dead_letter(received_ms: int, payload: bytes = b"{", **said: object) -> DeadLetter:
    given: dict[str, object] = {"id": f"dead-{received_ms}", "topic": "lunchong/v1/x/y/telemetry", "reason": "not_json"}
    return DeadLetter(**{"received_ms": received_ms, "payload": payload, **given, **said})  # type: ignore[arg-type]
