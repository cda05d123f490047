"""Floor 0 · How far a device's clock is off, judged per boot and from a seq on.

An offset is added to what the device says, to give effective time. It is judged by a live status, by a boot's first
message where no status came before it, and by a jump of the clock between neighbouring seqs. A message's age alone
is never evidence: a weekend's honest backlog keeps its times.
"""

from __future__ import annotations

from msgspec import Struct

AHEAD_MS = 5 * 60_000
"""A clock more than this ahead is wrong."""
BEHIND_MS = 24 * 3_600_000
"""A clock more than this behind is wrong, when a live status says so."""
JUMP_MS = 5 * 60_000


class Offset(Struct, frozen=True):
    """From `from_seq` on, `offset_ms` is added to what the device says."""

    from_seq: int
    offset_ms: int


class Heard(Struct, frozen=True):
    """The newest message of a boot: what its clock said, when it came, and what time was made of it."""

    seq: int
    ts_ms: int
    came_ms: int
    effective_ms: int


class BootClock(Struct, frozen=True):
    """What is known of the clock of one boot. Offsets by rising `from_seq`."""

    offsets: tuple[Offset, ...] = ()
    judged: bool = False
    newest: Heard | None = None

    def offset_at(self, seq: int) -> int:
        for offset in reversed(self.offsets):
            if seq >= offset.from_seq:
                return offset.offset_ms
        return 0


def judge_status(clock: BootClock, ts_ms: int, last_seq: int, now_ms: int) -> BootClock:
    """A live status shows the clock itself: `ts_ms` is what it says now. Holds for what comes after `last_seq`."""
    ahead_ms = ts_ms - now_ms
    right = -BEHIND_MS <= ahead_ms <= AHEAD_MS
    held = clock.offset_at(last_seq + 1)
    agrees = held == 0 if right else held != 0 and abs(held + ahead_ms) <= JUMP_MS
    first = 1 if not clock.judged else last_seq + 1
    judged = BootClock(clock.offsets, True, clock.newest)
    return judged if agrees else _from(judged, first, 0 if right else -ahead_ms)


def judge_message(clock: BootClock, seq: int, ts_ms: int, now_ms: int) -> tuple[BootClock, int]:
    """The clock after one message, and the message's effective time."""
    newest = clock.newest
    if newest is None and not clock.judged:
        clock = _from(clock, 1, now_ms - ts_ms) if ts_ms - now_ms > AHEAD_MS else clock
        clock = BootClock(clock.offsets, True, None)
    elif newest is not None and seq == newest.seq + 1:
        moved_ms, passed_ms = ts_ms - newest.ts_ms, now_ms - newest.came_ms
        if abs(moved_ms - passed_ms) > JUMP_MS:
            clock = _after_jump(clock, newest, seq, ts_ms, now_ms)
    effective_ms = max(0, ts_ms + clock.offset_at(seq))
    if newest is None or seq > newest.seq:
        clock = BootClock(clock.offsets, clock.judged, Heard(seq, ts_ms, now_ms, effective_ms))
    return clock, effective_ms


def _after_jump(clock: BootClock, newest: Heard, seq: int, ts_ms: int, now_ms: int) -> BootClock:
    held = clock.offset_at(seq)
    honest = ts_ms <= now_ms + AHEAD_MS
    if ts_ms < newest.ts_ms - JUMP_MS:
        set_right = held != 0 and honest and ts_ms >= newest.effective_ms - JUMP_MS
        flowing_ms = min(now_ms, newest.effective_ms + max(0, now_ms - newest.came_ms))
        return _from(clock, seq, 0 if set_right else flowing_ms - ts_ms)
    if ts_ms + held <= now_ms + AHEAD_MS:
        return clock
    return _from(clock, seq, 0 if honest else now_ms - ts_ms)


def _from(clock: BootClock, seq: int, offset_ms: int) -> BootClock:
    kept = tuple(offset for offset in clock.offsets if offset.from_seq < seq)
    if (kept[-1].offset_ms if kept else 0) != offset_ms:
        kept = (*kept, Offset(seq, offset_ms))
    return BootClock(kept, clock.judged, clock.newest)
