"""Floor 0 · The study's planner: the greedy plan, other orders, and a fixed number of exchanges.

A part of `plan_solver` that counts steps alone: the same problem gives the same plan on any machine, and four weeks of
plans are made in seconds.
"""

from __future__ import annotations

from scheduler.plan import Plan, Problem, value
from scheduler.plan_greedy import explained, greedy
from scheduler.plan_ruin import Ruin


def improved_by(problem: Problem, exchanges: int, seed: int) -> Plan:
    """The best plan after so many exchanges; never one worth less than the greedy one."""
    plan = greedy(problem)
    if not plan.reasons and all(one.published is not None for one in problem.requests):
        return plan  # all are served where they were told
    ruin = Ruin(problem, plan.places, seed)
    for places in ruin.orders():
        if sum(ruin.site.worth(ruin.site.requests[name], place) for name, place in places.items()) > ruin.best:
            ruin.start_from(places)
    for step in range(exchanges):
        ruin.step(step / exchanges)
    if ruin.best <= value(problem, plan):
        return plan
    return explained(problem, dict(ruin.places))
