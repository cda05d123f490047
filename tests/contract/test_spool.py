"""The spool: what it was told is there again, what a damaged file lost is said, and a full disk loses nothing."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ingest.facts import Batch
from ingest.memory import DeviceRecord
from ingest.spool import SqliteSpool
from ingest.spool_records import FOLD_EVERY
from ingest.spooling import Commit, Damage, DeadSeen, Lost, SeenChange, SpoolFull, encode_record

NOW_MS = 1_795_492_800_000


def a_commit(seq: int, *, device: str = "jn-01/pile-01") -> Commit:
    site, _, name = device.partition("/")
    row = (
        seq,
        site,
        name,
        "meter",
        "b",
        seq,
        seq,
        False,
        1,
        7.0,
        1.0,
        30.0,
        230.0,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
    )
    record = encode_record(DeviceRecord(site, name, order=["b"], received=seq))
    seen = SeenChange(device, "b", 1, [(1, seq)])
    return Commit(Batch(spool="", no=0, pile=[row]), [seen], {device: record}, [DeadSeen(b"x", "id", NOW_MS, seq)])


def too_big(seq: int) -> Commit:
    commit = a_commit(seq)
    rows = [tuple([f"{n}{k}" for k in range(20)]) for n in range(3_000)]
    return Commit(Batch(spool="", no=0, pile=rows), commit.seen, commit.records, commit.dead_seen)


def filled(folder: Path, commits: int) -> SqliteSpool:
    spool = SqliteSpool(folder, NOW_MS)
    for seq in range(1, commits + 1):
        spool.commit(a_commit(seq), 0, NOW_MS)
    return spool


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    spool = SqliteSpool(tmp_path, NOW_MS)
    kept = spool.load()
    assert kept.seen == [("jn-01/pile-01", "b", 1, 3)]
    assert [record.received for record in kept.records] == [3]
    assert [dead.count for dead in kept.dead_seen] == [3]
    assert [(batch.no, batch.spool, batch.pile[0][5]) for batch in spool.pending(1, 1_000)] == [
        (2, spool.id, 2),
        (3, spool.id, 3),
    ]
    assert (spool.last_no, spool.starts, spool.lost) == (3, 2, None)
    spool.close()


def test_numbers_go_on_when_everything_was_drained(tmp_path: Path) -> None:
    spool = filled(tmp_path, 2)
    spool.forget(2)
    assert spool.size(2).batches == 0
    spool.close()
    spool = SqliteSpool(tmp_path, NOW_MS)
    assert spool.commit(a_commit(3), 2, NOW_MS).no == 3
    assert [batch.no for batch in spool.pending(0, 1_000)] == [3]
    spool.close()


@pytest.mark.parametrize("commits", [1, FOLD_EVERY - 1, FOLD_EVERY, FOLD_EVERY + 1, 2 * FOLD_EVERY + 7])
def test_the_newest_record_of_each_device_is_there_after_a_restart(tmp_path: Path, commits: int) -> None:
    spool = SqliteSpool(tmp_path, NOW_MS)
    for seq in range(1, commits + 1):
        if seq == commits // 2:
            spool.close()
            spool = SqliteSpool(tmp_path, NOW_MS)
        spool.commit(a_commit(seq, device=f"jn-01/pile-{seq % 2}"), seq - 1, NOW_MS)
        if seq == 1:
            spool.commit(a_commit(1, device="jn-01/quiet"), 0, NOW_MS)
    spool.close()
    again = SqliteSpool(tmp_path, NOW_MS)
    found = {record.device: record.received for record in again.load().records}
    newest = {f"pile-{seq % 2}": seq for seq in range(max(1, commits - 1), commits + 1)}
    assert found == {**newest, "quiet": 1}
    again.close()


@pytest.mark.parametrize("before", [1, FOLD_EVERY - 1])
def test_a_commit_that_failed_and_was_given_up_leaves_no_record(tmp_path: Path, before: int) -> None:
    spool = filled(tmp_path, before)
    spool._db.execute("CREATE TEMP TRIGGER t BEFORE INSERT ON dead_seen BEGIN SELECT RAISE(ABORT, 'no more'); END")
    with pytest.raises(sqlite3.IntegrityError, match="no more"):
        spool.commit(a_commit(777), 0, NOW_MS)
    spool._db.execute("DROP TRIGGER t")
    for seq in range(1, FOLD_EVERY + 1):
        assert {record.device: record.received for record in spool.load().records}["pile-01"] == before
        spool.commit(a_commit(seq, device="jn-01/other"), 0, NOW_MS)
    spool.close()
    again = SqliteSpool(tmp_path, NOW_MS)
    found = {record.device: record.received for record in again.load().records}
    assert found == {"pile-01": before, "other": FOLD_EVERY}
    again.close()


def test_a_spool_of_version_1_goes_on(tmp_path: Path) -> None:
    filled(tmp_path, FOLD_EVERY).close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("DROP TABLE changed")
        db.execute("UPDATE meta SET value = 1 WHERE key = 'version'")
    db.close()
    spool = SqliteSpool(tmp_path, NOW_MS)
    assert [record.received for record in spool.load().records] == [FOLD_EVERY]
    assert spool.commit(a_commit(FOLD_EVERY + 1), 0, NOW_MS).no == FOLD_EVERY + 1
    spool.close()


def test_a_merged_range_replaces_the_two_that_it_was(tmp_path: Path) -> None:
    spool = SqliteSpool(tmp_path, NOW_MS)
    empty = Batch(spool="", no=0)
    for from_lo, ranges in ((1, [(1, 2)]), (4, [(4, 5)]), (1, [(1, 5)])):
        spool.commit(Commit(empty, [SeenChange("s/d", "b", from_lo, ranges)], {}, []), 0, NOW_MS)
    assert spool.load().seen == [("s/d", "b", 1, 5)]
    spool.close()


def test_how_much_waits_is_said(tmp_path: Path) -> None:
    spool = filled(tmp_path, 3)
    size = spool.size(1)
    assert (size.batches, size.rows, size.oldest_ms) == (2, 2, NOW_MS)
    assert size.bytes > 0
    spool.close()


def _crashed_copy(spool: SqliteSpool, folder: Path, copy: Path) -> None:
    """The files as a power cut would leave them, the process still running."""
    copy.mkdir()
    for path in folder.iterdir():
        shutil.copy(path, copy / path.name)
    spool.close()


@pytest.mark.parametrize("cut", [1, 7, 31, 500, 4_000])
def test_bytes_after_the_last_synced_commit_may_go_without_loss(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    spool = filled(folder, 5)
    _crashed_copy(spool, folder, tmp_path / "b")
    wal = tmp_path / "b" / "spool.db-wal"
    whole = wal.read_bytes()
    wal.write_bytes(whole + bytes(range(256)) * 20)
    with wal.open("r+b") as file:
        file.truncate(len(whole) + min(cut, 5_000))
    again = SqliteSpool(tmp_path / "b", NOW_MS)
    assert (again.last_no, again.lost) == (5, None)
    assert len(again.pending(0, 1_000)) == 5
    again.close()


def test_a_cut_before_the_last_synced_commit_is_found_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    spool = filled(folder, 5)
    _crashed_copy(spool, folder, tmp_path / "b")
    wal = tmp_path / "b" / "spool.db-wal"
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 1)
    again = SqliteSpool(tmp_path / "b", NOW_MS)
    assert again.lost == Lost(again.id, 5, 5)
    assert again.commit(a_commit(6), 0, NOW_MS).no == 6, "the number of a lost batch is not given again"
    again.close()
    again = SqliteSpool(tmp_path / "b", NOW_MS)
    assert again.lost == Lost(again.id, 5, 5), "a kill before it was learned again forgets nothing"
    again.record_damage(Damage(5, 5, 0, NOW_MS))
    again.close()
    later = SqliteSpool(tmp_path / "b", NOW_MS)
    assert later.lost is None
    assert later.damage == [Damage(5, 5, 0, NOW_MS)], "it is said until somebody has seen it"
    later.forget_damage()
    assert later.damage == []
    later.close()


def test_a_file_that_is_no_database_is_put_aside_and_counted(tmp_path: Path) -> None:
    filled(tmp_path, 4).close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"spool.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "spool.db").write_bytes(b"no database at all" * 1_000)
    spool = SqliteSpool(tmp_path, NOW_MS)
    assert spool.set_aside is not None
    assert spool.set_aside.exists()
    assert spool.lost is not None
    assert (spool.lost.first_no, spool.lost.last_no) == (1, 4)
    assert spool.lost.spool != spool.id
    spool.close()


def test_a_damaged_page_is_found_and_the_file_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 4).close()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_000)
    spool = SqliteSpool(tmp_path, NOW_MS)
    assert spool.set_aside is not None
    assert spool.lost is not None
    spool.close()


def test_a_damaged_piece_of_the_records_is_found_and_the_file_put_aside(tmp_path: Path) -> None:
    filled(tmp_path, 4).close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        piece = bytearray(db.execute("SELECT records FROM changed WHERE no = 3").fetchone()[0])
        piece[len(piece) // 2] ^= 0xFF
        db.execute("UPDATE changed SET records = ? WHERE no = 3", (bytes(piece),))
    db.close()
    spool = SqliteSpool(tmp_path, NOW_MS)
    assert spool.set_aside is not None
    assert spool.lost is not None
    assert (spool.lost.first_no, spool.lost.last_no) == (1, 4)
    spool.close()


def test_a_spool_set_back_with_its_mark_is_found_by_what_the_store_has(tmp_path: Path) -> None:
    spool = filled(tmp_path, 2)
    spool.catch_up(9)
    assert spool.lost == Lost(spool.id, 3, 9)
    assert spool.commit(a_commit(3), 9, NOW_MS).no == 10
    assert [batch.no for batch in spool.pending(9, 1_000)] == [10]
    spool.close()


def test_a_spool_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    db.close()
    with pytest.raises(OSError, match="newer Lunchong"):
        SqliteSpool(tmp_path, NOW_MS)


def test_a_full_disk_keeps_nothing_of_a_commit_and_takes_the_same_one_later(tmp_path: Path) -> None:
    spool = filled(tmp_path, 1)
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    big = too_big(2)
    with pytest.raises(SpoolFull):
        spool.commit(big, 0, NOW_MS)
    assert [batch.no for batch in spool.pending(0, 1_000)] == [1]
    assert [record.received for record in spool.load().records] == [1]
    spool._db.execute("PRAGMA max_page_count = 1000000")
    assert spool.commit(big, 0, NOW_MS).no == 2
    spool.close()


def test_a_mark_that_could_not_be_synced_does_not_write_the_batch_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = filled(tmp_path, 1)

    def fails(*_told: object) -> None:
        raise OSError(28, "No space left on device")

    commit = a_commit(2)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fails)
        with pytest.raises(SpoolFull):
            spool.commit(commit, 0, NOW_MS)
    assert spool.commit(commit, 0, NOW_MS).no == 2
    assert [batch.no for batch in spool.pending(0, 1_000)] == [1, 2]
    spool.close()


def test_what_waits_is_read_some_rows_at_a_time(tmp_path: Path) -> None:
    spool = filled(tmp_path, 5)
    [first] = spool.pending(0, 1)
    rest = spool.pending(first.no, 1_000)
    assert [batch.no for batch in (first, *rest)] == [1, 2, 3, 4, 5]
    spool.close()


@pytest.mark.parametrize(("store_has", "gone"), [(2, None), (7, (3, 7))])
def test_after_a_leap_no_number_is_used_that_the_store_might_have_and_what_is_gone_is_said(
    tmp_path: Path, store_has: int, gone: tuple[int, int] | None
) -> None:
    spool = filled(tmp_path, 2)
    spool.leap()
    leapt = spool.commit(a_commit(3), 0, NOW_MS).no
    spool.catch_up(store_has)
    assert spool.lost == (Lost(spool.id, *gone) if gone else None)
    assert spool.last_no == leapt
    assert [batch.no for batch in spool.pending(0, 1_000)] == [1, 2, leapt]
    spool.close()
    again = SqliteSpool(tmp_path, NOW_MS)
    assert again.commit(a_commit(4), 0, NOW_MS).no == leapt + 1
    again.close()
