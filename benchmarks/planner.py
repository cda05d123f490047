"""How good plans are: seeded sites, planned within a second each, beside CP-SAT's bound on the whole problem.

    python -m benchmarks.planner [--cases 100] [--limit-s 1.0] [--bound-s 60] [--sites 1000] [--requests 60] [--seed 0]

A ratio is a plan's value by its bound's, which no plan can pass; the bound is worked on for up to a minute, with one
worker. `thousand_sites_s` is how long so many sites with so many requests each take on two cores, each with the
service's own limit shared out so that they would be done in `SHARE_S`.
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
SHARE_S = 100.0
"""A thousand sites share this, on both cores."""


class Planned(NamedTuple):
    """One case: what its plans are worth by the bound, and whether that was proven to be the best."""

    seed: int
    plugs: int
    requests: int
    ratio: float
    greedy_ratio: float
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
    assert 0 < by_greedy <= worth <= most.points * (1 + 1e-9), (seed, by_greedy, worth, most)
    return Planned(
        seed,
        len(problem.plugs),
        len(problem.requests),
        worth / most.points,
        by_greedy / most.points,
        took_s,
        most.proven,
    )


def one_of_many(problem: Problem) -> bool:
    """Plan one of the thousand; whether it keeps to everything."""
    plan = improved(problem, Limit(seconds=SHARE_S * CORES / 1_000, clock_s=time.perf_counter))
    return not faults(problem, plan)


def many(sites: int, requests: int, seed: int) -> float:
    """Wall seconds to plan so many sites on both cores."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        problems = list(pool.map(partial(case, requests=requests), range(seed, seed + sites), chunksize=8))
        assert all(pool.map(one_of_many, problems[:CORES]))  # so that imports do not count
        began_s = time.perf_counter()
        assert all(pool.map(one_of_many, problems, chunksize=4))
        return time.perf_counter() - began_s


def told(results: Iterator[Planned], cases: int) -> list[Planned]:
    found = []
    for one in results:
        found.append(one)
        print(
            f"{len(found):4} of {cases}  seed {one.seed:3}  {one.plugs:2} plugs {one.requests:3} requests"
            f"  {one.ratio:.4f}  greedy {one.greedy_ratio:.4f}  {one.took_s:.2f} s{'' if one.proven else '  unproven'}",
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
    args = asked.parse_args()
    seeds = range(args.seed, args.seed + args.cases)
    found = told((planned(seed, args.limit_s, args.bound_s) for seed in seeds), args.cases)
    sites_s = many(args.sites, args.requests, args.seed) if args.sites else None
    ratios, by_greedy = [one.ratio for one in found], [one.greedy_ratio for one in found]
    figures = {
        "cases": len(found),
        "bounds_proven": sum(one.proven for one in found),
        "ratio_min": round(min(ratios), 4),
        "ratio_median": round(statistics.median(ratios), 4),
        "greedy_ratio_min": round(min(by_greedy), 4),
        "greedy_ratio_median": round(statistics.median(by_greedy), 4),
        "longest_s": round(max(one.took_s for one in found), 2),
        "sites": args.sites,
        "thousand_sites_s": None if sites_s is None else round(sites_s, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
