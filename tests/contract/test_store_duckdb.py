"""What is DuckDB's own: one process, one file, its version, its disk, its crashes; and guards seen to matter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import duckdb
import pytest

from ingest import duckdb_reads
from ingest.duckdb_file import DuckFile, StoreLocked, StoreTooNew
from ingest.duckdb_rollup import DirtyHours
from ingest.duckdb_schema import SCHEMA
from ingest.store import StoreUnusable
from ingest.store_duckdb import DuckStore
from ingest.tied import tied
from tests.stores import HOUR_MS, NINE_MS, Spool, fault, meter

ROOT = Path(__file__).parents[2]
BATCH_ROWS = 50


@pytest.fixture
def path(tmp_path):
    return tmp_path / "facts.duckdb"


@pytest.fixture
def store(path):
    opened = DuckStore(path)
    yield opened
    opened.close()


@contextmanager
def child(script: str, path: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A Python process that has `store`, `spool` and `batch()` of BATCH_ROWS rows; its output. Killed at the end."""
    head = f"""
import sys
from pathlib import Path
from ingest.store_duckdb import DuckStore
from tests.stores import NINE_MS, Spool, meter, session
store, spool = DuckStore(Path(sys.argv[1])), Spool()
def batch():
    first = spool.no * {BATCH_ROWS} + 1
    rows = [meter(NINE_MS + seq, seq=seq, token="x" * 100 + str(seq)) for seq in range(first, first + {BATCH_ROWS})]
    return spool.batch(*rows, sessions=[session(NINE_MS + first)])
"""
    command = tied([sys.executable, "-c", head + script, str(path)])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout
        finally:
            process.kill()


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_second_process_is_told_in_one_line_who_has_the_file(path):
    with child("print('open', flush=True)\nsys.stdin.read()", path) as (holder, out):
        assert out.readline() == "open\n"
        with pytest.raises(StoreLocked) as refused:
            DuckStore(path)
    assert refused.value.pid == holder.pid
    assert str(holder.pid) in str(refused.value)
    assert "\n" not in str(refused.value)
    DuckStore(path).close()


def test_a_file_of_a_later_version_is_left_alone(path):
    DuckStore(path).close()
    with duckdb.connect(path) as con:
        con.execute("UPDATE meta SET value = value + 1 WHERE name = 'schema'")
    with pytest.raises(StoreTooNew, match=f"schema {SCHEMA + 1}.*up to {SCHEMA}"):
        DuckStore(path)
    with duckdb.connect(path) as con:
        assert con.execute("SELECT value FROM meta WHERE name = 'schema'").fetchall() == [(SCHEMA + 1,)]


def test_a_file_that_is_not_ours_is_refused_in_one_line(path, tmp_path):
    path.write_text("not a database at all, but long enough to be read as one\n" * 100)
    with duckdb.connect(tmp_path / "foreign.duckdb") as con:
        con.execute("CREATE TABLE something (x INTEGER)")
    for refused in (path, tmp_path / "foreign.duckdb", tmp_path / "no" / "such" / "folder.duckdb"):
        with pytest.raises(StoreUnusable) as said:
            DuckStore(refused)
        assert str(refused) in str(said.value)
        assert "\n" not in str(said.value)


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_kill_9_leaves_whole_batches_and_their_number(path):
    with child("while True:\n    store.write(batch())\n    print(spool.no, flush=True)", path) as (writer, out):
        told = [int(out.readline()) for _ in range(40)][-1]
        writer.kill()
        told = max([told, *(int(line) for line in out.read().split())])
    store = DuckStore(path)
    drained = store.drained("spool-a")
    assert drained in (told, told + 1)
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, drained * BATCH_ROWS, drained * BATCH_ROWS)]
    assert len(store.open_sessions()) == drained
    store.close()


FULL = """
import json, resource
from ingest import duckdb_file
from ingest.store import StoreUnavailable
store.close()
duckdb_file.SETTINGS["checkpoint_threshold"] = sys.argv[2]
store = DuckStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
refusals, kept = [], None
while len(refusals) < 3:
    kept = kept or batch()
    try:
        store.write(kept)
        kept = None
    except StoreUnavailable as error:
        refusals.append(str(error))
drained = store.drained("spool-a")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write(kept)
print(json.dumps({"refusals": refusals, "drained": drained, "no": kept.no, "stored": store.stored(),
                  "sessions": len(store.open_sessions())}))
store.close()
"""


@pytest.mark.parametrize("checkpoint", ["1GB", "200KB"], ids=["in the log", "in a checkpoint"])
def test_a_full_disk_refuses_batches_and_takes_the_same_ones_when_there_is_room(path, checkpoint):
    script = FULL.replace("sys.argv[2]", repr(checkpoint))
    with child(script, path) as (_, out):
        said = json.loads(out.read())
    assert len(said["refusals"]) == 3
    assert all(str(path) in line and "\n" not in line for line in said["refusals"])
    assert said["drained"] in (said["no"] - 1, said["no"])
    assert said["stored"] == [["jn-01", "pile-01", "boot", 1, said["no"] * BATCH_ROWS, said["no"] * BATCH_ROWS]]
    assert said["sessions"] == said["no"]


# --- batches -------------------------------------------------------------------------------------------------------


def test_what_came_after_a_batch_can_be_asked_apart(store):
    spool = Spool()
    store.write(spool.batch(meter(NINE_MS, seq=1)))
    store.write(spool.batch(meter(NINE_MS, seq=2), fault(NINE_MS, "E1", seq=3)))
    store.write(Spool("spool-b").batch(meter(NINE_MS, seq=9)))
    assert store.stored(("spool-a", 1)) == [("jn-01", "pile-01", "boot", 2, 3, 2)]
    assert store.stored(("spool-a", 2)) == []


# --- threads ---------------------------------------------------------------------------------------------------------


def test_a_query_under_way_does_not_hold_up_a_batch(store):
    spool = Spool()
    store.write(spool.batch(*(meter(NINE_MS + n, seq=n) for n in range(1, 20))))
    with store._file.reading() as query:
        query.execute("SELECT count(*) FROM pile a, range(100) b")
        store.write(spool.batch(meter(NINE_MS, seq=20)))
        store.roll_up(NINE_MS + HOUR_MS)
        assert query.fetchall() == [(1_900,)]
    assert store.stored() == [("jn-01", "pile-01", "boot", 1, 20, 20)]


def test_closing_ends_a_long_query(path):
    script = """
import threading
from ingest.store import StoreUnavailable
def ask():
    try:
        with store._file.reading() as cursor:
            began.set()
            cursor.execute("SELECT sum(hash(a.range, b.range)) FROM range(1000000) a, range(1000000) b").fetchall()
    except StoreUnavailable as error:
        print(error, flush=True)
began = threading.Event()
asking = threading.Thread(target=ask)
asking.start()
began.wait()
store.close()
asking.join()
print("closed", flush=True)
"""
    with child(script, path) as (_, out):
        said = out.read().splitlines()
    assert said[-1] == "closed"
    assert "INTERRUPT" in said[0]


# --- guards, with and without ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("guarded", [True, False])
def test_the_batch_number_is_what_keeps_a_batch_single(store, monkeypatch, guarded):
    if not guarded:
        monkeypatch.setattr(duckdb_reads, "drained", lambda *_: None)
    batch = Spool().batch(meter(NINE_MS, seq=1))
    store.write(batch)
    store.write(batch)
    assert (store.stored()[0][-1] == 1) is guarded


@pytest.mark.parametrize("guarded", [True, False])
def test_an_hour_that_changes_while_it_is_rolled_up_is_rolled_up_again(store, monkeypatch, guarded):
    spool, entered = Spool(), []
    store.write(spool.batch(meter(NINE_MS, 1.0), meter(NINE_MS + 1, 2.0)))
    alone = DuckFile.alone

    def alone_after_a_late_reading(self, cursor):
        entered.append(cursor)
        if len(entered) == 2:  # the hour has been read, its rollup is about to be written
            store.write(spool.batch(meter(NINE_MS + 2, 4.0)))
        return alone(self, cursor)

    monkeypatch.setattr(DuckFile, "alone", alone_after_a_late_reading)
    if not guarded:
        monkeypatch.setattr(DirtyHours, "take", lambda self, _hours: self.newest)
    store.roll_up(NINE_MS + HOUR_MS)
    assert [row.energy_kwh for row in store.rollups("hour", 0, NINE_MS * 2)] == [1.0]
    store.roll_up(NINE_MS + HOUR_MS)
    assert ([row.energy_kwh for row in store.rollups("hour", 0, NINE_MS * 2)] == [3.0]) is guarded


def test_an_hour_counts_as_marked_before_anybody_else_may_write(store, monkeypatch):
    """Else a rollup in between would clear the mark, and what comes next to this hour would not set it again."""
    remember, held = DirtyHours.remember, []

    def watched(self, hours):
        held.append(store._file._writers.locked())
        remember(self, hours)

    monkeypatch.setattr(DirtyHours, "remember", watched)
    store.write(Spool().batch(meter(NINE_MS)))
    assert held == [True]


def test_marks_of_hours_do_not_pile_up_while_an_hour_runs(store):
    spool = Spool()
    for n in range(20):
        store.write(spool.batch(meter(NINE_MS + n)))
    with store._file.reading() as cursor:
        assert cursor.execute("SELECT count(*) FROM dirty").fetchall() == [(1,)]


def test_an_hour_marked_before_a_restart_is_rolled_up_after_it(path):
    store = DuckStore(path)
    store.write(Spool().batch(meter(NINE_MS)))
    store.close()
    again = DuckStore(path)
    assert again.roll_up(NINE_MS + HOUR_MS) == 1
    again.close()
