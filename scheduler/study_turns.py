"""Floor 2 · The study's Lunchong: the real desk, watch, arrivals and planning, over a ledger in memory and the world.

Each plug gives its place's power, as the limits that Lunchong sets would; what nobody was promised goes to who is
plugged and still wants it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from typing import NamedTuple

from ingest.assets import SiteMode
from scheduler import turns
from scheduler.arrivals import Arrivals
from scheduler.buckets import bucket_at
from scheduler.calls import call_name
from scheduler.desk import Desk, Wish
from scheduler.elsewhere import Seen
from scheduler.ground import Charging, Ground, PlugNow
from scheduler.ledger import Household, Ledger
from scheduler.plan import Plan, Problem
from scheduler.planning import OFFER_AHEAD_MS, TURNOVER, Planning, Queue
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector, SiteFacts
from scheduler.study_world import HOUR_MS, MINUTE_MS, NIGHT_FROM_H, NIGHT_UNTIL_H, Place, Wished, World, comes, is_night
from scheduler.turns import ANSWER_MIN, WAITING, NotNow, Turn
from scheduler.watch import Watch

SITE = "study"
COMPOUND = "k-01"
LEAST_KWH = 3.0
"""Nobody asks again for less."""
ASKS_AGAIN = 3
LOST_MS = 30 * MINUTE_MS
"""Between an asking and the earliest place for it, and as much at the end: a bucket begun and one kept free."""
NIGHT = QuietHours(round(NIGHT_FROM_H * 60), round(NIGHT_UNTIL_H * 60))
PLAN_EVERY_MS = 15 * MINUTE_MS
IN_TURN: SiteMode = "in_turn"


class Ideas(NamedTuple):
    """Which of Lunchong's ideas are on."""

    planning: bool = True
    power_groups: bool = True
    notices: bool = True
    standing: bool = True


class Said(NamedTuple):
    """What was said of a turn's start when it was first planned, and when it was plugged in, if ever."""

    p50_ms: int
    p90_ms: int
    plugged_ms: int | None


class Lived(NamedTuple):
    world: World
    said: list[Said]
    imbalance: bool
    plans: int


class Pretended(Ground):
    """The world's plugs, as the scheduler would hear of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        place = world.place
        self.names = [f"{SITE}/pile-{no:02d}/1" for no in range(1, place.plugs + 1)]
        facts = SiteFacts(
            id=SITE, mode=IN_TURN, connectors=tuple(Connector(name, place.plug_w) for name in self.names),
            limit_w=place.limit_w,
        )  # fmt: skip
        self._facts = {SITE: facts}
        self.plugs: dict[str, PlugNow] = {}

    def look(self, now_ms: int) -> None:  # noqa: ARG002
        for name, parked in zip(self.names, self._world.at, strict=True):
            charging = (
                Charging(str(parked.plugged_ms), parked.plugged_ms, parked.given_kwh) if parked is not None else None
            )
            self.plugs[name] = PlugNow(parked is not None, charging)

    def sites(self) -> dict[str, SiteFacts]:
        return self._facts

    def seen(self, connector: str) -> Seen:
        return "taken" if self.plugs[connector].plugged else "free"


class _Names:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def turn_id(self) -> str:
        return f"t{next(self._numbers):06d}"

    def call(self) -> str:
        return call_name(next(self._numbers))

    def code(self) -> str:
        return f"{next(self._numbers):06d}"


class _ByAsking(Planning):
    """Without standing: who asked first goes first. Of what the order is made from otherwise nothing is looked at."""

    def _order(
        self,
        site_id: str,  # noqa: ARG002
        rules: RuleSet,  # noqa: ARG002
        waiting: Sequence[Turn],
        now_ms: int,  # noqa: ARG002
    ) -> Queue:
        return Queue(sorted(waiting, key=lambda one: (one.requested_ms, one.id)), {}, {})


class Service:
    """One life of a site under Lunchong. `solve` makes its plans."""

    def __init__(
        self, place: Place, ledger: Ledger, begin_ms: int, solve: Callable[[Problem], Plan], ideas: Ideas
    ) -> None:
        self.world = World(place, begin_ms, told=ideas.notices)
        self.ledger, self.ideas = ledger, ideas
        self.ground = Pretended(self.world)
        self.desk = Desk(ledger, self.ground, _Names(), _is_workday)
        self.watch = Watch(self.desk, self.ground, PLAN_EVERY_MS, makes_good=False)  # people ask again by themselves
        self.arrivals = Arrivals(self.desk, self.ground)
        self.plans = 0

        def counted(problem: Problem) -> Plan:
            self.plans += 1
            return solve(problem)

        kind = Planning if ideas.standing else _ByAsking
        self.planning = kind(self.desk, self.ground, counted, _is_workday, TURNOVER)
        ledger.adopt(RuleSet(site=SITE, compounds=(COMPOUND,), quiet=NIGHT), after=0, by="study", now_ms=begin_ms)
        self._wishes: dict[str, Wished] = {}
        self._open: dict[str, Wished] = {}
        self._again: dict[str, int] = {}
        self._answers: dict[tuple[str, int], int] = {}
        self._said: dict[str, tuple[int, int]] = {}
        self._ends: dict[str, int] = {}
        self._accepted_ms: dict[str, int] = {}
        self._seen: tuple[int, int, int] | None = None

    def live(self, wishes: Sequence[Wished], end_ms: int, step_ms: int) -> Lived:
        """Everybody's weeks, until `end_ms`."""
        for household in {one.household for one in wishes}:
            self.ledger.register(Household(id=f"h{household}", compound=COMPOUND, dwelling=str(household)))
        coming = sorted(wishes, key=lambda one: (one.asks_ms, one.id), reverse=True)
        world = self.world
        while world.now_ms < end_ms:
            now_ms = world.now_ms
            while coming and coming[-1].asks_ms <= now_ms:
                self._asks(coming.pop(), now_ms)
            self._ask_again(now_ms)
            self._answer(now_ms)
            self._come(now_ms)
            self.ground.look(now_ms)
            self.arrivals.look(now_ms)
            self.watch.tick(now_ms)
            if (now_ms % PLAN_EVERY_MS == 0 and not _nobody_is_called(now_ms)) or self._is_news(now_ms):
                self.planning.site(SITE, now_ms)
                self._say(now_ms)
            self._tell(now_ms)
            world.step(now_ms + step_ms, self._watts(now_ms))
        world.no_shows = len(self.ledger.turns(states=["no_show"]))
        said = [Said(p50, p90, self.desk.turn(name).plugged_ms) for name, (p50, p90) in self._said.items()]
        return Lived(world, said, bool(self.ledger.imbalance()), self.plans)

    def _is_news(self, now_ms: int) -> bool:
        """Whether a place was given up or a car has left, and somebody waits who could come: planned as at once."""
        waiting = self.ledger.turns(states=WAITING)
        no_shows = len(self.ledger.turns(states=["no_show"]))
        seen, was = (len(self.world.stays), sum(one.snoozes for one in waiting), no_shows), self._seen
        self._seen = seen
        return seen != was and not is_night(now_ms) and any(one.earliest_ms <= now_ms for one in waiting)

    def _ask_again(self, now_ms: int) -> None:
        """Whom we failed, and whose energy no longer fits, asks for as much as fits from when it could come again.

        On a waiting list people stay for what they can still get; here they have to say so.
        """
        for turn_id in [name for name in self._open if not turns.is_live(self.desk.turn(name))]:
            turn, wish = self.desk.turn(turn_id), self._open.pop(turn_id)
            is_over = turn.state in ("failed", "expired", "rejected") and turn.snoozes < turns.SNOOZES
            again = self._again.get(wish.id, 0)
            if not is_over or again >= ASKS_AGAIN:
                continue
            self._again[wish.id] = again + 1
            from_ms = max(now_ms, wish.earliest_ms) + LOST_MS
            while is_night(from_ms):
                from_ms += MINUTE_MS
            fits_kwh = (wish.depart_ms - from_ms - LOST_MS) / HOUR_MS * self.world.place.plug_w / 1_000
            if fits_kwh > LEAST_KWH:
                self._asks(wish, now_ms, min(turn.energy_kwh, fits_kwh))

    def _asks(self, wish: Wished, now_ms: int, energy_kwh: float | None = None) -> None:
        turn = self.desk.ask(
            Wish(
                site=SITE, household=f"h{wish.household}", vehicle=f"car {wish.household}",
                energy_kwh=energy_kwh or wish.energy_kwh, max_w=self.world.place.plug_w, earliest_ms=wish.earliest_ms,
                depart_by_ms=wish.depart_ms, flexible=self.ideas.power_groups,
            ),
            now_ms,
        )  # fmt: skip
        self._wishes[turn.id] = self._open[turn.id] = wish

    def _tell(self, now_ms: int) -> None:
        """Offers are told at once; who was told answers in its own time. Places that end are told to who is there."""
        for turn in self.ledger.turns(states=["offered"]):
            wish, key = self._wishes[turn.id], (turn.id, turn.snoozes)
            if key not in self._answers:
                self.desk.told(turn.id, now_ms)
                self._answers[key] = now_ms + round(wish.answers_min * MINUTE_MS)
        for turn in self.ledger.turns(states=["active"]):
            self.planning.began(turn)
            if self.ideas.notices and turn.charged_ms is not None and turn.leave_by_ms is None:
                self.desk.told_charged(turn.id, now_ms)
            if turn.place is not None and self._ends.setdefault(turn.id, turn.place.end_ms) <= now_ms:
                self.world.ends(self.ground.names.index(turn.place.connector))

    def _answer(self, now_ms: int) -> None:
        for turn in self.ledger.turns(states=["offered"]):
            at_ms = self._answers.get((turn.id, turn.snoozes))
            if at_ms is None or at_ms > now_ms:
                continue
            wish = self._wishes[turn.id]
            answers = wish.answers_min <= ANSWER_MIN
            with suppress(NotNow):
                if answers and wish.accepts[turn.snoozes]:
                    self.desk.accept(turn.id, at_ms)
                    self._accepted_ms[turn.id] = at_ms
                elif answers:
                    self.desk.snooze(turn.id, now_ms)

    def _come(self, now_ms: int) -> None:
        if not comes(now_ms):
            return
        for turn in self.ledger.turns(states=["reserved"]):
            wish, place = self._wishes[turn.id], turn.place
            if place is None or now_ms < self._late_ms(turn.id, place.start_ms, wish):
                continue
            no = self.ground.names.index(place.connector)
            if self.world.at[no] is None:
                self.world.plug_in(no, wish)
                self.desk.check_in(turn.id, now_ms)

    def _late_ms(self, turn_id: str, start_ms: int, wish: Wished) -> float:
        """When it comes: so much later than its place begins, or than it accepted where that was after it."""
        return max(start_ms, self._accepted_ms[turn_id]) + self.world.late_min(wish) * MINUTE_MS

    def _say(self, now_ms: int) -> None:
        """What the first plan of a turn says of its start."""
        for turn in self.ledger.turns(states=["queued", "offered"]):
            if turn.id in self._said or turn.place is None:
                continue
            start_ms = turn.place.start_ms
            p90_ms = start_ms + self.planning.estimate.longer(0.9, start_ms - now_ms)
            self._said[turn.id] = (start_ms, p90_ms)

    def _watts(self, now_ms: int) -> list[float]:
        """Promised power first; then, in a power group, what is left over to who wants it and leaves first."""
        world, place = self.world, self.world.place
        watts, bucket = [0.0] * place.plugs, bucket_at(now_ms)
        for turn in self.ledger.turns(states=["active"]):
            if turn.place is not None and turn.place.first <= bucket < turn.place.end:
                no = self.ground.names.index(turn.place.connector)
                if world.wants_kwh(no) > 0:
                    watts[no] = float(turn.place.watts[bucket - turn.place.first])
        left_w = place.limit_w - sum(watts)
        held = [turn.place for turn in self.ledger.turns(states=["active"]) if turn.place is not None]
        ends = {self.ground.names.index(one.connector): one.end for one in held}
        least_w = 0.0 if self.ideas.power_groups else float(place.plug_w)
        for no in sorted(range(place.plugs), key=lambda no: (ends.get(no, 0), no)):
            more_w = min(place.plug_w - watts[no], left_w) if world.wants_kwh(no) > 0 else 0.0
            if more_w > 0 and (watts[no] > 0 or more_w >= least_w):
                watts[no] += more_w
                left_w -= more_w
        return watts


def _nobody_is_called(now_ms: int) -> bool:
    """Whether nothing that begins can be offered yet: a plan made in the night is one for its end at the earliest."""
    return is_night(now_ms) and is_night(now_ms + OFFER_AHEAD_MS + PLAN_EVERY_MS)


def _is_workday(day: date) -> bool:
    return day.weekday() < 5
