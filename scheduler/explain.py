"""Floor 0 · Why you, why then, how many are ahead, and what would bring it forward: a turn's decision in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, json

from scheduler.meanwhile import ASKING_MS
from scheduler.rules import Refusal
from scheduler.sentences import Sentence
from scheduler.turns import SNOOZES, WAITING, Turn, is_part

BoundBy = Literal["taken", "power", "quota", "opening", "no_connector", "time"]
"""What kept a turn from a better place, as the plan says it."""
FORWARD: dict[BoundBy, tuple[str, ...]] = {
    "taken": ("near_by",),
    "power": ("be_flexible", "less_energy"),
    "quota": ("near_by",),
    "opening": ("leave_later",),
    "no_connector": ("near_by",),
    "time": ("leave_later", "less_energy"),
}
"""What would bring a turn forward, by what bound it."""
WAITS = WAITING | {"offered"}
"""In these it is still said who is ahead, and what would help."""


class Decision(Struct, frozen=True, kw_only=True):
    """Why a plan placed a turn as it did. `standing_min` is below 0 where the household had less than the average.

    `rank` counts from 1, of `of` that wait at the site. `p50_ms` and `p90_ms` are when it is likely to start. The
    site was planned at `at_ms`, under version `rules` of its rules.
    """

    rank: int
    of: int
    standing_min: float
    overstay_min: int = 0
    no_shows: int = 0
    waited_min: int = 0
    accessibility_min: int = 0
    essential_min: int = 0
    made_good: bool = False
    """Whether it takes the place of a promise that we failed."""
    bound_by: BoundBy | None = None
    p50_ms: int | None = None
    p90_ms: int | None = None
    at_ms: int = 0
    rules: int | None = None


def refused(refusal: Refusal) -> Sentence:
    """Why a rule says no."""
    return Sentence(f"refused_{refusal.rule}", {name: _plain(value) for name, value in refusal.said.items()})


def explain(turn: Turn, decision: Decision) -> list[Sentence]:
    """Why you, why then, and for one that waits how many are ahead (not who), and what would bring it forward."""
    if turn.state not in WAITS:
        return [*_why_you(decision), *_why_then(turn, decision)]
    return [*_why_you(decision), *_ahead(decision), *_why_then(turn, decision), *_forward(turn, decision)]


def standing_sentence(standing_min: float, rank: int, of: int) -> Sentence:
    """How much more or less than the average a household had, and where it therefore stands."""
    minutes = round(standing_min)
    row: dict[str, str | int] = {"rank": rank, "of": of}
    code = "standing_less" if minutes < 0 else "standing_more" if minutes > 0 else "standing_equal"
    return Sentence(code, row | {"minutes": abs(minutes)} if minutes else row)


def _why_you(decision: Decision) -> list[Sentence]:
    said = [standing_sentence(decision.standing_min, decision.rank, decision.of)]
    if decision.made_good:
        said.insert(0, Sentence("made_good"))
    for name, minutes in (
        ("overstay_counted", decision.overstay_min),
        ("accessibility", decision.accessibility_min),
        ("essential", decision.essential_min),
        ("waited", decision.waited_min),
    ):
        said += [Sentence(name, {"minutes": minutes})] if minutes else []
    if decision.no_shows:
        said.insert(1 + decision.made_good, Sentence("no_shows_counted", {"times": decision.no_shows}))
    return said


def _ahead(decision: Decision) -> list[Sentence]:
    ahead = decision.rank - 1
    code = "ahead_none" if not ahead else "ahead_one" if ahead == 1 else "ahead"
    return [Sentence(code, {"n": ahead} if ahead > 1 else {})]


def _why_then(turn: Turn, decision: Decision) -> list[Sentence]:
    said = [Sentence(decision.bound_by)] if decision.bound_by else []
    if turn.place is not None and turn.state in ("offered", "reserved", "active"):
        said.append(Sentence("starts_at", {"start_ms": turn.place.start_ms, "end_ms": turn.place.end_ms}))
    elif turn.state in WAITS and decision.p50_ms is not None and decision.p90_ms is not None:
        said.append(Sentence("starts", {"p50_ms": decision.p50_ms, "p90_ms": decision.p90_ms}))
    if is_part(turn):
        said.append(Sentence("part", _part(turn)))
    if turn.place is not None and len(set(turn.place.watts[turn.place.watts[0] == 0 :])) > 1:  # from now on it has 0 W
        said.append(Sentence("power_shared", {"end_ms": turn.place.end_ms}))
    return said


def _forward(turn: Turn, decision: Decision) -> list[Sentence]:
    codes = FORWARD[decision.bound_by] if decision.bound_by else ()
    return [Sentence(code) for code in codes if not (turn.flexible and code in ("be_flexible", "near_by"))]


class Said(Struct, frozen=True):
    """What a notice's body holds: its code, the turn, when the place began that it takes away, why, and the values of
    its sentence as they were then.
    """

    what: str
    turn: str | None = None
    was_ms: int | None = None
    why: str | None = None
    said: dict[str, str | int] = {}

    def sentence(self, turn: Turn | None) -> Sentence:
        """What it says. By when to answer or to leave follows from when it was told, which the turn knows."""
        values = dict(self.said)
        if turn is not None and self.what == "offer" and turn.state == "offered" and turn.due_ms is not None:
            values["answer_by_ms"] = turn.due_ms
        if turn is not None and self.what == "charged" and turn.leave_by_ms is not None:
            values["until_ms"] = turn.leave_by_ms
        return Sentence(_code(self.what, values), values)


said_in = json.Decoder(Said).decode
"""What a notice's body says."""


def told(turn: Turn, what: str, **more: str | int) -> Sentence:
    """The notice `what` about a turn as it is after its step.

    `more` is what the turn does not know: `place`, as people call the plug; `why` it was moved or delayed; `until_ms`;
    `had_kwh`, what its car was given until its pile stopped.
    """
    said: dict[str, str | int] = {"call": turn.call, "left": max(0, SNOOZES - 1 - turn.snoozes)}
    if turn.cause is not None:
        said["why"] = turn.cause
    if turn.place is not None:
        said |= {"start_ms": turn.place.start_ms, "end_ms": turn.place.end_ms}
    ends_ms = turn.due_ms or turn.ended_ms
    if what == "charged":
        ends_ms = turn.leave_by_ms
    elif what == "asked" and turn.asked_ms is not None:
        ends_ms = turn.asked_ms + ASKING_MS
    if ends_ms is not None:
        said |= {"answer_by_ms": ends_ms, "until_ms": ends_ms}
    if what == "offer" and is_part(turn):
        said |= _part(turn)
    said |= more
    return Sentence(_code(what, said), said)


def _code(what: str, said: Mapping[str, str | int]) -> str:
    """A pile that stopped may have said what it gave, or not; an offer may be for a part."""
    variant = "_had" if "had_kwh" in said else "_part" if "part_kwh" in said else ""
    return f"notice_{what}{variant}"


def _part(turn: Turn) -> dict[str, str | int]:
    """What its place gives, and what it would need."""
    given_kwh = turn.place.energy_kwh if turn.place is not None else 0.0
    return {"part_kwh": f"{given_kwh:.1f}", "whole_kwh": f"{turn.energy_kwh:.1f}"}


def _plain(value: str | float) -> str | int:
    return value if isinstance(value, str) else round(value)
