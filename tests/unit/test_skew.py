"""Clocks that are wrong, and an honest backlog that must not be taken for one."""

from __future__ import annotations

from ingest.skew import BootClock, judge_message, judge_status

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
NOON_MS = 1_795_492_800_000


class Heard:
    """A boot's messages as they come: says what effective time was made of each."""

    def __init__(self) -> None:
        self.clock = BootClock()
        self.seq = 0

    def status(self, says_ms: int, now_ms: int, *, queued: bool = False) -> Heard:
        self.clock = judge_status(self.clock, says_ms, self.seq, now_ms, queued=queued)
        return self

    def message(self, says_ms: int, now_ms: int, seq: int | None = None) -> int:
        self.seq = seq or self.seq + 1
        self.clock, effective_ms = judge_message(self.clock, self.seq, says_ms, now_ms)
        return effective_ms


def test_a_right_clock_is_left_alone() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    assert heard.message(NOON_MS + 1, NOON_MS + 2) == NOON_MS + 1


def test_a_clock_days_ahead_is_set_right_from_its_first_status() -> None:
    heard = Heard().status(NOON_MS + 3 * DAY_MS, NOON_MS)
    assert heard.message(NOON_MS + 3 * DAY_MS + MINUTE_MS, NOON_MS + MINUTE_MS) == NOON_MS + MINUTE_MS


def test_a_clock_of_1970_is_set_right_when_a_live_status_says_so() -> None:
    heard = Heard().status(12_000, NOON_MS)
    assert heard.message(13_000, NOON_MS + 1_000) == NOON_MS + 1_000


def test_a_message_from_the_future_is_set_right_where_no_status_came() -> None:
    assert Heard().message(NOON_MS + DAY_MS, NOON_MS) == NOON_MS


def test_a_weekends_backlog_keeps_its_times() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    said = [NOON_MS - 2 * DAY_MS + n * 15 * MINUTE_MS for n in range(190)]
    assert [heard.message(at, NOON_MS + n) for n, at in enumerate(said)] == said


def test_a_backlog_without_a_status_keeps_its_times_too() -> None:
    heard = Heard()
    said = [NOON_MS - 9 * DAY_MS + n * HOUR_MS for n in range(20)]
    assert [heard.message(at, NOON_MS + n) for n, at in enumerate(said)] == said


def test_a_clock_set_right_in_mid_boot_is_believed_again() -> None:
    heard = Heard().status(NOON_MS + 3 * DAY_MS, NOON_MS)
    assert heard.message(NOON_MS + 3 * DAY_MS + MINUTE_MS, NOON_MS + MINUTE_MS) == NOON_MS + MINUTE_MS
    assert heard.message(NOON_MS + 2 * MINUTE_MS, NOON_MS + 2 * MINUTE_MS) == NOON_MS + 2 * MINUTE_MS


def test_a_clock_of_1970_set_right_in_mid_boot_is_believed_again() -> None:
    heard = Heard().status(0, NOON_MS)
    heard.message(MINUTE_MS, NOON_MS + MINUTE_MS)
    assert heard.message(NOON_MS + 2 * MINUTE_MS, NOON_MS + 2 * MINUTE_MS) == NOON_MS + 2 * MINUTE_MS


def test_a_clock_that_falls_back_in_mid_boot_goes_on_from_where_it_was() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    heard.message(NOON_MS, NOON_MS)
    assert heard.message(60_000, NOON_MS + MINUTE_MS) == NOON_MS + MINUTE_MS


def test_a_step_that_the_receipt_explains_is_no_jump() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    heard.message(NOON_MS, NOON_MS)
    assert heard.message(NOON_MS + 2 * HOUR_MS, NOON_MS + 2 * HOUR_MS) == NOON_MS + 2 * HOUR_MS


def test_a_clock_a_little_behind_is_left_alone() -> None:
    heard = Heard().status(NOON_MS - 23 * HOUR_MS, NOON_MS)
    assert heard.message(NOON_MS - 23 * HOUR_MS, NOON_MS) == NOON_MS - 23 * HOUR_MS


def test_a_later_status_that_contradicts_holds_for_what_comes_after_it() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    first = heard.message(NOON_MS, NOON_MS)
    heard.status(NOON_MS + 2 * DAY_MS, NOON_MS + MINUTE_MS)
    assert first == NOON_MS
    late_ms = NOON_MS + 2 * DAY_MS + MINUTE_MS
    assert abs(heard.message(late_ms, NOON_MS + 2 * MINUTE_MS) - (NOON_MS + 2 * MINUTE_MS)) <= MINUTE_MS


def test_a_status_that_waited_at_the_broker_is_no_evidence_of_a_slow_clock() -> None:
    heard = Heard().status(NOON_MS - 26 * HOUR_MS, NOON_MS, queued=True)
    assert heard.message(NOON_MS - 26 * HOUR_MS, NOON_MS) == NOON_MS - 26 * HOUR_MS
    ahead = Heard().status(NOON_MS + 3 * DAY_MS, NOON_MS, queued=True)
    assert ahead.message(NOON_MS + 3 * DAY_MS, NOON_MS) == NOON_MS


def test_a_clock_set_right_between_status_and_first_message_is_believed() -> None:
    heard = Heard().status(12_000, NOON_MS)
    assert heard.message(NOON_MS + 1_000, NOON_MS + 1_000) == NOON_MS + 1_000


def test_a_clock_set_right_behind_a_hole_is_believed_and_late_messages_find_their_offset() -> None:
    heard = Heard().status(NOON_MS + 3 * DAY_MS, NOON_MS)
    heard.message(NOON_MS + 3 * DAY_MS, NOON_MS, seq=10)
    assert heard.message(NOON_MS + 3 * MINUTE_MS, NOON_MS + 3 * MINUTE_MS, seq=13) == NOON_MS + 3 * MINUTE_MS
    late_right_ms = NOON_MS + 2 * MINUTE_MS
    assert heard.message(late_right_ms, NOON_MS + 4 * MINUTE_MS, seq=12) == late_right_ms
    late_wrong_ms = NOON_MS + MINUTE_MS + 3 * DAY_MS
    assert heard.message(late_wrong_ms, NOON_MS + 4 * MINUTE_MS, seq=11) == NOON_MS + MINUTE_MS


def test_a_jump_ahead_behind_a_hole_is_set_right() -> None:
    heard = Heard().status(NOON_MS, NOON_MS)
    heard.message(NOON_MS, NOON_MS)
    assert heard.message(NOON_MS + 3 * DAY_MS, NOON_MS + MINUTE_MS, seq=7) == NOON_MS + MINUTE_MS


def test_no_effective_time_leaves_the_range_of_times() -> None:
    heard = Heard().status(0, 7_258_118_000_000)
    assert 0 <= heard.message(7_258_118_399_999, 7_258_118_000_000) < 7_258_118_400_000


def test_a_clock_that_is_minutes_behind_keeps_its_times_and_is_known_to_be_behind() -> None:
    heard = Heard().status(NOON_MS - 10 * MINUTE_MS, NOON_MS)
    assert heard.message(NOON_MS - 9 * MINUTE_MS, NOON_MS + MINUTE_MS) == NOON_MS - 9 * MINUTE_MS
    assert heard.clock.behind_ms == 10 * MINUTE_MS


def test_a_clock_that_is_set_right_is_not_behind_any_more() -> None:
    heard = Heard().status(NOON_MS - 10 * MINUTE_MS, NOON_MS)
    heard.message(NOON_MS + MINUTE_MS, NOON_MS + MINUTE_MS)
    assert heard.clock.behind_ms == 0
    heard.message(NOON_MS + MINUTE_MS + 1, NOON_MS + HOUR_MS)
    assert heard.clock.behind_ms == 0, "a message that is late is no evidence"


def test_a_status_that_waited_at_the_broker_does_not_say_that_a_clock_is_behind() -> None:
    assert Heard().status(NOON_MS - 10 * MINUTE_MS, NOON_MS, queued=True).clock.behind_ms == 0
