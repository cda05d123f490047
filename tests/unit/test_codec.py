"""Whatever bytes come, the codec answers: a good message, or a refusal with its reason."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec import BadPayload, decode_status, decode_telemetry, decode_together

METER = {
    "v": 1, "boot": "b", "seq": 7, "ts": "2026-11-26T01:00:00.000Z", "kind": "meter", "connector": 1,
    "power_kw": 1.0, "energy_kwh": 2.0, "current_a": 3.0, "voltage_v": 230.0,
}  # fmt: skip
HALF = "\ud800"
"""Half a surrogate pair: JSON can escape it, and it is no text."""

texts = st.text(st.characters(exclude_categories=()), max_size=6) | st.just(HALF)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({HALF: 1}, "bad_envelope"),
        ({"boot": HALF}, "bad_field:boot"),
    ],
)
def test_half_a_surrogate_pair_is_refused_and_its_neighbours_are_not(more: dict[str, object], reason: str) -> None:
    bad, good = METER | more, METER | {"seq": 8}
    taken, [refused] = decode_telemetry(json.dumps([bad, good]).encode())
    assert [message.seq for message in taken] == [8]
    assert refused.reason == reason
    assert (refused.boot, refused.seq) == (("b", 7) if reason == "bad_envelope" else (None, None))
    assert decode_telemetry(json.dumps(bad).encode())[1][0].reason == reason


def test_what_stands_in_a_member_that_we_do_not_know_is_not_looked_at() -> None:
    payload = json.dumps([METER | {"x": {"y": [HALF]}}]).encode()
    assert [message.seq for message in decode_telemetry(payload)[0]] == [7]


@given(st.dictionaries(st.sampled_from(sorted(METER)) | texts, values, max_size=3), st.booleans())
def test_every_json_is_answered_once(more: dict[str, object], in_array: bool) -> None:
    said = METER | more
    payload = json.dumps([said, METER] if in_array else said).encode()
    taken, refused = decode_telemetry(payload)
    if refused and refused[0].reason == "not_json":
        assert (taken, len(refused)) == ([], 1)
    else:
        assert len(taken) + len(refused) == 1 + in_array
    assert msgspec.json.encode(taken)
    good, _times_ms, bad = decode_together([json.dumps(METER).encode(), payload])
    assert len(good) == len(taken) + 1
    assert [one.reason for one in bad] == [one.reason for one in refused]


@given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
def test_every_payload_is_answered(payload: bytes) -> None:
    taken, refused = decode_telemetry(payload)
    assert taken or refused or payload.strip() == b"[]"
    with suppress(BadPayload):
        decode_status(payload)
