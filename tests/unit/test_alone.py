"""An error at one site is said, and keeps nobody's promise at another from being looked after."""

from __future__ import annotations

import logging

import pytest

from ingest.clock import rfc3339
from scheduler.alone import Alone
from scheduler.buckets import Place, bucket_at
from scheduler.ledger import LedgerUnavailable
from scheduler.watch import Watch
from tests.desks import PLUGS, World
from tests.stores import NINE_MS


class Odd:
    """Plugs that cannot be looked at."""

    def seen(self, connector):
        raise ZeroDivisionError(connector)


def test_an_error_is_logged_once_and_is_a_condition_until_a_look_without_it(caplog):
    alone = Alone()
    caplog.set_level(logging.ERROR)
    for minute in range(3):
        alone.begin(NINE_MS + minute * 60_000)
        with alone("jn-01"):
            raise ZeroDivisionError("a mistake of ours")
        with alone("jn-02"):
            pass
    assert len(caplog.records) == 1
    [held] = alone.conditions
    assert (held.code, held.severity, held.since) == ("look_failed", "critical", rfc3339(NINE_MS))
    assert held.evidence == "jn-01: ZeroDivisionError: a mistake of ours"
    alone.begin(NINE_MS + 180_000)
    with alone("jn-01"):
        pass
    alone.begin(NINE_MS + 240_000)
    assert alone.conditions == []


def test_that_the_ledger_is_away_concerns_all_sites():
    with pytest.raises(LedgerUnavailable), Alone()("jn-01"):
        raise LedgerUnavailable("away")


def test_what_is_due_is_done_where_something_else_cannot_be():
    world = World()
    first = bucket_at(world.now_ms)
    promised, waits = world.desk.ask(world.wish("h1"), world.now_ms), world.desk.ask(world.wish("h2"), world.now_ms)
    place = Place(PLUGS[0], first, (7_000,) * 4)
    world.desk.plan(promised.id, place, world.now_ms)
    world.desk.offer(promised.id, place, world.now_ms)
    world.now_ms = waits.depart_by_ms
    with pytest.raises(ZeroDivisionError):
        Watch(world.desk, Odd()).tick(world.now_ms)
    assert world.desk.turn(waits.id).state == "requested"
    alone = Alone()
    Watch(world.desk, Odd(), around=alone).tick(world.now_ms)
    assert world.desk.turn(waits.id).state == "expired"
    assert [one.evidence for one in alone.conditions] == [f"jn-01: ZeroDivisionError: {PLUGS[0]}"]
