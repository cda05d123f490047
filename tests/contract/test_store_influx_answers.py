"""What InfluxDB answers: later, no, half, or nothing at all; and what becomes of points that it refuses for good."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from ingest.codec import decode_telemetry
from ingest.messages import Meter
from ingest.store import StoreUnavailable
from ingest.store_influx import InfluxStore
from tests.between import Said
from tests.influx import fresh_buckets
from tests.stores import (
    HOUR_MS,
    LATER_MS,
    NINE_MS,
    amenity,
    climate,
    connector,
    fault,
    meter,
    presence,
    session,
)

# --- answers ---------------------------------------------------------------------------------------------------------


def is_write(asked, bucket=None):
    return asked.path == "/api/v2/write" and bucket in (None, asked.bucket)


@pytest.mark.parametrize(
    ("said", "retry_s", "words"),
    [
        (Said(503, headers={"Retry-After": "7"}), 7.0, ["503"]),
        (Said(429, headers={"Retry-After": "2.5"}), 2.5, ["429"]),
        (Said(429, headers={"Retry-After": "soon"}), 1.0, ["429"]),
        (Said(503, headers={"Retry-After": "1000000"}), 300.0, ["503"]),
        (Said(500), 1.0, ["500", "because a test says so"]),
        (Said(401), 1.0, ["token", "LUNCHONG_INFLUX_TOKEN"]),
        (Said(403), 1.0, ["token", "LUNCHONG_INFLUX_TOKEN"]),
        (Said(404), 1.0, ["lunchong init"]),
        ("cut", 1.0, ["does not answer"]),
        ("lost", 1.0, ["does not answer"]),
    ],
    ids=str,
)
def test_a_batch_that_was_not_taken_is_asked_about_once_and_kept_for_later(
    influx_store, spool, proxy, said, retry_s, words
):
    influx_store.drained(spool.name)
    batch = spool.batch(meter(NINE_MS, seq=1), meter(NINE_MS, seq=2), sessions=[session(NINE_MS)])
    proxy.rule = lambda asked: said if is_write(asked) else None
    with pytest.raises(StoreUnavailable) as refused:
        influx_store.write(batch)
    assert len(proxy.writes()) == 1
    assert refused.value.retry_s == retry_s
    assert all(word in str(refused.value) for word in [proxy.url, *words])
    assert "\n" not in str(refused.value)
    proxy.rule = lambda asked: None
    assert influx_store.drained(spool.name) == 0
    assert influx_store.write(batch) == []
    assert influx_store.drained(spool.name) == 1
    assert influx_store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]
    assert influx_store.open_sessions() == [session(NINE_MS)]


def test_questions_that_get_no_answer_say_so_and_are_asked_once(influx_store, proxy):
    proxy.rule = lambda asked: Said(503, headers={"Retry-After": "3"})
    questions = [
        influx_store.latest,
        influx_store.stored,
        influx_store.open_sessions,
        influx_store.dead_letters,
        influx_store.count_dead,
        lambda: influx_store.drained("spool-a"),
        lambda: influx_store.history("jn-01", "pile-01", 1, 0, 10, 1),
        lambda: influx_store.rollups("hour", 0, LATER_MS),
        lambda: influx_store.roll_up(LATER_MS),
    ]
    for question in questions:
        with pytest.raises(StoreUnavailable) as refused:
            question()
        assert refused.value.retry_s == 3.0
    assert len(proxy.asked) == len(questions)


def test_a_page_that_says_200_to_everything_has_stored_nothing(influx_store, spool, proxy):
    batch = spool.batch(meter(NINE_MS))
    proxy.rule = lambda _asked: Said(200, "welcome", {"Content-Type": "text/html"})
    with pytest.raises(StoreUnavailable, match="is no InfluxDB 2"):
        influx_store.write(batch)
    with pytest.raises(StoreUnavailable, match="is no InfluxDB 2"):
        influx_store.drained("another")
    proxy.rule = lambda _asked: None
    influx_store.write(batch)
    assert influx_store.drained(batch.spool) == batch.no
    assert len(influx_store.stored()) == 1


def test_an_answer_that_breaks_off_is_no_answer(influx_store, spool, proxy, monkeypatch):
    """A table that ends in the middle must not be taken for the whole one."""
    influx_store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 200))))
    answer = proxy._answer

    def half(request, status, headers, content):
        request.send_response_only(status)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Content-Type", headers["Content-Type"])
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.close_connection = True

    monkeypatch.setattr(proxy, "_answer", half)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        influx_store.stored()
    monkeypatch.setattr(proxy, "_answer", answer)
    assert influx_store.stored() == [("jn-01", "pile-01", "boot", 1, 199, 199)]


def test_an_answer_that_nobody_read_to_its_end_is_in_nobody_s_way(influx_store, spool, proxy, influx_prefix):
    influx_store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 2_000))))
    script = f'from(bucket: "{influx_prefix}") |> range(start: 0)'
    for _ in range(3):
        rows = influx_store._influx.query(script, ("_value",), {})
        next(rows)
        rows.close()
        assert len(influx_store.stored()) == 1


def test_a_body_that_is_too_large_is_sent_in_parts(influx_store, spool, proxy):
    proxy.rule = lambda asked: Said(413) if is_write(asked) and len(asked.lines) > 30 else None
    assert influx_store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 101)))) == []
    assert influx_store.stored() == [("jn-01", "pile-01", "boot", 1, 100, 100)]


def test_nothing_is_sent_twice_by_itself_and_no_body_is_over_5_000_lines(influx_store, spool, proxy):
    influx_store.drained(spool.name)
    influx_store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 12_001))))
    *readings, number = proxy.writes()
    assert sorted(len(asked.lines) for asked in readings) == [2_000, 5_000, 5_000]
    assert number.text.startswith("spool,id=spool-a drained=1i")


# --- points that are refused for good --------------------------------------------------------------------------------


def refusing(word, status):
    return lambda asked: Said(status, "this point will not do") if is_write(asked) and word in asked.text else None


@pytest.mark.parametrize("status", [400, 422])
def test_one_bad_point_in_5_000_is_a_dead_letter_and_the_others_are_stored(influx_store, spool, proxy, status):
    rows = [meter(NINE_MS + n, current_a=1.0, voltage_v=230.0, seq=n) for n in range(1, 5_001)]
    rows[3_210] = meter(NINE_MS, 666.5, current_a=1.0, voltage_v=230.0, seq=3_211, boot="boot~2")
    batch = spool.batch(*rows)
    proxy.rule = refusing("666.5", status)
    [letter] = influx_store.write(batch)
    assert len(proxy.writes()) < 40
    assert influx_store.dead_letters() == [letter]
    assert (letter.reason, letter.boot, letter.seq) == ("store_refused", "boot~2", 3_211)
    assert letter.topic == "lunchong/v1/jn-01/pile-01/telemetry"
    assert influx_store.stored() == [("jn-01", "pile-01", "boot", 1, 3_210, 3_210), ("jn-01", "pile-01", "boot", 3_212, 5_000, 1_789)]  # fmt: skip  # noqa: E501
    [message], [] = decode_telemetry(letter.payload)
    assert isinstance(message, Meter)
    assert (message.boot, message.seq, message.energy_kwh, message.power_kw) == ("boot", 3_211, 666.5, 7.0)


def test_every_kind_of_message_can_be_tried_again_from_its_dead_letter(influx_store, spool, proxy):
    station = {"device": "station-01"}
    rows = [
        connector(NINE_MS, "suspended", suspended_by="ev", bay_occupied=True, token="a", error="b", seq=1),
        climate(NINE_MS, 20.0, indoor_rh_pct=40.0, seq=2),
        presence(NINE_MS, 3, seats_used=2, groups='{"riders": 2}', seq=3),
        amenity(NINE_MS, "wifi", False, note="no light", seq=4),
        fault(NINE_MS, "E1", seq=5, **station),
    ]
    proxy.rule = lambda asked: (
        Said(422) if is_write(asked) and not asked.text.startswith(("spool", "dead_letter")) else None
    )
    letters = influx_store.write(spool.batch(*rows))
    assert sorted(letter.seq for letter in letters) == [1, 2, 3, 4, 5]
    for letter in letters:
        [message], [] = decode_telemetry(letter.payload)
        assert (message.boot, message.seq) == (letter.boot, letter.seq)
    assert sorted(influx_store.dead_letters(), key=lambda letter: letter.seq) == sorted(
        letters, key=lambda letter: letter.seq
    )


def test_a_refused_point_that_is_written_again_is_the_same_dead_letter(open_influx, spool, proxy, influx_prefix):
    batch = spool.batch(meter(NINE_MS, 666.5, seq=1), meter(NINE_MS, 1.0, seq=2))
    refuse = refusing("666.5", 422)
    proxy.rule = lambda asked: Said(503) if is_write(asked) and asked.text.startswith("spool") else refuse(asked)
    with pytest.raises(StoreUnavailable):
        open_influx().write(batch)
    proxy.rule = refuse
    again = open_influx()
    [letter] = again.write(batch)
    assert again.dead_letters() == [letter]


def test_a_server_that_refuses_everything_makes_no_dead_letters(influx_store, spool, proxy):
    influx_store.drained(spool.name)
    proxy.rule = lambda asked: Said(400, "no parser today") if is_write(asked) else None
    with pytest.raises(StoreUnavailable, match=r"refuses whatever is written.*no parser today"):
        influx_store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 9))))
    assert influx_store.count_dead() == 0
    assert influx_store.drained(spool.name) == 0


def test_what_is_older_than_the_bucket_keeps_is_a_dead_letter_after_few_questions(influx_server, proxy, spool):
    now_ms = int(time.time() * 1000)
    old = [meter(now_ms - 30 * 24 * HOUR_MS + n, seq=n) for n in range(1, 301)]
    new = [meter(now_ms - n, seq=n + 1_000) for n in range(1, 301)]
    mixed = [row for pair in zip(old, new, strict=True) for row in pair]
    with (
        fresh_buckets(influx_server, retention_days=7) as prefix,
        closing(InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)) as store,
    ):
        letters = store.write(spool.batch(*mixed))
        assert len(proxy.writes()) < 8
        assert sorted(letter.seq for letter in letters) == list(range(1, 301))
        assert store.count_dead() == 300
        assert store.stored() == [("jn-01", "pile-01", "boot", 1_001, 1_300, 300)]
        assert all(abs(letter.received_ms - now_ms) < HOUR_MS for letter in letters)  # else they are let go as too old


def test_a_field_of_another_type_is_refused_alone(influx_store, spool, influx_prefix):
    influx_store._influx.write(
        influx_prefix, [f"pile,connector=1,device=x,kind=meter,site=x temp_c=true {NINE_MS}000000"]
    )
    [letter] = influx_store.write(spool.batch(meter(NINE_MS, seq=1), meter(NINE_MS, temp_c=30.0, seq=2)))
    assert letter.seq == 2
    assert influx_store.stored() == [("jn-01", "pile-01", "boot", 1, 1, 1)]
