"""The data folder and the clocks that it keeps: one holder, private files, and service time that never goes back."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from ingest.clock import ServiceClock, rfc3339
from lunchong.data_folder import DataFolder, FolderError
from lunchong.live_clock import LiveClock, MessageClock, clock_from, demo_begin_ms, wall_ms
from lunchong.timing import FollowedClock

HOUR_MS = 3_600_000


def test_the_admin_token_is_drawn_once_and_its_owner_s_alone(tmp_path):
    folder = DataFolder(tmp_path / "new" / "data")
    token = folder.admin_token()
    assert len(token) >= 32
    assert DataFolder(folder.path).admin_token() == token
    assert stat.S_IMODE((folder.path / "admin-token").stat().st_mode) == 0o600


def test_a_folder_is_held_by_one_and_the_next_is_told_by_whom(tmp_path):
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.hold()
    with pytest.raises(FolderError, match=f"in use by process {os.getpid()}: stop it"):
        second.hold()
    first.release()
    second.hold()
    second.release()


def test_a_lock_or_a_token_that_cannot_be_used_is_one_line(tmp_path):
    folder = DataFolder(tmp_path)
    (tmp_path / "lunchong.lock").mkdir()
    with pytest.raises(FolderError, match=r"cannot write .*lunchong\.lock: Is a directory"):
        folder.hold()
    (tmp_path / "admin-token").write_bytes(b"\xff\xfe")
    with pytest.raises(FolderError, match=r"cannot read .*admin-token: "):
        folder.admin_token()


def test_a_fresh_folder_has_no_clock_and_a_kept_one_comes_back(tmp_path):
    folder = DataFolder(tmp_path)
    assert folder.clock() is None
    clock = ServiceClock(wall_ms(), 7 * HOUR_MS, 60.0)
    folder.keep_clock(clock)
    assert folder.clock() == clock


def test_a_clock_that_cannot_be_read_is_one_line_and_no_fresh_start(tmp_path):
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(FolderError, match=r"cannot read .*clock\.json: "):
        DataFolder(tmp_path).clock()


@pytest.mark.parametrize("speed", [1.0, 600.0])
def test_a_restart_never_moves_service_time_back(speed):
    before = ServiceClock(wall_ms() - 1_000, wall_ms() + HOUR_MS, 60.0)
    after = clock_from(before, None, speed)
    assert after.at(wall_ms()) >= before.at(wall_ms() - 100)
    assert after.speed == speed


def test_service_time_stands_still_when_the_wall_is_set_back(monkeypatch):
    clock = LiveClock(ServiceClock(0, 0, 10.0))
    monkeypatch.setattr("lunchong.live_clock.wall_ms", lambda: 5_000)
    assert clock.service_ms() == 50_000
    monkeypatch.setattr("lunchong.live_clock.wall_ms", lambda: 4_000)
    assert clock.service_ms() == 50_000


def test_a_demo_begins_at_four_in_the_afternoon_of_its_own_place():
    assert rfc3339(demo_begin_ms("Asia/Shanghai"))[11:] == "08:00:00.000Z"


def test_messages_drive_time_by_the_device_that_is_furthest_behind():
    clock = MessageClock(0)
    clock.heard("a", 10)
    clock.heard("b", 30)
    clock.heard("a", 20)
    assert clock.service_ms() == 20
    clock.heard("a", 50)
    assert clock.service_ms() == 30
    assert not clock.judges_skew


def test_a_late_or_new_device_never_takes_message_time_back():
    clock = MessageClock(100)
    clock.heard("a", 500)
    clock.heard("a", 400)
    clock.heard("b", 200)
    assert clock.service_ms() == 500
    assert clock.reading.service0 == rfc3339(500)


def test_message_time_is_the_same_whichever_thread_speaks():
    clock = MessageClock(0)

    def speak(device):
        for ts_ms in range(1, 2_000):
            clock.heard(device, ts_ms)

    threads = [threading.Thread(target=speak, args=(f"d{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.service_ms() == 1_999


def test_a_lock_is_known_to_be_held_whoever_asks(tmp_path):
    holder, asker = DataFolder(tmp_path), DataFolder(tmp_path)
    assert not asker.is_held("api.lock")
    holder.hold("lunchong.lock", "api.lock")
    assert asker.is_held("api.lock")
    holder.release()
    assert not asker.is_held("api.lock")


def test_another_process_follows_the_clock_that_is_kept_and_keeps_none(tmp_path):
    folder = DataFolder(tmp_path)
    clock = FollowedClock(folder)
    assert abs(clock.service_ms() - wall_ms()) < 1_000
    assert folder.clock() is None
    folder.keep_clock(ServiceClock(wall_ms(), 7 * HOUR_MS, 60.0))
    clock.look()
    assert 7 * HOUR_MS <= clock.service_ms() < 8 * HOUR_MS
    assert clock.speed == 60.0
    before_ms = clock.service_ms()
    folder.keep_clock(ServiceClock(wall_ms(), 6 * HOUR_MS, 0.0))
    clock.look()
    assert clock.service_ms() == before_ms
