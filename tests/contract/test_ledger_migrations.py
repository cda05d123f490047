"""The ledger's tables come and go step by step, with what is in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import inspect, text

from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import NOTHING, ONE_AT_A_TIME, LedgerTooNew, migrate, newest, version_of
from scheduler.ledger_sql import SqlLedger
from scheduler.ledger_tables import metadata
from tests.brokers import until
from tests.ledgers import a_place, promise


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    made = engine_of(request.getfixturevalue("postgres_url") if request.param == "postgresql" else url)
    yield made
    made.dispose()


def test_the_steps_lead_to_the_tables_that_the_code_knows(engine):
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_tables_are_made_once_and_keep_what_is_in_them(engine):
    migrate(engine)
    kept = promise(SqlLedger(engine), a_place())
    migrate(engine)
    assert SqlLedger(engine).turns() == [kept]
    assert not SqlLedger(engine).imbalance()


def test_all_goes_back_to_nothing_and_comes_again(engine):
    assert version_of(engine) is None
    migrate(engine)
    promise(SqlLedger(engine), a_place())
    newest = version_of(engine)
    migrate(engine, NOTHING)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert version_of(engine) is None
    migrate(engine)
    assert version_of(engine) == newest
    assert SqlLedger(engine).turns() == []


def test_a_ledger_of_a_newer_version_is_left_alone_and_said(engine):
    migrate(engine)
    promise(SqlLedger(engine), a_place())
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerTooNew, match="stands at step '9999', which this version does not know"):
        migrate(engine)
    assert len(SqlLedger(engine).turns()) == 1


def test_a_step_that_fails_leaves_the_tables_as_they_were(engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE lease (name TEXT)"))
    with pytest.raises(Exception, match="already exists"):
        migrate(engine)
    assert set(inspect(engine).get_table_names()) <= {"lease", "alembic_version"}
    assert version_of(engine) is None


def test_a_step_back_and_forth_keeps_the_turns_that_both_know(engine):
    migrate(engine)
    kept = promise(SqlLedger(engine), a_place())
    migrate(engine, "0001")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, state FROM turn")).all() == [(kept.id, kept.state)]
    migrate(engine)
    assert SqlLedger(engine).turns() == [replace(kept, soon_ms=None)], "what the older one has no column for is gone"
    assert SqlLedger(engine).deliveries([kept.household], 0) == []


def test_two_processes_that_find_a_ledger_empty_make_its_tables_once(postgres_url):
    held, waits = engine_of(postgres_url), engine_of(postgres_url)
    with ThreadPoolExecutor() as other:
        with held.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
            made = other.submit(migrate, waits)
            asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            until(lambda: connection.execute(text(asked)).scalar() == 1)
            assert not made.done()
        made.result(30)
    assert version_of(waits) is not None
    for engine in (held, waits):
        engine.dispose()


def test_threads_that_make_tables_at_once_each_make_those_of_their_own_ledger(tmp_path):
    engines = [engine_of(f"sqlite:///{tmp_path / str(number)}") for number in range(8)]
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(migrate, engines))
    assert {version_of(engine) for engine in engines} == {newest()}
    assert len({tuple(inspect(engine).get_table_names()) for engine in engines}) == 1
    for engine in engines:
        engine.dispose()
