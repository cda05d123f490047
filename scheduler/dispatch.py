"""Floor 2 · Dispatch: plugs are told what they may draw, by who leads, and whether they answer is looked after.

What a plug is to have follows from the ledger and from what is seen at the plugs, at each look anew: a limit that got
lost, or that a pile forgot, is set again. A limit holds for its time alone; a pile that hears nobody falls back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ingest.clock import rfc3339
from ingest.messages import CommandResult, Condition, SetLimit
from scheduler.buckets import bucket_at
from scheduler.desk import Connector, Desk, SiteFacts
from scheduler.ground import Ground
from scheduler.power import Draw, shares, steps
from scheduler.turns import Turn

TTL_S, LEAST_TTL_WALL_S = 900.0, 30.0
"""A limit holds for a bucket of service time, and where that runs fast for 30 s of the wall."""
AGAIN_S = 5.0
"""Of the wall: a limit without an answer is said again, under the same id."""
ATTEMPTS = 3
"""So often; then it is a condition, and goes on as a new command."""
CODES = ("command_unanswered", "command_refused", "power_short")

Send = Callable[[str, SetLimit], None]
"""To `SITE/DEVICE`, unless this process does not lead any more."""


@dataclass(slots=True)
class Told:
    """The last limit that a connector was told. `may_w` is what it may have been drawing when that was said."""

    command: SetLimit
    watts: int
    may_w: int
    at_ms: int
    said_s: float
    attempts: int = 1
    was_refused: bool = False
    """Whether the one before it was."""
    answer: CommandResult | None = None

    @property
    def accepted(self) -> bool:
        return self.answer is not None and self.answer.result == "accepted"

    @property
    def refused(self) -> bool:
        return self.was_refused if self.answer is None else not self.accepted


class _Moment(NamedTuple):
    epoch: int
    now_ms: int
    mono_s: float
    ttl_s: float


class Dispatch:
    """Used by who leads alone, after the piles were told `turns` under its epoch. `speed` is service time's."""

    def __init__(self, desk: Desk, ground: Ground, send: Send, speed: Callable[[], float]) -> None:
        self._desk, self._ground, self._send, self._speed = desk, ground, send, speed
        self._told: dict[str, Told] = {}
        self._asked: dict[tuple[str, str], str] = {}
        """The connector, by device and command, of what is not answered."""
        self._epoch, self._no = 0, 0
        self._since: dict[tuple[str, str], str] = {}
        self.conditions: list[Condition] = []
        """What holds since the last round."""

    def answered(self, device: str, result: CommandResult) -> None:
        """A device said what it did with a command. What is not the last of a connector is passed over."""
        told = self._told.get(self._asked.pop((device, result.id), ""))
        if told is not None and told.command.id == result.id:
            told.answer = result

    def round(self, epoch: int, now_ms: int, mono_s: float) -> None:
        """Tell each plug of a site where turns are given what it may draw, as far as there is news."""
        if epoch != self._epoch:  # another led in between: what it told them is not known
            self._told.clear()
            self._asked.clear()
            self._epoch = epoch
        found: list[tuple[str, str]] = []
        if self._ground.believed:
            moment = _Moment(epoch, now_ms, mono_s, max(TTL_S, LEAST_TTL_WALL_S * self._speed()))
            active = {turn.place.connector: turn for turn in self._desk.ledger.turns(states=["active"]) if turn.place}
            given = self._desk.ledger.versions()
            for site in self._ground.sites().values():
                found += self._site(site, active, moment) if site.id in given else []
        self._since = {held: self._since.get(held, rfc3339(now_ms)) for held in found}
        self.conditions = [
            Condition(code=code, since=since, severity="warning", evidence=evidence)
            for (code, evidence), since in self._since.items()
        ]

    def _site(self, site: SiteFacts, active: dict[str, Turn], moment: _Moment) -> list[tuple[str, str]]:
        """What is not as it should be there, as (code, where)."""
        known = {one.id: one for one in site.connectors}
        order = sorted(site.connectors, key=lambda one: _rank(active.get(one.id)))
        draws = [self._draw(one, active.get(one.id), moment.now_ms) for one in order]
        given = shares(site.limit_w, draws)
        now = steps(site.limit_w, given, draws)
        for draw in draws:
            if draw.connector in now:
                self._set(known[draw.connector], now[draw.connector], draw.may_w, moment)
        found = [(code, draw.connector) for draw in draws if (code := self._trouble(draw))]
        short = any(draw.heard and given[draw.connector] < draw.promised_w for draw in draws)
        return [*found, ("power_short", site.id)] if short else found

    def _draw(self, connector: Connector, turn: Turn | None, now_ms: int) -> Draw:
        plug, told = self._ground.plug(connector.id), self._told.get(connector.id)
        may_w = connector.max_w if told is None else told.watts if told.accepted else max(told.watts, told.may_w)
        heard = plug.trouble in (None, "broken")
        if not heard or (told is not None and now_ms >= told.at_ms + told.command.ttl_s * 1_000):
            may_w = max(may_w, connector.fallback_w)
        promised_w = wants_w = 0
        if turn is not None and turn.place is not None and plug.trouble is None and not plug.full:
            at = bucket_at(now_ms) - turn.place.first
            promised_w = turn.place.watts[at] if 0 <= at < len(turn.place.watts) else 0
            had_kwh = plug.charging.energy_kwh if plug.charging is not None else 0.0
            if turn.kind == "walk_in" or had_kwh < turn.energy_kwh:
                wants_w = min(turn.max_w, connector.max_w)
        return Draw(
            connector=connector.id, promised_w=promised_w, wants_w=wants_w, may_w=may_w, least_w=connector.least_w,
            heard=heard,
        )  # fmt: skip

    def _set(self, connector: Connector, watts: int, may_w: int, moment: _Moment) -> None:
        """Say a limit, if it is news, if its time is half over, or if it seems to be lost; or say it again."""
        told = self._told.get(connector.id)
        if told is None or told.watts != watts:
            self._say(connector, watts, may_w, moment, attempts=1)
        elif told.answer is None:
            self._ask_again(connector, told, moment)
        elif moment.now_ms >= told.at_ms + told.command.ttl_s * 500 or (
            moment.mono_s - told.said_s >= AGAIN_S and (not told.accepted or self._is_forgotten(connector, told))
        ):
            self._say(connector, watts, may_w, moment, attempts=1)

    def _ask_again(self, connector: Connector, told: Told, moment: _Moment) -> None:
        if moment.mono_s - told.said_s < AGAIN_S:
            return
        if told.attempts % ATTEMPTS:
            told.attempts, told.said_s = told.attempts + 1, moment.mono_s
            self._send(_device(connector), told.command)
        else:
            self._say(connector, told.watts, told.may_w, moment, attempts=told.attempts + 1)

    def _say(self, connector: Connector, watts: int, may_w: int, moment: _Moment, attempts: int) -> None:
        self._no += 1
        device, number = _device(connector), int(connector.id.rpartition("/")[2])
        command = SetLimit(
            v=1, id=f"limit-{moment.epoch}-{self._no}", epoch=moment.epoch, ttl_s=moment.ttl_s, connector=number,
            limit_kw=watts / 1_000, fallback_kw=connector.fallback_w / 1_000,
        )  # fmt: skip
        if (before := self._told.get(connector.id)) is not None:
            self._asked.pop((device, before.command.id), None)
        self._asked[device, command.id] = connector.id
        was_refused = before is not None and before.refused
        self._told[connector.id] = Told(command, watts, may_w, moment.now_ms, moment.mono_s, attempts, was_refused)
        self._send(device, command)

    def _is_forgotten(self, connector: Connector, told: Told) -> bool:
        """Whether what is seen at the plug is not what it was told: a pile that began anew knows no limit."""
        plug = self._ground.plug(connector.id)
        is_too_much = plug.power_w > told.watts + max(200, told.watts // 20)
        return is_too_much or (plug.held_back and told.watts >= connector.least_w > 0)

    def _trouble(self, draw: Draw) -> str | None:
        told = self._told.get(draw.connector)
        if told is None or not draw.heard:
            return None
        if told.refused:
            return "command_refused"
        return "command_unanswered" if told.answer is None and told.attempts > ATTEMPTS else None


def _device(connector: Connector) -> str:
    return connector.id.rpartition("/")[0]


def _rank(turn: Turn | None) -> tuple[bool, bool, int]:
    """Who asked goes before who came without a turn, and whose place ends first before the others."""
    return turn is None, turn is not None and turn.kind != "asked", turn.place.end if turn and turn.place else 0
