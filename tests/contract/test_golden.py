"""Payloads written by hand, and what must become of each: stored in order, or in the dead letters with its reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from msgspec import convert

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import Now, parse_rfc3339
from ingest.facts import EVENT_COLUMNS, PILE_COLUMNS, STATION_COLUMNS, Batch
from ingest.pipeline import Pipeline
from ingest.spooling import Kept

CASES = [json.loads(line) for line in Path(__file__).with_name("golden.jsonl").read_text().splitlines()]
ALSO_RIGHT = {
    "infinite by exponent": [{"seq": None, "reason": "not_json"}],
    "nested a thousand deep": [{"seq": None, "reason": "not_json"}],
}
"""What the cases' own notes allow."""
INVENTORY = Inventory(
    sites={name: Site(id=name, name=Name(name, name), lat=31.2, lon=121.4) for name in ("cjd-07", "jn-02")},
    devices={
        "cjd-07/pile-03": Device(
            site="cjd-07", id="pile-03", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2))
        ),
        "jn-02/station-01": Device(site="jn-02", id="station-01", kind="station"),
    },
)
RECEIVED = Now(parse_rfc3339("2026-11-22T04:05:07Z"), 0.0)


def taken(*cases: dict[str, object]) -> Batch:
    pipeline = Pipeline(INVENTORY, Kept([], [], []))
    for case in cases:
        encoded = case.get("payload_b64")
        payload = base64.b64decode(str(encoded)) if encoded else str(case["payload"]).encode()
        pipeline.take([(str(case["topic"]), payload, False)], RECEIVED)
    return pipeline.draw().commit.batch


def rows(batch: Batch) -> list[dict[str, object]]:
    return [
        dict(zip(columns, row, strict=True))
        for columns, some in (
            (PILE_COLUMNS, batch.pile),
            (STATION_COLUMNS, batch.station),
            (EVENT_COLUMNS, batch.event),
        )
        for row in some
    ]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_becomes_of_a_payload(case: dict[str, object]) -> None:
    batch = taken(case)
    assert sorted(convert(row["seq"], int) for row in rows(batch)) == case["stored"]
    dead = [{"seq": letter.seq, "reason": letter.reason} for letter in batch.dead]
    assert dead in (case["dead"], ALSO_RIGHT.get(str(case["name"])))


def test_no_case_disturbs_another() -> None:
    batch = taken(*CASES)
    assert len(rows(batch)) == sum(len(case["stored"]) for case in CASES)
    assert {letter.reason for letter in batch.dead} == {dead["reason"] for case in CASES for dead in case["dead"]} | {
        reason["reason"] for dead in ALSO_RIGHT.values() for reason in dead if reason["reason"] == "not_json"
    }


def named(name: str) -> dict[str, object]:
    [row] = rows(taken(next(case for case in CASES if case["name"] == name)))
    return row


def test_what_the_notes_of_the_cases_ask_for() -> None:
    offset = named("time with an offset other than Z is still a time")
    assert offset["ts_ms"] == parse_rfc3339("2026-11-22T04:05:06.250Z")
    assert named("one value given twice takes the last")["power_kw"] == 5.5
    assert named("text with control characters and markup in a note")["note"] == "<script>alert(1)</script>\0\n"


def test_two_messages_of_one_millisecond_are_two_points() -> None:
    batch = taken(next(case for case in CASES if case["name"] == "two messages of one millisecond are two"))
    assert len({row["at_ns"] for row in rows(batch)}) == 2


def test_the_same_bytes_within_a_day_are_one_dead_letter_that_is_counted() -> None:
    hello = next(case for case in CASES if case["name"] == "text")
    [letter] = taken(hello, hello, hello).dead
    assert letter.count == 3


def test_a_note_longer_than_two_hundred_characters_is_cut() -> None:
    case = next(case for case in CASES if case["name"] == "amenity with a Chinese note")
    long = {**case, "payload": str(case["payload"]).replace("微波炉不加热", "坏" * 300)}
    [row] = rows(taken(long))
    assert row["note"] == "坏" * 200
