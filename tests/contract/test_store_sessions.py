"""What every adapter of TelemetryStore must keep of sessions and of dead letters."""

from __future__ import annotations

import pytest

from tests.stores import HOUR_MS, NINE_MS, dead_letter, session

# --- sessions --------------------------------------------------------------------------------------------------------


def test_a_session_that_grew_is_one_session(store, spool):
    opened = session(NINE_MS, name="one")
    closed = session(NINE_MS, name="one", ended_ms=NINE_MS + HOUR_MS, energy_kwh=4.5)
    store.write(spool.batch(sessions=[opened, session(NINE_MS, name="other")]))
    store.write(spool.batch(sessions=[session(NINE_MS, name="one", energy_kwh=1.0), closed]))
    assert store.sessions().items == [closed, session(NINE_MS, name="other")]
    assert [found.id for found in store.open_sessions()] == ["other"]


def test_a_session_that_did_not_happen_so_is_gone(store, spool):
    store.write(spool.batch(sessions=[session(NINE_MS, name="one"), session(NINE_MS, name="two")]))
    store.write(spool.batch(withdrawn=["one"], sessions=[session(NINE_MS + 1, name="three")]))
    assert [found.id for found in store.sessions().items] == ["two", "three"]


def test_sessions_are_found_by_place_and_start(store, spool):
    store.write(
        spool.batch(
            sessions=[
                session(NINE_MS, name="a"),
                session(NINE_MS + 1, name="b", connector=2),
                session(NINE_MS + 2, name="c", device="pile-02"),
                session(NINE_MS + 3, name="d", site="jn-02"),
            ]
        )
    )

    def found(**wanted):
        return "".join(item.id for item in store.sessions(**wanted).items)

    assert found() == "abcd"
    assert found(site="jn-01") == "abc"
    assert found(site="jn-01", device="pile-01") == "ab"
    assert found(connector=2) == "b"
    assert found(start_ms=NINE_MS + 1, end_ms=NINE_MS + 3) == "bc"


def test_pages_of_sessions_hold_each_once_even_when_many_start_together(store, spool):
    ids = [f"s{n:02d}" for n in range(10)]
    store.write(spool.batch(sessions=[session(NINE_MS + n // 5, name=name) for n, name in enumerate(ids)]))
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = store.sessions(limit=3, cursor=cursor)
        seen += [item.id for item in page.items]
        cursor, pages = page.next, pages + 1
    assert seen == ids
    assert pages == 4


@pytest.mark.parametrize("cursor", ["", "nonsense", "bm9uc2Vuc2U=", "中文", "MTIzIA=="])
def test_a_cursor_that_was_not_ours_is_refused(store, cursor):
    with pytest.raises(ValueError, match="cursor"):
        store.sessions(cursor=cursor)


def test_sessions_after_a_time_are_the_open_ones_and_those_that_ended_since(store, spool):
    store.write(
        spool.batch(
            sessions=[
                session(NINE_MS, name="long ago", ended_ms=NINE_MS + 1),
                session(NINE_MS + 2, name="just", ended_ms=NINE_MS + HOUR_MS),
                session(NINE_MS + 1, name="open"),
                session(NINE_MS, name="elsewhere", device="pile-02"),
            ]
        )
    )
    assert [found.id for found in store.sessions_after("jn-01", "pile-01", NINE_MS + HOUR_MS)] == ["open", "just"]


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_come_newest_first_and_page_by_page(store, spool):
    letters = [dead_letter(NINE_MS + n // 2, bytes([n, 0, 255]), id=f"d{n}", boot="boot", seq=n) for n in range(5)]
    store.write(spool.batch(dead=letters))
    first = store.dead_letters(limit=2)
    rest = store.dead_letters(after=first[-1].id)
    assert first + rest == letters[::-1]
    assert store.count_dead() == 5


def test_the_same_bytes_again_raise_the_count(store, spool):
    store.write(spool.batch(dead=[dead_letter(NINE_MS)]))
    store.write(spool.batch(dead=[dead_letter(NINE_MS, count=3)]))
    assert [letter.count for letter in store.dead_letters()] == [3]


def test_dead_letters_are_purged_by_id_by_age_or_all(store, spool):
    store.write(spool.batch(dead=[dead_letter(NINE_MS + n) for n in range(6)]))
    assert store.purge_dead(ids=[f"dead-{NINE_MS}", "unknown"]) == 1
    assert store.purge_dead(before_ms=NINE_MS + 3) == 2
    assert [letter.received_ms - NINE_MS for letter in store.dead_letters()] == [5, 4, 3]
    assert store.purge_dead(ids=[]) == 0
    assert store.purge_dead() == 3
