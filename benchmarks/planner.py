"""How good plans are: seeded sites, planned within a second each, beside CP-SAT's bound on the whole problem.

    python -m benchmarks.planner [--cases 100] [--limit-s 1.0] [--bound-s 60] [--sites 1000] [--requests 60] [--seed 0]
                                 [--workers 1]

A ratio is a plan's value by its bound, which no plan can pass; the bound is worked on for up to a minute. Where nobody
can be served the bound is 0, and the ratio of the plan that serves nobody is 1; a place is always worth more than 0.
`thousand_sites_s` is how long so many sites with so many requests each take on two cores, with `SITE_LIMIT_S` each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from benchmarks.planner_bound import bound
from benchmarks.planner_cases import case
from scheduler.plan import Problem, faults, value
from scheduler.plan_greedy import greedy
from scheduler.plan_solver import Limit, improved

CORES = 2
SITE_LIMIT_S = 0.2
"""Of many sites, each; a thousand then take 100 s and some more on both cores."""


class Planned(NamedTuple):
    """One case: what its plans are worth by the bound, what CP-SAT found in its freer model, and whether that is the
    bound: then the bound is proven to be no higher than it must."""

    seed: int
    plugs: int
    requests: int
    ratio: float
    greedy_ratio: float
    found_ratio: float
    took_s: float
    proven: bool


def planned(seed: int, limit_s: float, bound_s: float) -> Planned:
    """Plan a case and work on its bound. Raises AssertionError where a plan breaks a rule or passes its bound."""
    problem = case(seed)
    began_s = time.perf_counter()
    plan = improved(problem, Limit(seconds=limit_s, clock_s=time.perf_counter), seed)
    took_s = time.perf_counter() - began_s
    most = bound(problem, bound_s)
    worth, by_greedy = value(problem, plan), value(problem, greedy(problem))
    assert not faults(problem, plan), faults(problem, plan)
    assert 0 <= by_greedy <= worth <= most.points * (1 + 1e-9), (seed, by_greedy, worth, most)
    return Planned(
        seed,
        len(problem.plugs),
        len(problem.requests),
        by(worth, most.points),
        by(by_greedy, most.points),
        max(0.0, by(most.best, most.points)),
        took_s,
        most.proven,
    )


def by(worth: float, points: float) -> float:
    return worth / points if points > 0 else 1.0


def one_of_many(problem: Problem) -> bool:
    """Plan one of the thousand; whether it keeps to everything."""
    plan = improved(problem, Limit(seconds=SITE_LIMIT_S, clock_s=time.perf_counter))
    return not faults(problem, plan)


def many(sites: int, requests: int, seed: int) -> float:
    """Wall seconds to plan so many sites on both cores."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        problems = list(pool.map(partial(case, requests=requests), range(seed, seed + sites), chunksize=8))
        assert all(pool.map(one_of_many, problems[:CORES]))  # so that imports do not count
        began_s = time.perf_counter()
        assert all(pool.map(one_of_many, problems, chunksize=4))
        return time.perf_counter() - began_s


def all_planned(seeds: range, limit_s: float, bound_s: float, workers: int) -> Iterator[Planned]:
    one = partial(planned, limit_s=limit_s, bound_s=bound_s)
    if workers == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, seeds)


def told(results: Iterator[Planned], cases: int) -> list[Planned]:
    found = []
    for one in results:
        found.append(one)
        print(
            f"{len(found):4} of {cases}  seed {one.seed:3}  {one.plugs:2} plugs {one.requests:3} requests"
            f"  {one.ratio:.4f}  greedy {one.greedy_ratio:.4f}  CP-SAT {one.found_ratio:.4f}  {one.took_s:.2f} s"
            f"{'' if one.proven else '  unproven'}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cases", type=int, default=100)
    asked.add_argument("--limit-s", type=float, default=1.0)
    asked.add_argument("--bound-s", type=float, default=60.0)
    asked.add_argument("--sites", type=int, default=1_000)
    asked.add_argument("--requests", type=int, default=60)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--workers", type=int, default=1, help="cases at once, a core each")
    args = asked.parse_args()
    seeds = range(args.seed, args.seed + args.cases)
    found = told(all_planned(seeds, args.limit_s, args.bound_s, args.workers), args.cases)
    sites_s = many(args.sites, args.requests, args.seed) if args.sites else None
    ratios, by_greedy = [one.ratio for one in found], [one.greedy_ratio for one in found]
    figures = {
        "cases": len(found),
        "limit_s": args.limit_s,
        "bound_s": args.bound_s,
        "bounds_proven": sum(one.proven for one in found),
        "ratio_min": round(min(ratios), 4),
        "ratio_median": round(statistics.median(ratios), 4),
        "greedy_ratio_min": round(min(by_greedy), 4),
        "greedy_ratio_median": round(statistics.median(by_greedy), 4),
        "cp_sat_found_more": sum(one.found_ratio > one.ratio for one in found),
        "longest_s": round(max(one.took_s for one in found), 2),
        "sites": args.sites,
        "site_limit_s": SITE_LIMIT_S,
        "thousand_sites_s": None if sites_s is None else round(sites_s, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
