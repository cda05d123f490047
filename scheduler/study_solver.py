"""Floor 0 · The study's planner: the greedy plan, other orders, and a fixed number of exchanges.

A part of `plan_solver` that counts steps alone: the same problem gives the same plan on any machine, and four weeks of
plans are made in seconds.
"""

from __future__ import annotations

from scheduler.plan import Plan, Problem
from scheduler.plan_greedy import explained, greedy_places
from scheduler.plan_ruin import Ruin


def improved_by(problem: Problem, exchanges: int, seed: int) -> Plan:
    """The best plan after so many exchanges; never one worth less than the greedy one."""
    found = greedy_places(problem)
    if len(found) == len(problem.requests) and all(one.published is not None for one in problem.requests):
        return Plan(found)  # all are served where they were told
    ruin = Ruin(problem, found, seed)
    at_first = ruin.best
    for places in ruin.orders():
        if sum(ruin.site.worth(ruin.site.requests[name], place) for name, place in places.items()) > ruin.best:
            ruin.start_from(places)
    for step in range(exchanges):
        ruin.step(step / exchanges)
    return explained(problem, dict(ruin.places) if ruin.best > at_first else found)
