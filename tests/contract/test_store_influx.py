"""What is InfluxDB's own: its answers, its refusals, writes half done, what may stand in a text, and its setting up."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from ingest import influx_fresh
from ingest.codec import decode_telemetry
from ingest.facts import Batch, DeadLetter, SkewMark
from ingest.influx_rollup import Rollups
from ingest.influx_setup import prepare
from ingest.messages import Meter
from ingest.store import StoreUnavailable, StoreUnusable
from ingest.store_influx import InfluxStore
from tests.between import Said, between
from tests.influx import fresh_buckets, running
from tests.stores import (
    HOUR_MS,
    NINE_MS,
    Spool,
    amenity,
    climate,
    connector,
    dead_letter,
    fault,
    meter,
    presence,
    session,
)

LATER_MS = NINE_MS + 10 * 24 * HOUR_MS


@pytest.fixture
def spool():
    return Spool()


@pytest.fixture
def proxy(influx_server):
    with between(influx_server.url) as proxy:
        yield proxy


@pytest.fixture
def open_it(proxy, influx_server, influx_prefix):
    """Opens the same facts again and again, as another process would."""
    opened = []

    def open_it(url=None, token=None, prefix=influx_prefix):
        url, token = url or proxy.url, token or influx_server.token
        opened.append(InfluxStore(url, token, org=influx_server.org, prefix=prefix))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_it):
    return open_it()


def is_write(asked, bucket=None):
    return asked.path == "/api/v2/write" and bucket in (None, asked.bucket)


# --- answers ---------------------------------------------------------------------------------------------------------


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
def test_a_batch_that_was_not_taken_is_asked_about_once_and_kept_for_later(store, spool, proxy, said, retry_s, words):
    store.drained(spool.name)
    batch = spool.batch(meter(NINE_MS, seq=1), meter(NINE_MS, seq=2), sessions=[session(NINE_MS)])
    proxy.rule = lambda asked: said if is_write(asked) else None
    with pytest.raises(StoreUnavailable) as refused:
        store.write(batch)
    assert len(proxy.writes()) == 1
    assert refused.value.retry_s == retry_s
    assert all(word in str(refused.value) for word in [proxy.url, *words])
    assert "\n" not in str(refused.value)
    proxy.rule = lambda asked: None
    assert store.drained(spool.name) == 0
    assert store.write(batch) == []
    assert store.drained(spool.name) == 1
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]
    assert store.open_sessions() == [session(NINE_MS)]


def test_questions_that_get_no_answer_say_so_and_are_asked_once(store, proxy):
    proxy.rule = lambda asked: Said(503, headers={"Retry-After": "3"})
    questions = [
        store.latest,
        store.stored,
        store.open_sessions,
        store.dead_letters,
        store.count_dead,
        lambda: store.drained("spool-a"),
        lambda: store.history("jn-01", "pile-01", 1, 0, 10, 1),
        lambda: store.rollups("hour", 0, LATER_MS),
        lambda: store.roll_up(LATER_MS),
    ]
    for question in questions:
        with pytest.raises(StoreUnavailable) as refused:
            question()
        assert refused.value.retry_s == 3.0
    assert len(proxy.asked) == len(questions)


def test_an_answer_that_breaks_off_is_no_answer(store, spool, proxy, monkeypatch):
    """A table that ends in the middle must not be taken for the whole one."""
    store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 200))))
    answer = proxy._answer

    def half(request, status, headers, content):
        request.send_response_only(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.close_connection = True

    monkeypatch.setattr(proxy, "_answer", half)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        store.stored()
    monkeypatch.setattr(proxy, "_answer", answer)
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 199, 199)]


def test_a_body_that_is_too_large_is_sent_in_parts(store, spool, proxy):
    proxy.rule = lambda asked: Said(413) if is_write(asked) and len(asked.lines) > 30 else None
    assert store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 101)))) == []
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 100, 100)]


def test_nothing_is_sent_twice_by_itself_and_no_body_is_over_5_000_lines(store, spool, proxy):
    store.drained(spool.name)
    store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 12_001))))
    *readings, number = proxy.writes()
    assert sorted(len(asked.lines) for asked in readings) == [2_000, 5_000, 5_000]
    assert number.text.startswith("spool,id=spool-a drained=1i")


# --- points that are refused for good --------------------------------------------------------------------------------


def refusing(word, status):
    return lambda asked: Said(status, "this point will not do") if is_write(asked) and word in asked.text else None


@pytest.mark.parametrize("status", [400, 422])
def test_one_bad_point_in_5_000_is_a_dead_letter_and_the_others_are_stored(store, spool, proxy, status):
    rows = [meter(NINE_MS + n, current_a=1.0, voltage_v=230.0, seq=n) for n in range(1, 5_001)]
    rows[3_210] = meter(NINE_MS, 666.5, current_a=1.0, voltage_v=230.0, seq=3_211, boot="boot~2")
    batch = spool.batch(*rows)
    proxy.rule = refusing("666.5", status)
    [letter] = store.write(batch)
    assert len(proxy.writes()) < 40
    assert store.dead_letters() == [letter]
    assert (letter.reason, letter.boot, letter.seq) == ("store_refused", "boot~2", 3_211)
    assert letter.topic == "lunchong/v1/jn-01/pile-01/telemetry"
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 3_210, 3_210), ("jn-01", "pile-01", "boot", 3_212, 5_000, 1_789)]  # fmt: skip  # noqa: E501
    [message], [] = decode_telemetry(letter.payload)
    assert isinstance(message, Meter)
    assert (message.boot, message.seq, message.energy_kwh, message.power_kw) == ("boot", 3_211, 666.5, 7.0)


def test_every_kind_of_message_can_be_tried_again_from_its_dead_letter(store, spool, proxy):
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
    letters = store.write(spool.batch(*rows))
    assert sorted(letter.seq for letter in letters) == [1, 2, 3, 4, 5]
    for letter in letters:
        [message], [] = decode_telemetry(letter.payload)
        assert (message.boot, message.seq) == (letter.boot, letter.seq)
    assert sorted(store.dead_letters(), key=lambda letter: letter.seq) == sorted(letters, key=lambda letter: letter.seq)


def test_a_refused_point_that_is_written_again_is_the_same_dead_letter(open_it, spool, proxy, influx_prefix):
    batch = spool.batch(meter(NINE_MS, 666.5, seq=1), meter(NINE_MS, 1.0, seq=2))
    refuse = refusing("666.5", 422)
    proxy.rule = lambda asked: Said(503) if is_write(asked) and asked.text.startswith("spool") else refuse(asked)
    with pytest.raises(StoreUnavailable):
        open_it().write(batch)
    proxy.rule = refuse
    again = open_it()
    [letter] = again.write(batch)
    assert again.dead_letters() == [letter]


def test_a_server_that_refuses_everything_makes_no_dead_letters(store, spool, proxy):
    store.drained(spool.name)
    proxy.rule = lambda asked: Said(400, "no parser today") if is_write(asked) else None
    with pytest.raises(StoreUnavailable, match=r"refuses whatever is written.*no parser today"):
        store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 9))))
    assert store.count_dead() == 0
    assert store.drained(spool.name) == 0


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


def test_a_field_of_another_type_is_refused_alone(store, spool, influx_prefix):
    store._influx.write(influx_prefix, [f"pile,connector=1,device=x,kind=meter,site=x temp_c=true {NINE_MS}000000"])
    [letter] = store.write(spool.batch(meter(NINE_MS, seq=1), meter(NINE_MS, temp_c=30.0, seq=2)))
    assert letter.seq == 2
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 1, 1)]


# --- half done -------------------------------------------------------------------------------------------------------


def everything(spool: Spool) -> tuple[list[Batch], Batch]:
    """What was there before, and a batch that does all that a batch can do, late and backwards too."""
    before = [
        spool.batch(
            *(meter(NINE_MS + n * HOUR_MS // 2, float(n), seq=n + 1) for n in range(8)),
            fault(NINE_MS, "E1", seq=70),
            sessions=[session(NINE_MS, name="stays"), session(NINE_MS + 1, name="goes")],
            dead=[dead_letter(NINE_MS, id="revived"), dead_letter(NINE_MS, id="kept")],
        )
    ]
    batch = spool.batch(
        meter(NINE_MS + 5, 0.5, seq=20),
        climate(NINE_MS, 20.0, seq=21),
        amenity(NINE_MS, "wifi", True, seq=22),
        sessions=[session(NINE_MS, name="stays", ended_ms=NINE_MS + 9)],
        withdrawn=["goes"],
        dead=[dead_letter(NINE_MS, b"[" * 200_000, id="new"), dead_letter(NINE_MS, id="kept", count=4)],
        skewed=[SkewMark("jn-01", "pile-01", "boot", 3, 4), SkewMark("jn-01", "pile-01", "boot", 70, 70)],
    )
    return before, Batch(**{**{name: getattr(batch, name) for name in Batch.__struct_fields__}, "revived": ["revived"]})


def all_that_is_there(store):
    store.roll_up(LATER_MS)
    return [
        store.latest(),
        store.stored(),
        store.sessions().items,
        store.open_sessions(),
        store.dead_letters(),
        store.rollups("hour", 0, LATER_MS),
        store.rollups("day", 0, LATER_MS),
        store.history("jn-01", "pile-01", 1, NINE_MS, NINE_MS + 24 * HOUR_MS, HOUR_MS),
        store.drained("spool-a"),
    ]


def changes(proxy, since=0):
    return [asked for asked in proxy.asked[since:] if asked.path in ("/api/v2/write", "/api/v2/delete")]


def failing_at(proxy, number):
    """The answer to the so manieth change from now on is lost, and what comes after it does not get through."""
    since = len(proxy.asked)

    def rule(asked):
        done = len(changes(proxy, since))
        return None if done < number else "lost" if done == number and asked in changes(proxy, since)[-1:] else "cut"

    proxy.rule = rule


def test_a_batch_that_broke_off_anywhere_is_whole_when_it_is_given_again(influx_server, proxy):
    def run(number):
        spool = Spool()
        before, batch = everything(spool)
        with fresh_buckets(influx_server) as prefix:
            stores = [InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)]
            for earlier in before:
                stores[0].write(earlier)
            stores[0].roll_up(LATER_MS)
            if number is not None:
                failing_at(proxy, number)
                with pytest.raises(StoreUnavailable):
                    stores[0].write(batch)
                proxy.rule = lambda asked: None
                stores.append(InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix))
            since = len(proxy.asked)
            stores[-1].write(batch)
            needed = len(changes(proxy, since))
            found = all_that_is_there(stores[-1])
            for store in stores:
                store.close()
            return needed, found

    needed, whole = run(None)
    assert [letter.id for letter in whole[4]] == ["new", "kept"]
    for number in range(1, needed + 1):
        assert run(number)[1] == whole, f"after change {number} of {needed} was the last"


def test_a_rollup_that_broke_off_anywhere_is_whole_when_it_is_made_again(influx_server, proxy):
    def run(number):
        spool = Spool()
        with fresh_buckets(influx_server) as prefix:
            first = InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)
            rows = [meter(NINE_MS + n * HOUR_MS, float(n), device=f"pile-{n % 5}", seq=n + 1) for n in range(30)]
            first.write(spool.batch(*rows[:25]))
            first.roll_up(NINE_MS + 20 * HOUR_MS)
            late = [meter(NINE_MS + n * HOUR_MS + 1, n + 0.5, device=f"pile-{n % 5}", seq=n + 50) for n in range(9)]
            first.write(spool.batch(*rows[25:], *late, skewed=[SkewMark("jn-01", "pile-1", "boot", 2, 2)]))
            since = len(proxy.asked)
            if number is None:
                first.roll_up(LATER_MS)
            else:
                failing_at(proxy, number)
                with pytest.raises(StoreUnavailable):
                    first.roll_up(LATER_MS)
                proxy.rule = lambda asked: None
            needed = len(changes(proxy, since))
            last = InfluxStore(proxy.url, influx_server.token, org=influx_server.org, prefix=prefix)
            found = all_that_is_there(last)
            first.close()
            last.close()
            return needed, found

    needed, whole = run(None)
    assert len(whole[5]) == 29 + 9 - 8
    for number in range(1, needed + 1):
        assert run(number)[1] == whole, f"after change {number} of {needed} was the last"


@pytest.mark.parametrize("guarded", [True, False])
def test_what_an_interrupted_rollup_left_is_gone_when_it_proves_untrue(store, spool, proxy, monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(Rollups, "_tidy", lambda self: None)
    rows = [meter(NINE_MS, 1.0), meter(NINE_MS + HOUR_MS, 2.0, seq=77), meter(NINE_MS + 2 * HOUR_MS, 4.0)]
    store.write(spool.batch(*rows))
    failing_at(proxy, 1)
    with pytest.raises(StoreUnavailable):
        store.roll_up(NINE_MS + 2 * HOUR_MS)
    proxy.rule = lambda asked: None
    store.write(spool.batch(skewed=[SkewMark("jn-01", "pile-01", "boot", 77, 77)]))
    store.roll_up(LATER_MS)
    assert ([row.energy_kwh for row in store.rollups("hour", 0, LATER_MS)] == [0.0, 3.0]) is guarded


# --- rollups ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_an_hour_that_changes_while_it_is_rolled_up_is_rolled_up_again(store, spool, monkeypatch, guarded):
    store.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + 1, 2.0)))
    read = influx_fresh.fresh_hours
    late = [meter(NINE_MS + 2, 4.0)]

    def read_then_a_late_reading(*args, **kwargs):
        found = read(*args, **kwargs)
        if late:  # the hour has been read, its rollup is about to be written
            if not guarded:
                store._progress.claimed_ms = 0
            store.write(spool.batch(late.pop()))
        return found

    monkeypatch.setattr("ingest.influx_rollup.fresh_hours", read_then_a_late_reading)
    store.roll_up(NINE_MS + HOUR_MS)
    assert [row.energy_kwh for row in store.rollups("hour", 0, NINE_MS * 2)] == [1.0]
    store.roll_up(NINE_MS + HOUR_MS)
    assert ([row.energy_kwh for row in store.rollups("hour", 0, NINE_MS * 2)] == [3.0]) is guarded


def test_readings_in_their_order_leave_no_marks_and_late_ones_one_for_each_hour(store, spool, proxy):
    def marks():
        return [asked for asked in proxy.writes() if asked.text.startswith("late")]

    for hour in range(5):
        store.write(spool.batch(meter(NINE_MS + hour * HOUR_MS, float(hour))))
        store.roll_up(NINE_MS + hour * HOUR_MS)
    assert marks() == []
    for n in range(5):
        store.write(spool.batch(meter(NINE_MS + 7 + n, 0.5), meter(NINE_MS + 2 * HOUR_MS + 7 + n, 2.5)))
    assert [len(asked.lines) for asked in marks()] == [2]


def test_a_rollup_with_nothing_new_asks_the_server_nothing(store, spool, proxy):
    store.write(spool.batch(meter(NINE_MS)))
    store.roll_up(NINE_MS + HOUR_MS)
    asked = len(proxy.asked)
    assert store.roll_up(NINE_MS + HOUR_MS) == store.roll_up(NINE_MS + 2 * HOUR_MS - 1) == 0
    assert len(proxy.asked) == asked


def test_a_late_hour_marked_before_a_restart_is_rolled_up_after_it(open_it, spool):
    first = open_it()
    first.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + HOUR_MS, 5.0)))
    first.roll_up(LATER_MS)
    first.write(spool.batch(meter(NINE_MS + 1, 3.0)))
    again = open_it()
    assert again.roll_up(LATER_MS) == 1
    assert [row.energy_kwh for row in again.rollups("hour", 0, LATER_MS)] == [2.0, 2.0]


def test_a_day_follows_the_time_zone_that_is_set_now(influx_server, influx_prefix, spool):
    def days(zone):
        with closing(InfluxStore(influx_server.url, influx_server.token, prefix=influx_prefix, timezone=zone)) as store:
            store.roll_up(LATER_MS)
            return [(row.start_ms - NINE_MS, row.samples) for row in store.rollups("day", 0, LATER_MS)]

    with closing(InfluxStore(influx_server.url, influx_server.token, prefix=influx_prefix)) as store:
        store.write(spool.batch(*(meter(NINE_MS + n * HOUR_MS, float(n)) for n in range(24))))
    shanghai = days("Asia/Shanghai")
    assert shanghai == [(-17 * HOUR_MS, 7), (7 * HOUR_MS, 17)]
    assert days("UTC") == [(-9 * HOUR_MS, 15), (15 * HOUR_MS, 9)]
    assert days("Asia/Shanghai") == shanghai


def test_nothing_is_deleted_where_nothing_is_old(store, spool, proxy):
    store.write(spool.batch(meter(NINE_MS, seq=1)))
    assert store.expire(NINE_MS) == 0
    assert not [asked for asked in proxy.asked if asked.path == "/api/v2/delete"]


# --- texts -----------------------------------------------------------------------------------------------------------

NASTY = [
    "a,b c=d", "back\\slash\\", 'quo"te', '"quoted"', "new\nline\r\nand\rreturn", "tab\t nul\0", "100%", "%41", "%",
    "中文, 空 格", "'); drop", '") |> drop(columns: ["_value"]) //', "#comment", " ", "=", ",", "\\", "\\\\\\,",
    "$x${y}", "\u2028", "\x7f", "e\u0301", "x" * 200,
]  # fmt: skip


def test_any_text_comes_back_as_it_was(store, spool):
    for n, text in enumerate(NASTY):
        at, boot = {"device": f"pile-{n}"}, text[:64]
        store.write(
            spool.batch(
                connector(NINE_MS, "charging", token=text, error=text, boot=boot, seq=1, **at),
                amenity(NINE_MS, text, True, note=text, seq=1, **at),
                amenity(NINE_MS, "other", True, seq=2, **at),
                fault(NINE_MS, text, note=text, seq=2, **at),
                dead=[dead_letter(NINE_MS + n, text.encode(), topic=text, reason=text, id=text)],
                sessions=[session(NINE_MS + n, open_boot=boot, **at)],
            )
        )
    found = {(row["device"], row.get("name") or row["kind"]): row for row in store.latest()}
    stored, sessions, letters = store.stored(), store.sessions().items, store.dead_letters()
    for n, text in enumerate(NASTY):
        device, boot = f"pile-{n}", text[:64]
        said = found[device, "connector"]
        assert (said["token"], said["error"], said["boot"]) == (text, text, boot)
        assert found[device, text]["note"] == text
        assert ("jn-01", device, boot, 1, 1, 1) in stored
        assert sessions[n] == session(NINE_MS + n, open_boot=boot, device=device)
        assert letters[-1 - n] == dead_letter(NINE_MS + n, text.encode(), topic=text, reason=text, id=text)
    marks = [SkewMark("jn-01", f"pile-{n}", text[:64], 1, 1) for n, text in enumerate(NASTY)]
    store.write(spool.batch(skewed=marks))
    assert "connector" not in {row["kind"] for row in store.latest()}
    assert [store.purge_dead(ids=[text]) for text in NASTY] == [1] * len(NASTY)


def test_a_name_that_looks_like_a_query_finds_nothing(store, spool):
    """What users name is a value, never a part of a script."""
    store.write(spool.batch(meter(NINE_MS), sessions=[session(NINE_MS)]))
    store.roll_up(LATER_MS)
    for text in NASTY[::2]:
        assert store.history(text, text, 1, NINE_MS, NINE_MS + HOUR_MS, HOUR_MS) == []
        assert store.readings(text, text, 1, 0) == []
        assert store.sessions(site=text).items == store.sessions(device=text).items == []
        assert store.sessions_after(text, text, 0) == []
        assert store.rollups("hour", 0, LATER_MS, site=text) == store.rollups("day", 0, LATER_MS, device=text) == []
        assert store.drained(text) == 0
        with pytest.raises(ValueError, match="no dead letter"):
            store.dead_letters(after=text)


def test_dead_letters_of_one_millisecond_keep_apart_however_many(store, spool):
    letters = [dead_letter(NINE_MS, bytes([n % 256]), id=f"letter-{n:04d}") for n in range(1_500)]
    store.write(spool.batch(dead=letters[:700]))
    store.write(spool.batch(dead=letters))
    assert store.count_dead() == 1_500
    assert store.dead_letters(limit=2_000) == letters[::-1]
    assert store.purge_dead(ids=[letter.id for letter in letters[::2]]) == 750
    assert store.dead_letters(limit=2_000) == letters[1::2][::-1]


def test_a_payload_of_a_megabyte_is_kept_whole(store, spool):
    payload = bytes(range(256)) * 4_096
    store.write(spool.batch(dead=[dead_letter(NINE_MS, payload), dead_letter(NINE_MS + 1, b"")]))
    assert [letter.payload for letter in store.dead_letters()] == [b"", payload]


# --- places, rights, crashes -----------------------------------------------------------------------------------------


def test_a_bucket_that_is_missing_is_named_with_what_to_do(store, spool, influx_server, influx_prefix):
    store.drained(spool.name)
    influx_server.drop_bucket(influx_prefix)
    with pytest.raises(StoreUnavailable, match=f"{influx_prefix}.*lunchong init"):
        store.write(spool.batch(meter(NINE_MS)))
    with pytest.raises(StoreUnavailable, match="lunchong init"):
        store.latest()


def test_a_token_that_is_revoked_keeps_the_batch_until_it_is_given_back(open_it, spool, influx_server):
    token_id, token = influx_server.new_token()
    store = open_it(token=token)
    store.write(spool.batch(meter(NINE_MS, seq=1)))
    influx_server.set_token(token_id, active=False)
    batch = spool.batch(meter(NINE_MS, seq=2))
    with pytest.raises(StoreUnavailable, match="LUNCHONG_INFLUX_TOKEN") as refused:
        store.write(batch)
    assert token not in str(refused.value)
    influx_server.set_token(token_id, active=True)
    store.write(batch)
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]


def test_a_server_that_is_away_is_found_when_it_is_asked_and_again_when_it_is_back(tmp_path, spool):
    with running(tmp_path / "influxd") as influxd:
        prepare(influxd.url, influxd.token, org="lunchong", prefix="lunchong", retention_days=0)
        influxd.stop()
        store = InfluxStore(influxd.url, influxd.token)
        with pytest.raises(StoreUnavailable, match="does not answer"):
            store.drained(spool.name)
        influxd.start()
        assert store.drained(spool.name) == 0
        store.write(spool.batch(meter(NINE_MS, seq=1)))
        influxd.kill()
        batch = spool.batch(meter(NINE_MS, seq=2))
        with pytest.raises(StoreUnavailable):
            store.write(batch)
        influxd.start()
        store.write(batch)
        assert store.stored() == [("jn-01", "pile-01", "boot", 1, 2, 2)]
        store.close()


def test_buckets_are_made_once_and_their_retention_follows_the_setting(influx_server):
    prefix = f"test-{time.time_ns()}"

    def prepared(days):
        return prepare(
            influx_server.url, influx_server.token, org=influx_server.org, prefix=prefix, retention_days=days
        )

    made = prepared(90)
    assert [name in line for name, line in zip((prefix, f"{prefix}_facts", f"{prefix}_rollups"), made, strict=True)]
    assert "90 days" in made[0]
    assert all("for ever" in line for line in made[1:])
    assert prepared(90) == []
    [changed] = prepared(0)
    assert prefix in changed
    assert prepared(0) == []
    for name in (prefix, f"{prefix}_facts", f"{prefix}_rollups"):
        influx_server.drop_bucket(name)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "http://127.0.0.1:1"}, "127.0.0.1:1.*start it"),
        ({"token": "another"}, "LUNCHONG_INFLUX_TOKEN"),
        ({"org": "nobody"}, "'nobody'.*LUNCHONG_INFLUX_ORG"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_keeps_buckets_from_being_made_is_said_in_one_line(influx_server, wrong, words):
    asked = {"url": influx_server.url, "token": influx_server.token, "org": influx_server.org} | wrong
    with pytest.raises(StoreUnusable, match=words) as refused:
        prepare(asked["url"], asked["token"], org=asked["org"], prefix="unused", retention_days=1)
    assert "\n" not in str(refused.value)


def test_a_letter_that_was_kept_keeps_its_time_whatever_the_server_says(store, spool, proxy):
    letter = dead_letter(NINE_MS, id="one")
    store.write(spool.batch(dead=[letter]))
    store.write(
        spool.batch(dead=[DeadLetter(**{**{n: getattr(letter, n) for n in letter.__struct_fields__}, "count": 2})])
    )
    assert [(found.id, found.count) for found in store.dead_letters()] == [("one", 2)]
