"""Floor 0 · What the study compares with: a waiting list in order of asking, and one in order of the last turn.

Both are as good as such lists are: a plug that frees is called out to the first who can come now, who has the time to
answer and then a quarter of an hour; who declines or does not answer is passed over this time, and the next is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from scheduler.study_world import MINUTE_MS, Place, Wished, World, is_night, shared

HOLD_MIN = 15
ANSWER_MIN = 10
WORTH_COMING_MIN = 30
"""Nobody comes for less than this before it must leave."""


class _Called(NamedTuple):
    wish: Wished
    comes_ms: float
    given_up_ms: float
    passes: bool


def plain(wishes: Sequence[Wished], place: Place, begin_ms: int, end_ms: int, step_ms: int, *, rotation: bool) -> World:
    """Live it; `rotation` calls who had a turn longest ago, else who asked first."""
    world = World(place, begin_ms, told=False)
    coming = sorted(wishes, key=lambda one: (one.asks_ms, one.id), reverse=True)
    waiting: list[Wished] = []
    called: dict[int, _Called] = {}
    had: dict[int, int] = {}
    passed: dict[str, int] = {}
    while world.now_ms < end_ms:
        now_ms = world.now_ms
        while coming and coming[-1].asks_ms <= now_ms:
            waiting.append(coming.pop())
        held = {one.wish.id for one in called.values()}
        waiting = [one for one in waiting if one.id in held or one.depart_ms - now_ms >= WORTH_COMING_MIN * MINUTE_MS]
        if rotation:
            waiting.sort(key=lambda one: (had.get(one.household, 0), one.asks_ms, one.id))
        for no in range(place.plugs):
            _answered(world, no, called, waiting, passed, had)
        held = {one.wish.id for one in called.values()}
        if not is_night(now_ms):
            for no in range(place.plugs):
                if world.at[no] is None and no not in called:
                    first = _first(waiting, held, passed, now_ms)
                    if first is not None:
                        called[no] = _call(world, first, passed)
                        held.add(first.id)
        world.step(now_ms + step_ms, shared(world))
    return world


def _first(waiting: Sequence[Wished], held: set[str], passed: dict[str, int], now_ms: int) -> Wished | None:
    return next(
        (
            one
            for one in waiting
            if one.earliest_ms <= now_ms and one.id not in held and passed.get(one.id, 0) < len(one.accepts)
        ),
        None,
    )


def _call(world: World, wish: Wished, passed: dict[str, int]) -> _Called:
    answers = wish.answers_min <= ANSWER_MIN and wish.accepts[passed.get(wish.id, 0)]
    after_min = min(wish.answers_min, ANSWER_MIN)
    late_min = wish.late_min  # who is called out is told that much
    at = world.now_ms + after_min * MINUTE_MS
    return _Called(wish, at + late_min * MINUTE_MS if late_min < inf else inf, at + HOLD_MIN * MINUTE_MS, not answers)


def _answered(
    world: World, no: int, called: dict[int, _Called], waiting: list[Wished], passed: dict[str, int],
    had: dict[int, int],
) -> None:  # fmt: skip
    one = called.get(no)
    if one is None:
        return
    now_ms = world.now_ms
    if one.passes:
        if now_ms >= one.given_up_ms - HOLD_MIN * MINUTE_MS:
            passed[one.wish.id] = passed.get(one.wish.id, 0) + 1
            del called[no]
    elif one.comes_ms <= now_ms and one.comes_ms <= one.given_up_ms:
        world.plug_in(no, one.wish)
        waiting.remove(one.wish)
        had[one.wish.household] = now_ms
        del called[no]
    elif now_ms >= one.given_up_ms:
        world.no_shows += 1
        waiting.remove(one.wish)
        del called[no]
