"""People whose turn it is come to their plug: what a pile was told of the turns at it sets them on their way."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import parse_rfc3339, rfc3339
from ingest.messages import TurnNext, TurnNow, Turns, TurnsAt
from simulators import weather
from simulators.residents import way
from simulators.street import Street

PILE = "jn-01/pile-01"
BEGIN_MS = parse_rfc3339("2026-11-23T10:00:00+08:00")
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


class Told:
    """A street of one plug, where nobody comes without a turn, and what its pile is told."""

    def __init__(self):
        site = Site(id="jn-01", name=Name("近邻", "Neighbours"), lat=31.2, lon=121.4, mode="in_turn")
        pile = Device(site="jn-01", id="pile-01", kind="pile", connectors=(ConnectorSpec(1),))
        inventory = Inventory(sites={site.id: site}, devices={pile.name: pile})
        seed = next(seed for seed in count() if self._is_quiet(inventory, seed))
        self.street = Street(inventory, seed=seed, start_ms=BEGIN_MS, outdoor=weather.constant().at, broken_share=0)
        self.seed, self.now_ms = seed, BEGIN_MS

    @staticmethod
    def _is_quiet(inventory, seed):
        street = Street(inventory, seed=seed, start_ms=BEGIN_MS, outdoor=weather.constant().at, broken_share=0)
        for minute in range(0, 240, 5):
            street.advance(BEGIN_MS + minute * MINUTE_MS)
            if not street.piles[PILE].is_free(1):
                return False
        return True

    def call(self, from_ms):
        """The call name of somebody who comes."""
        return next(f"blue heron {no}" for no in count(1) if way(f"blue heron {no}/{from_ms}", self.seed))

    def tell(self, *following, now=None):
        """Whose turn it is, and who comes next, each as (call, from when)."""
        here = now and TurnNow(turn="t1", call=now, code_hash="0" * 32, until=rfc3339(self.now_ms + 2 * HOUR_MS))
        coming = [TurnNext(call=call, from_=rfc3339(from_ms)) for call, from_ms in following]
        at = TurnsAt(connector=1, now=here, next=coming)
        said = Turns(v=1, ts=rfc3339(self.now_ms), epoch=1, connectors=[at])
        self.street.on_turns(PILE, msgspec.json.encode(said), self.now_ms)

    def later(self, minutes):
        self.now_ms += minutes * MINUTE_MS
        self.street.advance(self.now_ms)

    @property
    def is_there(self):
        return self.street.plugged == 1


@pytest.fixture
def told():
    return Told()


def test_who_is_next_comes_when_the_turn_begins(told):
    from_ms = told.now_ms + 20 * MINUTE_MS
    call = told.call(from_ms)
    told.tell((call, from_ms))
    told.later(20)
    assert not told.is_there
    told.tell(now=call)
    told.later(15)
    assert told.is_there


def test_who_put_a_place_off_and_is_offered_it_again_comes(told):
    """Half of the turns that were missed in a fast demo were promised so."""
    from_ms = told.now_ms + 20 * MINUTE_MS
    call = told.call(from_ms)
    told.tell((call, from_ms))
    told.later(10)
    told.tell()
    told.later(20)
    told.tell((call, from_ms))
    told.later(1)
    told.tell(now=call)
    told.later(15)
    assert told.is_there


def test_who_is_delayed_by_more_than_an_hour_comes_when_the_turn_begins(told):
    from_ms = told.now_ms + 5 * MINUTE_MS
    call = told.call(from_ms)
    told.tell((call, from_ms))
    later_ms = from_ms + 2 * HOUR_MS
    told.tell((call, later_ms))
    told.later(125)
    assert not told.is_there
    told.tell(now=call)
    told.later(15)
    assert told.is_there


def test_who_finds_the_bay_taken_looks_again_until_it_is_free(told):
    from_ms = told.now_ms + 5 * MINUTE_MS
    call = told.call(from_ms)
    pile = told.street.piles[PILE]
    pile.bay(1, True, told.now_ms)
    told.tell((call, from_ms))
    told.later(5)
    told.tell(now=call)
    told.later(20)
    assert not told.is_there
    pile.bay(1, False, told.now_ms)
    told.later(5)
    assert told.is_there


def test_one_car_comes_for_a_turn_however_often_it_was_called(told):
    from_ms = told.now_ms + 5 * MINUTE_MS
    call = told.call(from_ms)
    told.tell((call, from_ms))
    told.tell()
    told.tell((call, from_ms))
    told.later(5)
    told.tell(now=call)
    told.later(15)
    assert told.is_there
    pile = told.street.piles[PILE]
    pile.unplug(1, told.now_ms)
    pile.bay(1, False, told.now_ms)
    told.later(15)
    assert not told.is_there


def test_nobody_comes_to_a_place_that_was_given_up(told):
    from_ms = told.now_ms + 20 * MINUTE_MS
    call = told.call(from_ms)
    told.tell((call, from_ms))
    told.later(10)
    told.tell()
    told.later(60)
    assert not told.is_there
