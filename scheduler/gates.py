"""Floor 2 · Gates: a plug is kept for whom it was promised, opened when that one is there, and shut to whom it was not.

Pure: what a plug is to be told beside its power follows from the turns at it and from what is seen there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

from msgspec import Struct

from ingest.clock import rfc3339
from ingest.messages import AnyCommand, Reserve, Show, Start, Stop
from scheduler.boards import code_hash
from scheduler.ground import PlugNow
from scheduler.meanwhile import is_asked
from scheduler.sentences import Sentence
from scheduler.turns import Turn


class _Envelope(TypedDict):
    v: Literal[1]
    id: str
    epoch: int
    ttl_s: float


DRAFT: _Envelope = {"v": 1, "id": "", "epoch": 0, "ttl_s": 0.0}
"""Of a command that gets these when it is said."""


class Gate(Struct, frozen=True, kw_only=True):
    """A connector at one moment: whose place runs and who is not there yet, whose car is, and what else is there.

    `refused`: a car came for which there is no place. `is_cut`: the site is cut off.
    """

    number: int
    holder: Turn | None = None
    active: Turn | None = None
    plug: PlugNow
    refused: bool = False
    is_cut: bool = False


class Wanted(Struct, frozen=True):
    """A draft of a command, and whether what is seen at the plug is not so yet."""

    draft: AnyCommand
    lost: bool = False


def wanted(gate: Gate, now_ms: int, timezone: str) -> list[Wanted]:
    """What it is to be told, in the order in which that is said."""
    found = []
    if (reason := _why_stopped(gate)) is not None:
        found.append(Wanted(Stop(**DRAFT, connector=gate.number, reason=reason), lost=gate.plug.power_w > 0))
    elif gate.active is not None and gate.active.kind == "asked" and gate.plug.preparing:
        found.append(Wanted(Start(**DRAFT, connector=gate.number, turn=gate.active.id), lost=True))
    elif gate.active is None and gate.holder is not None and gate.plug.plugged is False:
        found.append(Wanted(_reserve(gate.number, gate.holder)))
    if (said := _shown(gate, now_ms)) is not None:
        text = " ".join(said.text(language, timezone) for language in ("zh", "en"))
        found.append(Wanted(Show(**DRAFT, connector=gate.number, text=text)))
    return found


def holders(held: Iterable[Turn], now_ms: int) -> dict[str, Turn]:
    """By connector, the promise whose place runs now and whose car is not there yet."""
    return {
        turn.place.connector: turn
        for turn in held
        if turn.state == "reserved" and turn.place is not None and turn.place.start_ms <= now_ms < turn.place.end_ms
    }


def _reserve(number: int, turn: Turn) -> Reserve:
    assert turn.place is not None
    until = rfc3339(turn.place.end_ms)
    return Reserve(**DRAFT, connector=number, turn=turn.id, code_hash=code_hash(turn), until=until)


def _why_stopped(gate: Gate) -> str | None:
    if not gate.plug.plugged:
        return None
    if gate.is_cut:
        return "cut"
    if gate.active is not None:
        return "finished" if gate.active.finished_ms is not None else None
    return "no_place" if gate.refused else None


def _shown(gate: Gate, now_ms: int) -> Sentence | None:
    """What its display says beside whose turn it is."""
    if gate.is_cut:
        return Sentence("display_cut")
    if gate.active is not None:
        if gate.active.leave_by_ms is not None:
            return Sentence("display_charged", {"until_ms": gate.active.leave_by_ms})
        if gate.active.kind == "walk_in" and gate.active.place is not None:
            return Sentence("display_until", {"until_ms": gate.active.place.end_ms})
        return None
    if gate.plug.plugged and gate.holder is not None and is_asked(gate.holder, now_ms):
        return Sentence("display_asked", {"call": gate.holder.call})
    return Sentence("display_no_place") if gate.plug.plugged and gate.refused else None
