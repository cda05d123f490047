"""What is InfluxDB's own: what may stand in a text, its setting up, its going away and coming back."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from ingest.facts import DeadLetter, SkewMark
from ingest.influx_setup import prepare
from ingest.store import StoreUnavailable, StoreUnusable
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from tests.influx import running
from tests.stores import (
    HOUR_MS,
    LATER_MS,
    NINE_MS,
    amenity,
    climate,
    connector,
    dead_letter,
    fault,
    meter,
    outlets,
    presence,
    session,
)

# --- texts -----------------------------------------------------------------------------------------------------------

NASTY = [
    "a,b c=d", "back\\slash\\", 'quo"te', '"quoted"', "new\nline\r\nand\rreturn", "tab\t nul\0", "100%", "%41", "%",
    "中文, 空 格", "'); drop", '") |> drop(columns: ["_value"]) //', "#comment", " ", "=", ",", "\\", "\\\\\\,",
    "$x${y}", "\u2028", "\x7f", "e\u0301", "x" * 200,
]  # fmt: skip


def test_any_text_comes_back_as_it_was(influx_store, spool):
    for n, text in enumerate(NASTY):
        at, boot = {"device": f"pile-{n}"}, text[:64]
        influx_store.write(
            spool.batch(
                connector(NINE_MS, "charging", token=text, error=text, boot=boot, seq=1, **at),
                amenity(NINE_MS, text, True, note=text, seq=1, **at),
                amenity(NINE_MS, "other", True, seq=2, **at),
                fault(NINE_MS, text, note=text, seq=2, **at),
                dead=[dead_letter(NINE_MS + n, text.encode(), topic=text, reason=text, id=text)],
                sessions=[session(NINE_MS + n, open_boot=boot, **at)],
            )
        )
    found = {(row["device"], row.get("name") or row["kind"]): row for row in influx_store.latest()}
    stored, sessions, letters = influx_store.stored(), influx_store.sessions().items, influx_store.dead_letters()
    for n, text in enumerate(NASTY):
        device, boot = f"pile-{n}", text[:64]
        said = found[device, "connector"]
        assert (said["token"], said["error"], said["boot"]) == (text, text, boot)
        assert found[device, text]["note"] == text
        assert ("jn-01", device, boot, 1, 1, 1) in stored
        assert sessions[n] == session(NINE_MS + n, open_boot=boot, device=device)
        assert letters[-1 - n] == dead_letter(NINE_MS + n, text.encode(), topic=text, reason=text, id=text)
    marks = [SkewMark("jn-01", f"pile-{n}", text[:64], 1, 1) for n, text in enumerate(NASTY)]
    influx_store.write(spool.batch(skewed=marks))
    assert "connector" not in {row["kind"] for row in influx_store.latest()}
    assert [influx_store.purge_dead(ids=[text]) for text in NASTY] == [1] * len(NASTY)


def test_a_name_that_looks_like_a_query_finds_nothing(influx_store, spool):
    """What users name is a value, never a part of a script."""
    influx_store.write(spool.batch(meter(NINE_MS), sessions=[session(NINE_MS)]))
    influx_store.roll_up(LATER_MS)
    for text in NASTY[::2]:
        assert influx_store.history(text, text, 1, NINE_MS, NINE_MS + HOUR_MS, HOUR_MS) == []
        assert influx_store.readings(text, text, 1, 0) == []
        assert influx_store.sessions(site=text).items == influx_store.sessions(device=text).items == []
        assert influx_store.sessions_after(text, text, 0) == []
        assert (
            influx_store.rollups("hour", 0, LATER_MS, site=text)
            == influx_store.rollups("day", 0, LATER_MS, device=text)
            == []
        )
        assert influx_store.drained(text) == 0
        with pytest.raises(ValueError, match="no dead letter"):
            influx_store.dead_letters(after=text)


def test_dead_letters_of_one_millisecond_keep_apart_however_many(influx_store, spool):
    letters = [dead_letter(NINE_MS, bytes([n % 256]), id=f"letter-{n:04d}") for n in range(1_500)]
    influx_store.write(spool.batch(dead=letters[:700]))
    influx_store.write(spool.batch(dead=letters))
    assert influx_store.count_dead() == 1_500
    assert influx_store.dead_letters(limit=2_000) == letters[::-1]
    assert influx_store.purge_dead(ids=[letter.id for letter in letters[::2]]) == 750
    assert influx_store.dead_letters(limit=2_000) == letters[1::2][::-1]


def test_a_payload_of_a_megabyte_is_kept_whole(influx_store, spool):
    payload = bytes(range(256)) * 4_096
    influx_store.write(spool.batch(dead=[dead_letter(NINE_MS, payload), dead_letter(NINE_MS + 1, b"")]))
    assert [letter.payload for letter in influx_store.dead_letters()] == [b"", payload]


# --- places, rights, crashes -----------------------------------------------------------------------------------------


def test_a_bucket_that_is_missing_is_named_with_what_to_do(influx_store, spool, influx_server, influx_prefix):
    influx_store.drained(spool.name)
    influx_server.drop_bucket(influx_prefix)
    with pytest.raises(StoreUnavailable, match=f"{influx_prefix}.*lunchong init"):
        influx_store.write(spool.batch(meter(NINE_MS)))
    with pytest.raises(StoreUnavailable, match="lunchong init"):
        influx_store.latest()


def test_a_token_that_is_revoked_keeps_the_batch_until_it_is_given_back(open_influx, spool, influx_server):
    token_id, token = influx_server.new_token()
    store = open_influx(token=token)
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


def test_a_letter_that_was_kept_keeps_its_time_whatever_the_server_says(influx_store, spool, proxy):
    letter = dead_letter(NINE_MS, id="one")
    influx_store.write(spool.batch(dead=[letter]))
    influx_store.write(
        spool.batch(dead=[DeadLetter(**{**{n: getattr(letter, n) for n in letter.__struct_fields__}, "count": 2})])
    )
    assert [(found.id, found.count) for found in influx_store.dead_letters()] == [("one", 2)]


# --- fields of all types beside each other ---------------------------------------------------------------------------


def all_kinds(at_ms, step, boot):
    """Every field that an instrument may say, within a second; counters that grow with `step`."""
    of_pile = {"boot": boot, "power_kw": 7.0 + step, "current_a": 30.5, "voltage_v": 230.0, "temp_c": 31.5}
    return [
        meter(at_ms, 10.0 + step, soc_pct=50.0, **of_pile),
        meter(at_ms, 90.0 + step, connector=2, **of_pile),
        connector(at_ms + 1, "charging", suspended_by="site", bay_occupied=True, token="t", error="e", boot=boot),
        climate(
            at_ms + 2, 21.5 + step, indoor_rh_pct=50.0, outdoor_c=3.0, outdoor_rh_pct=80.0, pm25=9.5, co2_ppm=700.0,
            boot=boot,
        ),
        presence(
            at_ms + 3, 4 + step, seats_used=3, reading_seats_used=2, entries=100 + step, groups='{"courier":1}',
            boot=boot,
        ),
        outlets(at_ms + 4, 1_000.0 + step, outlets_used=2, boot=boot),
        amenity(at_ms + 5, "water", step % 2 == 0, note="n", boot=boot),
        amenity(at_ms + 5, "door", True, device="pile-01", boot=boot),
        fault(at_ms + 6, "E1", note="n", temp_c=61.5, boot=boot),
        fault(at_ms + 6, "E1", device="station-01", boot=boot),
    ]  # fmt: skip


def answers(store):
    """What every question of the port is answered, in an order that is the same for all stores."""
    found = {
        "latest": sorted(store.latest(), key=repr),
        "stored": sorted(store.stored()),
        "sessions": store.sessions(limit=2),
        "more": store.sessions(cursor=store.sessions(limit=2).next),
        "open": store.open_sessions(),
        "after": store.sessions_after("jn-01", "pile-01", NINE_MS),
        "letters": store.dead_letters(limit=2),
        "dead": store.count_dead(),
    }
    for device, no in (("pile-01", 1), ("pile-01", 2), ("station-01", None)):
        for every_ms in (1_000, HOUR_MS):
            asked = "jn-01", device, no, NINE_MS - HOUR_MS, NINE_MS + 3 * HOUR_MS, every_ms
            found[f"history {device} {no} {every_ms}"] = store.history(*asked)
    for no in (1, 2):
        found[f"readings {no}"] = sorted(store.readings("jn-01", "pile-01", no, NINE_MS), key=repr)
    for level in ("hour", "day"):
        found[level] = store.rollups(level, NINE_MS - 24 * HOUR_MS, LATER_MS)
    return found


def test_with_data_of_all_kinds_in_one_hour_each_question_has_duckdbs_answer(influx_store, spool, tmp_path):
    def say(*rows, **more):
        batch = spool.batch(*rows, **more)
        assert influx_store.write(batch) == duck.write(batch) == []

    def agree():
        for store in (influx_store, duck):
            store.roll_up(LATER_MS)
        found, wanted = answers(influx_store), answers(duck)
        for question, answer in wanted.items():
            assert found[question] == answer, question

    with closing(DuckStore(tmp_path / "facts.duckdb")) as duck:
        say(
            *all_kinds(NINE_MS, 9, "boot-a"),
            *all_kinds(NINE_MS + 60_000, 11, "boot-a"),
            *all_kinds(NINE_MS + 120_000, 0, "boot-b"),
            *all_kinds(NINE_MS + HOUR_MS, 5, "boot-b"),
            meter(NINE_MS + 130_000, 3.0, boot="boot-b", ts_ms=NINE_MS, skewed=True),
            presence(NINE_MS + 130_000, 3, entries=1, boot="boot-b", ts_ms=NINE_MS, skewed=True),
            sessions=[session(NINE_MS + n, ended_ms=NINE_MS + 9 if n else None) for n in range(4)],
            dead=[dead_letter(NINE_MS + n) for n in range(4)],
        )
        agree()
        late = all_kinds(NINE_MS + 90_000, 2, "boot-c")
        say(*late, withdrawn=[f"at-{NINE_MS + 1}"])
        agree()
        wrong = [
            SkewMark("jn-01", str(row[2]), "boot-c", int(row[5]), int(row[5])) for row in (late[0], late[4], late[6])
        ]
        say(*all_kinds(NINE_MS + 100_000, 1, "boot-c"), skewed=wrong)
        agree()
        for store in (influx_store, duck):
            assert store.purge_dead([f"dead-{NINE_MS + 1}"]) == 1
            assert store.purge_dead(before_ms=NINE_MS + 3) == 2
        assert influx_store.expire(NINE_MS + HOUR_MS) == duck.expire(NINE_MS + HOUR_MS) > 0
        agree()
