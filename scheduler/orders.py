"""Floor 2 · Orders: what a plug is told is said again until it is answered, and again where it seems to be lost.

All of them are levels or may be said twice without harm, so nothing of it is kept: what a plug is to be told follows
from ledger and ground at each look, also for whoever leads next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, get_args

from msgspec.structs import replace

from ingest.messages import AnyCommand, CommandResult, Reserve, SetLimit

AGAIN_S = 5.0
"""Of the wall: an order without an answer is said again, under the same id."""
ATTEMPTS = 3
"""So often; then it is a condition, and goes on as a new order."""
ONCE_MORE_S = 60.0
"""Of the wall: an order that was taken and is not seen to be followed is said once more."""
HOLDING = (SetLimit, Reserve)
"""These hold for their time alone, and are renewed."""
NO_MATTER = frozenset({"busy", "unknown_turn", "unsupported"})
"""Reasons why a pile keeps, opens or shows nothing: a car is there already, it holds no such turn, or it cannot."""

Send = Callable[[str, AnyCommand], None]
"""To `SITE/DEVICE`, unless this process does not lead any more."""


class Moment(NamedTuple):
    """One look: who leads, service time, a steady clock of the wall, and how long an order holds in service time."""

    epoch: int
    now_ms: int
    mono_s: float
    ttl_s: float


@dataclass(slots=True)
class Said:
    """The last order of its kind that a connector was given."""

    draft: AnyCommand
    command: AnyCommand
    at_ms: int
    said_s: float
    attempts: int = 1
    was_refused: bool = False
    """Whether the one before it was."""
    since_s: float = 0.0
    """Since when it is told the same."""
    holds_until_ms: int | None = None
    """When the last one that it accepted ends; None where it accepted none. An order that was not answered renews
    nothing."""
    answer: CommandResult | None = None

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.result == "accepted"

    @property
    def refused(self) -> bool:
        return self.was_refused if self.answer is None else not self.accepted

    def is_over(self, now_ms: int) -> bool:
        """Whether the last one that it accepted holds no longer: it hears nothing any more."""
        return self.holds_until_ms is not None and now_ms >= self.holds_until_ms

    @property
    def unanswered(self) -> bool:
        return self.answer is None and self.attempts > ATTEMPTS

    @property
    def no_matter(self) -> bool:
        """Refused, and that is all right."""
        is_level = isinstance(self.command, SetLimit)
        return self.answer is not None and not is_level and self.answer.reason in NO_MATTER


Kind = type[AnyCommand]
KINDS: tuple[Kind, ...] = get_args(AnyCommand)


class Orders:
    """Used by who leads alone, after the piles were told `turns` under its epoch. A draft has no id, epoch and time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._said: dict[tuple[str, Kind], Said] = {}
        self._asked: dict[tuple[str, str], tuple[str, Kind]] = {}
        """Of what is not answered, by device and id: the connector and what kind it is."""
        self._epoch, self._no = 0, 0

    def lead(self, epoch: int) -> None:
        """Whoever led in between told them what is not known here."""
        if epoch != self._epoch:
            self._said.clear()
            self._asked.clear()
            self._epoch = epoch

    def answered(self, device: str, result: CommandResult) -> None:
        """A device said what it did with an order. What is not the last of its kind is passed over."""
        at = self._asked.pop((device, result.id), None)
        said = None if at is None else self._said.get(at)
        if said is not None and said.command.id == result.id:
            said.answer = result
            if said.accepted:
                said.holds_until_ms = said.at_ms + round(said.command.ttl_s * 1_000)

    def said(self, connector: str, kind: Kind) -> Said | None:
        return self._said.get((connector, kind))

    def forget(self, connector: str, kind: Kind) -> None:
        said = self._said.pop((connector, kind), None)
        if said is not None:
            self._asked.pop((_device(connector), said.command.id), None)

    def troubles(self, connector: str) -> list[str]:
        """Codes of conditions: what it refuses, or leaves without an answer."""
        told = [said for kind in KINDS if (said := self.said(connector, kind)) is not None and not said.no_matter]
        refused, unanswered = any(one.refused for one in told), any(one.unanswered for one in told)
        return ["command_refused"] * refused + ["command_unanswered"] * (unanswered and not refused)

    def want(self, connector: str, draft: AnyCommand, moment: Moment, *, lost: bool = False) -> bool:
        """Say it if it is news, if its time is half over, or if it seems to be lost; or say it again.

        `lost` is that what is seen at the plug is not so. Whether a new order was said.
        """
        said, attempts = self._said.get((connector, type(draft))), 1
        if said is not None and said.draft == draft:
            since_s = moment.mono_s - said.said_s
            if said.answer is None:
                if since_s < AGAIN_S:
                    return False
                if said.attempts % ATTEMPTS:
                    said.attempts, said.said_s = said.attempts + 1, moment.mono_s
                    self._send(_device(connector), said.command)
                    return False
                attempts = said.attempts + 1
            elif not _is_due(said, moment, since_s, lost):
                return False
        self._say(connector, draft, moment, attempts)
        return True

    def _say(self, connector: str, draft: AnyCommand, moment: Moment, attempts: int) -> None:
        self._no += 1
        device, kind = _device(connector), type(draft)
        command = replace(draft, id=f"order-{moment.epoch}-{self._no}", epoch=moment.epoch, ttl_s=moment.ttl_s)
        said = Said(draft, command, moment.now_ms, moment.mono_s, attempts, since_s=moment.mono_s)
        if (before := self._said.get((connector, kind))) is not None:
            said.was_refused, said.holds_until_ms = before.refused, before.holds_until_ms
            said.since_s = before.since_s if before.draft == draft else moment.mono_s
        self.forget(connector, kind)
        self._asked[device, command.id] = connector, kind
        self._said[connector, kind] = said
        self._send(device, command)


def _is_due(said: Said, moment: Moment, since_s: float, lost: bool) -> bool:
    """Whether an order that was answered is to be said once more."""
    if isinstance(said.command, HOLDING) and moment.now_ms >= said.at_ms + said.command.ttl_s * 500:
        return True
    if said.no_matter:
        return False
    is_level = isinstance(said.command, SetLimit)
    return since_s >= (AGAIN_S if is_level or not said.accepted else ONCE_MORE_S) and (lost or not said.accepted)


def _device(connector: str) -> str:
    return connector.rpartition("/")[0]
