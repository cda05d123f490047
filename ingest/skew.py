"""Floor 0 · How far a device's clock is off, judged per boot and from a seq on.

An offset is added to what the device says, to give effective time. It is judged by a live status, by a boot's first
message where no status came before it, and by a jump of the clock from one message to a later one. A message's age
alone is never evidence: a weekend's honest backlog keeps its times.
"""

from __future__ import annotations

from msgspec import Struct

from ingest.clock import LATEST, to_ms

AHEAD_MS = 5 * 60_000
"""A clock more than this ahead is wrong."""
BEHIND_MS = 24 * 3_600_000
"""A clock more than this behind is wrong, when a live status says so."""
JUMP_MS = 5 * 60_000
MOST_OFFSETS = 100
LATEST_MS = to_ms(LATEST)


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
    behind_ms: int = 0
    """By how much it is behind and yet right enough that its messages keep their times: the last live status said so,
    and no message since then came sooner after it was made."""

    def on_to(self, newest: Heard, latest_ms: int) -> BootClock:
        """The same clock after messages that came together; `latest_ms` is the latest effective time of them all."""
        return BootClock(self.offsets, True, newest, min(self.behind_ms, max(0, newest.came_ms - latest_ms)))

    def offset_at(self, seq: int) -> int:
        for offset in reversed(self.offsets):
            if seq >= offset.from_seq:
                return offset.offset_ms
        return 0


def judge_status(clock: BootClock, ts_ms: int, last_seq: int, now_ms: int, *, queued: bool = False) -> BootClock:
    """A live status shows the clock itself: `ts_ms` is what it says now. Holds for what comes after `last_seq`.

    A status that a broker may have kept while we were away is `queued`: it can look old, and says nothing by that.
    """
    ahead_ms = ts_ms - now_ms
    if queued and ahead_ms < -BEHIND_MS:
        return clock
    right = -BEHIND_MS <= ahead_ms <= AHEAD_MS
    held = clock.offset_at(last_seq + 1)
    agrees = held == 0 if right else held != 0 and abs(held + ahead_ms) <= JUMP_MS
    first = 1 if not clock.judged else last_seq + 1
    behind_ms = 0 if not right else clock.behind_ms if queued else max(0, -ahead_ms)
    judged = BootClock(clock.offsets, True, clock.newest, behind_ms)
    return judged if agrees else _from(judged, first, 0 if right else -ahead_ms)


def judge_message(clock: BootClock, seq: int, ts_ms: int, now_ms: int) -> tuple[BootClock, int]:
    """The clock after one message, and the message's effective time.

    Only a message beyond the newest is evidence: a clock that fell back since then was set, whatever is missing
    between, and a time in the future is wrong. A late one takes the offset that puts it nearer to the newest.
    """
    newest = clock.newest
    if newest is not None and seq <= newest.seq:
        return clock, _in_range(ts_ms + _offset_of_late(clock, newest, seq, ts_ms))
    if newest is not None and ts_ms < newest.ts_ms - JUMP_MS:
        clock = _after_fall(clock, newest, seq, ts_ms, now_ms)
    elif ts_ms + clock.offset_at(seq) > now_ms + AHEAD_MS:
        first = 1 if newest is None else seq
        clock = _from(clock, first, 0 if ts_ms <= now_ms + AHEAD_MS else now_ms - ts_ms)
    effective_ms = _in_range(ts_ms + clock.offset_at(seq))
    return clock.on_to(Heard(seq, ts_ms, now_ms, effective_ms), effective_ms), effective_ms


def _after_fall(clock: BootClock, newest: Heard, seq: int, ts_ms: int, now_ms: int) -> BootClock:
    """The clock was set back: it is right now if it was known to be ahead, else time goes on from where it was."""
    set_right = clock.offset_at(seq) != 0 and newest.effective_ms - JUMP_MS <= ts_ms <= now_ms + AHEAD_MS
    flowing_ms = min(now_ms, newest.effective_ms + max(0, now_ms - newest.came_ms))
    return _from(clock, seq, 0 if set_right else flowing_ms - ts_ms)


def _offset_of_late(clock: BootClock, newest: Heard, seq: int, ts_ms: int) -> int:
    held, now_held = clock.offset_at(seq), clock.offset_at(newest.seq)
    return min(held, now_held, key=lambda offset_ms: abs(ts_ms + offset_ms - newest.effective_ms))


def _in_range(effective_ms: int) -> int:
    return min(max(0, effective_ms), LATEST_MS - 1)


def _from(clock: BootClock, seq: int, offset_ms: int) -> BootClock:
    kept = tuple(offset for offset in clock.offsets if offset.from_seq < seq)
    if (kept[-1].offset_ms if kept else 0) != offset_ms:
        kept = (*kept, Offset(seq, offset_ms))[-MOST_OFFSETS:]
    return BootClock(kept, clock.judged, clock.newest, clock.behind_ms)
