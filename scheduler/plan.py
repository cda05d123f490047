"""Floor 0 · The plan of one site: what it takes, what it answers, what it must keep to, and what it is worth.

All buckets are absolute (`scheduler.buckets`). What is given bucket by bucket begins with the problem's first one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from operator import mul
from typing import Literal

from msgspec import Struct

from scheduler.buckets import Place

BUCKETS_PER_HOUR = 4
SERVED = 1_000
"""Served counts so many times a request's weight; each bucket of lateness takes its weight from that once."""
POINT_FEN = 10
"""What is paid for energy takes one point for each so many fen; a bucket's lateness takes about a thousand."""
FIRST_WEIGHT, LAST_WEIGHT = 2_000, 1_000

Reason = Literal["no_connector", "time", "opening", "quota", "power", "taken"]
"""Why somebody is not served: no plug fits the car; its energy never fits before it leaves; the site is not open that
long; its compound's quota, or the site's power, is used up; the plugs are."""


class Plug(Struct, frozen=True, kw_only=True):
    """A connector. Power that is not 0 cannot be held below `min_w` (6 A, for alternating current)."""

    id: str
    kind: str
    max_w: int
    min_w: int = 0


class Fixed(Struct, frozen=True, kw_only=True):
    """A turn that is offered, promised or charging: its place is not for the plan to change."""

    place: Place
    compound: str | None = None
    turnover: int = 0


class Request(Struct, frozen=True, kw_only=True):
    """Somebody who wants `need_wh` within the buckets [earliest, depart_by), at a plug of one of `kinds`.

    One that is not flexible charges at the most that car and plug can, from its first bucket to its last; where that is
    at night, it is plugged in before, and waits. A flexible one may be given less, or nothing for a while.
    `turnover` is how many buckets its plug is kept free after it, for a car that likely stays longer. `published` is
    the place that its people were told; `margin` is how many buckets somebody must gain before it is moved. Who does
    not move at night is plugged in before the quiet hours and stays plugged until they are over.
    """

    id: str
    kinds: tuple[str, ...]
    earliest: int
    depart_by: int
    need_wh: int
    max_w: int
    weight: int = LAST_WEIGHT
    flexible: bool = False
    compound: str | None = None
    turnover: int = 0
    published: Place | None = None
    margin: int = 0
    moves_at_night: bool = True


class Problem(Struct, frozen=True, kw_only=True):
    """One site for as many buckets as `limit_w` has. `quotas` are connectors by compound; who has none is not limited.

    `quiet` are the buckets at whose start nobody is asked to drive a car away.
    """

    first: int
    limit_w: tuple[int, ...]
    open: tuple[bool, ...]
    quiet: tuple[bool, ...]
    tariff_fen_kwh: tuple[int, ...]
    plugs: tuple[Plug, ...]
    requests: tuple[Request, ...]
    fixed: tuple[Fixed, ...] = ()
    quotas: dict[str, tuple[int, ...]] = {}

    def __post_init__(self) -> None:
        rows = [self.limit_w, self.open, self.quiet, self.tariff_fen_kwh, *self.quotas.values()]
        if not self.limit_w or any(len(row) != len(self.limit_w) for row in rows):
            raise ValueError("limit_w, open, quiet, tariff_fen_kwh and each quota need the same number of buckets")
        if any(one.need_wh <= 0 or one.max_w <= 0 or one.weight <= 0 for one in self.requests):
            raise ValueError("need_wh, max_w and weight of a request must be above 0")
        if any(not 0 <= plug.min_w <= plug.max_w or plug.max_w == 0 for plug in self.plugs):
            raise ValueError("max_w of a plug must be above 0, and min_w at most max_w")
        for what, ids in (("request", [one.id for one in self.requests]), ("plug", [plug.id for plug in self.plugs])):
            if twice := [name for name, times in Counter(ids).items() if times > 1]:
                raise ValueError(f"{what} {twice[0]} is there twice")

    @property
    def end(self) -> int:
        """The first bucket after the horizon."""
        return self.first + len(self.limit_w)

    @property
    def heaviest(self) -> int:
        return max((one.weight for one in self.requests), default=0)


class Plan(Struct, frozen=True):
    """A place by request, or why there is none."""

    places: dict[str, Place]
    reasons: dict[str, Reason] = {}


def weight_of(rank: int, waiting: int) -> int:
    """What a request weighs that is `rank`-th (from 0) of so many: the first less than twice the last.

    So two served count more than one, whoever they are.
    """
    return FIRST_WEIGHT - (rank + 1) * (FIRST_WEIGHT - LAST_WEIGHT) // waiting


def full_w(request: Request, plug: Plug) -> int:
    return min(request.max_w, plug.max_w)


def shortest(request: Request, plug: Plug) -> int:
    """Buckets that its energy takes there at full power."""
    return -(-request.need_wh * BUCKETS_PER_HOUR // full_w(request, plug))


def fitting(problem: Problem, request: Request) -> list[Plug]:
    return [plug for plug in problem.plugs if plug.kind in request.kinds]


def charged_by(place: Place) -> int:
    """The first bucket from which on it draws nothing more."""
    watts, charged = place.watts, len(place.watts)
    while charged and not watts[charged - 1]:
        charged -= 1
    return place.first + charged if charged else 0


def may_begin(problem: Problem, request: Request, first: int) -> bool:
    """Whether its place may begin in a bucket."""
    return request.moves_at_night or not _quiet(problem, first)


def leaves_at(problem: Problem, request: Request, charged: int) -> int:
    """When a car that is charged by a bucket is driven away."""
    if request.moves_at_night or not (_quiet(problem, charged - 1) or _quiet(problem, charged)):
        return charged
    while charged < min(request.depart_by, problem.end) and _quiet(problem, charged):
        charged += 1
    return charged


def lateness(problem: Problem, request: Request, place: Place) -> int:
    """Buckets that its energy is there later than if it began at once, with full power, at the best plug for it."""
    return charged_by(place) - max(request.earliest, problem.first) - fastest(problem, request)


def fastest(problem: Problem, request: Request) -> int:
    """Buckets that its energy takes at the best plug for it."""
    return min(shortest(request, plug) for plug in fitting(problem, request))


def keeps_published(request: Request, place: Place) -> bool:
    told = request.published
    return told is not None and (told.connector, told.first) == (place.connector, place.first)


def cost_fen(problem: Problem, place: Place) -> float:
    """What its energy costs by the tariff."""
    fen_kwh = problem.tariff_fen_kwh[place.first - problem.first :]
    fen: int = sum(map(mul, place.watts, fen_kwh))
    return fen / BUCKETS_PER_HOUR / 1_000


def worth(problem: Problem, request: Request, place: Place) -> float:
    """Points of one place: its weight for being served, less for lateness, more for staying where it was published
    (`margin` buckets of the heaviest request), less for what its energy costs."""
    return worth_by(problem, request, place, fastest(problem, request), problem.heaviest)


def worth_by(problem: Problem, request: Request, place: Place, fastest: int, heaviest: int) -> float:
    """`worth`, for who knows `fastest` and the heaviest weight already."""
    late = charged_by(place) - max(request.earliest, problem.first) - fastest
    points = request.weight * (SERVED - late)
    if keeps_published(request, place):
        points += request.margin * heaviest
    return points - cost_fen(problem, place) / POINT_FEN


def value(problem: Problem, plan: Plan) -> float:
    """What a plan is worth: the points of its places."""
    return sum(worth(problem, one, plan.places[one.id]) for one in problem.requests if one.id in plan.places)


def faults(problem: Problem, plan: Plan) -> list[str]:
    """Everything that a plan does not keep to, in words; nothing where it may be carried out.

    Where fixed places alone pass a limit, nothing may be added there.
    """
    asked = {one.id: one for one in problem.requests}
    said = [f"{name}: nobody asked for it" for name in plan.places if name not in asked]
    said += [
        f"{one.id}: neither served nor told why"
        for one in problem.requests
        if one.id not in plan.places and one.id not in plan.reasons
    ]
    served = [(asked[name], place) for name, place in plan.places.items() if name in asked]
    for request, place in served:
        said += [f"{request.id}: {wrong}" for wrong in own_faults(problem, request, place)]
    return said + list(_together(problem, served))


def own_faults(problem: Problem, request: Request, place: Place) -> Iterator[str]:
    """What is wrong with a place for a request, whatever others hold."""
    plug = next((plug for plug in problem.plugs if plug.id == place.connector), None)
    if plug is None or plug.kind not in request.kinds:
        yield f"plug {place.connector} does not fit"
        return
    most, charged = full_w(request, plug), charged_by(place)
    if place.first < max(request.earliest, problem.first) or place.end > min(request.depart_by, problem.end):
        yield "outside its time"
    elif not all(problem.open[bucket - problem.first] for bucket in place.buckets):
        yield "the site is closed"
    if sum(place.watts) < request.need_wh * BUCKETS_PER_HOUR:
        yield "too little energy"
    if any(watts and not min(plug.min_w, most) <= watts <= most for watts in place.watts):
        yield "power that plug or car cannot have"
    waits = _waits(problem, request, place)
    if not request.flexible and any(watts != most for watts in place.watts[waits : charged - place.first]):
        yield "less than full power"
    if not may_begin(problem, request, place.first):
        yield "to be plugged in at night"
    if place.end < leaves_at(problem, request, charged):
        yield "to be driven away at night"


def _together(problem: Problem, served: list[tuple[Request, Place]]) -> Iterator[str]:
    power, held, taken = Counter[int](), Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for one in problem.fixed:
        power.update(dict(zip(one.place.buckets, one.place.watts, strict=True)))
        held.update((one.compound or "", bucket) for bucket in one.place.buckets)
        taken.update((one.place.connector, bucket) for bucket in one.place.longer(one.turnover).buckets)
    more_w = Counter[int]()
    added: set[tuple[str, int]] = set()
    used: set[tuple[str, int]] = set()
    for request, place in served:
        more_w.update(dict(zip(place.buckets, place.watts, strict=True)))
        mine = [(request.compound or "", bucket) for bucket in place.buckets]
        plugs = [(place.connector, bucket) for bucket in place.longer(request.turnover).buckets]
        held.update(mine)
        added.update(mine)
        taken.update(plugs)
        used.update(plugs)
    for bucket, watts in sorted(more_w.items()):
        limit_w = problem.limit_w[bucket - problem.first] if problem.first <= bucket < problem.end else 0
        if watts and watts + power[bucket] > limit_w:
            yield f"bucket {bucket}: {watts + power[bucket]} W of {limit_w}"
    for compound, bucket in sorted(added):
        quota = problem.quotas.get(compound)
        if quota and problem.first <= bucket < problem.end and held[compound, bucket] > quota[bucket - problem.first]:
            yield f"bucket {bucket}: {held[compound, bucket]} connectors of compound {compound}"
    yield from (
        f"bucket {bucket}: plug {plug} is taken twice" for plug, bucket in sorted(used) if taken[plug, bucket] > 1
    )


def _waits(problem: Problem, request: Request, place: Place) -> int:
    """Buckets that it is plugged without power first, as its power begins at night."""
    begins = next((no for no, watts in enumerate(place.watts) if watts), 0)
    return 0 if request.moves_at_night or not _quiet(problem, place.first + begins) else begins


def _quiet(problem: Problem, bucket: int) -> bool:
    return problem.first <= bucket < problem.end and problem.quiet[bucket - problem.first]
