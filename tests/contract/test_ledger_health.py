"""What the doctor says of a ledger, of each kind of database."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from lunchong.ledger_health import look
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import migrate, newest
from tests.ledgers import a_place, opened, promise


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    of_postgresql = request.param == "postgresql"
    return request.getfixturevalue("postgres_url") if of_postgresql else f"sqlite:///{tmp_path / 'ledger.db'}"


def did(url, *statements):
    engine = engine_of(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_whole_ledger_is_well(url):
    ledger = opened(url)
    promise(ledger, a_place())
    assert look(url) == ("good", "whole, 1 live turns")
    ledger.close()


def test_a_claim_without_a_turn_is_found(url):
    ledger = opened(url)
    promise(ledger, a_place())
    ledger.close()
    did(url, "DELETE FROM claim WHERE bucket = (SELECT min(bucket) FROM claim)", "UPDATE household_use SET live = 2")
    said = "1 turns without their claim, 1 households with another number of live turns"
    assert look(url) == ("bad", said)


def test_notices_that_may_have_left_are_a_note(url):
    ledger = opened(url)
    promise(ledger, a_place())
    ledger.close()
    outgoing = 'INSERT INTO outgoing (id, kind, "to", body, state, epoch, at_ms) '
    did(url, outgoing + "VALUES ('n', 'notice', 'h', '{}', 'unknown', 1, 1)")
    assert look(url) == ("note", "whole, 1 live turns; 1 notices may have left or not")


def test_a_ledger_of_an_older_version_is_left_as_it_is(url):
    engine = engine_of(url)
    migrate(engine, "0001")
    engine.dispose()
    said = f"stands at step 0001, this version at {newest()}: it is brought there as `serve` starts"
    assert look(url) == ("note", said)


def test_where_there_is_none_none_is_made(tmp_path):
    assert look(f"sqlite:///{tmp_path / 'none.db'}")[0] == "note"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["postgresql+psycopg://nobody@127.0.0.1:9/none", "nonsense", "postgresql://h/x"])
def test_one_that_cannot_be_opened_is_bad_in_one_line(url):
    level, said = look(url)
    assert level == "bad"
    assert said.startswith("cannot be opened: ")
    assert "\n" not in said
