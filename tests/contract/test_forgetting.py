"""Who is forgotten while something else is going on: nobody is left behind, and no promise goes on as nobody's."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest
from msgspec.structs import replace
from sqlalchemy import event, text

from scheduler import turns
from scheduler.accounts import Account, HasTurns, Review, Vehicle, Watched
from scheduler.ledger import Change, Household, UnknownHousehold
from scheduler.ledger_engine import engine_of
from scheduler.ledger_sql import SqlLedger
from tests.desks import World
from tests.ledgers import NINE_MS, a_place, a_turn, opened, promise, step

HOME = Household(id="h1", compound="k-01", dwelling="3-502")
WANG = Account(name="wang", role="resident", household="h1", password="hash")
ZHANG = replace(WANG, name="zhang")
CAR = Vehicle(household="h1", id="car", connector_types=("GBT_AC",), max_ac_kw=7, battery_kwh=60)
WATCH = Watched(id="w1", household="h1", site="jn-01", at_ms=1)
REVIEW = Review(id="r1", turn="t1", household="h1", note="I was there", at_ms=1)
WITHIN_S = 10.0


class Kept:
    """What a household may still send as its last account goes, and whether it is there."""

    def __init__(self, name: str, keep: Callable[[SqlLedger], object], statement: str) -> None:
        self.name, self.keep, self.statement = name, keep, statement


KEPT = [
    Kept("vehicle", lambda ledger: ledger.accounts.keep_vehicle(CAR), "INSERT INTO vehicle"),
    Kept("watch", lambda ledger: ledger.accounts.watch(WATCH), "INSERT INTO watch"),
    Kept("review", lambda ledger: ledger.accounts.review(REVIEW), "INSERT INTO review"),
]


def left_of(ledger):
    accounts = ledger.accounts
    kept = accounts.vehicles("h1"), accounts.watches("h1"), accounts.reviews(household="h1"), accounts.notices("h1")
    return [one for some in kept for one in some] + ledger.turns(household="h1")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    kept = opened(request.getfixturevalue("postgres_url") if request.param == "postgresql" else url)
    kept.register(HOME)
    kept.accounts.add(WANG)
    yield kept
    assert not kept.imbalance()
    kept.close()


@pytest.fixture
def one(postgres_url):
    ledger = opened(postgres_url)
    ledger.register(HOME)
    ledger.accounts.add(WANG)
    yield ledger
    ledger.close()


class Meanwhile:
    """Another process's ledger. Once it has sent the statement that begins so, `one` does its part beside it: until
    that is done, or waits for a lock of what is not.
    """

    def __init__(self, url: str) -> None:
        self._engine, self._asks = engine_of(url), engine_of(url)
        self.ledger = SqlLedger(self._engine)
        self._threads = ThreadPoolExecutor()
        self._done: list[Future[object]] = []

    def beside(self, statement: str, do: Callable[[], object]) -> None:
        @event.listens_for(self._engine, "after_cursor_execute")
        def _sent(_connection, _cursor, sent, *_more):
            if sent.startswith(statement) and not self._done:
                self._done = [self._threads.submit(do)]
                self._until_it_is_done_or_waits()

    def raised(self) -> BaseException | None:
        """By what was done beside it, which is over then."""
        [done] = self._done
        return done.exception(WITHIN_S)

    def close(self) -> None:
        self._threads.shutdown()
        self.ledger.close()
        self._asks.dispose()

    def _until_it_is_done_or_waits(self) -> None:
        deadline_s = time.monotonic() + WITHIN_S
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while not wait(self._done, 0.01).done:
            assert time.monotonic() < deadline_s
            with self._asks.connect() as connection:
                if connection.execute(waiting).scalar():
                    return


@pytest.fixture
def meanwhile(one, postgres_url):
    other = Meanwhile(postgres_url)
    yield other
    other.close()


def test_the_last_of_a_household_does_not_go_while_a_promise_to_it_goes_on(ledger):
    ledger.accounts.add(ZHANG)
    held = promise(ledger, a_place(), household="h1", vehicle="h1/car")
    ledger.accounts.remove("zhang")
    with pytest.raises(HasTurns, match=f"household h1 has turns that are not over: {held.id}") as has:
        ledger.accounts.remove("wang")
    assert (has.value.household, list(has.value.turns)) == ("h1", [held.id])
    assert ledger.accounts.account("wang") == WANG
    assert ledger.household("h1") == HOME
    step(ledger, held, turns.cancelled(held, NINE_MS))
    ledger.accounts.remove("wang")
    assert ledger.household("h1") is None


def test_who_is_removed_twice_at_once_takes_nobody_along_who_moved_in_between(one, meanwhile):
    def gone_and_moved_in():
        one.accounts.remove("wang")
        one.register(HOME)

    meanwhile.beside("SELECT account", gone_and_moved_in)
    meanwhile.ledger.accounts.remove("wang")
    assert meanwhile.raised() is None
    assert one.household("h1") == HOME


def test_the_last_two_who_go_at_once_leave_nobody_behind(one, meanwhile):
    one.accounts.add(ZHANG)
    one.accounts.keep_vehicle(CAR)
    meanwhile.beside("SELECT count", lambda: one.accounts.remove("zhang"))
    meanwhile.ledger.accounts.remove("wang")
    assert meanwhile.raised() is None
    assert one.accounts.accounts() == []
    assert one.household("h1") is None
    assert left_of(one) == []


def test_whoever_asks_as_its_household_is_forgotten_leaves_no_turn(ledger, monkeypatch):
    ledger.accounts.remove("wang")
    world = World(ledger)  # which registers them anew
    wish = world.wish("h1")
    ledger.accounts.add(WANG)
    look = ledger.household

    def looked(household):
        found = look(household)
        ledger.accounts.remove("wang")
        return found

    monkeypatch.setattr(ledger, "household", looked)
    with pytest.raises(UnknownHousehold, match="h1"):
        world.desk.ask(wish, world.now_ms, key="k", by="wang")
    assert ledger.turns() == []
    assert ledger.by_key("h1", "k") is None


def test_the_last_does_not_go_beside_a_turn_that_is_just_being_kept(one, meanwhile):
    asked = Change(before=None, after=a_turn(household="h1"), asked=True, key="k", by="wang")
    meanwhile.beside("INSERT INTO turn", lambda: one.accounts.remove("wang"))
    [kept] = meanwhile.ledger.commit([asked], NINE_MS)
    assert isinstance(meanwhile.raised(), HasTurns)
    assert one.turn(kept.id) == kept
    assert one.household("h1") == HOME


@pytest.mark.parametrize("sent", KEPT, ids=lambda sent: sent.name)
def test_what_a_household_sends_when_it_is_forgotten_is_not_kept(ledger, sent):
    ledger.accounts.remove("wang")
    with pytest.raises(UnknownHousehold, match="household h1 is not registered"):
        sent.keep(ledger)
    assert left_of(ledger) == []


@pytest.mark.parametrize("sent", KEPT, ids=lambda sent: sent.name)
def test_what_a_household_sends_as_it_is_forgotten_goes_with_it(one, meanwhile, sent):
    meanwhile.beside(sent.statement, lambda: one.accounts.remove("wang"))
    sent.keep(meanwhile.ledger)
    assert meanwhile.raised() is None
    assert one.household("h1") is None
    assert left_of(one) == []
