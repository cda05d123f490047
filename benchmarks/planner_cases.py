"""Seeded sites for the planner's benchmark: street bays, compounds that open for some hours, power groups.

Every case has between 4 and 16 connectors and 30 to 200 requests, a power limit that not all connectors can have at
once, quotas, turns that are promised already, and places that were published by a plan of an hour before.
"""

from __future__ import annotations

import random

from msgspec.structs import replace

from scheduler.buckets import BUCKETS_PER_DAY, Place
from scheduler.plan import Fixed, Plug, Problem, Request, weight_of
from scheduler.plan_greedy import greedy

FIRST = 1_992_000
"""Midnight, UTC; the morning of a site in UTC+8."""
KINDS = ("street", "compound", "power_group")
COMPOUNDS = ("a", "b", "c", "guests")


def case(seed: int, *, plugs: int | None = None, requests: int | None = None) -> Problem:
    """The site of a seed; with a number of plugs and requests, where they are not to be drawn."""
    draw = random.Random(f"planner/{seed}")
    kind = KINDS[seed % 3]
    count = plugs or draw.choice((4, 4, 6, 8, 8, 10, 12, 16))
    asking = requests or min(200, max(30, round(count * draw.uniform(4, 15))))
    hour = draw.randrange(24)
    at_plugs = _plugs(draw, kind, count)
    limit_w = _limits(draw, kind, at_plugs)
    problem = Problem(
        first=FIRST,
        limit_w=limit_w,
        open=tuple(_is_open(kind, hour, at) for at in range(BUCKETS_PER_DAY)),
        quiet=tuple(_between(22, 7, hour, at) for at in range(BUCKETS_PER_DAY)),
        tariff_fen_kwh=tuple(_tariff(hour, at) for at in range(BUCKETS_PER_DAY)),
        plugs=at_plugs,
        requests=(),
        fixed=_fixed(draw, at_plugs, limit_w),
        quotas={compound: _quota(draw, compound, count, hour) for compound in COMPOUNDS},
    )
    wanted = [_request(draw, kind, no, hour) for no in range(asking)]
    draw.shuffle(wanted)
    weighed = tuple(replace(one, weight=weight_of(rank, asking)) for rank, one in enumerate(wanted))
    return replace(problem, requests=_published(draw, replace(problem, requests=weighed)))


def _plugs(draw: random.Random, kind: str, count: int) -> tuple[Plug, ...]:
    fast = 0 if kind == "power_group" else draw.randrange(count // 4 + 1)
    alternating_w = draw.choice((7_000, 7_000, 11_000))
    return tuple(
        Plug(id=f"s/p{no}/1", kind="dc", max_w=60_000)
        if no < fast
        else Plug(id=f"s/p{no}/1", kind="ac", max_w=alternating_w, min_w=1_380)
        for no in range(count)
    )


def _limits(draw: random.Random, kind: str, plugs: tuple[Plug, ...]) -> tuple[int, ...]:
    """A share of what all plugs could draw, and less in a few hours, as when the grid asks for it."""
    share = draw.uniform(0.3, 0.6) if kind == "power_group" else draw.uniform(0.5, 0.9)
    limit_w = max(*(plug.max_w for plug in plugs), round(share * sum(plug.max_w for plug in plugs)))
    low = draw.randrange(BUCKETS_PER_DAY)
    return tuple(limit_w * 7 // 10 if low <= at < low + 12 else limit_w for at in range(BUCKETS_PER_DAY))


def _fixed(draw: random.Random, plugs: tuple[Plug, ...], limit_w: tuple[int, ...]) -> tuple[Fixed, ...]:
    """Cars that charge now at some plugs, and promises later at others."""
    left_w, found = list(limit_w), list[Fixed]()
    for plug in plugs:
        first, length = 0, draw.randrange(1, 9)
        if draw.random() < 0.5:
            first = draw.randrange(4, 40)
            if draw.random() < 0.6:
                continue
        watts = min(7_000, plug.max_w)
        if min(left_w[first : first + length]) >= watts:
            left_w[first : first + length] = [left - watts for left in left_w[first : first + length]]
            place = Place(plug.id, FIRST + first, (watts,) * length)
            found.append(Fixed(place=place, compound=draw.choice(COMPOUNDS)))
    return tuple(found)


def _quota(draw: random.Random, compound: str, plugs: int, hour: int) -> tuple[int, ...]:
    """Guests may always hold a few; compounds may hold some in the evening, and more at other times."""
    if compound == "guests":
        return (max(1, plugs // 4),) * BUCKETS_PER_DAY
    evening, other = max(1, round(plugs * draw.uniform(0.3, 0.6))), max(2, round(plugs * 0.7))
    return tuple(evening if _between(17, 23, hour, at) else other for at in range(BUCKETS_PER_DAY))


def _request(draw: random.Random, kind: str, no: int, hour: int) -> Request:
    evening = (18 - hour) % 24 * 4
    earliest = round(draw.gauss(evening, 10)) if draw.random() < 0.6 else draw.randrange(-8, BUCKETS_PER_DAY - 8)
    need_wh = round(min(60_000, max(3_000, draw.lognormvariate(9.4, 0.55))) / 100) * 100
    fast = kind != "power_group" and draw.random() < 0.2
    max_w = 60_000 if fast else draw.choice((3_500, 7_000, 7_000, 7_000, 11_000))
    takes = -(-need_wh * 4 // min(max_w, 60_000 if fast else 7_000))
    earliest = min(max(earliest, -8), BUCKETS_PER_DAY - takes - 1)
    slack = draw.choice((2, 4, 8, 16, 32, 48))
    return Request(
        id=f"r{no:03}",
        kinds=(("dc", "ac") if draw.random() < 0.3 else ("dc",)) if fast else ("ac",),
        earliest=FIRST + earliest,
        depart_by=FIRST + max(earliest, 0) + takes + slack,
        need_wh=need_wh,
        max_w=max_w,
        flexible=draw.random() < (0.9 if kind == "power_group" else 0.3),
        compound=draw.choice(COMPOUNDS),
        turnover=int(draw.random() < 0.2),
        moves_at_night=draw.random() < 0.6,
        margin=2,
    )


def _published(draw: random.Random, problem: Problem) -> tuple[Request, ...]:
    """The requests, with what a plan published that knew all but the last fifth of those who ask."""
    new = set(draw.sample([one.id for one in problem.requests], len(problem.requests) // 5))
    before = greedy(replace(problem, requests=tuple(one for one in problem.requests if one.id not in new)))
    return tuple(
        replace(one, published=place) if (place := before.places.get(one.id)) and place.first < FIRST + 16 else one
        for one in problem.requests
    )


def _is_open(kind: str, hour: int, at: int) -> bool:
    return kind != "compound" or _between(17, 10, hour, at)


def _tariff(hour: int, at: int) -> int:
    return 30 if _between(23, 7, hour, at) else 110 if _between(17, 22, hour, at) else 70


def _between(start: int, end: int, hour: int, at: int) -> bool:
    local = (hour + at / 4) % 24
    return start <= local < end if start < end else local >= start or local < end
