"""A small site with a desk and a watch, in a line, for the tests of both."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast, get_args

from ingest.assets import ConnectorType, Inventory
from ingest.workdays import is_workday
from scheduler.buckets import Place, bucket_at
from scheduler.calls import call_name
from scheduler.desk import Desk, Wish
from scheduler.elsewhere import Seen
from scheduler.ground import sites_of
from scheduler.ledger import Household, Ledger
from scheduler.ledger_memory import MemoryLedger
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector, SiteFacts
from scheduler.watch import Watch
from tests.ledgers import NO_QUIET
from tests.stores import NINE_MS

SITE = "jn-01"
PLUGS = tuple(f"{SITE}/pile-{no:02d}/1" for no in (1, 2, 3))
ONE, TWO, THREE = PLUGS
HOUR_MS = 3_600_000


class Names:
    """One after the other."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def turn_id(self) -> str:
        return f"t{next(self._numbers)}"

    def call(self) -> str:
        return call_name(next(self._numbers))

    def code(self) -> str:
        return f"{next(self._numbers):06d}"


class SitesOf:
    """The sites of an inventory, for a desk."""

    def __init__(self, inventory: Inventory) -> None:
        self._sites = sites_of(inventory)

    def site(self, site: str) -> SiteFacts | None:
        return self._sites.get(site)


class World:
    """Three plugs of 7 kW that may draw 14 together, and what is at each of them: nothing, a turn's car, or trouble."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        rules: RuleSet | None = None,
        limit_w: int | None = 14_000,
        types: Sequence[ConnectorType] = ("GBT_AC",) * 3,
    ) -> None:
        self.ledger = ledger or MemoryLedger(lambda: 0)
        self.now_ms = NINE_MS
        self.at: dict[str, str | None] = dict.fromkeys(PLUGS)
        self.unheard: dict[str, Seen] = {}
        """Plugs of which nothing is heard, whatever is there."""
        self.facts = SiteFacts(
            id=SITE, mode="in_turn", limit_w=limit_w,
            connectors=tuple(Connector(plug, 7_000, of) for plug, of in zip(PLUGS, types, strict=True)),
        )  # fmt: skip
        self.desk = Desk(self.ledger, self, Names(), is_workday)
        self.watch = Watch(self.desk, self)
        self.rules = rules or RuleSet(site=SITE, compounds=("k-01", "k-02"), quiet=NO_QUIET)
        self.ledger.adopt(self.rules, after=0, by="init", now_ms=self.now_ms)
        for no in range(1, 7):
            self.ledger.register(Household(id=f"h{no}", compound=f"k-0{1 + no % 2}", dwelling=str(no)))

    def site(self, site: str) -> SiteFacts | None:
        return self.facts if site == SITE else None

    def free(self, connector: str) -> bool:
        return self.seen(connector) == "free"

    def seen(self, connector: str) -> Seen:
        there = self.unheard.get(connector, self.at[connector])
        return "free" if there is None else cast("Seen", there) if there in get_args(Seen) else "taken"

    def wish(self, household: str = "h1", hours: float = 6, **said: object) -> Wish:
        usual = {
            "site": SITE, "household": household, "vehicle": f"car of {household}", "energy_kwh": 7.0, "max_w": 7_000,
            "earliest_ms": self.now_ms, "depart_by_ms": self.now_ms + round(hours * HOUR_MS),
        }  # fmt: skip
        return Wish(**{**usual, **said})

    def later(self, minutes: float) -> None:
        """So many minutes, of which the watch looks at each within an hour, and else at the last two."""
        until_ms = self.now_ms + round(minutes * 60_000)
        if minutes > 60:
            self.now_ms = until_ms - 60_000
        while self.now_ms < until_ms:
            self.watch.tick(self.now_ms)
            self.now_ms = min(until_ms, self.now_ms + 60_000)
        self.watch.tick(self.now_ms)


def said_to(world, turn):
    return [item.id.rpartition(":")[2] for item in world.ledger.outgoing(["pending"]) if item.turn == turn.id]


def place(world, plug=ONE, in_buckets=0, buckets=4, watts=7_000):
    return Place(plug, bucket_at(world.now_ms) + in_buckets, (watts,) * buckets)


def charging(world, where, household="h1", **said):
    turn = promised(world, where, household, **said)
    world.at[where.connector] = turn.id
    return world.desk.plug_in(turn.id, world.now_ms)


def now(world, turn):
    return world.desk.turn(turn.id)


def promised(world, where, household="h1", **said):
    return world.desk.accept(offered(world, where, household, **said).id, world.now_ms)


def offered(world, where, household="h1", **said):
    asked = world.desk.ask(world.wish(household, **said), world.now_ms)
    assert asked.state == "requested", asked.refused_by
    world.desk.plan(asked.id, where, world.now_ms)
    return world.desk.offer(asked.id, where, world.now_ms)
