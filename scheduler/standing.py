"""Floor 0 · Standing: how much more a household was served than the average one, and who therefore goes first.

All of it is in one sentence: in 28 days you charged so many minutes less than the average household here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

DAY_MS = 86_400_000
WINDOW_MS = 28 * DAY_MS
MOST_MIN = 600
"""Nobody stands higher or lower than this, so that one long absence is no claim for ever."""
NO_SHOW_MIN = 60
NEAR_MIN = 30
"""Standings this near to each other count as equal, and who waits longer goes first."""
MINUTE_MS = 60_000


class Delivery(Struct, frozen=True, kw_only=True):
    """A household's car at a plug, from plug-in to unplug; the overstay in it counts a second time. Milliseconds."""

    household: str
    plugged_ms: int
    unplugged_ms: int
    overstay_ms: int = 0
    energy_kwh: float = 0.0


class NoShow(Struct, frozen=True):
    household: str
    at_ms: int


class Standing(Struct, frozen=True, kw_only=True):
    """`minutes` is how much more (less, below 0) than the average household; that of `average_min` it compares with."""

    minutes: float
    occupied_min: float
    average_min: float


class Waiting(Struct, frozen=True, kw_only=True):
    """Who wants a place: `advantage_min` is what the rules give, for accessibility or an essential vehicle."""

    turn: str
    standing_min: float
    age_ms: int
    requested_ms: int
    advantage_min: float = 0.0


def occupied_min(deliveries: Iterable[Delivery], no_shows: Iterable[NoShow], now_ms: int) -> dict[str, float]:
    """Minutes of each household in the last 28 days: at plugs, overstay twice, 60 for each no-show.

    Of what reaches back beyond the 28 days only the part within counts.
    """
    since_ms = now_ms - WINDOW_MS
    found: dict[str, float] = {}
    for one in deliveries:
        end_ms = min(one.unplugged_ms, now_ms)
        at_plug_ms = max(0, end_ms - max(one.plugged_ms, since_ms))
        if one.overstay_ms:
            at_plug_ms += max(0, end_ms - max(end_ms - one.overstay_ms, since_ms))
        found[one.household] = found.get(one.household, 0.0) + at_plug_ms / MINUTE_MS
    for missed in no_shows:
        if since_ms <= missed.at_ms <= now_ms:
            found[missed.household] = found.get(missed.household, 0.0) + NO_SHOW_MIN
    return found


def penalties(deliveries: Iterable[Delivery], no_shows: Iterable[NoShow], now_ms: int) -> dict[str, tuple[int, int]]:
    """Of each household that has any in the last 28 days: minutes of overstay, and missed turns."""
    since_ms = now_ms - WINDOW_MS
    over_ms: dict[str, int] = {}
    missed: dict[str, int] = {}
    for one in deliveries:
        if one.overstay_ms:
            end_ms = min(one.unplugged_ms, now_ms)
            counts_ms = max(0, end_ms - max(end_ms - one.overstay_ms, since_ms))
            over_ms[one.household] = over_ms.get(one.household, 0) + counts_ms
    for no_show in no_shows:
        if since_ms <= no_show.at_ms <= now_ms:
            missed[no_show.household] = missed.get(no_show.household, 0) + 1
    return {one: (over_ms.get(one, 0) // MINUTE_MS, missed.get(one, 0)) for one in over_ms.keys() | missed.keys()}


def standings(pool: Mapping[str, int], occupied: Mapping[str, float], now_ms: int) -> dict[str, Standing]:
    """The standing of each household of a pool: those that may ask at a site, and did so in the last 28 days.

    `pool` says since when each is one of those who ask, `occupied` its minutes. A household is compared with what the
    average one had *in the time since it came*: so a new one starts at 0, and among those who were there all 28 days
    the average is the plain mean.
    """
    there_ms = {household: min(WINDOW_MS, max(0, now_ms - since_ms)) for household, since_ms in pool.items()}
    all_ms = sum(there_ms.values())
    minutes_a_ms = sum(occupied.get(household, 0.0) for household in pool) / all_ms if all_ms else 0.0
    found = {}
    for household, present_ms in there_ms.items():
        had, average = occupied.get(household, 0.0), minutes_a_ms * present_ms
        more = min(MOST_MIN, max(-MOST_MIN, had - average))
        found[household] = Standing(minutes=more, occupied_min=had, average_min=average)
    return found


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Lowest standing first; of those that are near equal who waits longest, then who asked first."""
    return sorted(waiting, key=lambda one: (_step(one), -one.age_ms, one.requested_ms, one.turn))


def need_kwh(stated_kwh: float, room_kwh: float | None, delivered_kwh: Sequence[float]) -> float:
    """What a request is planned with: no more than it states, than its battery has room for (None: not known), and
    than the mean of the household's last five deliveries and a fifth.

    `delivered_kwh` is oldest first.
    """
    limits = [stated_kwh]
    if room_kwh is not None:
        limits.append(room_kwh)
    if last := delivered_kwh[-5:]:
        limits.append(sum(last) / len(last) * 1.2)
    return min(limits)


def _step(one: Waiting) -> int:
    return int((one.standing_min - one.advantage_min) // NEAR_MIN)
