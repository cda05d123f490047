"""Floor 2 · Elsewhere: the places that a promise could have instead of the one that it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from scheduler.buckets import BUCKET_MS, BUCKETS_PER_DAY, Place, bucket_at
from scheduler.desk import Desk, UnknownSite
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector, SiteFacts
from scheduler.turns import Cause, Turn

Seen = Literal["free", "arriving", "taken", "broken", "silent", "unknown"]
"""`arriving`: a car has just come into the bay, and may be the one that is awaited. `unknown`: no facts reach us."""

CAUSES: dict[Seen, Cause] = {"taken": "BLOCKED", "broken": "BROKEN_CHARGER", "silent": "BROKEN_CHARGER"}
"""Why who is awaited there could not plug in; nothing of a plug that is none of these."""
GONE: frozenset[Seen] = frozenset({"broken", "silent"})
WORKS: frozenset[Seen] = frozenset({"free", "arriving", "taken"})


class Plugs(Protocol):
    def seen(self, connector: str) -> Seen:
        """How a plug is for somebody who comes now."""


class Elsewhere:
    """What is free beside a turn's own place, on one picture of the ledger."""

    def __init__(self, desk: Desk, plugs: Plugs) -> None:
        self._desk, self._ledger, self._plugs = desk, desk.ledger, plugs

    def places(self, turn: Turn, now_ms: int) -> Iterator[Place]:
        """Places of the same length and power, at plugs of the same type that work, the earliest first.

        They end before the car must leave, within the site's hours, power and quotas; at night nobody is asked to come
        later than it was promised.
        """
        assert turn.place is not None
        try:
            site, rules, _ = self._desk.rules(turn.site)
        except UnknownSite:  # the inventory has it no longer
            return
        first = max(bucket_at(now_ms), turn.place.first)
        until = min(bucket_at(turn.depart_by_ms), first + BUCKETS_PER_DAY)
        buckets = range(first, max(first, until))
        room = self._room(turn, site, rules, buckets)
        taken = {
            (claim.connector, claim.bucket)
            for claim in self._ledger.claims(site.id, buckets)
            if claim.turn != turn.id or claim.bucket not in turn.place.buckets
        }
        plugs = self._plugs_for(turn.place, site)
        for start in buckets:
            fits = room[start - first : start - first + len(turn.place.watts)]
            if len(fits) < len(turn.place.watts) or any(
                spare_w < watts for spare_w, watts in zip(fits, turn.place.watts, strict=True)
            ):
                continue
            if start > first and rules.quiet.quiet_at(start * BUCKET_MS):
                continue
            for connector in plugs:
                place = Place(connector.id, start, turn.place.watts)
                if place == turn.place or any((connector.id, bucket) in taken for bucket in place.buckets):
                    continue
                if start == bucket_at(now_ms) and self._plugs.seen(connector.id) != "free":
                    continue
                yield place

    def _plugs_for(self, place: Place, site: SiteFacts) -> list[Connector]:
        """Those that work and are like the one that was promised."""
        was = next((one for one in site.connectors if one.id == place.connector), None)
        return [
            one
            for one in site.connectors
            if one.max_w >= max(place.watts)
            and (was is None or one.type == was.type)
            and self._plugs.seen(one.id) in WORKS
        ]

    def _room(self, turn: Turn, site: SiteFacts, rules: RuleSet, buckets: range) -> Sequence[int]:
        """Power that the turn could draw in each bucket beside what others were promised; -1 where it may not stand."""
        assert turn.place is not None
        own = dict(zip(turn.place.buckets, turn.place.watts, strict=True))
        reserved = self._ledger.reserved_w(site.id, buckets)
        used = self._ledger.used(site.id, turn.compound, buckets) if turn.compound else [0] * len(buckets)
        room = []
        for bucket, reserved_w, held in zip(buckets, reserved, used, strict=True):
            most = self._desk.quota(turn, bucket, rules) if turn.compound else None
            is_full = most is not None and held - (bucket in own) >= most
            if is_full or not self._desk.is_open(bucket, rules):
                room.append(-1)
            elif site.limit_w is None:
                room.append(max(one.max_w for one in site.connectors))
            else:
                room.append(max(0, site.limit_w - reserved_w + own.get(bucket, 0)))
        return room
