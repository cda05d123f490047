"""Floor 0 · The study's world: people with cars at the plugs of a site, the same ones under every policy.

A policy says who is called to which plug and who is told what; what people then do is theirs, and what the plugs give
is physics. Nobody drives at night: between `NIGHT_FROM_H` and `NIGHT_UNTIL_H` nobody is
called and no car leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from msgspec import Struct

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LOCAL_MS = 8 * HOUR_MS
NIGHT_FROM_H, NIGHT_UNTIL_H = 23.0, 6.0
LAST_COMES_H = 23.5
"""Who was called before the night still comes until then."""
VALLEY_FROM_H, VALLEY_UNTIL_H = 22, 6
ENOUGH_KWH = 0.05
"""A need is met when no more than this is missing."""


class Wished(Struct, frozen=True):
    """One wish and what its person would do. Times in milliseconds; minutes are inf for what never happens.

    `leaves_told_min` and `leaves_untold_min` are after its energy is there or its place ends; inf is to stay until
    `depart_ms`. `beyond_min` is how much later than that it leaves.
    """

    id: str
    household: int
    asks_ms: int
    earliest_ms: int
    depart_ms: int
    energy_kwh: float
    accepts: tuple[bool, ...]
    answers_min: float
    late_min: float
    late_untold_min: float
    leaves_told_min: float
    leaves_untold_min: float
    beyond_min: float


class Place(Struct, frozen=True):
    """The site: so many plugs of `plug_w`, which draw no more than `limit_w` together."""

    plugs: int
    plug_w: int
    limit_w: int


class Parked(Struct):
    """A car at a plug. `ends_ms` is when it was asked to leave, where it was; `leaves_ms` when it will, once known."""

    wish: Wished
    plugged_ms: int
    given_kwh: float = 0.0
    charged_ms: int | None = None
    ends_ms: int | None = None
    leaves_ms: int | None = None


class Stay(Struct, frozen=True):
    """What one wish got. `overstay_ms` is how long its car stood there after it was charged."""

    wish: Wished
    plugged_ms: int
    left_ms: int
    given_kwh: float
    overstay_ms: int


class World:
    """`step` it in time. `told` is whether people get notices."""

    def __init__(self, place: Place, now_ms: int, *, told: bool) -> None:
        self.place, self.now_ms, self.told = place, now_ms, told
        self.at: list[Parked | None] = [None] * place.plugs
        self.stays: list[Stay] = []
        self.no_shows = 0
        self.valley_kwh = self.all_kwh = 0.0
        self.plugged_ms = 0
        self.peak_w = 0.0

    def step(self, until_ms: int, watts: Sequence[float]) -> None:
        """Time goes on while each plug gives at most that. Cars that are charged, or were asked to, leave."""
        hours = (until_ms - self.now_ms) / HOUR_MS
        drawn_w = 0.0
        for no, parked in enumerate(self.at):
            if parked is None:
                continue
            self.plugged_ms += until_ms - self.now_ms
            missing_kwh = parked.wish.energy_kwh - parked.given_kwh
            kwh = min(missing_kwh, watts[no] / 1_000 * hours) if missing_kwh > 0 else 0.0
            parked.given_kwh += kwh
            drawn_w += kwh * 1_000 / hours
            self.all_kwh += kwh
            if is_valley(self.now_ms):
                self.valley_kwh += kwh
        self.peak_w = max(self.peak_w, drawn_w)
        self.now_ms = until_ms
        for no, parked in enumerate(self.at):
            if parked is not None:
                self._looks(parked)
                if parked.leaves_ms is not None and parked.leaves_ms <= until_ms and not is_night(until_ms):
                    self._leaves(no, parked)

    def wants_kwh(self, no: int) -> float:
        """What the car at a plug still wants."""
        parked = self.at[no]
        return max(0.0, parked.wish.energy_kwh - parked.given_kwh) if parked is not None else 0.0

    def plug_in(self, no: int, wish: Wished) -> None:
        assert self.at[no] is None
        self.at[no] = Parked(wish, self.now_ms)

    def ends(self, no: int) -> None:
        """The place of the car at a plug is over, and it is asked to leave (where people are told anything)."""
        parked = self.at[no]
        if self.told and parked is not None and parked.ends_ms is None:
            parked.ends_ms = self.now_ms

    def late_min(self, wish: Wished) -> float:
        return wish.late_min if self.told else wish.late_untold_min

    def _looks(self, parked: Parked) -> None:
        wish = parked.wish
        if parked.charged_ms is None and wish.energy_kwh - parked.given_kwh <= ENOUGH_KWH:
            parked.charged_ms = self.now_ms
        since = [at for at in (parked.charged_ms, parked.ends_ms) if at is not None]
        last_ms = wish.depart_ms + round(wish.beyond_min * MINUTE_MS)
        after = wish.leaves_told_min if self.told else wish.leaves_untold_min
        goes_ms = min(since) + round(after * MINUTE_MS) if since and after < inf else last_ms
        parked.leaves_ms = min(goes_ms, last_ms)

    def _leaves(self, no: int, parked: Parked) -> None:
        over_ms = self.now_ms - parked.charged_ms if parked.charged_ms is not None else 0
        self.stays.append(Stay(parked.wish, parked.plugged_ms, self.now_ms, parked.given_kwh, over_ms))
        self.at[no] = None


def local_h(at_ms: int) -> float:
    """Hour of the local day."""
    return (at_ms + LOCAL_MS) % DAY_MS / HOUR_MS


def is_night(at_ms: int) -> bool:
    hour = local_h(at_ms)
    return hour >= NIGHT_FROM_H or hour < NIGHT_UNTIL_H


def comes(at_ms: int) -> bool:
    """Whether a car may come then."""
    return NIGHT_UNTIL_H <= local_h(at_ms) < LAST_COMES_H


def is_valley(at_ms: int) -> bool:
    hour = local_h(at_ms)
    return hour >= VALLEY_FROM_H or hour < VALLEY_UNTIL_H


def shared(world: World) -> list[float]:
    """All cars that still want something get the same, as far as the site's limit goes; what plugs of today do."""
    wanting = [no for no in range(world.place.plugs) if world.wants_kwh(no) > 0]
    each = min(world.place.plug_w, world.place.limit_w / len(wanting)) if wanting else 0.0
    return [each if no in wanting else 0.0 for no in range(world.place.plugs)]
