"""Floor 2 · Arrivals: which turn a car at a plug belongs to, when it is charged, and when it has left.

An alternating-current pile knows no car. Whose it is says the turn's code, given at the pile, or a check-in; where
neither does, the household that the plug is held for is asked, and until then nothing is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from ingest.skew import AHEAD_MS
from scheduler.alone import Around, not_alone
from scheduler.beside import follow
from scheduler.buckets import bucket_at
from scheduler.desk import Desk
from scheduler.ground import Charging, Ground, PlugNow
from scheduler.meanwhile import EARLY_MS, is_asked, is_known
from scheduler.plan import charged_by
from scheduler.site_facts import SiteFacts
from scheduler.stops import Stops
from scheduler.turns import STALE_MS, NotNow, Turn, is_part

PAUSES_MS = 5 * 60_000
"""A car that was given nothing yet and wants nothing for so long is full, and one that takes power for so long after
it wanted none was not; before that it may be waking up, or keeping its battery warm.
"""
NEARLY_KWH = 0.1
"""A car that lacks no more than this of what its place promised has it."""
HEARD_EVERY_MS = 3 * 3_600_000
"""How often it is kept that a car is still there."""


class Arrivals:
    """Used by who leads alone. What it knows beside the ledger is only how much a car was given so far."""

    def __init__(self, desk: Desk, ground: Ground, around: Around = not_alone) -> None:
        self._desk, self._ground, self._around = desk, ground, around
        self._stops = Stops(desk, ground, around)
        self._given: dict[str, Charging] = {}
        """By connector, of the session there; what it was given is no longer said once the car has left."""
        self._sessions: dict[str, str | None] = {}
        """By turn at a plug the session that its car had there at the last look, if it had one."""
        self._turning_ms: dict[str, int] = {}
        """By turn at a plug since when its car is seen to want no more, or after that to take more all the same."""
        self._plugged_ms: dict[str, int] = {}
        """Since when a car is seen plugged, whatever the device's clock says of it."""
        self._without_a_turn: dict[str, Charging | None] = {}
        """Connectors with a car for which there was no bucket or no power to claim."""
        self._by_code: dict[tuple[str, str], Turn] = {}
        """By site and code, who has a promise or an offer there."""

    def refused(self) -> set[str]:
        """Plugs with a car that is not to be served: there was no place for it when it came."""
        return set(self._without_a_turn)

    def look(self, now_ms: int) -> None:
        """Everything that changed at the plugs since the last look."""
        there = {turn.place.connector: turn for turn in self._desk.ledger.turns(states=["active"]) if turn.place}
        here = {turn.id for turn in there.values()}
        self._sessions = {turn: session for turn, session in self._sessions.items() if turn in here}
        self._turning_ms = {turn: since_ms for turn, since_ms in self._turning_ms.items() if turn in here}
        self._hear(there, now_ms)
        promised = self._desk.ledger.turns(states=["offered", "reserved"])
        held = _first_at_each(turn for turn in promised if _is_awaited(turn, now_ms))
        self._by_code = {(turn.site, turn.code): turn for turn in promised if turn.code is not None}
        given = self._desk.ledger.versions()
        for site in self._ground.sites().values():
            connectors = [one.id for one in site.connectors] if site.id in given else []
            for connector in connectors:  # who leaves first: that makes room for who comes
                with self._around(site.id):
                    if connector in there and self._ends(there[connector], connector, held.get(connector), now_ms):
                        del there[connector]
            for connector in connectors:
                with self._around(site.id):
                    self._at(site, connector, there.get(connector), held.get(connector), now_ms)
        self._stops.look(there.values(), self._given, now_ms)

    def _ends(self, active: Turn, connector: str, holder: Turn | None, now_ms: int) -> bool:
        """Whether the turn there is over: its car left, or was a walk-in and is said to be the one that is awaited."""
        plug = self._ground.plug(connector)
        if plug.plugged is None:
            if plug.trouble == "unknown" or active.finished_ms is None:
                return False
            self._left(active, connector, plug, now_ms)  # nobody can see it leave, and its household is done
            return True
        if not plug.plugged or self._is_another(active, plug.charging):
            self._left(active, connector, plug, now_ms)
            self._plugged_ms.pop(connector, None)
            return True
        if active.kind == "walk_in" and self._is_known(connector, holder, plug, now_ms):
            with suppress(NotNow):
                self._desk.unplug(active, now_ms)
            return True
        return False

    def _at(self, site: SiteFacts, connector: str, active: Turn | None, holder: Turn | None, now_ms: int) -> None:
        plug = self._ground.plug(connector)
        if plug.plugged is None:
            return
        if active is not None:
            self._charges(active, plug, now_ms)
        if plug.charging is not None:
            self._given[connector] = plug.charging
        if not plug.plugged:
            self._given.pop(connector, None)
            self._plugged_ms.pop(connector, None)
            self._without_a_turn.pop(connector, None)
        elif self._follows(site, connector, active, plug, now_ms):
            self._without_a_turn.pop(connector, None)
        elif active is None and (
            self._is_known(connector, holder, plug, now_ms) or self._is_new(connector, plug.charging)
        ):
            self._came(site, connector, plug, holder, now_ms)

    def _follows(self, site: SiteFacts, connector: str, active: Turn | None, plug: PlugNow, now_ms: int) -> bool:
        """Whether the code of who is awaited at another plug was typed at this one, and its turn goes on here."""
        typed = self._typed(site.id, plug)
        if typed is None or typed.place is None or typed.place.connector == connector or not _is_awaited(typed, now_ms):
            return False
        if active is not None and active.kind != "walk_in":
            return False
        is_free = self._is_free_for(site.id, typed.place.connector, connector)
        return follow(self._desk, site, typed, connector, active, now_ms, left_is_free=is_free)

    def _is_free_for(self, site: str, left: str, taken: str) -> bool:
        """Whether who was promised the plug `taken` can have the one that is `left`, where it may stand already."""
        seen = self._ground.seen(left)
        there = self._typed(site, self._ground.plug(left)) if seen == "taken" else None
        is_its_own = there is not None and there.place is not None and there.place.connector == taken
        return seen in ("free", "arriving") or is_its_own

    def _typed(self, site: str, plug: PlugNow) -> Turn | None:
        """Whose code was typed there."""
        return self._by_code.get((site, plug.token)) if plug.token is not None else None

    def _is_another_s(self, holder: Turn, plug: PlugNow) -> bool:
        """Whether the code of another household's promise was typed there, which is surer than any check-in."""
        typed = self._typed(holder.site, plug)
        return typed is not None and typed.household != holder.household

    def _is_next_s(self, holder: Turn, plug: PlugNow) -> bool:
        """Whether that promise is of the same plug, so that its car stays; one that is elsewhere may still go there."""
        typed = self._typed(holder.site, plug)
        if typed is None or typed.place is None or holder.place is None:
            return False
        return self._is_another_s(holder, plug) and typed.place.connector == holder.place.connector

    def _charges(self, active: Turn, plug: PlugNow, now_ms: int) -> None:
        """Its car wants no more, or was given what was planned with, or goes on after a pause of its own."""
        if plug.charging is not None or active.id not in self._sessions:
            self._sessions[active.id] = plug.charging.session if plug.charging is not None else None
        had_kwh = plug.charging.energy_kwh if plug.charging is not None else 0.0
        has_ended = plug.charging is not None and plug.charging.ended
        has_all = _has_all(active, had_kwh, now_ms)
        wants_no_more = plug.full or has_ended or has_all
        is_charged = active.charged_ms is not None
        if wants_no_more == is_charged or (is_charged and not plug.power_w):
            self._turning_ms.pop(active.id, None)
            return
        since_ms = self._turning_ms.setdefault(active.id, now_ms)
        is_sure = has_ended or has_all or (plug.full and had_kwh > 0)
        if is_sure or now_ms - since_ms >= PAUSES_MS:
            with suppress(NotNow):
                (self._desk.resumed if is_charged else self._desk.charged)(active, now_ms)

    def _is_another(self, turn: Turn, charging: Charging | None) -> bool:
        """Whether the session there is not the one of the turn's car: that one left, and this is the next.

        Who knew of none can only compare when they began, and devices' clocks differ.
        """
        if charging is None or turn.plugged_ms is None:
            return False
        known = self._sessions.get(turn.id)
        if known is not None:
            return charging.session != known
        return charging.started_ms > turn.plugged_ms + AHEAD_MS

    def _hear(self, there: dict[str, Turn], now_ms: int) -> None:
        """Keep of all cars together that they are still there."""
        old = [turn for turn in there.values() if (turn.due_ms or 0) < now_ms + STALE_MS - HEARD_EVERY_MS]
        here = [turn for turn in old if turn.place is not None and self._ground.plug(turn.place.connector).plugged]
        there |= {turn.place.connector: turn for turn in self._desk.heard(here, now_ms) if turn.place is not None}

    def _came(self, site: SiteFacts, connector: str, plug: PlugNow, holder: Turn | None, now_ms: int) -> None:
        charging = plug.charging
        if holder is not None:
            plugged_ms = self._came_ms(connector, charging, now_ms)
            with suppress(NotNow):  # cancelled a moment ago: whoever came is no longer that one
                if self._is_known(connector, holder, plug, now_ms):
                    self._desk.plug_in(holder, now_ms)
                    self._without_a_turn.pop(connector, None)
                    return
                if not self._is_next_s(holder, plug) and (holder.asked_ms is None or holder.asked_ms < plugged_ms):
                    self._desk.whose(holder, now_ms, plugged_ms)
                    return
                if is_asked(holder, now_ms) or (holder.place is not None and holder.place.start_ms <= now_ms):
                    return  # the watch finds it another place, and this one is free then
        self._came_ms(connector, charging, now_ms)
        if self._desk.walk_in(connector, site.id, now_ms) is None:
            self._without_a_turn[connector] = charging

    def _left(self, turn: Turn, connector: str, plug: PlugNow, now_ms: int) -> None:
        """It left when its plug was free, or when the next one's session began, which may be long before this look."""
        given = self._given.pop(connector, None)
        since_ms = plug.charging.started_ms if plug.plugged and plug.charging is not None else plug.since_ms
        left_ms = now_ms if since_ms is None else min(now_ms, max(since_ms, turn.plugged_ms or 0))
        with suppress(NotNow):
            self._desk.unplug(turn, now_ms, energy_kwh=given.energy_kwh if given else 0.0, left_ms=left_ms)

    def _is_new(self, connector: str, charging: Charging | None) -> bool:
        """Whether it is not the car that was refused a place there."""
        if connector not in self._without_a_turn:
            return True
        refused = self._without_a_turn[connector]
        if refused is None:
            self._without_a_turn[connector] = charging  # it is known by now which session that car's is
            return False
        return charging is not None and charging.session != refused.session

    def _is_known(self, connector: str, holder: Turn | None, plug: PlugNow, now_ms: int) -> bool:
        """Whether code or check-in says that the car is its own, also one that was refused before or is a walk-in."""
        if holder is None or self._is_another_s(holder, plug):
            return False
        return _typed_code(holder, plug) or is_known(holder, self._came_ms(connector, plug.charging, now_ms))

    def _came_ms(self, connector: str, charging: Charging | None, now_ms: int) -> int:
        seen_ms = self._plugged_ms.setdefault(connector, now_ms)
        return seen_ms if charging is None else min(seen_ms, charging.started_ms)


def _has_all(active: Turn, had_kwh: float, now_ms: int) -> bool:
    """Whether its car was given what was planned with; of who was promised a part that, once the time for it is over.
    Who came without a turn may want more.
    """
    if active.kind != "asked" or active.place is None:
        return False
    is_over = is_part(active) and charged_by(active.place) <= bucket_at(now_ms)
    return had_kwh >= (active.place.energy_kwh - NEARLY_KWH if is_over else active.energy_kwh)


def _is_awaited(turn: Turn, now_ms: int) -> bool:
    """Whether its place runs, or begins soon."""
    return turn.place is not None and turn.place.start_ms - EARLY_MS <= now_ms < turn.place.end_ms


def _first_at_each(awaited: Iterable[Turn]) -> dict[str, Turn]:
    """By connector the one whose place runs, or begins next."""
    found: dict[str, Turn] = {}
    for turn in sorted(awaited, key=lambda turn: turn.place.first if turn.place is not None else 0):
        if turn.place is not None:
            found.setdefault(turn.place.connector, turn)
    return found


def _typed_code(holder: Turn | None, plug: PlugNow) -> bool:
    """Whether the code of whom the plug is held for was typed by the car that is there."""
    return holder is not None and holder.code is not None and plug.token == holder.code
