"""Floor 0 · Four weeks of a site's demand for the study: who wants how much and when, and how each would act.

All that a person would do is drawn here, once for each wish, whatever a policy asks of it: so each policy meets the
same people. Where the figures are from stands in `data/behaviour.toml`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import inf, log
from random import Random
from typing import NamedTuple

from simulators.habits import DAY_MS, HOUR_MS, MINUTE_MS

P90_SIGMAS = 1.2816
LEAST_KWH = 3.0
MOST_OF_TIME = 0.9
"""Nobody asks for more than so much of what its plug could give in its time."""

LIKE_IT = 20
"""So many sessions of less energy, and of more, are taken for like one of them."""

Figures = Mapping[str, float | Sequence[float]]


class Wished(NamedTuple):
    """One wish and its person. Times in milliseconds; minutes are inf for what never happens.

    `leaves_told_min` and `leaves_untold_min` are after its energy is there, or its place ends; inf is to stay until
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


class Visit(NamedTuple):
    """What a real session says of a need: minute of the local day, energy, minutes plugged."""

    minute: int
    energy_kwh: float
    plugged_min: float


def demand(
    place: Figures, figures: Figures, people: Figures, seed: int, begin_ms: int, days: int, scale: float,
    visits: Sequence[Visit] = (),
) -> list[Wished]:  # fmt: skip
    """In order of asking. `begin_ms` is a local midnight; `scale` multiplies how often people ask.

    With `visits`, arrivals and needs are those of real sessions, drawn one for each wish: a household has a usual
    energy among theirs, and differs from it as households do without them.
    """
    found: list[Wished] = []
    by_energy = sorted(visits, key=lambda one: one.energy_kwh)
    for household in range(int(_one(place, "households"))):
        rng = Random(f"{seed}/{household}")
        usual = rng.lognormvariate(0.0, log(_one(figures, "p90_kwh") / _one(figures, "median_kwh")) / P90_SIGMAS)
        habit = rng.random()
        free_ms = begin_ms
        for day in range(days):
            own = Random(f"{seed}/{household}/{day}")
            if own.random() >= _one(figures, "asks_a_day") * scale:
                continue
            midnight_ms = begin_ms + day * DAY_MS
            earliest_ms, depart_ms, energy_kwh = (
                _real(own, by_energy, habit, _one(figures, "own_sigma"), midnight_ms)
                if visits
                else _usual(own, figures, habit, usual, midnight_ms)
            )
            most_kwh = (depart_ms - earliest_ms) / HOUR_MS * _one(place, "plug_kw") * MOST_OF_TIME
            energy_kwh = round(max(LEAST_KWH, min(energy_kwh, most_kwh, _one(figures, "most_kwh"))), 1)
            asks_ms = max(begin_ms, earliest_ms - int(own.uniform(0, _one(figures, "ahead_h")) * HOUR_MS))
            wish = _person(own, people, f"{household}-{day}", household, (asks_ms, earliest_ms, depart_ms), energy_kwh)
            if asks_ms >= free_ms:
                found.append(wish)
                free_ms = depart_ms + int((wish.beyond_min + 15) * MINUTE_MS)
    return sorted(found, key=lambda one: (one.asks_ms, one.id))


def _usual(rng: Random, figures: Figures, habit: float, usual: float, midnight_ms: int) -> tuple[int, int, float]:
    evening, valley = _one(figures, "evening_share"), _one(figures, "valley_share")
    leaves_h = 24 + rng.uniform(*_two(figures, "leaves_at_h"))
    if habit < evening:
        begin_h = min(20.5, max(16.5, rng.gauss(18.5, 0.5)))
    elif habit < evening + valley:
        begin_h = rng.uniform(21 + 50 / 60, 22.5)
    else:
        begin_h = rng.triangular(7.0, 17.5, 13.0)
        leaves_h = min(begin_h + rng.uniform(*_two(figures, "day_window_h")), 22.0)
    energy_kwh = _one(figures, "median_kwh") * usual * rng.lognormvariate(0.0, _one(figures, "own_sigma"))
    return midnight_ms + int(begin_h * HOUR_MS), midnight_ms + int(leaves_h * HOUR_MS), energy_kwh


def _real(
    rng: Random, by_energy: Sequence[Visit], habit: float, sigma: float, midnight_ms: int
) -> tuple[int, int, float]:
    """One of the sessions that gave about as much as its household usually wants."""
    wanted_kwh = by_energy[int(habit * len(by_energy))].energy_kwh * rng.lognormvariate(0.0, sigma)
    like = bisect_left(by_energy, wanted_kwh, key=lambda one: one.energy_kwh) + rng.randint(-LIKE_IT, LIKE_IT)
    one = by_energy[min(max(like, 0), len(by_energy) - 1)]
    earliest_ms = midnight_ms + one.minute * MINUTE_MS
    return earliest_ms, earliest_ms + int(one.plugged_min * MINUTE_MS), one.energy_kwh


def _person(
    rng: Random, people: Figures, name: str, household: int, times: tuple[int, int, int], energy_kwh: float
) -> Wished:
    comes, moves, after, late = (rng.random() for _ in range(4))

    def minutes(share: float, chance: str, longest: str) -> float:
        return after * _one(people, longest) if share < _one(people, chance) else inf

    def late_by(never: str, latest: str) -> float:
        return inf if comes < _one(people, never) else late * _one(people, latest)

    return Wished(
        name, household, *times, energy_kwh,
        accepts=tuple(rng.random() < _one(people, "accepts") for _ in range(3)),
        answers_min=rng.triangular(0.2, _one(people, "answers_min"), 1.5),
        late_min=late_by("never_comes", "late_min"),
        late_untold_min=late_by("never_comes_untold", "late_untold_min"),
        leaves_told_min=minutes(moves, "moves_told", "moves_told_min"),
        leaves_untold_min=minutes(moves, "moves_untold", "moves_untold_min"),
        beyond_min=rng.random() * _one(people, "beyond_min"),
    )  # fmt: skip


def _one(figures: Figures, name: str) -> float:
    value = figures[name]
    assert isinstance(value, int | float), name
    return value


def _two(figures: Figures, name: str) -> tuple[float, float]:
    value = figures[name]
    assert not isinstance(value, int | float), name
    return value[0], value[1]
