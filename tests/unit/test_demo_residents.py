"""What the demo's residents say at the plug: some that they are there, some only when they are asked, a few nothing."""

from __future__ import annotations

from itertools import count
from math import ceil

import pytest

from lunchong.residents import Doing, Residents
from simulators.residents import Resident, way
from tests.ledgers import opened
from tests.rounds import SITE, Neighbourhood

HOUSEHOLD = f"{SITE}-demo-0"
CALL = "blue heron 3"
"""Of the first turn there."""
MINUTE_MS = 60_000
LATE_MS = 24 * 3_600_000


class Demo:
    """A street of two plugs with a household that says what it says, promised a place in a quarter of an hour."""

    def __init__(self, ledger, says, comes=True):
        self.street = Neighbourhood(ledger=ledger)
        begins_ms = self.street.now_ms + 15 * MINUTE_MS
        self.seed = next(
            seed
            for seed in count()
            if Resident(f"{seed}/{HOUSEHOLD}", 0).says == says
            and (way(f"{CALL}/{begins_ms}", seed) is not None) is comes
        )
        asks_nothing_ms = self.street.now_ms + LATE_MS
        self.residents = Residents(self.street.desk, ledger.accounts, self.street.inventory, self.seed, asks_nothing_ms)
        self.turn = self.street.asks(household=HOUSEHOLD, earliest_ms=begins_ms)
        self.street.later(1)
        self.street.desk.accept(self.turn, self.street.now_ms)
        assert (self.now.call, self.now.place.start_ms) == (CALL, begins_ms)
        on_its_way = way(f"{CALL}/{begins_ms}", self.seed)
        self.comes_min = 15 + ceil(on_its_way.after_ms / MINUTE_MS) if on_its_way else 20

    @property
    def now(self):
        return self.street.turn(self.turn)

    def live(self, minutes):
        for _ in range(minutes):
            self.residents.step(self.street.now_ms)
            self.street.later(1)

    def its_car_comes(self):
        """To the minute as in the street, where the same is drawn."""
        self.live(self.comes_min)
        self.street.says(self.now.place.connector, "charging", 0.0)


@pytest.fixture
def ledger(tmp_path):
    kept = opened(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield kept
    kept.close()


def test_some_check_in_when_they_come_and_the_turn_begins(ledger):
    demo = Demo(ledger, "unasked")
    demo.its_car_comes()
    assert demo.residents.doing == Doing(promised=1)
    demo.live(2)
    assert (demo.now.state, demo.now.asked_ms) == ("active", None)
    assert demo.residents.doing == Doing(at_plug=1), "as the demo's screen says"


def test_who_checks_in_only_when_asked_is_asked_first(ledger):
    demo = Demo(ledger, "asked")
    demo.its_car_comes()
    assert demo.now.checked_in_ms is None
    demo.live(4)
    assert (demo.now.state, demo.now.asked_ms is not None) == ("active", True)


def test_a_few_never_say_whose_the_car_is_and_their_turn_does_not_begin(ledger):
    demo = Demo(ledger, "never")
    demo.its_car_comes()
    demo.live(9)
    assert (demo.now.state, demo.now.checked_in_ms) == ("reserved", None)
    assert demo.now.asked_ms is not None


def test_who_does_not_come_does_not_check_in(ledger):
    demo = Demo(ledger, "unasked", comes=False)
    demo.live(demo.comes_min + 10)
    assert demo.now.checked_in_ms is None
