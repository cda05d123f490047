"""Floor 3 · The ledger in memory: for tests of what stands above it, and for the study."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from scheduler.explain import Decision
from scheduler.ledger import (
    LIVE_TURNS,
    Adopted,
    Change,
    Claim,
    DwellingTaken,
    Household,
    Imbalance,
    Known,
    Lease,
    Moved,
    Outgoing,
    OutgoingKind,
    OutgoingState,
    OverLimit,
    Superseded,
    Taken,
    TooMany,
    UnknownHousehold,
)
from scheduler.postings import Entry, Postings, given_back, imbalance, postings
from scheduler.rules import RuleSet
from scheduler.standing import Delivery, NoShow
from scheduler.turns import LIVE, State, Turn, held, is_live, lapsed


class MemoryLedger:
    """Keeps to the port `Ledger`, in one process. `wall_ms` is its clock, for leases alone."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._lock = threading.RLock()
        self._turns: dict[str, Turn] = {}
        self._living: dict[str, Turn] = {}
        """Of them those that are live."""
        self._in_state: dict[State, dict[str, Turn]] = {}
        self._asked: dict[str, dict[str, list[tuple[int, str]]]] = {}
        """By site and household when each turn that was not rejected was requested, and which it is."""
        self._claims: dict[tuple[str, int], str] = {}
        self._power: Counter[tuple[tuple[str, ...], int]] = Counter()
        self._quota: Counter[tuple[tuple[str, ...], int]] = Counter()
        self._live: Counter[str] = Counter()
        self._vehicles: dict[str, str] = {}
        self._keys: dict[tuple[str | None, str], str] = {}
        self._outgoing: dict[str, tuple[Outgoing, OutgoingState, int]] = {}
        self._lease: Lease | None = None
        self._rules: dict[str, list[Adopted]] = {}
        self._households: dict[str, Household] = {}
        self._deliveries: list[Delivery] = []
        self._cuts: dict[str, str] = {}
        self._decisions: dict[str, Decision] = {}

    def commit(self, changes: Sequence[Change], now_ms: int) -> list[Turn]:
        with self._lock:
            self._stay(changes)
            self._known(changes)
            for change in changes:
                self._unmoved(change)
            every = [*changes, *self._over(changes, now_ms)]
            books = postings(every)
            vehicles = self._vehicles_after(every)
            self._within(books)
            self._vehicles = vehicles
            self._post(every, books)
            return [self._turns[change.after.id] for change in changes]

    def turn(self, turn_id: str) -> Turn | None:
        with self._lock:
            return self._turns.get(turn_id)

    def by_key(self, household: str, key: str) -> Turn | None:
        with self._lock:
            return self._turns.get(self._keys.get((household, key), ""))

    def turns(
        self, *, site: str | None = None, household: str | None = None, states: Collection[State] | None = None
    ) -> list[Turn]:
        with self._lock:
            among = [self._turns] if states is None else [self._in_state.get(one, {}) for one in set(states)]
            found = [
                turn
                for some in among
                for turn in some.values()
                if site in (None, turn.site) and household in (None, turn.household)
            ]
        return sorted(found, key=_by_asking)

    def due(self, now_ms: int, limit: int = 100) -> list[Turn]:
        over = [turn for turn in self.turns(states=LIVE) if turn.due_ms is not None and turn.due_ms <= now_ms]
        return sorted(over, key=lambda turn: (turn.due_ms, turn.id))[:limit]

    def claims(self, site: str, buckets: range) -> list[Claim]:
        with self._lock:
            return sorted(
                Claim(connector, bucket, turn)
                for (connector, bucket), turn in self._claims.items()
                if bucket in buckets and connector.startswith(f"{site}/")
            )

    def reserved_w(self, site: str, buckets: range) -> list[int]:
        with self._lock:
            return [self._power[(site,), bucket] for bucket in buckets]

    def used(self, site: str, compound: str, buckets: range) -> list[int]:
        with self._lock:
            return [self._quota[(site, compound), bucket] for bucket in buckets]

    def outgoing(
        self, states: Collection[OutgoingState], limit: int = 100, kind: OutgoingKind | None = None
    ) -> list[Outgoing]:
        with self._lock:
            every = self._outgoing.values()
            return [item for item, state, _ in every if state in states and kind in (None, item.kind)][:limit]

    def sending(self, outgoing_id: str, epoch: int) -> bool:
        with self._lock:
            item, state, _ = self._outgoing[outgoing_id]
            lease = self._lease
            leads = lease is not None and lease.epoch == epoch and lease.until_ms > self._wall_ms()
            if state != "pending" or not leads:
                return False
            self._outgoing[outgoing_id] = item, "sending", epoch
            return True

    def sent(self, outgoing_ids: Collection[str]) -> None:
        with self._lock:
            for outgoing_id in outgoing_ids:
                item, _, epoch = self._outgoing[outgoing_id]
                self._outgoing[outgoing_id] = item, "sent", epoch

    def take_back(self, outgoing_id: str, epoch: int) -> None:
        with self._lock:
            item, state, under = self._outgoing[outgoing_id]
            if (state, under) == ("sending", epoch):
                self._outgoing[outgoing_id] = item, "pending", 0

    def give_up_sending(self, epoch: int, kind: OutgoingKind | None = None) -> list[Outgoing]:
        with self._lock:
            sending = [(item, under) for item, state, under in self._outgoing.values() if state == "sending"]
            found = [item for item, under in sending if under <= epoch and kind in (None, item.kind)]
            for item in found:
                self._outgoing[item.id] = item, "unknown", self._outgoing[item.id][2]
            return found

    def lead(self, holder: str, for_s: float) -> Lease:
        with self._lock:
            now_ms, was = self._wall_ms(), self._lease
            until_ms = now_ms + round(for_s * 1_000)
            if was is None:
                self._lease = Lease(holder, 1, until_ms)
            elif was.holder == holder:
                self._lease = replace(was, until_ms=until_ms)
            elif was.until_ms <= now_ms:
                self._lease = Lease(holder, was.epoch + 1, until_ms)
            assert self._lease is not None
            return self._lease

    def adopt(self, rules: RuleSet, after: int, by: str, now_ms: int) -> Adopted:
        with self._lock:
            versions = self._rules.setdefault(rules.site, [])
            if len(versions) != after:
                raise Superseded(rules.site, len(versions))
            versions.append(Adopted(rules=rules, version=after + 1, at_ms=now_ms, by=by))
            return versions[-1]

    def rules(self, site: str, version: int | None = None) -> Adopted | None:
        with self._lock:
            versions = self._rules.get(site, [])
            return next((one for one in reversed(versions) if version in (None, one.version)), None)

    def versions(self) -> dict[str, int]:
        with self._lock:
            return {site: versions[-1].version for site, versions in self._rules.items() if versions}

    def register(self, household: Household) -> None:
        with self._lock:
            for other in self._households.values():
                if other.id != household.id and _dwelling(other) == _dwelling(household):
                    raise DwellingTaken(other.id)
            self._households[household.id] = household

    def household(self, household_id: str) -> Household | None:
        with self._lock:
            return self._households.get(household_id)

    def pool(self, site: str, since_ms: int) -> dict[str, int]:
        with self._lock:
            found = [
                (asked[0], household)
                for household, asked in self._asked.get(site, {}).items()
                if asked and asked[-1][0] >= since_ms
            ]
        return {household: first_ms for (first_ms, _), household in sorted(found)}

    def deliveries(self, households: Collection[str], since_ms: int) -> list[Delivery]:
        with self._lock:
            found = [one for one in self._deliveries if one.household in households and one.unplugged_ms >= since_ms]
        return sorted(found, key=lambda one: (one.unplugged_ms, one.household))

    def no_shows(self, households: Collection[str], since_ms: int) -> list[NoShow]:
        missed = self.turns(states=["no_show"])
        found = [NoShow(one.household or "", one.ended_ms or 0) for one in missed if one.household in households]
        return sorted((one for one in found if one.at_ms >= since_ms), key=lambda one: (one.at_ms, one.household))

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        with self._lock:
            self._decisions.update(decisions)

    def decisions(self, turn_ids: Collection[str]) -> dict[str, Decision]:
        with self._lock:
            return {one: self._decisions[one] for one in turn_ids if one in self._decisions}

    def cut(self, site: str, why: str, now_ms: int, outgoing: Collection[Outgoing] = ()) -> None:
        del now_ms  # what leaves is kept here without its time
        with self._lock:
            if site not in self._cuts:
                self._cuts[site] = why
                for item in outgoing:
                    self._outgoing.setdefault(item.id, (item, "pending", 0))

    def reset(self, site: str) -> bool:
        with self._lock:
            return self._cuts.pop(site, None) is not None

    def cuts(self) -> dict[str, str]:
        with self._lock:
            return dict(self._cuts)

    def imbalance(self) -> Imbalance:
        with self._lock:
            claims = {Claim(connector, bucket, turn) for (connector, bucket), turn in self._claims.items()}
            return imbalance(self._turns.values(), claims, {**self._power, **self._quota}, dict(self._live))

    def close(self) -> None:
        """Nothing is kept open."""

    def _stay(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.asked and change.after.household not in self._households:
                raise UnknownHousehold(change.after.household)

    def _known(self, changes: Sequence[Change]) -> None:
        for change in changes:
            made = self._keys.get((change.after.household, change.key)) if change.key else None
            if made is not None:
                raise Known(self._turns[made])

    def _unmoved(self, change: Change) -> None:
        now = self._turns.get(change.after.id)
        if (now.rev if now else None) != (change.before.rev if change.before else None):
            raise Moved(change.after.id, now)

    def _over(self, changes: Sequence[Change], now_ms: int) -> list[Change]:
        """Offers whose time is over, where something is claimed."""
        sites = {change.after.site for change in changes if held(change.after) is not None}
        mine = {change.after.id for change in changes}
        over = [turn for turn in self._living.values() if turn.site in sites and turn.id not in mine]
        return [given_back(turn, now_ms) for turn in over if lapsed(turn, now_ms)]

    def _vehicles_after(self, changes: Sequence[Change]) -> dict[str, str]:
        """The live turn of each vehicle once those that end have ended."""
        vehicles = dict(self._vehicles)
        for change in sorted(changes, key=lambda change: is_live(change.after)):
            turn = change.after
            if turn.vehicle is None:
                continue
            if is_live(turn) and vehicles.setdefault(turn.vehicle, turn.id) != turn.id:
                raise TooMany("vehicle", turn.vehicle)
            if not is_live(turn) and vehicles.get(turn.vehicle) == turn.id:
                del vehicles[turn.vehicle]
        return vehicles

    def _within(self, books: Postings) -> None:
        for household, more in books.live:
            if more > 0 and self._live[household] + more > LIVE_TURNS:
                raise TooMany("household", household)
        freed = {(claim.connector, claim.bucket) for claim in books.freed}
        claimed: dict[tuple[str, int], str] = {}
        for claim in books.claimed:
            at = claim.connector, claim.bucket
            holder = claimed.setdefault(at, claim.turn if at in freed else self._claims.get(at, claim.turn))
            if holder != claim.turn:
                raise Taken(Claim(*at, holder))
        for book, entries in ((self._power, books.power), (self._quota, books.quota)):
            for entry in entries:
                if _over_limit(entry, book):
                    raise OverLimit("site_w" if book is self._power else "quota", entry.whose[0])

    def _post(self, changes: Sequence[Change], books: Postings) -> None:
        for change in changes:
            turn = replace(change.after, rev=change.before.rev + 1 if change.before else 1)
            self._file(self._turns.get(turn.id), turn)
            if is_live(turn):
                self._living[turn.id] = turn
            else:
                self._living.pop(turn.id, None)
            if change.key:
                self._keys[turn.household, change.key] = turn.id
            self._deliveries += [change.delivery] if change.delivery else []
            if change.sent is not None:
                self.sent([change.sent])
            for item in change.outgoing:
                self._outgoing.setdefault(item.id, (item, "pending", 0))
        for claim in books.freed:
            del self._claims[claim.connector, claim.bucket]
        for claim in books.claimed:
            self._claims[claim.connector, claim.bucket] = claim.turn
        for book, entries in ((self._power, books.power), (self._quota, books.quota)):
            for entry in entries:
                for bucket in range(entry.first, entry.first + entry.buckets):
                    book[entry.whose, bucket] += entry.more
        self._live.update(dict(books.live))

    def _file(self, was: Turn | None, turn: Turn) -> None:
        """Keep a turn, and find it again by its state and by when its household asked."""
        if was is not None:
            del self._in_state[was.state][was.id]
        self._turns[turn.id] = turn
        self._in_state.setdefault(turn.state, {})[turn.id] = turn
        before, after = None if was is None else _asking(was), _asking(turn)
        if before == after:
            return
        if before is not None:
            self._asked[before[0]][before[1]].remove(before[2])
        if after is not None:
            insort(self._asked.setdefault(after[0], {}).setdefault(after[1], []), after[2])


def _by_asking(turn: Turn) -> tuple[int, str]:
    return turn.requested_ms, turn.id


def _asking(turn: Turn) -> tuple[str, str, tuple[int, str]] | None:
    """Where and of whom it counts as asked, unless it was rejected."""
    if turn.household is None or turn.state == "rejected":
        return None
    return turn.site, turn.household, (turn.requested_ms, turn.id)


def _dwelling(household: Household) -> tuple[str, str]:
    return household.compound, household.dwelling


def _over_limit(entry: Entry, book: Counter[tuple[tuple[str, ...], int]]) -> bool:
    buckets = range(entry.first, entry.first + entry.buckets)
    limit = entry.limit
    return limit is not None and any(book[entry.whose, bucket] + entry.more > limit for bucket in buckets)
