"""Floor 0 · Places that begin at night begin before it: nobody gets up to plug in, but a car that is there can wait."""

from __future__ import annotations

from msgspec.structs import replace

from scheduler.buckets import Place
from scheduler.plan import Plan, Problem


def before_the_night(problem: Problem, plan: Plan) -> Plan:
    """The plan with each place that begins in quiet hours longer at its front, without power, to before them.

    Where its plug is not free so early, or its car cannot be there, it begins as early as it can; what begins in quiet
    hours all the same is no place, and waits for another. Who agreed to move at night may begin then.
    """
    held: set[tuple[str, int]] = set()
    for one in problem.fixed:
        held.update((one.place.connector, bucket) for bucket in one.place.longer(one.turnover).buckets)
    for place in plan.places.values():
        held.update((place.connector, bucket) for bucket in place.buckets)
    earliest = {one.id: max(one.earliest, problem.first) for one in problem.requests}
    moves_at_night = {one.id: one.moves_at_night for one in problem.requests}
    places: dict[str, Place] = {}
    for name, place in plan.places.items():
        first = place.first
        if moves_at_night[name]:
            places[name] = place
            continue
        while _quiet(problem, first) and first > earliest[name] and (place.connector, first - 1) not in held:
            first -= 1
            held.add((place.connector, first))
        if _quiet(problem, first):
            continue
        places[name] = replace(place, first=first, watts=(*(0,) * (place.first - first), *place.watts))
    return replace(plan, places=places)


def _quiet(problem: Problem, bucket: int) -> bool:
    bucket = max(bucket, problem.first)
    return bucket < problem.end and problem.quiet[bucket - problem.first]
