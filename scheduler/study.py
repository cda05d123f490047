"""Floor 2 · The study of one seed: the same weeks under every policy, as figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from scheduler.ledger import Ledger
from scheduler.plan import Plan, Problem
from scheduler.plan_greedy import greedy
from scheduler.study_figures import Figures, figures
from scheduler.study_plain import plain
from scheduler.study_solver import improved_by
from scheduler.study_turns import Ideas, Lived, Service
from scheduler.study_world import DAY_MS, MINUTE_MS, Place, Wished

STEP_MS = 5 * MINUTE_MS
EXCHANGES = 8
"""The solver's limit for one plan, in exchanges: the same on any machine."""
FIRST_COME, ROTATION, LUNCHONG = "first_come", "rotation", "lunchong"
WITHOUT = {
    "without_planning": Ideas(planning=False),
    "without_power_groups": Ideas(power_groups=False),
    "without_notices": Ideas(notices=False),
    "without_standing": Ideas(standing=False),
}
POLICIES = (FIRST_COME, ROTATION, LUNCHONG, *WITHOUT)


class OneSeed(Struct, frozen=True):
    """`said_in_time` of those that were said a start and began: how many did by the said p90; `said` is how many."""

    figures: dict[str, Figures]
    said_in_time: int
    said: int
    said_in_vain: int
    books_wrong: bool
    plans: int


def first_come(wishes: Sequence[Wished], place: Place, begin_ms: int, days: int) -> Figures:
    """First come, first served alone."""
    world = plain(wishes, place, begin_ms, begin_ms + (days + 1) * DAY_MS, STEP_MS, rotation=False)
    return figures(wishes, world, days * DAY_MS)


def in_turn(wishes: Sequence[Wished], place: Place, begin_ms: int, days: int, ledger: Ledger) -> Figures:
    """Lunchong alone, with all of its ideas."""
    service = Service(place, ledger, begin_ms, improved, Ideas())
    return figures(wishes, service.live(wishes, begin_ms + (days + 1) * DAY_MS, STEP_MS).world, days * DAY_MS)


def one_seed(wishes: Sequence[Wished], place: Place, begin_ms: int, days: int, ledger: Callable[[], Ledger]) -> OneSeed:
    """All policies; a day more than was asked for lets the last cars leave."""
    end_ms, days_ms = begin_ms + (days + 1) * DAY_MS, days * DAY_MS
    found = {FIRST_COME: first_come(wishes, place, begin_ms, days)}
    world = plain(wishes, place, begin_ms, end_ms, STEP_MS, rotation=True)
    found[ROTATION] = figures(wishes, world, days_ms)
    lives: dict[str, Lived] = {}
    for name, ideas in {LUNCHONG: Ideas(), **WITHOUT}.items():
        service = Service(place, ledger(), begin_ms, improved if ideas.planning else greedy, ideas)
        lives[name] = service.live(wishes, end_ms, STEP_MS)
        found[name] = figures(wishes, lives[name].world, days_ms)
    whole = lives[LUNCHONG]
    began = [one for one in whole.said if one.plugged_ms is not None]
    return OneSeed(
        figures=found,
        said_in_time=sum(one.plugged_ms is not None and one.plugged_ms <= one.p90_ms for one in began),
        said=len(began),
        said_in_vain=len(whole.said) - len(began),
        books_wrong=any(one.imbalance for one in lives.values()),
        plans=sum(one.plans for one in lives.values()),
    )


def improved(problem: Problem) -> Plan:
    return improved_by(problem, EXCHANGES, seed=1)
