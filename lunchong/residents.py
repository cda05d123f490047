"""The demo's residents: they ask for turns at the desk, as people do, answer what they are offered, and object."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from ingest.assets import Inventory
from lunchong.objections import Objections
from scheduler.accounts import Accounts
from scheduler.desk import Desk, UnknownSite, Wish
from scheduler.ground import sites_of
from scheduler.ledger import Household
from scheduler.meanwhile import is_asked
from scheduler.turns import LIVE, WAITING, NotNow, Turn
from simulators.residents import CAR_W, Resident, way

A_CONNECTOR = 1
"""So many of them ask, for each connector of a site."""


class Doing(NamedTuple):
    """How many of them wait for a place, are promised one, and are at the plug; objections that nobody answered."""

    waiting: int = 0
    promised: int = 0
    at_plug: int = 0
    objections: int = 0


class Residents:
    """`step` them now and then. Their households stay the same over restarts of one seed."""

    def __init__(self, desk: Desk, accounts: Accounts, inventory: Inventory, seed: int, now_ms: int) -> None:
        self._desk, self._seed = desk, seed
        self._people: dict[str, tuple[str, Resident]] = {}
        self._answers: dict[tuple[str, int], tuple[str | None, int]] = {}
        for site in sites_of(inventory).values():
            compounds = inventory.sites[site.id].compounds
            for number in range(A_CONNECTOR * len(site.connectors) if compounds else 0):
                household = f"{site.id}-demo-{number}"
                compound = compounds[number % len(compounds)]
                desk.ledger.register(Household(id=household, compound=compound, dwelling=household))
                self._people[household] = (site.id, Resident(f"{seed}/{household}", now_ms))
        self.doing = Doing()
        self._objections = Objections(desk, accounts, self._people, seed, now_ms)

    def step(self, now_ms: int) -> None:
        """Everything that they do now."""
        for household, (site, resident) in self._people.items():
            if resident.asks_ms <= now_ms:
                self._ask(household, site, resident, now_ms)
        live = [turn for turn in self._desk.ledger.turns(states=LIVE) if turn.household in self._people]
        offered = {(turn.id, turn.snoozes): turn for turn in live if turn.state == "offered"}
        self._answers = {key: answer for key, answer in self._answers.items() if key in offered}
        for key, turn in offered.items():
            self._answer(key, turn, now_ms)
        for turn in live:
            if turn.state == "reserved":
                self._at_the_plug(turn, now_ms)
        self._objections.step(live, now_ms)
        states = Counter(turn.state for turn in live)
        waiting = sum(states[state] for state in WAITING) + states["offered"]
        self.doing = Doing(waiting, states["reserved"], states["active"], self._objections.unanswered)

    def _at_the_plug(self, turn: Turn, now_ms: int) -> None:
        """Some say that they are there when they come, some when they are asked whose the car at their plug is."""
        assert turn.household is not None
        says = self._people[turn.household][1].says
        is_there = says == "unasked" and turn.checked_in_ms is None and self._has_come(turn, now_ms)
        if is_there or (says != "never" and is_asked(turn, now_ms)):
            with suppress(NotNow):
                self._desk.check_in(turn.id, now_ms, by=turn.household)

    def _has_come(self, turn: Turn, now_ms: int) -> bool:
        """Whether its car is there by now: the street draws the same way from the same seed."""
        assert turn.place is not None
        on_its_way = way(f"{turn.call}/{turn.place.start_ms}", self._seed)
        from_ms = max(turn.place.start_ms, turn.soon_ms or 0)
        return on_its_way is not None and now_ms >= from_ms + on_its_way.after_ms

    def _ask(self, household: str, site: str, resident: Resident, now_ms: int) -> None:
        ask = resident.ask(now_ms)
        wish = Wish(
            site=site, household=household, vehicle=household, energy_kwh=ask.energy_kwh, max_w=CAR_W,
            earliest_ms=ask.earliest_ms, depart_by_ms=ask.depart_by_ms, flexible=ask.flexible,
        )  # fmt: skip
        with suppress(UnknownSite):
            self._objections.weigh(self._desk.ask(wish, now_ms, by=household), now_ms)

    def _answer(self, key: tuple[str, int], turn: Turn, now_ms: int) -> None:
        assert turn.household is not None
        if key not in self._answers:
            answer, after_ms = self._people[turn.household][1].answer()
            self._answers[key] = answer, now_ms + after_ms
        says, at_ms = self._answers[key]
        if says is None or at_ms > now_ms:
            return
        with suppress(NotNow):
            (self._desk.accept if says == "accept" else self._desk.snooze)(turn.id, now_ms, by=turn.household)
