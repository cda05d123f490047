"""Floor 2 · The watch: what time and the ground do to promises, and how they are kept all the same.

It looks at levels, again and again: a tick that was missed is late, never lost.
"""

from __future__ import annotations

from contextlib import suppress

from scheduler import meanwhile, turns
from scheduler.alone import Around, not_alone
from scheduler.buckets import BUCKETS_PER_DAY
from scheduler.desk import Desk, UnknownSite, delivered
from scheduler.elsewhere import CAUSES, GONE, Elsewhere, Plugs, Seen
from scheduler.ledger import Change, Moved, OverLimit, Taken
from scheduler.postings import given_back, notice
from scheduler.turns import HOLD_MIN, Cause, NotNow, Turn

AT_A_TIME = 100
BROKEN_AHEAD_MS = 2 * 3_600_000
"""Of a plug that is broken, who comes within so long is promised another; it may be mended for whoever comes later."""
LAST_LOOK_MS = 10 * 60_000
"""So long before its start a promise is moved away from a silent plug, and failed where no other place is to be had."""
AWAKE_MS = 3 * 60_000
"""Who looked longer ago than this cannot say that nobody came in between: a hold does not run while nobody looks."""
MOST_STEPS = 2 * BUCKETS_PER_DAY
"""Of one car that stays, in one look."""


class Watch:
    """Used by who leads alone. `now_ms` is service time. `makes_good`: whom we fail waits for the next free place."""

    def __init__(
        self,
        desk: Desk,
        plugs: Plugs,
        awake_ms: int = AWAKE_MS,
        *,
        makes_good: bool = True,
        around: Around = not_alone,
    ) -> None:
        self._around = around
        self._makes_good = makes_good
        self._awake_ms = awake_ms
        self._desk, self._ledger, self._plugs = desk, desk.ledger, plugs
        self._other = Elsewhere(desk, plugs)
        self._looked_ms: int | None = None
        self._awake = False
        self._kept_away: dict[str, tuple[int, Cause]] = {}
        """By promise whose place runs, when its plug was last not there for it, and why."""
        self._leave_by_ms: dict[str, int | None] = {}
        """By connector with the car of a turn, by when that was told to leave."""

    def tick(self, now_ms: int) -> None:
        """Everything that is due: first cars that stay beyond their place, so that no one's hold runs for nothing."""
        self._awake = self._looked_ms is not None and now_ms - self._looked_ms <= self._awake_ms
        self._looked_ms = now_ms
        there = self._ledger.turns(states=["active"])
        for turn in there:
            with self._around(turn.site), suppress(NotNow, UnknownSite):  # it changed since: the next look decides
                self._stays(turn, now_ms)
        self._leave_by_ms = {turn.place.connector: turn.leave_by_ms for turn in there if turn.place is not None}
        held = self._ledger.turns(states=["offered", "reserved"])
        self._kept_away = {turn.id: self._kept_away[turn.id] for turn in held if turn.id in self._kept_away}
        for turn in held:
            with self._around(turn.site), suppress(NotNow, UnknownSite):
                self._awaits(turn, now_ms)
                if meanwhile.is_soon(turn, now_ms) and not self._waits_behind_another(turn):
                    self._leave(turn, meanwhile.soon(turn, now_ms), now_ms, says="soon")
        seen: set[tuple[str, int]] = set()
        while over := [turn for turn in self._ledger.due(now_ms, AT_A_TIME) if (turn.id, turn.rev) not in seen]:
            for turn in over:
                seen.add((turn.id, turn.rev))
                with self._around(turn.site), suppress(NotNow, UnknownSite):
                    self._over(turn, now_ms)

    def _awaits(self, turn: Turn, now_ms: int) -> None:
        """Whether the plug of a promise or an offer can be used when it begins."""
        assert turn.place is not None
        seen = self._plugs.seen(turn.place.connector)
        begins_in_ms = turn.place.start_ms - now_ms
        if begins_in_ms <= 0 and turn.state == "reserved" and not (seen == "free" and self._awake):
            self._kept_away[turn.id] = now_ms, "BLOCKED" if seen == "arriving" else self._cause(turn, seen)
        ahead_ms = {"broken": BROKEN_AHEAD_MS, "silent": LAST_LOOK_MS}.get(seen, 0)
        is_stuck = seen == "taken" and begins_in_ms > 0 and self._overstays(turn.place.connector, now_ms)
        if seen not in CAUSES or begins_in_ms > (LAST_LOOK_MS if is_stuck else ahead_ms):
            return
        if seen == "taken" and (turn.state == "offered" or self._may_be_its_own(turn, now_ms)):
            return
        self._elsewhere(turn, now_ms, self._cause(turn, seen), or_fail=begins_in_ms <= LAST_LOOK_MS, in_time=is_stuck)

    def _overstays(self, connector: str, now_ms: int) -> bool:
        """Whether the car of a turn stays there beyond the time by which it was told to leave."""
        leave_by_ms = self._leave_by_ms.get(connector)
        return leave_by_ms is not None and leave_by_ms <= now_ms

    def _waits_behind_another(self, turn: Turn) -> bool:
        """Whether it was delayed and its plug is still taken: that it begins soon would be said again and again."""
        assert turn.place is not None
        return turn.delayed_ms is not None and self._plugs.seen(turn.place.connector) == "taken"

    def _cause(self, turn: Turn, seen: Seen) -> Cause:
        """Why its plug was not there for it: where of several piles none works, that is more than a broken pile."""
        cause = CAUSES.get(seen, "BROKEN_CHARGER")
        site = self._desk.sites.site(turn.site) if seen in GONE else None
        plugs = () if site is None else [one.id for one in site.connectors]
        is_several = len({plug.rpartition("/")[0] for plug in plugs}) > 1
        return "POWER_OUTAGE" if is_several and all(self._plugs.seen(plug) in GONE for plug in plugs) else cause

    def _may_be_its_own(self, turn: Turn, now_ms: int) -> bool:
        """Whether the car at its plug was just said to be its own, or that is still being asked. A check-in beside the
        car of another turn says only that somebody waits there.
        """
        came_ms = turn.checked_in_ms
        return meanwhile.is_asked(turn, now_ms) or (came_ms is not None and now_ms < came_ms + meanwhile.NEAR_MS)

    def _over(self, turn: Turn, now_ms: int) -> None:
        """A state has run out."""
        if turn.state == "offered":
            self._try(given_back(turn, now_ms), now_ms=now_ms)
        elif turn.state == "reserved":
            self._nobody_came(turn, now_ms)
        elif turn.state == "active":
            self._unheard(turn, now_ms)
        else:
            self._leave(turn, turns.expired(turn, now_ms), now_ms, says="expired")

    def _nobody_came(self, turn: Turn, now_ms: int) -> None:
        """Missed only where it is known that the plug was there for it."""
        assert turn.place is not None
        seen, is_past = self._plugs.seen(turn.place.connector), turn.place.end_ms <= now_ms
        kept_ms, why = self._kept_away.get(turn.id, (0, "BROKEN_CHARGER"))
        quiet = self._desk.quiet(turn)
        is_kept = kept_ms > 0 and now_ms < quiet.after(kept_ms, HOLD_MIN)
        if seen == "free" and not is_kept:
            self._leave(turn, turns.missed(turn, now_ms), now_ms, says="missed")
        elif is_past:
            cause = self._cause(turn, seen) if seen in CAUSES else why
            self._try(*self._failing(turn, cause, now_ms), now_ms=now_ms)
        elif seen not in CAUSES:
            self._leave(turn, turns.waits_on(turn, kept_ms or now_ms, quiet), now_ms)

    def _unheard(self, turn: Turn, now_ms: int) -> None:
        """A car whose plug was not heard of for a day, or that left unseen: it was there until it was last heard of."""
        last_ms = min(now_ms, turns.heard_ms(turn) or now_ms)
        self._leave(turn, turns.done(turn, now_ms), now_ms, delivery=delivered(turn, last_ms, 0.0))

    def _stays(self, turn: Turn, now_ms: int) -> None:
        """A car is still there at the end of its place: claim what it keeps from others until it leaves.

        A bucket at a time, since each may be another's, who is moved in the same transaction. No limit holds for what
        has happened.
        """
        for _ in range(MOST_STEPS):
            if turn.state != "active" or turn.place is None or turn.place.end_ms > now_ms:
                return
            if self._plugs.seen(turn.place.connector) == "unknown":
                return
            stays = Change(before=turn, after=turns.stays(turn))
            try:
                [turn] = self._ledger.commit([stays], now_ms)
            except Taken as taken:
                other = self._ledger.turn(taken.claim.turn)
                if other is not None and other.state == "active":  # so this one has left, unheard
                    self._unheard(turn, now_ms)
                elif other is not None and not self._elsewhere(other, now_ms, "BLOCKED", with_=stays):
                    return
                turn = self._desk.turn(turn.id)
            except Moved:
                turn = self._desk.turn(turn.id)

    def _elsewhere(
        self,
        turn: Turn,
        now_ms: int,
        cause: Cause,
        *,
        with_: Change | None = None,
        or_fail: bool = True,
        in_time: bool = False,
    ) -> bool:
        """Move a promise to the first place that is free before it must leave; where there is none, fail it. `in_time`:
        to one that begins when it was promised, or not yet.

        Whether anything of it was kept.
        """
        together = [] if with_ is None else [with_]
        for place in self._other.places(turn, now_ms):
            moved = turns.moved(turn, place, now_ms, self._desk.quiet(turn))
            later = turn.place is not None and place.start_ms > turn.place.start_ms
            if later and in_time:
                return False
            moved = turns.delayed(moved, now_ms) if later else moved
            says = "delayed" if turn.place is not None and place.connector == turn.place.connector else "moved"
            told = notice(moved, says, was=turn.place, why=cause)
            if self._try(*together, self._desk.change(turn, moved, outgoing=(told,)), now_ms=now_ms):
                if place.start_ms < now_ms:
                    self._kept_away[turn.id] = now_ms, cause
                return True
        if not or_fail or in_time:
            return False
        if turn.state == "offered":
            told = notice(turns.withdrawn(turn), "withdrawn", was=turn.place, why=cause)
            together.append(self._desk.change(turn, turns.withdrawn(turn), outgoing=(told,) if turn.told_ms else ()))
        else:
            together += self._failing(turn, cause, now_ms)
        return self._try(*together, now_ms=now_ms)

    def _failing(self, turn: Turn, cause: Cause, now_ms: int) -> list[Change]:
        """It cannot be kept: said, and made good by the next free place, which displaces no other promise."""
        failed = turns.failed(turn, cause, now_ms)
        gone = self._desk.change(turn, failed, outgoing=(notice(failed, "failed", was=turn.place),))
        is_there = self._desk.sites.site(turn.site) is not None  # where the inventory has it no longer, none comes free
        return [gone, self._desk.made_good(turn, now_ms)] if self._makes_good and is_there else [gone]

    def _leave(self, before: Turn, after: Turn, now_ms: int, *, says: str = "", **more: object) -> None:
        leaving = (notice(after, says),) if says and after.household else ()
        self._try(self._desk.change(before, after, outgoing=leaving, **more), now_ms=now_ms)

    def _try(self, *changes: Change, now_ms: int) -> bool:
        """Keep them; False where another was faster, or the place is not to be had. The next look decides again."""
        try:
            self._ledger.commit(list(changes), now_ms)
        except (Moved, Taken, OverLimit):
            return False
        return True
