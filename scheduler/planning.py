"""Floor 2 · Planning a site: who waits there, in which order, where each is placed, and who is offered a place now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from scheduler.buckets import BUCKET_MS, BUCKETS_PER_DAY, Place, bucket_at
from scheduler.desk import Desk
from scheduler.estimate import Estimate
from scheduler.explain import Decision
from scheduler.ground import Ground
from scheduler.ledger import OverLimit, Taken
from scheduler.plan import Fixed, Plan, Plug, Problem, weight_of
from scheduler.plan_greedy import greedy
from scheduler.plan_parts import with_parts
from scheduler.planning_request import request, weighed
from scheduler.quiet import QuietHours
from scheduler.rules import GUESTS, IsWorkday, RuleSet, open_in, quota
from scheduler.site_facts import SiteFacts
from scheduler.standing import WINDOW_MS, Standing, Waiting, in_order, occupied_min, penalties, standings
from scheduler.tariff import fen_kwh
from scheduler.turns import HOLDING, LEAST_KWH, WAITING, NotNow, Turn, age_ms, wants_from_ms

OFFER_AHEAD_MS = 30 * 60_000
"""A place is offered this long before it begins, at the earliest: until then it goes to whoever needs it most."""
TURNOVER = 1
"""Buckets that a plug is kept free after each car, which may leave a little late."""
MOST_SAID = 100_000
"""Of so many turns it is remembered when they were said to begin."""

Solve = Callable[[Problem], Plan]


class Queue(NamedTuple):
    """Who waits at a site, first in turn first; by household its standing, minutes of overstay, and missed turns."""

    order: list[Turn]
    standing: dict[str, Standing]
    penalty: dict[str, tuple[int, int]]


class Likely(NamedTuple):
    """Where somebody would go, and when it would begin at the latest in nine of ten cases."""

    place: Place
    p90_ms: int


class Unseen(Exception):
    """What is free cannot be told now."""


class Planning:
    """Used by who leads alone. `solve` makes the best plan that there is time for."""

    def __init__(self, desk: Desk, ground: Ground, solve: Solve, is_workday: IsWorkday, turnover: int = 0) -> None:
        self._turnover = turnover
        """Buckets that a plug is kept free after each car, which may leave a little late."""
        self._desk, self._ledger, self._ground = desk, desk.ledger, ground
        self._solve, self._is_workday = solve, is_workday
        self.estimate = Estimate()
        self._said: dict[str, tuple[int, int]] = {}
        """By turn, when a start was said of it first, and which."""

    def site(self, site_id: str, now_ms: int) -> None:
        """Place everybody who waits at a site, and offer what begins soon."""
        site, rules, version = self._desk.rules(site_id)
        first = bucket_at(now_ms)
        waiting = self._waiting(site_id, first)
        if not waiting:
            return
        queue = self._order(site_id, rules, waiting, now_ms)
        order = queue.order
        problem = self._problem(site, rules, first, order)
        plan = with_parts(problem, self._solve(problem), round(LEAST_KWH * 1_000))
        self._ledger.decide(self._decided(queue, plan, rules, version, now_ms))
        self._say(plan, now_ms)
        later: list[tuple[Turn, Place | None]] = []
        for turn in order:
            place = plan.places.get(turn.id)
            if place is not None and is_time_to_offer(place.start_ms, rules.quiet, now_ms):
                self._offer(turn, place, problem, rules.quiet, now_ms)
            elif place != turn.place and not (place is None and self._is_unheard(turn.place)):
                later.append((turn, place))
        if later:
            self._desk.plan_all(later, now_ms)

    def _is_unheard(self, place: Place | None) -> bool:
        """Whether its plug is only not heard of just now: what was published there is likely to hold again."""
        return place is not None and self._ground.seen(place.connector) in ("silent", "unknown")

    def likely(self, turn: Turn, now_ms: int) -> Likely | None:
        """Where a turn would go at its site if it waited there, beside all who do; None where nowhere. Nothing is
        written, offered, or remembered. Raises Unseen.
        """
        if not self._ground.believed:
            raise Unseen("nothing is heard of the piles")
        site, rules, _ = self._desk.rules(turn.site)
        first = bucket_at(now_ms)
        if not _is_near(turn, first):
            return None
        queue = self._order(turn.site, rules, [*self._waiting(turn.site, first), turn], now_ms)
        problem = self._problem(site, rules, first, queue.order)
        plan = with_parts(problem, greedy(problem), round(LEAST_KWH * 1_000))
        place = plan.places.get(turn.id)
        if place is None:
            return None
        return Likely(place, place.start_ms + self.estimate.longer(0.9, place.start_ms - now_ms))

    def _waiting(self, site_id: str, first: int) -> list[Turn]:
        asked = self._ledger.turns(site=site_id, states=WAITING)
        return [turn for turn in asked if _is_near(turn, first)]

    def _offer(self, turn: Turn, place: Place, problem: Problem, quiet: QuietHours, now_ms: int) -> None:
        """From now on, where its plug is free already and its car can be there; somebody else may be faster."""
        is_free = self._ground.seen(place.connector) == "free" and not any(
            one.place.connector == place.connector and problem.first in one.place.buckets for one in problem.fixed
        )
        choices = [place]
        if (
            place.first == problem.first + 1
            and is_free
            and wants_from_ms(turn) <= now_ms
            and not quiet.quiet_at(now_ms)
        ):
            choices.insert(0, Place(place.connector, problem.first, (0, *place.watts)))
        for choice in choices:
            with suppress(NotNow, Taken, OverLimit):
                self._desk.offer(turn, choice, now_ms)
                return

    def _order(self, site_id: str, rules: RuleSet, waiting: Sequence[Turn], now_ms: int) -> Queue:
        since_ms = now_ms - WINDOW_MS
        pool = self._ledger.pool(site_id, since_ms)
        for turn in waiting:  # of whom one may be only thought of
            if turn.household is not None:
                pool.setdefault(turn.household, turn.requested_ms)
        given, missed = self._ledger.deliveries(pool, since_ms), self._ledger.no_shows(pool, since_ms)
        standing = standings(pool, occupied_min(given, missed, now_ms), now_ms)
        known = {turn.id: turn for turn in waiting}
        asked = [
            Waiting(
                turn=turn.id, standing_min=_minutes(standing, turn), age_ms=age_ms(turn, now_ms),
                requested_ms=turn.requested_ms, advantage_min=sum(self._advantage(turn, rules)),
            )
            for turn in waiting
        ]  # fmt: skip
        order = [known[one.turn] for one in in_order(asked)]
        order.sort(key=lambda turn: turn.instead_of is None)  # whom we failed first
        return Queue(order, standing, penalties(given, missed, now_ms))

    def _advantage(self, turn: Turn, rules: RuleSet) -> tuple[int, int]:
        """Minutes for accessibility, and for an essential vehicle."""
        weighs = rules.accessibility_min or rules.essential_min
        household = self._ledger.household(turn.household) if turn.household and weighs else None
        if household is None:
            return 0, 0
        return rules.accessibility_min * household.accessibility, rules.essential_min * household.essential

    def _problem(self, site: SiteFacts, rules: RuleSet, first: int, order: Sequence[Turn]) -> Problem:
        """From the bucket that runs, in which nothing is promised any more but a plug that is free now."""
        buckets = range(first, first + BUCKETS_PER_DAY)
        hours = [_hour(bucket, rules, self._is_workday) for bucket in buckets]
        plugs = [one for one in site.connectors if self._ground.plug(one.id).trouble is None]
        all_w = sum(one.max_w for one in site.connectors)
        counts = {
            compound: tuple(one.quotas[no] for one in hours) for no, compound in enumerate((*rules.compounds, GUESTS))
        }
        return Problem(
            first=first,
            limit_w=(0, *(all_w if site.limit_w is None else site.limit_w,) * (BUCKETS_PER_DAY - 1)),
            open=tuple(one.is_open for one in hours),
            quiet=tuple(one.is_night for one in hours),
            tariff_fen_kwh=tuple(one.fen_kwh for one in hours),
            plugs=tuple(Plug(id=one.id, kind=one.type, max_w=one.max_w, min_w=one.least_w) for one in plugs),
            requests=tuple(
                request(turn, plugs, rules, weighed(turn, weight_of(rank, len(order))), self._turnover, first + 1)
                for rank, turn in enumerate(order)
            ),
            fixed=tuple(Fixed(place=Place(one.id, first, (0,))) for one in plugs if self._ground.seen(one.id) != "free")
            + tuple(
                Fixed(place=turn.place, compound=turn.compound, turnover=free)
                for turn in self._ledger.turns(site=site.id, states=HOLDING)
                for free in [_kept_free(turn, self._turnover, first + 1, rules.quiet)]
                if turn.place is not None and turn.place.end + free > first
            ),
            quotas={
                compound: tuple(len(site.connectors) if count is None else count for count in row)
                for compound, row in counts.items()
                if any(count is not None for count in row)
            },
        )

    def _say(self, plan: Plan, now_ms: int) -> None:
        for turn_id, place in plan.places.items():
            self._said.setdefault(turn_id, (now_ms, place.start_ms))
        while len(self._said) > MOST_SAID:
            del self._said[next(iter(self._said))]

    def began(self, turn: Turn) -> None:
        """A turn is active: learn how much later that came than was said first. Safe to say again."""
        if turn.plugged_ms is not None and (said := self._said.pop(turn.id, None)) is not None:
            at_ms, start_ms = said
            self.estimate.learn(start_ms - at_ms, turn.plugged_ms - start_ms)

    def _decided(self, queue: Queue, plan: Plan, rules: RuleSet, version: int, now_ms: int) -> dict[str, Decision]:
        found = {}
        for rank, turn in enumerate(queue.order, 1):
            place = plan.places.get(turn.id)
            start_ms = place.start_ms if place else None
            longer_ms = self.estimate.longer(0.9, start_ms - now_ms) if start_ms is not None else 0
            accessibility_min, essential_min = self._advantage(turn, rules)
            overstay_min, no_shows = queue.penalty.get(turn.household or "", (0, 0))
            found[turn.id] = Decision(
                rank=rank, of=len(queue.order), standing_min=_minutes(queue.standing, turn), overstay_min=overstay_min,
                no_shows=no_shows, at_ms=now_ms, rules=version,
                waited_min=age_ms(turn, now_ms) // 60_000, accessibility_min=accessibility_min,
                essential_min=essential_min,
                made_good=turn.instead_of is not None, bound_by=plan.reasons.get(turn.id), p50_ms=start_ms,
                p90_ms=None if start_ms is None else start_ms + longer_ms,
            )  # fmt: skip
        return found


def is_time_to_offer(start_ms: int, quiet: QuietHours, now_ms: int) -> bool:
    """Half an hour before it begins at the earliest; what begins in quiet hours, half an hour before those begin."""
    begins = bucket_at(start_ms)
    if _is_quiet(begins, quiet):
        night = range(begins, begins - BUCKETS_PER_DAY, -1)
        begins = next((one for one in night if not _is_quiet(one - 1, quiet)), begins)
    return begins * BUCKET_MS - now_ms <= OFFER_AHEAD_MS


class _Hour(NamedTuple):
    """What rules and tariff say of a bucket. In `is_night` nobody is asked to drive away at its start."""

    is_open: bool
    is_night: bool
    fen_kwh: int
    quotas: tuple[int | None, ...]
    """Of each compound of the rules, and of guests."""


@lru_cache(maxsize=65_536)
def _hour(bucket: int, rules: RuleSet, is_workday: IsWorkday) -> _Hour:
    """Kept, as each plan asks for all that the last one asked for, and a calendar is slow to ask."""
    return _Hour(
        open_in(bucket, rules, is_workday),
        _is_quiet(bucket, rules.quiet) or _is_quiet(bucket - 1, rules.quiet),  # the first after them is to get up in
        round(fen_kwh(bucket * BUCKET_MS, ZoneInfo(rules.quiet.timezone))),
        tuple(quota(compound, bucket, rules, is_workday) for compound in (*rules.compounds, GUESTS)),
    )


@lru_cache(maxsize=65_536)
def _is_quiet(bucket: int, quiet: QuietHours) -> bool:
    return quiet.quiet_at(bucket * BUCKET_MS)


def _kept_free(turn: Turn, turnover: int, first: int, quiet: QuietHours) -> int:
    """Buckets after a place that nobody else is given: where its car stays beyond it already, all until it must leave,
    and in quiet hours until their end: whoever has not come for it by then is asleep.
    """
    place = turn.place
    if not turnover or place is None or turn.state != "active" or place.watts[-1] or place.end > first + 1:
        return turnover
    until = bucket_at(turn.depart_by_ms) + 1
    while _is_quiet(max(until, first) - 1, quiet) and until < first + BUCKETS_PER_DAY:
        until = max(until, first) + 1
    return max(turnover, until - place.end)


def _is_near(turn: Turn, first: int) -> bool:
    """Whether it may begin within the horizon."""
    return bucket_at(turn.earliest_ms) < first + BUCKETS_PER_DAY


def _minutes(standing: dict[str, Standing], turn: Turn) -> float:
    mine = standing.get(turn.household or "")
    return mine.minutes if mine is not None else 0.0
