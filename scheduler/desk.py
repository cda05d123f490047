"""Floor 2 · The desk: everything that changes a turn goes through here, whoever wants it.

Each method reads, lets the pure steps decide, and keeps the outcome in one change of the ledger. Where another was
faster the ledger says `Moved`, and the desk reads and decides again. What leaves because of a step is written with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from scheduler import meanwhile, turns
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.ledger import (
    NO_LIMITS,
    Change,
    Known,
    Ledger,
    Limits,
    Moved,
    OverLimit,
    Taken,
    TooMany,
    UnknownHousehold,
)
from scheduler.postings import notice
from scheduler.quiet import QuietHours
from scheduler.rules import GRACE_MIN, NIGHT, Asked, IsWorkday, Refusal, Rule, RuleSet, open_in, pool_of, quota, refusal
from scheduler.site_facts import SiteFacts, Sites, most_w
from scheduler.standing import Delivery, need_kwh
from scheduler.taken import whole_kwh
from scheduler.turns import Turn

ATTEMPTS = 5
UNLIMITED = 1_000_000
"""Stands for no limit in a bucket, where others of the same place have one."""


class Wish(Struct, frozen=True, kw_only=True):
    """What a household asks for. `room_kwh` is what its battery has room for, where that is known. Service time."""

    site: str
    household: str
    vehicle: str
    energy_kwh: float
    max_w: int
    earliest_ms: int
    depart_by_ms: int
    room_kwh: float | None = None
    flexible: bool = False


class Names(Protocol):
    """Where ids, call names and codes come from; codes are secret, and drawn anew for each turn."""

    def turn_id(self) -> str: ...

    def call(self) -> str: ...

    def code(self) -> str: ...


class UnknownSite(Exception):
    """There is no such site, or it has no rules yet: nobody can ask there."""


class UnknownTurn(Exception):
    """There is no such turn."""


Which = Turn | str
"""A turn as it was read, or its id."""


class Desk:
    """Safe to use from several threads, as the ledger is. All times are service time in milliseconds."""

    def __init__(self, ledger: Ledger, sites: Sites, names: Names, is_workday: IsWorkday) -> None:
        self.ledger, self.sites = ledger, sites
        self.names, self.is_workday = names, is_workday

    def ask(self, wish: Wish, now_ms: int, key: str | None = None, by: str = "") -> Turn:
        """Keep a wish as a turn: `requested`, or `rejected` with the rule that says no.

        A wish with a key that its household used before gives the turn that it made then. Raises UnknownSite and
        UnknownHousehold.
        """
        site, rules, version = self.rules(wish.site)
        household = self.ledger.household(wish.household)
        if household is None:
            raise UnknownHousehold(wish.household)
        energy_kwh = need_kwh(wish.energy_kwh, wish.room_kwh, whole_kwh(self.ledger, wish.household))
        asked = Asked(
            compound=household.compound, energy_kwh=energy_kwh, max_w=min(wish.max_w, most_w(site)),
            earliest_ms=wish.earliest_ms, depart_by_ms=wish.depart_by_ms,
        )  # fmt: skip
        refused = refusal(asked, rules, now_ms, self.is_workday)
        turn = Turn(
            id=self.names.turn_id(), site=site.id, mode=site.mode, household=household.id, vehicle=wish.vehicle,
            compound=pool_of(household.compound, rules), state="requested", energy_kwh=energy_kwh, max_w=asked.max_w,
            earliest_ms=wish.earliest_ms, depart_by_ms=wish.depart_by_ms, requested_ms=now_ms, waiting_ms=now_ms,
            due_ms=None, flexible=wish.flexible, rules=version, call=self.names.call(), code=self.names.code(),
        )  # fmt: skip
        turn = replace(turn, due_ms=turns.latest_start_ms(turn))
        if refused is not None:
            return self._reject(turn, refused.rule, now_ms, key, by)
        try:
            return self._keep(None, turn, now_ms, key=key, by=by, asked=True)
        except Known as known:
            return known.turn
        except TooMany as busy:
            return self._reject(turn, f"one_turn_a_{busy.what}", now_ms, key, by)

    def plan(self, which: Which, place: Place | None, now_ms: int) -> Turn:
        """Give a turn its tentative place. Raises NotNow."""
        return self._step(which, now_ms, lambda turn: turns.planned(turn, place), by="planner")

    def plan_all(self, places: Sequence[tuple[Turn, Place | None]], now_ms: int) -> None:
        """The same of several at once. Those that another changed in between stay as they are."""
        changes = [self.change(turn, turns.planned(turn, place), by="planner") for turn, place in places]
        try:
            self.ledger.commit(changes, now_ms)
        except Moved:
            for turn, place in places:
                with suppress(turns.NotNow, Moved):
                    self.plan(turn, place, now_ms)

    def offer(self, which: Which, place: Place, now_ms: int) -> Turn:
        """Hold a place for an answer. Raises NotNow, Taken, OverLimit."""

        def held(turn: Turn) -> Turn:
            return turns.offered(turn, place, now_ms, self.quiet(turn))

        return self._step(which, now_ms, held, by="planner", says="offer")

    def told(self, which: Which, now_ms: int, sent: str | None = None) -> Turn:
        """The notice `sent` of an offer was delivered. Raises NotNow."""
        return self._step(
            which, now_ms, lambda turn: turns.told(turn, now_ms, self.quiet(turn)), by="notices", sent=sent
        )

    def accept(self, which: Which, now_ms: int, by: str = "") -> Turn:
        """Raises NotNow, also where the time to answer is over."""
        return self._step(
            which, now_ms, lambda turn: turns.accepted(turn, now_ms, self.quiet(turn)), by=by, says="reserved"
        )

    def snooze(self, which: Which, now_ms: int, by: str = "") -> Turn:
        return self._step(which, now_ms, lambda turn: turns.snoozed(turn, now_ms), by=by)

    def cancel(self, which: Which, now_ms: int, by: str = "") -> Turn:
        return self._step(which, now_ms, lambda turn: turns.cancelled(turn, now_ms), by=by)

    def plug_in(self, which: Which, now_ms: int) -> Turn:
        """The car of a turn is at its plug."""
        return self._step(which, now_ms, lambda turn: turns.plugged_in(turn, now_ms), by="watch")

    def heard(self, there: Sequence[Turn], now_ms: int) -> list[Turn]:
        """Their connectors were heard of, and the cars are there. None of them where another changed one in between."""
        if not there:
            return []
        try:
            changes = [self.change(turn, turns.heard(turn, now_ms), by="watch") for turn in there]
            return self.ledger.commit(changes, now_ms)
        except Moved:  # the next look finds them again
            return []

    def check_in(self, which: Which, now_ms: int, by: str = "") -> Turn:
        """Its household is at the plug. Raises NotNow, also where its place is not now."""
        return self._step(which, now_ms, lambda turn: meanwhile.checked_in(turn, now_ms), by=by)

    def whose(self, which: Which, now_ms: int, plugged_ms: int) -> Turn:
        """A car is at the plug of a turn since then, and nothing says whose: ask its household. Raises NotNow."""
        return self._step(
            which, now_ms, lambda turn: meanwhile.asked(turn, now_ms, plugged_ms), by="watch", says="asked"
        )

    def charged(self, which: Which, now_ms: int) -> Turn:
        """Its car wants no more, or has what was planned for it. Raises NotNow."""
        return self._step(which, now_ms, lambda turn: meanwhile.charged(turn, now_ms), by="watch", says="charged")

    def resumed(self, which: Which, now_ms: int) -> Turn:
        """Its car takes more all the same. Raises NotNow."""
        return self._step(which, now_ms, meanwhile.resumed, by="watch")

    def told_charged(self, which: Which, now_ms: int, sent: str | None = None) -> Turn:
        """The notice `sent` of that was delivered: overstay is counted from its time on. Raises NotNow."""

        def told(turn: Turn) -> Turn:
            return meanwhile.told_charged(turn, now_ms, self.quiet(turn), self.grace_min(turn))

        return self._step(which, now_ms, told, by="notices", sent=sent)

    def finish(self, which: Which, now_ms: int, by: str = "") -> Turn:
        """Its household wants no more: the pile is told to stop. Raises NotNow."""
        turn = which if isinstance(which, Turn) else self.turn(which)
        says = "charged" if turn.charged_ms is None else ""
        return self._step(turn, now_ms, lambda turn: meanwhile.finished(turn, now_ms), by=by, says=says)

    def unplug(self, which: Which, now_ms: int, energy_kwh: float = 0.0, left_ms: int | None = None) -> Turn:
        """The car of a turn left, now or then; what it was given is kept for its household's standing."""
        return self._step(
            which, now_ms, lambda turn: turns.done(turn, now_ms), by="watch",
            delivery=lambda turn: delivered(turn, now_ms if left_ms is None else left_ms, energy_kwh),
        )  # fmt: skip

    def walk_in(self, connector: str, site_id: str, now_ms: int) -> Turn | None:
        """A car that came without a turn: a place to the next promise there, or of the longest turn, at the power that
        nobody was promised, within the hours of the site. None where there is no bucket, or not power enough for any
        car in it: then nothing may start.
        """
        site, rules, version = self.rules(site_id)
        if site_id in self.ledger.cuts():
            return None
        plug = next((one for one in site.connectors if one.id == connector), None)
        most_of_it, least_w = (plug.max_w, plug.least_w) if plug is not None else (0, 0)
        buckets = range(bucket_at(now_ms), bucket_at(now_ms) + rules.longest_turn_min * 60_000 // BUCKET_MS)
        over = {turn.id for turn in self.ledger.turns(site=site.id, states=["offered"]) if turns.lapsed(turn, now_ms)}
        claims = self.ledger.claims(site.id, buckets)
        taken = {claim.bucket for claim in claims if claim.connector == connector and claim.turn not in over}
        watts = []
        for bucket, reserved_w in zip(buckets, self.ledger.reserved_w(site.id, buckets), strict=True):
            if bucket in taken or not self.is_open(bucket, rules):
                break
            watts.append(max(0, min(most_of_it, most_of_it if site.limit_w is None else site.limit_w - reserved_w)))
        if not watts or watts[0] < max(1, least_w):
            return None
        place = Place(connector, buckets.start, tuple(watts))
        turn = Turn(
            id=self.names.turn_id(), site=site.id, mode=site.mode, kind="walk_in", state="active",
            energy_kwh=place.energy_kwh, max_w=most_of_it, earliest_ms=now_ms, depart_by_ms=place.end_ms,
            requested_ms=now_ms, waiting_ms=None, due_ms=now_ms + turns.STALE_MS, place=place, rules=version,
            call=self.names.call(), plugged_ms=now_ms,
        )  # fmt: skip
        try:
            return self._keep(None, turn, now_ms, by="watch")
        except (Taken, OverLimit):
            return None

    def made_good(self, turn: Turn, now_ms: int) -> Change:
        """The step by which a household whose promise we fail waits for the next free place; kept with that failing."""
        again = turns.made_good(turn, self.names.turn_id(), self.names.call(), self.names.code(), now_ms)
        return self.change(None, again, by="watch")

    def turn(self, turn_id: str) -> Turn:
        """Raises UnknownTurn."""
        found = self.ledger.turn(turn_id)
        if found is None:
            raise UnknownTurn(f"there is no turn {turn_id}")
        return found

    def refusal(self, turn: Turn) -> Refusal | None:
        """The rule that a rejected turn broke, with what would have to be otherwise; None of any other turn."""
        household = self.ledger.household(turn.household or "")
        adopted = self.ledger.rules(turn.site, turn.rules)
        if turn.refused_by is None or household is None or adopted is None:
            return None
        asked = Asked(
            compound=household.compound, energy_kwh=turn.energy_kwh, max_w=turn.max_w,
            earliest_ms=turn.earliest_ms, depart_by_ms=turn.depart_by_ms,
        )  # fmt: skip
        again = refusal(asked, adopted.rules, turn.requested_ms, self.is_workday)
        return again if again is not None else Refusal(cast("Rule", turn.refused_by))

    def rules(self, site_id: str) -> tuple[SiteFacts, RuleSet, int]:
        """A site with the rules in force and their version. Raises UnknownSite."""
        site, adopted = self.sites.site(site_id), self.ledger.rules(site_id)
        if site is None or adopted is None:
            raise UnknownSite(f"there is no site {site_id} where turns are given")
        return site, adopted.rules, adopted.version

    def quiet(self, turn: Turn) -> QuietHours:
        """The quiet hours of the rules that the turn was made by."""
        adopted = self.ledger.rules(turn.site, turn.rules)
        return adopted.rules.quiet if adopted else NIGHT

    def grace_min(self, turn: Turn) -> int:
        """Between the end of charging and overstay, by the rules that the turn was made by."""
        adopted = self.ledger.rules(turn.site, turn.rules)
        return adopted.rules.overstay_grace_min if adopted else GRACE_MIN

    def change(self, before: Turn | None, after: Turn, **more: Any) -> Change:
        """A step; where it claims anything, with the limits of its site and of the rules in force now."""
        place = turns.held(after)
        limits = NO_LIMITS if place is None or place == turns.held(before) else self._limits(place, after)
        return Change(before=before, after=after, limits=limits, **more)

    def is_open(self, bucket: int, rules: RuleSet) -> bool:
        return open_in(bucket, rules, self.is_workday)

    def quota(self, turn: Turn, bucket: int, rules: RuleSet) -> int | None:
        """Connectors that the turn's compound may hold in a bucket; None is no limit."""
        return quota(turn.compound, bucket, rules, self.is_workday)

    def _limits(self, place: Place, turn: Turn) -> Limits:
        site, adopted = self.sites.site(turn.site), self.ledger.rules(turn.site)
        if site is None or adopted is None:
            return NO_LIMITS
        site_w = None if site.limit_w is None else (site.limit_w,) * len(place.watts)
        counts = [self.quota(turn, bucket, adopted.rules) for bucket in place.buckets]
        limited = turn.compound is not None and any(count is not None for count in counts)
        allowed = tuple(UNLIMITED if count is None else count for count in counts)
        return Limits(site_w=site_w, quota=allowed if limited else None)

    def _step(
        self,
        which: Which,
        now_ms: int,
        step: Callable[[Turn], Turn],
        *,
        by: str,
        says: str = "",
        delivery: Callable[[Turn], Delivery | None] = lambda _: None,
        sent: str | None = None,
    ) -> Turn:
        """Decide, keep; and read again where another changed the turn in between. Raises NotNow and UnknownTurn."""
        turn = which if isinstance(which, Turn) else self.turn(which)
        for attempt in range(ATTEMPTS):
            try:
                return self._keep(turn, step(turn), now_ms, by=by, says=says, delivery=delivery(turn), sent=sent)
            except Moved:
                if attempt == ATTEMPTS - 1:
                    raise
                turn = self.turn(turn.id)
        raise AssertionError

    def _keep(self, before: Turn | None, after: Turn, now_ms: int, *, says: str = "", **more: Any) -> Turn:
        leaving = (notice(after, says),) if says and after.household else ()
        [kept] = self.ledger.commit([self.change(before, after, outgoing=leaving, **more)], now_ms)
        return kept

    def _reject(self, turn: Turn, rule: str, now_ms: int, key: str | None, by: str) -> Turn:
        rejected = replace(turn, state="rejected", refused_by=rule, due_ms=None, waiting_ms=None, ended_ms=now_ms)
        try:
            return self._keep(None, rejected, now_ms, key=key, by=by, asked=True)
        except Known as known:
            return known.turn


def delivered(turn: Turn, left_ms: int, energy_kwh: float) -> Delivery | None:
    """What a household was given; None of a turn that nobody asked for, or that never began."""
    if turn.household is None or turn.plugged_ms is None:
        return None
    return Delivery(
        household=turn.household, plugged_ms=turn.plugged_ms, unplugged_ms=max(left_ms, turn.plugged_ms),
        overstay_ms=meanwhile.overstay_ms(turn, left_ms), energy_kwh=energy_kwh,
    )  # fmt: skip
