"""A witness of what the ledger keeps: each step of a turn is held against what is at the plugs, read naively."""

from __future__ import annotations

from collections.abc import Collection

from ingest.skew import AHEAD_MS
from scheduler.buckets import bucket_at
from scheduler.ground import LEAST_AC_W
from scheduler.ledger import Change, Outgoing
from scheduler.turns import HOLDING, LIVE, STEPS, Turn, age_ms, held
from tests.rounds import SITE
from tests.streets import LIMIT_W, MINUTE_MS, PLUGS, Car, Street

QUARTER_MS = 15 * MINUTE_MS
HALF_AN_HOUR_MS = 30 * MINUTE_MS
UNSEEN_MS = 3 * MINUTE_MS
"""Nobody looked, where the look before is longer ago."""
MOST_COMMITS = 1_000
"""Of one look."""


class Witness:
    def __init__(self, street: Street) -> None:
        self.street = street
        self.looked_ms, self.process = street.now_ms, street.process
        self.kept: set[str] = set()
        """Plugs that this look found another's, for now or soon."""
        self.newcomers: set[str] = set()
        self.told_apart: set[str] = set()
        """Of them those whose session is known: before it is, a car may be taken for the one that was refused there."""
        self.reserved_w = 0
        self.came_for: dict[str, Turn | None] = {}
        """Who was expected at each plug when this look began."""
        self.noticed: set[str] = set()
        self.awaited_ms: dict[str, int] = {}
        """By turn since when its plug is there for it, and is known to be."""
        self.placed_ms: dict[str, int] = {}
        """By turn when it was promised where it is now."""
        self.kept_away: set[str] = set()
        """Turns whose plug was not there for them in some of the time of their place."""
        self.charged_ms: dict[str, int] = {}
        self.told_ms: dict[str, int] = {}
        self.promised: set[str] = set()
        self.cancelled: set[str] = set()
        self.commits = 0
        self.is_cut = False
        self._commit, self._cut = street.ledger.commit, street.ledger.cut
        self._round = street.look
        vars(street.ledger).update(commit=self.commit, cut=self.cut)
        vars(street)["look"] = self.look

    # --- looks -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What the plugs are for who is awaited is kept before anybody decides; what must hold then is looked at."""
        street = self.street
        self.commits = 0
        was_away = street.now_ms - self.looked_ms > UNSEEN_MS or street.process != self.process
        for turn in street.ledger.turns(states=["reserved"]):
            if turn.place.start_ms <= street.now_ms and (was_away or self.will_know(turn.place.connector) != "free"):
                self.awaited_ms[turn.id] = street.now_ms
                self.kept_away.add(turn.id)
        self.looked_ms, self.process = street.now_ms, street.process
        self.kept = {plug for plug in PLUGS if self.is_kept(plug)}
        self.newcomers = {plug for plug, car in street.cars.items() if car.seen_ms is None}
        heard = self.newcomers - street.silent if street.believed else set()
        self.told_apart = {plug for plug in heard if street.cars[plug].is_metered}
        self.reserved_w = self.power_w()
        self.came_for = {plug: self.expected(plug) for plug in PLUGS}
        was_lost = bool(street.fates)
        self._round()
        self.after_a_look(was_lost=was_lost)

    def will_know(self, plug: str) -> str:
        """What this look finds there."""
        street = self.street
        if plug in street.silent or not street.believed:
            return street.known(plug)
        if plug in street.broken:
            return "broken"
        return "car" if plug in street.cars else "bay" if plug in street.bays else "free"

    def after_a_look(self, *, was_lost: bool) -> None:
        street, ledger = self.street, self.street.ledger
        assert all(self.may_be_its_own(turn) for turn in ledger.due(street.now_ms)), "what is due is done"
        there = {turn.place.connector: turn for turn in ledger.turns(states=["active"])}
        self.is_cut |= bool(street.smoking) and street.believed
        assert self.is_cut == bool(ledger.cuts()), "smoke cuts a site off, and only a person resets that"
        if self.is_cut:
            assert not ledger.turns(states=HOLDING), "a site that is cut off holds nothing"
        for plug in PLUGS:
            known, active = street.known(plug), there.get(plug)
            if known == "free":
                assert active is None, "who has left holds nothing"
            elif active is not None:
                assert active.place.end_ms > street.now_ms or known == "unheard", "who stays keeps a place"
            elif known == "car" and not self.is_cut:
                self.is_not_served(plug, street.car_known(plug))
            if known == "car" and active is not None and plug not in self.newcomers:
                began_ms = street.car_known(plug).since_ms - AHEAD_MS  # who leads anew knows no sessions, only times
                assert began_ms <= active.plugged_ms, "another's car is not its own"
            if known == "car" and active is not None and active.kind == "walk_in":
                assert not self.typed_there(plug), "its own turn waits"
        for turn in ledger.turns(states=["offered", "reserved"]):
            if street.known(turn.place.connector) == "broken":
                assert turn.place.start_ms - street.now_ms > 10 * MINUTE_MS, "nobody is sent to a plug that is broken"
        if not was_lost:
            self.all_is_told()

    def is_not_served(self, plug: str, car: Car) -> None:
        """A car stands there without a turn: it is another's place, or none is free, or it is closed."""
        street, ledger, now_ms = self.street, self.street.ledger, self.street.now_ms
        assert not self.typed_there(plug), "it typed its code"
        first, was = self.expected(plug), self.came_for[plug]
        if first is not None and was is not None and was.id == first.id:
            is_near = first.checked_in_ms is not None and first.checked_in_ms >= car.seen_ms - 5 * MINUTE_MS
            assert not is_near or self.typed_another_s(car, first), "it checked in"
        if plug not in self.told_apart or plug in self.kept:
            return
        is_closed = not street.desk.is_open(bucket_at(now_ms), ledger.rules(SITE).rules)
        spare_w = LIMIT_W - max(self.reserved_w, self.power_w())
        assert is_closed or spare_w < LEAST_AC_W, "a place is free, and nobody gives it"

    def power_w(self) -> int:
        """Promised for now."""
        now = bucket_at(self.street.now_ms)
        held = [turn.place for turn in self.street.ledger.turns(states=HOLDING)]
        return sum(place.watts[now - place.first] for place in held if now in place.buckets)

    def is_kept(self, plug: str) -> bool:
        held = self.street.ledger.turns(states=HOLDING)
        bucket = bucket_at(self.street.now_ms)
        return any(
            turn.place.connector == plug and (bucket in turn.place.buckets or self.runs(turn, plug)) for turn in held
        )

    def expected(self, plug: str) -> Turn | None:
        """Whose place runs at the plug, or is the next to run there and soon."""
        held = self.street.ledger.turns(states=["offered", "reserved"])
        there = [turn for turn in held if self.runs(turn, plug)]
        return min(there, key=lambda turn: turn.place.first, default=None)

    def typed_there(self, plug: str) -> bool:
        """Whether the car at the plug typed the code of who is expected there, and was when this look began."""
        car, first, was = self.street.car_known(plug), self.expected(plug), self.came_for[plug]
        return first is not None and was is not None and was.id == first.id and first.code == car.typed

    def typed_another_s(self, car: Car, turn: Turn) -> bool:
        """Whether the code of another household's promise says that the car is not that turn's."""
        held = self.street.ledger.turns(states=["offered", "reserved"])
        return any(one.code == car.typed and one.household != turn.household for one in held)

    def all_is_told(self) -> None:
        """What can be said now was; by night that is what concerns the night."""
        for item in self.street.ledger.outgoing(["pending"], 10_000):
            turn = self.street.ledger.turn(item.turn or "")
            assert turn is not None, "of fire everybody is told at once"
            quiet, now_ms = self.street.desk.quiet(turn), self.street.now_ms
            assert quiet.quiet_at(now_ms), "it is day, and nobody says it"
            if turn.state in ("offered", "reserved") and not item.id.endswith(":answered"):
                assert turn.place.start_ms >= quiet.after(now_ms, 0), "it concerns this night"

    def may_be_its_own(self, turn: Turn) -> bool:
        """Whether the car at its plug was just said to be its own, or that is still being asked."""
        now_ms, checked_ms = self.street.now_ms, turn.checked_in_ms
        if turn.state not in ("offered", "reserved") or self.street.known(turn.place.connector) != "car":
            return False
        if checked_ms is not None:
            return now_ms < checked_ms + 5 * MINUTE_MS
        return turn.asked_ms is not None and now_ms < turn.asked_ms + 10 * MINUTE_MS

    # --- steps -------------------------------------------------------------------------------------------------------

    def commit(self, changes: list[Change], now_ms: int) -> list[Turn]:
        self.commits += 1
        assert self.commits < MOST_COMMITS, "it goes round and round"
        kept = self._commit(changes, now_ms)
        for change in changes:
            assert all(item.to == change.after.household for item in change.outgoing)
            self.said(change.outgoing)
            self.step(change, changes, now_ms)
        return kept

    def cut(self, site: str, why: str, now_ms: int, outgoing: Collection[Outgoing] = ()) -> None:
        near = {turn.household for turn in self.street.ledger.turns(states=LIVE)} - {None}
        assert near <= {item.to for item in outgoing}, "everybody near is told"
        assert self.street.smoking, "it does not burn"
        self.said(outgoing)
        self._cut(site, why, now_ms, outgoing)

    def said(self, outgoing: Collection[Outgoing]) -> None:
        for item in outgoing:
            is_kept_once = item.id.endswith(":stopped")  # who leads next writes it again, and the outbox has it
            assert item.id not in self.noticed or is_kept_once, "a notice is written once"
            self.noticed.add(item.id)

    def step(self, change: Change, changes: list[Change], now_ms: int) -> None:
        before, after = change.before, change.after
        says = {item.id.rpartition(":")[2] for item in change.outgoing}
        if before is None:
            assert after.state in ("requested", "rejected") or after.kind == "walk_in"
        elif before.state != after.state:
            assert after.state in STEPS[before.state].values()
        if after.state == "active" and (before is None or before.state != "active"):
            self.begins(after)
        if before is None:
            return
        if after.state == "reserved" and before.state != "reserved":
            self.promised.add(after.id)
            self.awaits_anew(after, now_ms)
            assert "reserved" in says
        elif after.state == "reserved" and before.place != after.place:
            assert says & {"moved", "delayed"}, "who was promised another place is told"
            self.loses_its_plug(before, changes, now_ms)
            assert after.place.end_ms <= after.depart_by_ms
            self.awaits_anew(after, now_ms)
        if before.snoozes != after.snoozes and change.by == "time":
            assert before.told_ms is not None, "what nobody was told of is no snooze"
        if after.state in ("offered", "reserved") and held(before) != after.place:
            self.keeps_to_the_quota(after)
        if after.state == "cancelled":
            self.cancelled.add(after.id)
        if after.state == "no_show":
            assert "missed" in says
            self.missed(before, now_ms)
        if after.state == "failed":
            assert "failed" in says
            self.made_good(before, changes, now_ms)
            if not self.street.ledger.cuts():
                self.loses_its_plug(before, changes, now_ms)
        if "stopped" in says:
            assert self.street.known(after.place.connector) in ("broken", "unheard"), "its pile works"
        if before.state == "active":
            self.stays(change, now_ms)

    def keeps_to_the_quota(self, turn: Turn) -> None:
        rules = self.street.ledger.rules(SITE).rules
        most = min((one.connectors for one in rules.quotas if one.compound == turn.compound), default=len(PLUGS))
        holding = [one for one in self.street.ledger.turns(states=HOLDING) if one.compound == turn.compound]
        for bucket in turn.place.buckets:
            assert sum(bucket in one.place.buckets for one in holding) <= most, "its compound has more than its quota"

    def awaits_anew(self, turn: Turn, now_ms: int) -> None:
        self.placed_ms[turn.id] = now_ms
        self.awaited_ms[turn.id] = max(now_ms, turn.place.start_ms)
        if turn.place.start_ms > now_ms:
            self.kept_away.discard(turn.id)

    def begins(self, turn: Turn) -> None:
        """A car is there; whose it is was said by the code that was typed, or by a check-in near its plugging in."""
        car = self.street.car_known(turn.place.connector)
        assert car is not None, "nobody is served who is not there"
        assert not self.street.ledger.cuts(), "nothing starts at a site that is cut off"
        if turn.kind == "walk_in":
            assert not self.typed_there(turn.place.connector), "it typed another turn's code"
            return
        checked_ms = turn.checked_in_ms
        is_near = checked_ms is not None and checked_ms >= car.since_ms - 5 * MINUTE_MS
        assert is_near or car.typed == turn.code, "nobody said that it is this one's"

    def runs(self, turn: Turn, plug: str) -> bool:
        """Whether who comes to that plug now comes for that turn."""
        place, now_ms = turn.place, self.street.now_ms
        return place.connector == plug and place.start_ms - QUARTER_MS <= now_ms < place.end_ms

    def missed(self, turn: Turn, now_ms: int) -> None:
        """Its plug was there for it for a quarter of an hour outside quiet hours, or for all of its place."""
        known = self.street.known(turn.place.connector)
        assert known == "free", f"nobody can come to what is {known}"
        waited = self.street.desk.quiet(turn).after(self.awaited_ms[turn.id], 15) <= now_ms
        is_past = turn.place.end_ms <= now_ms and turn.id not in self.kept_away
        assert waited or is_past, "it was kept from its plug"

    def loses_its_plug(self, turn: Turn, changes: list[Change], now_ms: int) -> None:
        """Nobody loses a place that could be used, nor to a car of which it was not asked whether it is its own."""
        plug = turn.place.connector
        there = [one for one in self.street.ledger.turns(states=["active"]) if one.place.connector == plug]
        if there or any(one.before is not None and one.before.state == "active" for one in changes):
            return
        if turn.place.end_ms <= now_ms and turn.id in self.kept_away:
            return
        known = self.street.known(plug)
        assert known != "free", "its plug is there for it"
        car = self.street.car_known(plug)
        if car is None:
            return
        is_soon = car.seen_ms >= turn.place.start_ms - QUARTER_MS
        came_for_it = is_soon and car.seen_ms > self.placed_ms[turn.id]
        if came_for_it and turn.checked_in_ms is None and not self.typed_another_s(car, turn):
            assert turn.asked_ms is not None, "nobody asked it"
            assert now_ms >= turn.asked_ms + 10 * MINUTE_MS, "it has ten minutes to say so"

    def made_good(self, turn: Turn, changes: list[Change], now_ms: int) -> None:
        [again] = [one.after for one in changes if one.before is None and one.after.instead_of == turn.id]
        assert (again.household, again.vehicle, again.energy_kwh) == (turn.household, turn.vehicle, turn.energy_kwh)
        assert again.state == "requested"
        assert age_ms(again, now_ms) >= age_ms(turn, now_ms)

    def stays(self, change: Change, now_ms: int) -> None:
        """Charged, told, left: overstay counts half an hour after the first, and never before the second."""
        before, after = change.before, change.after
        if before.charged_ms is None and after.charged_ms is not None:
            self.charged_ms[after.id] = now_ms
            if after.finished_ms is None:
                car = self.street.car_known(after.place.connector)
                had_it = after.kind == "asked" and car.kwh >= after.energy_kwh
                assert had_it or car.state in ("finishing", "suspended by ev"), "it was held back, or charges still"
        if before.leave_by_ms is None and after.leave_by_ms is not None:
            told = f"{after.id}:"
            assert any(item.startswith(told) and item.endswith(":charged") for item in self.noticed)
            self.told_ms[after.id] = now_ms
        if change.delivery is not None:
            free_ms = None
            if after.id in self.told_ms:
                free_ms = max(self.told_ms[after.id], self.charged_ms[after.id] + HALF_AN_HOUR_MS)
            most_ms = 0 if free_ms is None else max(0, change.delivery.unplugged_ms - free_ms)
            assert change.delivery.overstay_ms <= most_ms
            assert change.delivery.unplugged_ms <= now_ms
        assert (after.state == "done") <= (change.delivery is not None or after.household is None)
