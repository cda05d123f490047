"""Floor 0 · The study's figures: of one life, and over seeds as a median with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from statistics import median

from msgspec import Struct

from scheduler.study_world import HOUR_MS, MINUTE_MS, Wished, World

DRAWS = 1_000
MET = 0.9
"""A wish is met when it got so much of its energy."""


class Figures(Struct, frozen=True):
    """Of one policy with one seed. Shares from 0 to 1; waits from when the car could be there until it is plugged,
    all of its time for who never is; overstay is of all time at plugs what cars stood there charged.
    """

    demand_met: float
    wishes_met: float
    wait_p50_min: float
    wait_p90_min: float
    wait_p99_min: float
    jain: float
    no_shows: float
    overstay: float
    utilisation: float
    valley_energy: float
    peak_kw: float


class Bounds(Struct, frozen=True):
    """What nobody could pass with one seed: share of demand met, and the p90 of waits in minutes, at least. And the
    `gap_closed` there would be with other people, by name.
    """

    met: float
    wait_p90_min: float
    gap_closed_if: dict[str, float]


class Interval(Struct, frozen=True):
    """The median over seeds, and where it would lie with other seeds in 95 of 100 cases (bootstrap)."""

    median: float
    low: float
    high: float


def figures(wishes: Sequence[Wished], world: World, days_ms: int) -> Figures:
    asked_kwh = sum(one.energy_kwh for one in wishes)
    got = {one.wish.id: one.given_kwh for one in world.stays}
    plugged = {one.wish.id: one.plugged_ms for one in world.stays}
    waits = sorted(
        max(0, plugged.get(one.id, one.depart_ms) - max(one.earliest_ms, one.asks_ms)) / MINUTE_MS for one in wishes
    )
    needs, given = defaultdict[int, float](float), defaultdict[int, float](float)
    for one in wishes:
        needs[one.household] += one.energy_kwh
        given[one.household] += got.get(one.id, 0.0)
    at_plugs_ms = sum(one.left_ms - one.plugged_ms for one in world.stays)
    return Figures(
        demand_met=sum(got.values()) / asked_kwh,
        wishes_met=sum(got.get(one.id, 0.0) >= MET * one.energy_kwh for one in wishes) / len(wishes),
        wait_p50_min=quantile(waits, 0.5), wait_p90_min=quantile(waits, 0.9), wait_p99_min=quantile(waits, 0.99),
        jain=jain([given[one] / need for one, need in needs.items()]),
        no_shows=world.no_shows / len(wishes),
        overstay=sum(one.overstay_ms for one in world.stays) / at_plugs_ms if at_plugs_ms else 0.0,
        utilisation=world.all_kwh / (world.place.limit_w / 1_000 * days_ms / HOUR_MS),
        valley_energy=world.valley_kwh / world.all_kwh if world.all_kwh else 0.0,
        peak_kw=world.peak_w / 1_000,
    )  # fmt: skip


def gap_closed(ours: float, theirs: float, bound: float) -> float:
    """The share of the way from what they meet to the bound; all of it where there is none."""
    return (ours - theirs) / (bound - theirs) if bound > theirs else 1.0


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all have the same, 1/n where one has all (Jain, Chiu and Hawe, 1984)."""
    squares = sum(one * one for one in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def quantile(in_order: Sequence[float], share: float) -> float:
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]


def interval(values: Sequence[float]) -> Interval:
    """The percentile bootstrap of the median, drawn from a fixed seed."""
    draw = Random(0)
    medians = sorted(median(draw.choices(values, k=len(values))) for _ in range(DRAWS))
    low, high = quantile(medians, 0.025), quantile(medians, 0.975)
    return Interval(round(median(values), 4), round(low, 4), round(high, 4))
