"""Floor 0 · What happens to a turn within a state: it is soon, its car is known, it is charged, it stays too long.

As in `turns.py`, each is a function from the turn as it was to the turn as it is, and raises `NotNow`.
"""

from __future__ import annotations

from msgspec.structs import replace

from scheduler.buckets import BUCKET_MS
from scheduler.quiet import QuietHours
from scheduler.turns import SOON_MS, NotNow, Turn

EARLY_MS = BUCKET_MS
"""Who comes so much before its place begins may plug in, where nobody else holds the plug."""
NEAR_MS = 5 * 60_000
"""A check-in so long before or after a car was plugged in says whose it is."""
ASKING_MS = 10 * 60_000
"""So long the holder of a place is asked whether the car at its plug is its own."""


def is_soon(turn: Turn, now_ms: int) -> bool:
    """Whether its household is to be told that it begins in ten minutes, and was not yet."""
    if turn.state != "reserved" or turn.place is None or turn.soon_ms is not None:
        return False
    return 0 < turn.place.start_ms - now_ms <= SOON_MS


def soon(turn: Turn, now_ms: int) -> Turn:
    if not is_soon(turn, now_ms):
        raise NotNow(turn, "plan")
    return replace(turn, soon_ms=now_ms)


def asked(turn: Turn, now_ms: int, plugged_ms: int) -> Turn:
    """A car is at its plug since then, and nothing says whose: its household is asked. What it said of an earlier one
    is over. Raises NotNow, also where it said of this one, or was asked.
    """
    is_asked_already = turn.asked_ms is not None and turn.asked_ms >= plugged_ms
    if turn.state not in ("offered", "reserved") or is_asked_already or is_known(turn, plugged_ms):
        raise NotNow(turn, "plug_in")
    return replace(turn, asked_ms=now_ms, checked_in_ms=None)


def is_asked(turn: Turn, now_ms: int) -> bool:
    """Whether an answer is still awaited."""
    return turn.asked_ms is not None and turn.checked_in_ms is None and now_ms < turn.asked_ms + ASKING_MS


def checked_in(turn: Turn, now_ms: int) -> Turn:
    """Somebody of the household is at the plug. Raises NotNow, also where its place is not now."""
    place = turn.place
    is_held = turn.state in ("offered", "reserved") and place is not None
    if not is_held or place is None or not place.start_ms - EARLY_MS <= now_ms < place.end_ms:
        raise NotNow(turn, "plug_in")
    return replace(turn, checked_in_ms=now_ms)


def is_known(turn: Turn, plugged_ms: int) -> bool:
    """Whether a check-in says that the car that was plugged in then is the turn's."""
    return turn.checked_in_ms is not None and turn.checked_in_ms >= plugged_ms - NEAR_MS


def charged(turn: Turn, now_ms: int) -> Turn:
    """Its car wants no more, or has what was planned for it. Raises NotNow."""
    if turn.state != "active" or turn.charged_ms is not None:
        raise NotNow(turn, "end")
    return replace(turn, charged_ms=now_ms)


def resumed(turn: Turn) -> Turn:
    """Its car had paused, and takes more: it was not charged, and nothing was overstay. Raises NotNow."""
    if turn.state != "active" or turn.charged_ms is None or turn.finished_ms is not None:
        raise NotNow(turn, "end")
    return replace(turn, charged_ms=None, leave_by_ms=None)


def finished(turn: Turn, now_ms: int) -> Turn:
    """Its household wants no more. Raises NotNow."""
    if turn.state != "active":
        raise NotNow(turn, "end")
    return replace(turn, finished_ms=turn.finished_ms or now_ms, charged_ms=turn.charged_ms or now_ms)


def told_charged(turn: Turn, now_ms: int, quiet: QuietHours, grace_min: int) -> Turn:
    """The notice that it is charged was delivered: from `leave_by_ms` on its staying is overstay. Raises NotNow."""
    if turn.state != "active" or turn.charged_ms is None:
        raise NotNow(turn, "end")
    return replace(turn, leave_by_ms=max(now_ms, leave_by_ms(turn.charged_ms, quiet, grace_min)))


def leave_by_ms(charged_ms: int, quiet: QuietHours, grace_min: int) -> int:
    """After the grace; nobody is asked to move a car at night, and the first bucket after it is to get up in."""
    by_ms = charged_ms + grace_min * 60_000
    return quiet.after(by_ms, 0) + BUCKET_MS if quiet.quiet_at(by_ms) else by_ms


def overstay_ms(turn: Turn, left_ms: int) -> int:
    """How long its car stayed too long, when it left then."""
    return 0 if turn.leave_by_ms is None else max(0, left_ms - turn.leave_by_ms)
