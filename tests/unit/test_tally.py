"""The tally: every way in which a message can be missed or doubled is counted, and nothing else is."""

from __future__ import annotations

import pytest

from ingest.facts import Batch, DeadLetter, Session
from ingest.ranges import Ranges
from ingest.store_duckdb import DuckStore
from lunchong.range_files import SyncedRanges
from lunchong.tally import read_ranges, tally

PILE = ("jn-01", "pile-0001", "boot-one")
HOUR_MS = 3_600_000


@pytest.fixture
def store(tmp_path):
    opened = DuckStore(tmp_path / "facts.duckdb")
    yield opened
    opened.close()


def row(seq, boot="boot-one"):
    key = (seq * 10**9, "jn-01", "pile-0001", "meter", boot, seq, seq * 1000, False)
    return (*key, 1, 7.0, 12.5, 30.4, 230.0, None, None, None, None, None, None, None)


def letter(name, received_ms, **more):
    topic = "lunchong/v1/jn-01/pile-0001/telemetry"
    return DeadLetter(id=name, received_ms=received_ms, topic=topic, payload=b"?", reason="not_json", **more)


def counted(store, *, sent, acked=(), dropped=(), since_ms=0):
    ranges = {name: {PILE: Ranges(value)} if value else {} for name, value in
              {"sent": sent, "acked": acked, "dropped": dropped}.items()}  # fmt: skip
    return tally(store, **ranges, resent=5, since_ms=since_ms, alerts=2)


def test_a_run_in_which_everything_arrived_once(store):
    store.write(Batch(spool="s", no=1, pile=[row(seq) for seq in range(1, 101)]))
    found = counted(store, sent=[(1, 100)], acked=[(1, 100)])
    assert (found.sent, found.acked, found.stored, found.lost, found.duplicates) == (100, 100, 100, 0, 0)
    assert (found.resent, found.alerts, found.turns_done) == (5, 2, 0)


def test_what_was_sent_and_is_nowhere_is_lost(store):
    store.write(Batch(spool="s", no=1, pile=[row(seq) for seq in range(1, 91)]))
    assert counted(store, sent=[(1, 100)]).lost == 10


def test_what_a_device_said_it_dropped_is_not_lost_unless_it_was_acknowledged(store):
    store.write(Batch(spool="s", no=1, pile=[row(seq) for seq in range(1, 91)]))
    found = counted(store, sent=[(1, 100)], dropped=[(91, 100)])
    assert (found.lost, found.dropped) == (0, 10)
    assert counted(store, sent=[(1, 100)], acked=[(91, 95)], dropped=[(91, 100)]).lost == 5


def test_a_second_row_of_one_message_is_a_duplicate(store):
    store.write(Batch(spool="s", no=1, pile=[row(1), row(2)]))
    store.write(Batch(spool="s", no=2, pile=[row(2)]))
    assert counted(store, sent=[(1, 2)]).duplicates == 1


def test_a_boot_that_was_used_again_is_counted_under_the_name_that_the_device_knows(store):
    store.write(Batch(spool="s", no=1, pile=[row(1), row(1, "boot-one~2"), row(2, "boot-one~2")]))
    found = counted(store, sent=[(1, 2)])
    assert (found.stored, found.lost) == (2, 0)


def test_other_runs_of_the_same_folder_do_not_count(store):
    store.write(Batch(spool="s", no=1, pile=[row(1, "before"), row(1, "before"), row(1)]))
    found = counted(store, sent=[(1, 1)])
    assert (found.stored, found.duplicates) == (1, 0)


def test_dead_letters_of_the_run_count_each_time_they_came_and_are_not_lost(store):
    dead = [
        letter("old", HOUR_MS),
        letter("new", 3 * HOUR_MS, count=4),
        letter("one", 3 * HOUR_MS, boot="boot-one", seq=2),
    ]
    store.write(Batch(spool="s", no=1, pile=[row(1)], dead=dead))
    found = counted(store, sent=[(1, 2)], acked=[(1, 2)], since_ms=2 * HOUR_MS)
    assert (found.dead, found.lost, found.stored) == (5, 0, 1)


def test_sessions_that_ended_in_the_run_are_done_whenever_they_began(store):
    common = {"site": "jn-01", "device": "pile-0001", "connector": 1, "open_boot": "b", "open_seq": 1}
    store.write(
        Batch(
            spool="s",
            no=1,
            sessions=[
                Session(id="before", started_ms=HOUR_MS, ended_ms=HOUR_MS + 60_000, **common),
                Session(id="across", started_ms=HOUR_MS, ended_ms=5 * HOUR_MS, **common),
                Session(id="done", started_ms=3 * HOUR_MS, ended_ms=4 * HOUR_MS, **common),
                Session(id="open", started_ms=3 * HOUR_MS, **common),
            ],
        )
    )
    assert counted(store, sent=[], since_ms=2 * HOUR_MS).sessions_done == 2


def test_range_files_are_read_and_a_line_cut_off_by_a_kill_is_passed_over(tmp_path):
    file = tmp_path / "acked.csv"
    file.write_text("jn-01,pile-0001,boot-one,1,5\njn-01,pile-0001,boot-one,4,9\njn-01,pile-0001,boot-one,10,1")
    assert read_ranges(file) == {PILE: Ranges([(1, 9)])}
    assert read_ranges(tmp_path / "absent.csv") == {}


def test_a_range_file_that_is_appended_to_again_after_a_kill_stays_whole(tmp_path):
    file = tmp_path / "acked.csv"
    file.write_text("jn-01,pile-0001,boot-one,1,5\njn-01,pile-0001,boot-one,6,1")
    again = SyncedRanges(file)
    again.add(("jn-01/pile-0001", "boot-one", 6, 15))
    again.close()
    assert read_ranges(file) == {PILE: Ranges([(1, 15)])}
