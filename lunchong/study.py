"""`lunchong study`: the same weeks of demand under first come first served, rotation, and Lunchong, as a report.

Seeds are lived in processes of their own, as many at a time as asked for. The last line with --json is

    {"demand_met_gain_points","gap_closed","jain","wait_p90_ratio","calibration","first_come_met","bound",
     "wait_p90_ratio_bound","gap_closed_if_all_leave","gap_closed_if_all_do_at_once": {"median","low","high"},
     "conditions": [...], "policies": {...}, "solver_limit", "seeds", "days", "seconds"}
"""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from multiprocessing import get_context, parent_process
from pathlib import Path
from statistics import mean
from threading import Thread

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from lunchong.errors import UsageError
from scheduler.ledger_memory import MemoryLedger
from scheduler.study import EXCHANGES, OneSeed, first_come, in_turn, one_seed
from scheduler.study_bound import least_wait_p90_min, most_kwh
from scheduler.study_figures import Bounds, Interval, gap_closed
from scheduler.study_report import Condition, headline, pages
from scheduler.study_world import Place, Wished
from simulators.demand import Visit, demand
from simulators.visits import visits_of

BEGIN_MS = 1_772_380_800_000
"""A Monday in Shanghai, 2026-03-02 00:00."""
AIMED_AT = 0.75
"""What first come first served meets on the seeds that the demand is scaled by."""
SCALED_FOR = "as_told"
"""The behaviour set for which the demand is scaled."""
SCALED_BY = (9_001, 9_002, 9_003)
FIRST_SEED = 101
"""Those before it were looked at while the policies were mended."""
BOUND_SEEDS = 5
OTHER_PEOPLE = {
    "all_leave": {"moves_told": 1.0},
    "all_do_at_once": {
        "moves_told": 1.0, "moves_told_min": 0.0, "beyond_min": 0.0, "never_comes": 0.0, "late_min": 0.0,
        "accepts": 1.0, "answers_min": 2.0,
    },
}  # fmt: skip
"""Figures of behaviour that replace those of a set: the same wishes, of people who all leave when told, and of people
who also all come, accept, and do so at once. Lived beside the bound, to see what nobody can know before.
"""


class Asked(Struct, frozen=True):
    """What the command was given. `sites` are numbers of plugs, each with the same power."""

    seeds: int = 20
    days: int = 28
    sites: tuple[int, ...] = (8, 16)
    sets: tuple[str, ...] = ("as_told", "careless", "brisk")
    real: bool = True
    processes: int = 2


QUICK = Asked(seeds=1, days=7, sites=(8,), sets=("as_told",), real=False, processes=1)


class _Kind(Struct, frozen=True):
    plugs: int
    people: str
    real: bool
    scale: float
    other_people: str = ""
    """One of OTHER_PEOPLE, or "" for people as they are."""


def study(asked: Asked, out: Path | None) -> dict[str, object]:
    """Live it all, write the report where asked, and return what --json prints."""
    began = time.monotonic()
    kinds = [_Kind(plugs, people, False, 0.0) for plugs in asked.sites for people in asked.sets]
    kinds += [_Kind(plugs, asked.sets[0], True, 0.0) for plugs in asked.sites if asked.real]
    conditions = []
    with ProcessPoolExecutor(asked.processes, get_context("spawn"), _end_with_parent) as pool:
        unscaled = list(dict.fromkeys(_Kind(kind.plugs, SCALED_FOR, kind.real, 0.0) for kind in kinds))
        found_scales = pool.map(scale_of, unscaled, [min(asked.days, 14)] * len(unscaled))
        scales = {(kind.plugs, kind.real): scale for kind, scale in zip(unscaled, found_scales, strict=True)}
        for kind in kinds:
            scale = scales[kind.plugs, kind.real]
            scaled = _Kind(kind.plugs, kind.people, kind.real, scale)
            seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
            lived = list(pool.map(live, [scaled] * asked.seeds, seeds, [asked.days] * asked.seeds))
            limit_kw = place_of(kind.plugs).limit_w / 1_000
            conditions.append(
                Condition(
                    kind.plugs, limit_kw, kind.people, kind.real, scale,
                    [one for one, _ in lived], [bounds for _, bounds in lived if bounds is not None],
                )
            )  # fmt: skip
    found: dict[str, object] = dict(to_builtins(headline(conditions[0])))
    found |= {"conditions": [to_builtins(headline(one)) | one.named() for one in conditions]}
    found |= {"policies": {one.title(): to_builtins(one.by_policy()) for one in conditions}}
    found |= {"solver_limit": f"{EXCHANGES} exchanges a plan, a plan each 15 service minutes"}
    found |= {"seeds": asked.seeds, "days": asked.days, "seconds": round(time.monotonic() - began, 1)}
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in pages(conditions, asked.seeds, asked.days, str(found["solver_limit"])).items():
            (out / name).write_text(text, encoding="utf-8")
    return found


def _end_with_parent() -> None:
    """Whoever ends the command by a signal, or with no word at all, ends what it began too."""
    parent = parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def live(kind: _Kind, seed: int, days: int) -> tuple[OneSeed, Bounds | None]:
    """One seed of one kind, with what nobody could pass for the first few."""
    wishes, place = wishes_of(kind, seed, days), place_of(kind.plugs)
    one = one_seed(wishes, place, BEGIN_MS, days, _ledger)
    if seed >= FIRST_SEED + BOUND_SEEDS:
        return one, None
    return one, Bounds(
        met=_most_met(wishes, place),
        wait_p90_min=least_wait_p90_min(wishes, place),
        gap_closed_if={name: _gap_closed_if(replace(kind, other_people=name), seed, days) for name in OTHER_PEOPLE},
    )


def _gap_closed_if(kind: _Kind, seed: int, days: int) -> float:
    wishes, place = wishes_of(kind, seed, days), place_of(kind.plugs)
    theirs = first_come(wishes, place, BEGIN_MS, days).demand_met
    ours = in_turn(wishes, place, BEGIN_MS, days, _ledger()).demand_met
    return gap_closed(ours, theirs, _most_met(wishes, place))


def _most_met(wishes: Sequence[Wished], place: Place) -> float:
    """The bound as a share of demand."""
    return most_kwh(wishes, place) / sum(wish.energy_kwh for wish in wishes)


def _ledger() -> MemoryLedger:
    return MemoryLedger(lambda: 0)


def scale_of(kind: _Kind, days: int) -> float:
    """How often people must ask for first come first served to meet 75 %, on seeds that the study does not use.

    It is found for one behaviour set, and the others ask as often: of careless people it meets less, however few ask.
    """
    low, high = 0.05, 2.0
    for _ in range(8):
        scale = (low * high) ** 0.5
        tried = _Kind(kind.plugs, kind.people, kind.real, scale)
        met = mean(
            first_come(wishes_of(tried, seed, days), place_of(kind.plugs), BEGIN_MS, days).demand_met
            for seed in SCALED_BY
        )
        low, high = (scale, high) if met > AIMED_AT else (low, scale)
    return round(float((low * high) ** 0.5), 3)


def wishes_of(kind: _Kind, seed: int, days: int) -> list[Wished]:
    told = behaviour()
    visits = _visits() if kind.real else ()
    people = {**told[kind.people], **OTHER_PEOPLE.get(kind.other_people, {})}
    made = demand(told["place"], told["demand"], people, seed, BEGIN_MS, days, kind.scale, visits)
    return [Wished(*one) for one in made]


def place_of(plugs: int) -> Place:
    place = behaviour()["place"]
    return Place(plugs, round(_number(place["plug_kw"]) * 1_000), round(_number(place["limit_kw"]) * 1_000))


def behaviour() -> dict[str, dict[str, float | Sequence[float]]]:
    """The figures of `simulators/data/behaviour.toml` by table; those of a set by its name."""
    text = (files("simulators") / "data" / "behaviour.toml").read_text(encoding="utf-8")
    said = tomllib.loads(text)
    tables = {"place": said["place"], "demand": said["demand"], **said["sets"]}
    return {name: {key: one["value"] for key, one in table.items()} for name, table in tables.items()}


def chosen(
    seeds: int, days: int, sites: Sequence[int] | None, sets: Sequence[str] | None, real: bool, processes: int
) -> Asked:
    """What is named, and all sites and sets where none is. Raises UsageError where a set is not there."""
    usual = Asked()
    for name in sets or ():
        if name not in usual.sets:
            raise UsageError(f"there is no behaviour set {name}; there are {', '.join(usual.sets)}")
    return Asked(seeds, days, tuple(sites or usual.sites), tuple(sets or usual.sets), real, processes)


def as_text(found: dict[str, object]) -> str:
    """The headline in words, for who did not ask for JSON."""
    lines = [f"{key:24} {value}" for key, value in found.items() if not isinstance(value, dict | list)]
    lines += [
        f"{key:24} {value['median']} ({value['low']} to {value['high']})"
        for key, value in found.items()
        if isinstance(value, dict) and set(value) == set(Interval.__struct_fields__)
    ]
    return "\n".join(lines)


def _visits() -> Sequence[Visit]:
    return visits_of((files("simulators") / "data" / "sessions.csv").read_text(encoding="utf-8"))


def _number(value: float | Sequence[float]) -> float:
    assert isinstance(value, int | float)
    return value
