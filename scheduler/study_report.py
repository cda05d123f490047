"""Floor 2 · The study's report: what was found over all seeds, in plain English, and where Lunchong is worse."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import fields

from scheduler.study import FIRST_COME, LUNCHONG, POLICIES, OneSeed
from scheduler.study_figures import Bounds, Figures, Interval, gap_closed, interval
from scheduler.study_svg import bars

UNITS = {
    "demand_met": "share of the energy asked for", "wishes_met": "share of wishes", "wait_p50_min": "min",
    "wait_p90_min": "min", "wait_p99_min": "min", "jain": "index", "no_shows": "share of wishes",
    "overstay": "share of time at plugs", "utilisation": "share of the site's energy", "valley_energy": "share",
    "peak_kw": "kW",
}  # fmt: skip
MORE_IS_WORSE = {"wait_p50_min", "wait_p90_min", "wait_p99_min", "no_shows", "overstay"}
NEITHER = {"peak_kw", "utilisation"}
AIMS = {
    "demand_met_gain_points": (10.0, None), "gap_closed": (0.7, None), "jain": (0.95, None),
    "wait_p90_ratio": (None, 0.6), "calibration": (0.85, 0.95),
}  # fmt: skip


class Condition(Struct, frozen=True):
    """A site, its people and where their needs are from; `bounds` are of the first seeds."""

    plugs: int
    limit_kw: float
    people: str
    real: bool
    scale: float
    lived: list[OneSeed]
    bounds: list[Bounds]

    def title(self) -> str:
        return f"{self.plugs} plugs, {self.people}{', real sessions' if self.real else ''}"

    def named(self) -> dict[str, object]:
        return {"plugs": self.plugs, "people": self.people, "real_sessions": self.real, "scale": self.scale}

    def by_policy(self) -> dict[str, dict[str, Interval]]:
        return {
            policy: {
                field.name: interval([getattr(one.figures[policy], field.name) for one in self.lived])
                for field in fields(Figures)
            }
            for policy in POLICIES
        }


class Headline(Struct, frozen=True):
    """What needs a bound is over the seeds whose bounds were computed, the others over all. Points are hundredths.

    `wait_p90_ratio_bound` is of a policy that knew all demand and charges whom it plugs in.
    """

    demand_met_gain_points: Interval
    gap_closed: Interval
    jain: Interval
    wait_p90_ratio: Interval
    calibration: Interval
    first_come_met: Interval
    bound: Interval
    wait_p90_ratio_bound: Interval
    gap_closed_if_all_leave: Interval
    gap_closed_if_all_do_at_once: Interval


def headline(one: Condition) -> Headline:
    pairs = [(seed.figures[FIRST_COME], seed.figures[LUNCHONG]) for seed in one.lived]
    bounded = list(zip(pairs, one.bounds, strict=False))
    return Headline(
        demand_met_gain_points=interval([100 * (ours.demand_met - theirs.demand_met) for theirs, ours in pairs]),
        gap_closed=interval([gap_closed(us.demand_met, them.demand_met, most.met) for (them, us), most in bounded]),
        jain=interval([ours.jain for _, ours in pairs]),
        wait_p90_ratio=interval([ours.wait_p90_min / max(1.0, theirs.wait_p90_min) for theirs, ours in pairs]),
        calibration=interval([seed.said_in_time / max(1, seed.said) for seed in one.lived]),
        first_come_met=interval([theirs.demand_met for theirs, _ in pairs]),
        bound=interval([most.met for most in one.bounds]),
        wait_p90_ratio_bound=interval([most.wait_p90_min / max(1.0, them.wait_p90_min) for (them, _), most in bounded]),
        gap_closed_if_all_leave=interval([most.gap_closed_if["all_leave"] for most in one.bounds]),
        gap_closed_if_all_do_at_once=interval([most.gap_closed_if["all_do_at_once"] for most in one.bounds]),
    )


def pages(conditions: Sequence[Condition], seeds: int, days: int, limit: str) -> dict[str, str]:
    """The report and its figures by file name."""
    found: dict[str, str] = {}
    said = [
        "# Charging in turn, beside first come first served and plain rotation",
        "",
        f"{seeds} seeds of {days} days each; every policy meets the same wishes of the same people.",
        "Medians over seeds, with the interval in which they would lie in 95 of 100 cases (bootstrap over seeds).",
        f"Solver limit: {limit}. Behaviour: `simulators/data/behaviour.toml`.",
    ]
    for no, one in enumerate(conditions, 1):
        said += ["", f"## {one.title()}", "", *_headline(one), "", *_table(one)]
        for name in ("demand_met", "wait_p90_min", "jain"):
            file = f"{name}-{no}.svg"
            shown = {policy: row[name] for policy, row in one.by_policy().items()}
            found[file] = bars(f"{name.replace('_', ' ')}: {one.title()}", UNITS[name], shown)
            said += ["", f"![{name}: {one.title()}]({file})"]
        said += ["", "### Where Lunchong is worse", "", *(worse(one) or ["Nowhere, by these figures."])]
        said += ["", "### What bounds it", "", *_bounded(one)]
    return {"report.md": "\n".join([*said, ""]), **found}


def worse(one: Condition) -> list[str]:
    """A line for each figure in which Lunchong's median is behind, and for each idea that costs demand."""
    rows = one.by_policy()
    said = []
    for other in POLICIES:
        for name in UNITS:
            if other == LUNCHONG or name in NEITHER or (other.startswith("without") and name != "demand_met"):
                continue
            ours, theirs = rows[LUNCHONG][name].median, rows[other][name].median
            if (ours > theirs) if name in MORE_IS_WORSE else (ours < theirs):
                said.append(f"- {name}: {ours:.3g}, and {theirs:.3g} under {other.replace('_', ' ')}.")
    return said


def _headline(one: Condition) -> list[str]:
    found = headline(one)
    lines = [
        f"People ask {one.scale:g} times as often as the behaviour file says: on seeds of their own, first come first",
        "served then meets 75 % of what people who are `as_told` want.",
        f"Here it meets {found.first_come_met.median:.0%}; the limit is {one.limit_kw:g} kW.",
        "",
        "| figure | aim | median | interval |",
        "|---|---|---|---|",
    ]
    for name, (least, most) in AIMS.items():
        value: Interval = getattr(found, name)
        aim = " to ".join(f"{side:g}" for side in (least, most) if side is not None)
        missed = (least is not None and value.median < least) or (most is not None and value.median > most)
        mark = "**missed**: " if missed else ""
        lines.append(f"| {name} | {aim} | {mark}{value.median:.3g} | {value.low:.3g} to {value.high:.3g} |")
    return lines


def _table(one: Condition) -> list[str]:
    rows = one.by_policy()
    lines = [f"| | {' | '.join(UNITS)} |", f"|{'---|' * (len(UNITS) + 1)}"]
    for policy, row in rows.items():
        cells = (f"{row[name].median:.3g} ({row[name].low:.3g} to {row[name].high:.3g})" for name in UNITS)
        lines.append(f"| {policy.replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


def _bounded(one: Condition) -> list[str]:
    found, rows = headline(one), one.by_policy()
    ours = rows[LUNCHONG]
    vain, said = sum(seed.said_in_vain for seed in one.lived), sum(seed.said for seed in one.lived)
    left, done = found.gap_closed_if_all_leave.median, found.gap_closed_if_all_do_at_once.median
    return [
        f"- Who knew all demand beforehand could meet {found.bound.median:.1%} at most: some never come, and",
        "  power or plugs do not suffice at some hours.",
        f"- Lunchong closes {found.gap_closed.median:.2f} of the gap. Where all leave when told, it closes {left:.2f}",
        f"  of the gap of those people; where all come and accept too, and do all of it at once, {done:.2f}.",
        "  What is missing then is lost to its own decisions, to demand that it does not know yet, or to a bound that",
        "  is too high.",
        "- Who comes for the night and finds no plug waits until morning. Whoever charges whom it plugs in, even",
        f"  with all demand known, has a p90 of waits of at least {found.wait_p90_ratio_bound.median:.2f} of that of",
        "  first come first served.",
        f"- Lunchong meets {ours['demand_met'].median:.1%}, first come first served {found.first_come_met.median:.1%}.",
        f"- {ours['no_shows'].median:.1%} of wishes end as no-shows.",
        f"- {ours['overstay'].median:.0%} of all time at plugs is cars that are charged.",
        f"- {ours['utilisation'].median:.0%} of the energy that the limit allows by day and night is used.",
        f"- Of {vain + said} turns that were said a start, {vain} never began; calibration counts the others.",
    ]
