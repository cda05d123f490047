"""Floor 0 · Power: what each plug of a site is given now, and in which steps that is reached without passing a limit.

First what was promised, then what is left to cars that still want some. A limit is lowered at once and raised only
within what the others may be drawing at the most: so the order in which piles hear of it does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Draw(Struct, frozen=True, kw_only=True):
    """A connector as it is now, in watts.

    `promised_w` is its turn's in this bucket and `wants_w` what its car would take in all, both 0 where there is none;
    `may_w` what it may be drawing now at the most; `takes_w` what it draws whatever it is told, where its pile is
    known not to obey; `heard` whether it can be told anything. Below `least_w` a car pauses.
    """

    connector: str
    promised_w: int = 0
    wants_w: int = 0
    may_w: int = 0
    takes_w: int = 0
    least_w: int = 0
    heard: bool = True


def shares(limit_w: int | None, draws: Sequence[Draw]) -> dict[str, int]:
    """What each plug that is heard is to have, those first that are named first. `limit_w` None: no limit is known.

    What nobody can be told of, as at a silent pile, and what is taken unasked, is taken off the limit first.
    """
    heard = [one for one in draws if one.heard]
    if limit_w is None:
        return {one.connector: max(one.promised_w, one.wants_w) for one in heard}
    left_w = max(0, limit_w - sum(one.takes_w if one.heard else one.may_w for one in draws))
    given = dict.fromkeys((one.connector for one in heard), 0)
    for beyond_promised in (False, True):
        for one in heard:
            had_w = max(given[one.connector], one.takes_w)
            wanted_w = max(one.promised_w, one.wants_w) if beyond_promised else one.promised_w
            more_w = min(max(0, wanted_w - had_w), left_w)
            if had_w + more_w < one.least_w:  # it would only pause: another can use it
                continue
            given[one.connector] = max(given[one.connector], min(wanted_w, had_w + more_w))
            left_w -= more_w
    return given


def steps(limit_w: int | None, given: dict[str, int], draws: Sequence[Draw]) -> dict[str, int]:
    """The limits that may be set now: all that are no higher than what a plug may be drawing, and of the others those
    for which there is room besides what all may be drawing at the most.
    """
    if limit_w is None:
        return dict(given)
    room_w = limit_w - sum(one.may_w for one in draws)
    now: dict[str, int] = {}
    for one in draws:
        if one.connector not in given:
            continue
        wanted_w = given[one.connector]
        more_w = wanted_w - one.may_w
        if more_w <= 0:
            now[one.connector] = wanted_w
        elif more_w <= room_w:
            now[one.connector] = wanted_w
            room_w -= more_w
    return now
