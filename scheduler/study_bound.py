"""Floor 3 · What the best of all policies could reach, which knows all demand: a program for energy, a count for waits.

The linear program lets pass more than is so: cars may change plugs and share them by parts, everybody is there at
once, and nothing is lost between two cars. It keeps to the site's power, to each need and its time, and to plugs in the
depth of the night, when no car comes or leaves: whoever charges then has a plug all that time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import inf

from ortools.linear_solver import pywraplp

from scheduler.study_figures import quantile
from scheduler.study_world import (
    DAY_MS,
    HOUR_MS,
    LAST_COMES_H,
    LOCAL_MS,
    MINUTE_MS,
    NIGHT_FROM_H,
    NIGHT_UNTIL_H,
    Place,
    Wished,
)
from scheduler.study_world import is_night as no_car_leaves
from scheduler.turns import ANSWER_MIN

PART_MS = HOUR_MS // 2


def most_kwh(wishes: Sequence[Wished], place: Place) -> float:
    """Energy that can be given at most, of those who would answer in time, accept and come at all."""
    solver = pywraplp.Solver.CreateSolver("GLOP")
    by_part = defaultdict[int, list[object]](list)
    by_night = defaultdict[int, list[object]](list)
    objective = solver.Objective()
    objective.SetMaximization()
    for wish in wishes:
        if not _ever_comes(wish):
            continue
        need = solver.Constraint(0, wish.energy_kwh)
        nights: dict[int, object] = {}
        end_ms = _last_ms(wish)
        for part in range(wish.earliest_ms // PART_MS, -(-end_ms // PART_MS)):
            over_ms = min(end_ms, (part + 1) * PART_MS) - max(wish.earliest_ms, part * PART_MS)
            most = place.plug_w / 1_000 * over_ms / HOUR_MS
            given = solver.NumVar(0, most, "")
            objective.SetCoefficient(given, 1)
            need.SetCoefficient(given, 1)
            by_part[part].append(given)
            night = _night(part)
            if night is not None:
                if night not in nights:
                    nights[night] = solver.NumVar(0, 1, "")
                    by_night[night].append(nights[night])
                plugged = solver.Constraint(-solver.infinity(), 0)
                plugged.SetCoefficient(given, 1)
                plugged.SetCoefficient(nights[night], -most)
    for given_there in by_part.values():
        power = solver.Constraint(0, place.limit_w / 1_000 * PART_MS / HOUR_MS)
        for one in given_there:
            power.SetCoefficient(one, 1)
    for there in by_night.values():
        plugs = solver.Constraint(0, place.plugs)
        for one in there:
            plugs.SetCoefficient(one, 1)
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        raise ArithmeticError("the bound's linear program was not solved")
    return float(objective.Value())


def least_wait_p90_min(wishes: Sequence[Wished], place: Place) -> float:
    """What the p90 of waits is at least, in minutes, where who is plugged in is charged before it goes.

    Who comes in the evening and cannot be charged before the night needs a plug over night, or waits for the morning;
    of a night there are as many plugs as the place has, and who waits are those whose waits are shortest. Who never
    comes waits all its time. Nobody else waits at all.
    """
    waits: list[float] = []
    by_night = defaultdict[int, list[float]](list)
    for wish in wishes:
        begins_ms = max(wish.earliest_ms, wish.asks_ms)
        over_ms = _next_morning_ms(wish.earliest_ms)
        dusk_ms = over_ms - round((24 - NIGHT_FROM_H + NIGHT_UNTIL_H) * HOUR_MS)
        last_ms = over_ms - round((24 - LAST_COMES_H + NIGHT_UNTIL_H) * HOUR_MS)
        charged_ms = wish.earliest_ms + wish.energy_kwh / place.plug_w * 1_000 * HOUR_MS
        if not _ever_comes(wish):
            waits.append((wish.depart_ms - begins_ms) / MINUTE_MS)
        elif wish.earliest_ms < last_ms and charged_ms > dusk_ms and wish.depart_ms > over_ms:
            by_night[over_ms].append((over_ms - begins_ms) / MINUTE_MS)
        else:
            waits.append(0.0)
    for there in by_night.values():
        late = max(0, len(there) - place.plugs)
        waits += sorted(there)[:late] + [0.0] * (len(there) - late)
    return quantile(sorted(waits), 0.9)


def _ever_comes(wish: Wished) -> bool:
    """Whether any policy could bring its car to a plug: all of them wait as long for an answer."""
    return wish.late_min < inf and wish.answers_min <= ANSWER_MIN and any(wish.accepts)


def _next_morning_ms(at_ms: int) -> int:
    """When the night that follows, or runs, is over."""
    morning = round(NIGHT_UNTIL_H * HOUR_MS) - LOCAL_MS
    return -(-(at_ms - morning) // DAY_MS) * DAY_MS + morning


def _last_ms(wish: Wished) -> int:
    """Until when its car may be there: what it stays beyond its time, and a night in which it cannot leave."""
    end_ms = wish.depart_ms + round(wish.beyond_min * MINUTE_MS) + 5 * MINUTE_MS
    while no_car_leaves(end_ms):
        end_ms += 5 * MINUTE_MS
    return end_ms


def _night(part: int) -> int | None:
    """Which night's depth a part is in, by its local noon before."""
    at_ms = part * PART_MS + LOCAL_MS
    hour = at_ms % DAY_MS / HOUR_MS
    return (at_ms - DAY_MS // 2) // DAY_MS if hour >= LAST_COMES_H or hour < NIGHT_UNTIL_H else None
