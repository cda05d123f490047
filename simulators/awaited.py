"""Floor 0 · What piles were told of the turns at them, as people in the street read it off their displays."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ingest.clock import parse_rfc3339
from ingest.messages import NO_CODE, Turns, TurnsAt

LASTS_MS = 3_600_000
"""A display tells when the next turn begins; how long it lasts is a guess."""

_decoder = msgspec.json.Decoder(Turns)

Place = tuple[str, int]
"""A pile's name and a connector of it."""


class Call(NamedTuple):
    """Somebody's turn at a plug, by its call name, and when it begins."""

    name: str
    place: Place
    from_ms: int


class Awaited:
    """The latest of each pile. What cannot be read is passed over, as a display would."""

    def __init__(self) -> None:
        self._said: dict[Place, TurnsAt] = {}
        self._seen: dict[Place, set[str]] = {}
        """Call names that were told there, and still are."""

    def told(self, pile: str, payload: bytes) -> list[Call]:
        """Take what was said to a pile; the calls that are new there. Who puts a place off and takes it all the same
        when it is offered again is new again.
        """
        try:
            said = {(pile, at.connector): at for at in _decoder.decode(payload).connectors}
            calls = [call for place, at in said.items() for call in _calls(place, at)]
        except (msgspec.MsgspecError, ValueError):
            return []
        self._said |= said
        new = [call for call in calls if call.name not in self._seen.get(call.place, ())]
        for place, at in said.items():
            there = {one.call for one in at.next} | ({at.now.call} if at.now is not None else set())
            told = self._seen.get(place, set()) | {call.name for call in calls if call.place == place}
            self._seen[place] = told & there
        return new

    def gives_turns(self, place: Place) -> bool:
        """Whether anything was said of that plug."""
        return place in self._said

    def until_ms(self, call: Call) -> int | None:
        """When its place ends, once it has begun; None before, and where somebody else is awaited."""
        at = self._said.get(call.place)
        if at is None or at.now is None or at.now.call != call.name:
            return None
        return parse_rfc3339(at.now.until)

    def turn(self, call: Call) -> str | None:
        """Whose place has begun at a call's plug, as a pile knows it; None where that is somebody else."""
        at = self._said.get(call.place)
        return at.now.turn if at is not None and at.now is not None and at.now.call == call.name else None

    def begins_ms(self, call: Call) -> int | None:
        """When it begins by what is said now, which may be later than was said first; None where it is not awaited."""
        at = self._said.get(call.place)
        said = next((one for one in at.next if one.call == call.name), None) if at is not None else None
        return parse_rfc3339(said.from_) if said is not None else None

    def is_kept(self, place: Place, now_ms: int, stay_ms: int) -> bool:
        """Whether a plug is somebody's now, or will be before who comes now means to leave."""
        at = self._said.get(place)
        if at is None:
            return False
        if at.now is not None and at.now.code_hash != NO_CODE and now_ms < parse_rfc3339(at.now.until):
            return True
        begins_ms = parse_rfc3339(at.next[0].from_) if at.next else None
        return begins_ms is not None and begins_ms - stay_ms < now_ms < begins_ms + LASTS_MS


def _calls(place: Place, at: TurnsAt) -> list[Call]:
    """Who comes next, and who is awaited now, as somebody is who was moved there."""
    found = [Call(one.call, place, parse_rfc3339(one.from_)) for one in at.next[:1]]
    if at.now is not None and at.now.code_hash != NO_CODE:
        found.append(Call(at.now.call, place, 0))
    return found
