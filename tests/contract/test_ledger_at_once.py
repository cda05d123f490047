"""Two who write to one ledger at the same moment, at the moments that matter. SQLite lets one write at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DataError, DBAPIError

from scheduler import turns
from scheduler.ledger import Change, LedgerUnavailable, Taken
from scheduler.ledger_engine import engine_of
from scheduler.ledger_sql import SqlLedger
from tests.ledgers import NINE, NO_QUIET, a_place, ask, offer, opened, promise, step, walk_in
from tests.stores import NINE_MS


@pytest.fixture
def one(postgres_url):
    ledger = opened(postgres_url)
    yield ledger
    ledger.close()


@pytest.fixture
def other(one, postgres_url):
    """Another process's, and what to do in `one` when it has sent a statement that begins so."""
    engine = engine_of(postgres_url)
    ledger, meanwhile = SqlLedger(engine), {}

    @event.listens_for(engine, "after_cursor_execute")
    def _sent(_connection, _cursor, statement, *_more):
        for begins in [begins for begins in meanwhile if statement.startswith(begins)]:
            meanwhile.pop(begins)()

    yield ledger, meanwhile
    ledger.close()


def test_a_bucket_that_is_given_back_while_another_looks_is_really_claimed(one, other):
    there = promise(one, a_place())
    ledger, meanwhile = other
    meanwhile["INSERT INTO claim"] = lambda: step(one, there, turns.cancelled(there, NINE_MS))
    [came] = ledger.commit([Change(before=None, after=walk_in(a_place()))], NINE_MS)
    assert {claim.turn for claim in one.claims("jn-01", range(NINE, NINE + 4))} == {came.id}
    assert not one.imbalance()


def test_an_offer_that_is_answered_while_another_wants_its_place_stays_promised(one, other):
    offered = offer(one, a_place(), now_ms=NINE_MS - 20 * 60_000)
    offered = step(one, offered, turns.told(offered, NINE_MS - 11 * 60_000, NO_QUIET))
    ledger, meanwhile = other
    meanwhile["INSERT INTO turn"] = lambda: step(one, offered, turns.accepted(offered, NINE_MS - 120_000, NO_QUIET))
    with pytest.raises(Taken):
        ledger.commit([Change(before=None, after=walk_in(a_place()))], NINE_MS)
    assert one.turn(offered.id).state == "reserved"
    assert not one.imbalance()


def test_a_lock_that_is_kept_holds_nobody_for_ever(postgres_url):
    ledger = opened(postgres_url)
    asked = ask(ledger)
    quick = SqlLedger(engine_of(f"{postgres_url}?options=-c%20lock_timeout%3D100ms"))
    holds = engine_of(postgres_url)
    with holds.begin() as connection:
        connection.execute(text("SELECT id FROM turn FOR UPDATE"))
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            step(quick, asked, turns.cancelled(asked, NINE_MS))
    assert step(quick, asked, turns.cancelled(asked, NINE_MS)).state == "cancelled"
    for one in (ledger, quick):
        one.close()
    holds.dispose()


def test_who_stops_in_the_middle_of_a_transaction_keeps_nothing_from_the_others_for_long(postgres_url):
    ledger = opened(postgres_url)
    asked = ask(ledger)
    stopped = engine_of(postgres_url)
    with stopped.connect() as connection:
        connection.execute(text("SELECT id FROM turn FOR UPDATE"))
        assert step(ledger, asked, turns.cancelled(asked, NINE_MS)).state == "cancelled"
        with pytest.raises(DBAPIError, match="idle-in-transaction timeout"):  # it goes on
            connection.execute(text("SELECT 1"))
    ledger.close()
    stopped.dispose()


def test_no_connection_waits_for_ever_unless_its_address_says_so(postgres_url):
    engine = engine_of(postgres_url)
    with engine.connect() as connection:
        waits = [connection.execute(text(f"SHOW {name}")).scalar() for name in ("statement_timeout", "lock_timeout")]
    assert waits == ["15s", "5s"]
    engine.dispose()


def test_what_the_tables_do_not_take_is_no_fault_of_the_database(postgres_url):
    ledger = opened(postgres_url)
    with pytest.raises((DataError, ValueError)):
        ledger.turn("a\x00b")
    ledger.close()
