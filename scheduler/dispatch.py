"""Floor 2 · Dispatch: plugs are told what they may draw and whose they are, by who leads, and whether they answer is
looked after.

What a plug is to have follows from the ledger and from what is seen at the plugs, at each look anew: a limit that got
lost, or that a pile forgot, is set again. A limit holds for its time alone; a pile that hears nobody falls back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ingest.clock import rfc3339
from ingest.messages import CommandResult, Condition, Release, Reserve, SetLimit, Show, Start, Stop
from scheduler.alone import Around, not_alone
from scheduler.buckets import bucket_at
from scheduler.desk import Desk
from scheduler.gates import DRAFT, Gate, Wanted, holders, wanted
from scheduler.ground import Ground
from scheduler.orders import Kind, Moment, Orders, Said, Send
from scheduler.power import Draw, shares, steps
from scheduler.site_facts import Connector, SiteFacts
from scheduler.turns import Turn

TTL_S, LEAST_TTL_WALL_S = 900.0, 30.0
"""A limit holds for a bucket of service time, and where that runs fast for 30 s of the wall."""
RESERVE_TTL_S = 180.0
"""A plug is kept for so long at a time: whoever leads next cannot know what was kept before."""
AT_A_PLUG: tuple[Kind, ...] = (Stop, Start, Show)
"""Of what a plug is told no longer, nothing is awaited either."""
CODES = ("command_unanswered", "command_refused", "limit_passed", "power_short")
DISOBEYS_S = 30.0
"""Of the wall: so long a plug may draw more than the limit that it accepted before that is a condition."""


class Dispatch:
    """Used by who leads alone, after the piles were told `turns` under its epoch. `speed` is service time's; `refused`
    names plugs with a car for which there is no place.
    """

    def __init__(
        self,
        desk: Desk,
        ground: Ground,
        send: Send,
        speed: Callable[[], float],
        refused: Callable[[], Collection[str]] = frozenset,
        timezone: str = "Asia/Shanghai",
        around: Around = not_alone,
    ) -> None:
        self._around = around
        self._desk, self._ground, self._speed = desk, ground, speed
        self._refused, self._timezone = refused, timezone
        self._orders = Orders(send)
        self._epoch, self._led_ms = 0, 0
        """Since when this process leads."""
        self._may_w: dict[str, int] = {}
        """What a connector may have been drawing when its last limit was said."""
        self._since: dict[tuple[str, str], str] = {}
        self.conditions: list[Condition] = []
        """What holds since the last round."""

    def answered(self, device: str, result: CommandResult) -> None:
        """A device said what it did with a command."""
        self._orders.answered(device, result)

    def round(self, epoch: int, now_ms: int, mono_s: float) -> None:
        """Tell each plug of a site where turns are given what it may draw and whose it is, as far as there is news."""
        if epoch != self._epoch:
            self._epoch, self._led_ms = epoch, now_ms
        self._orders.lead(epoch)
        found: list[tuple[str, str]] = []
        if self._ground.believed:
            moment = Moment(epoch, now_ms, mono_s, self._lasts_s(TTL_S))
            active = {turn.place.connector: turn for turn in self._desk.ledger.turns(states=["active"]) if turn.place}
            held = holders(self._desk.ledger.turns(states=["reserved"]), now_ms)
            refused, given, cut = set(self._refused()), self._desk.ledger.versions(), self._desk.ledger.cuts()
            for site in self._ground.sites().values():
                if site.id not in given:
                    continue
                with self._around(site.id):
                    for connector in site.connectors:
                        at = connector.id
                        if self._ground.plug(at).trouble in ("silent", "unknown"):
                            continue
                        gate = Gate(
                            number=int(at.rpartition("/")[2]), holder=held.get(at), active=active.get(at),
                            plug=self._ground.plug(at), refused=at in refused, is_cut=site.id in cut,
                        )  # fmt: skip
                        self._gate(at, gate, moment)
                    found += self._site(site, active, moment)
        self._since = {held: self._since.get(held, rfc3339(now_ms)) for held in found}
        self.conditions = [
            Condition(code=code, since=since, severity="warning", evidence=evidence)
            for (code, evidence), since in self._since.items()
        ]

    def _gate(self, connector: str, gate: Gate, moment: Moment) -> None:
        """Whose the plug is. What was kept for somebody else is given back first."""
        mine = {turn.id for turn in (gate.holder, gate.active) if turn is not None}
        kept = self._orders.said(connector, Reserve)
        if kept is not None and isinstance(kept.draft, Reserve) and kept.draft.turn not in mine:
            self._orders.want(connector, Release(**DRAFT, connector=gate.number, turn=kept.draft.turn), moment)
            given_back = self._orders.said(connector, Release)
            if given_back is not None and (given_back.accepted or given_back.no_matter):
                self._orders.forget(connector, Reserve)
                kept = None
        else:
            kept = None
        drafts = wanted(gate, moment.now_ms, self._timezone)
        if kept is not None:
            drafts = [one for one in drafts if not isinstance(one.draft, Reserve)]
        else:
            self._orders.forget(connector, Release)
        if not any(isinstance(one.draft, Show) for one in drafts) and self._is_shown(connector):
            drafts.append(Wanted(Show(**DRAFT, connector=gate.number, text="")))
        for kind in AT_A_PLUG:
            if not any(isinstance(one.draft, kind) for one in drafts):
                self._orders.forget(connector, kind)
        for one in drafts:
            at = moment
            if isinstance(one.draft, Reserve):
                at = moment._replace(ttl_s=self._lasts_s(RESERVE_TTL_S))
            self._orders.want(connector, one.draft, at, lost=one.lost)

    def _lasts_s(self, ttl_s: float) -> float:
        """In service time, and where that runs fast no shorter than a pile needs to be told again."""
        return max(ttl_s, LEAST_TTL_WALL_S * self._speed())

    def _is_shown(self, connector: str) -> bool:
        """Whether its display still shows what we had it show."""
        said = self._orders.said(connector, Show)
        if said is None or not isinstance(said.draft, Show):
            return False
        return bool(said.draft.text) or not (said.accepted or said.no_matter)

    def _site(self, site: SiteFacts, active: dict[str, Turn], moment: Moment) -> list[tuple[str, str]]:
        """What is not as it should be there, as (code, where)."""
        known = {one.id: one for one in site.connectors}
        order = sorted(site.connectors, key=lambda one: _rank(active.get(one.id)))
        draws = [self._draw(one, active.get(one.id), moment.now_ms) for one in order]
        given = shares(site.limit_w, draws)
        now = steps(site.limit_w, given, draws)
        for draw in draws:
            if draw.connector in now:
                self._set(known[draw.connector], now[draw.connector], draw.may_w, moment)
        found = [
            (code, draw.connector) for draw in draws if draw.heard for code in self._orders.troubles(draw.connector)
        ]
        found += [("limit_passed", draw.connector) for draw in draws if self._disobeys(draw.connector, moment.mono_s)]
        short = any(draw.heard and given[draw.connector] < draw.promised_w for draw in draws)
        return [*found, ("power_short", site.id)] if short else found

    def _draw(self, connector: Connector, turn: Turn | None, now_ms: int) -> Draw:
        plug, told = self._ground.plug(connector.id), self._orders.said(connector.id, SetLimit)
        heard = plug.trouble in (None, "broken")
        may_w, takes_w = self._most_w(connector, told, now_ms, heard), 0
        if told is not None and told.is_over(now_ms):
            takes_w = connector.fallback_w
        if plug.may_have_fallen_back:
            may_w = takes_w = max(may_w, connector.fallback_w)
        if _is_too_much(plug.power_w, may_w):  # it began anew, or does not obey
            may_w = takes_w = plug.power_w
        promised_w = wants_w = 0
        if turn is not None and turn.place is not None and plug.trouble is None and not plug.full:
            at = bucket_at(now_ms) - turn.place.first
            promised_w = turn.place.watts[at] if 0 <= at < len(turn.place.watts) else 0
            had_kwh = plug.charging.energy_kwh if plug.charging is not None else 0.0
            if turn.kind == "walk_in" or had_kwh < turn.energy_kwh:
                wants_w = min(turn.max_w, connector.max_w)
        return Draw(
            connector=connector.id, promised_w=promised_w, wants_w=wants_w, may_w=may_w, takes_w=takes_w,
            least_w=connector.least_w, heard=heard,
        )  # fmt: skip

    def _most_w(self, connector: Connector, told: Said | None, now_ms: int, heard: bool) -> int:
        """What it may be drawing by what it was told."""
        if told is None:  # whoever led before may have told it anything, and that ends with its time
            is_known = not heard and now_ms - self._led_ms >= self._lasts_s(TTL_S) * 1_000
            return connector.fallback_w if is_known else connector.max_w
        watts = _watts(told.draft)
        may_w = watts if told.accepted else max(watts, self._may_w.get(connector.id, connector.max_w))
        return max(may_w, connector.fallback_w) if told.is_over(now_ms) or not heard else may_w

    def _disobeys(self, connector: str, mono_s: float) -> bool:
        told = self._orders.said(connector, SetLimit)
        if told is None or not told.accepted or mono_s - told.since_s < DISOBEYS_S:
            return False
        return _is_too_much(self._ground.plug(connector).power_w, _watts(told.draft))

    def _set(self, connector: Connector, watts: int, may_w: int, moment: Moment) -> None:
        draft = SetLimit(
            **DRAFT, connector=int(connector.id.rpartition("/")[2]), limit_kw=watts / 1_000,
            fallback_kw=connector.fallback_w / 1_000,
        )  # fmt: skip
        if self._orders.want(connector.id, draft, moment, lost=self._is_forgotten(connector, watts)):
            self._may_w[connector.id] = may_w

    def _is_forgotten(self, connector: Connector, watts: int) -> bool:
        """Whether what is seen at the plug is not what it was told: a pile that began anew knows no limit."""
        plug = self._ground.plug(connector.id)
        return _is_too_much(plug.power_w, watts) or (plug.held_back and watts >= connector.least_w > 0)


def _is_too_much(power_w: int, watts: int) -> bool:
    """Whether that is more than a meter's error above a limit."""
    return power_w > watts + max(200, watts // 20)


def _watts(draft: object) -> int:
    return round(draft.limit_kw * 1_000) if isinstance(draft, SetLimit) else 0


def _rank(turn: Turn | None) -> tuple[bool, bool, int]:
    """Who asked goes before who came without a turn, and whose place ends first before the others."""
    return turn is None, turn is not None and turn.kind != "asked", turn.place.end if turn and turn.place else 0
