"""The live stream of a household's notices, over a real socket and a real ledger."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing

import bcrypt
import pytest

from api import told
from api.turns import Turns
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn
from lunchong.web import Web, bound_port
from scheduler.accounts import Account
from scheduler.buckets import Place, bucket_at
from scheduler.desk import Desk, Wish
from scheduler.ledger import Household, LedgerUnavailable
from scheduler.post import Post
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from tests.boards import STREET, Street
from tests.contract.test_http_stream import Reader
from tests.desks import SitesOf
from tests.ledgers import opened

STREAM = "/api/v1/me/notices/stream"
SITE, PLUGS = "jn-01", ("jn-01/pile-1/1", "jn-01/pile-1/2")
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
HOUR_MS = 3_600_000


class House:
    """Two households, the post, and readers of their streams."""

    def __init__(self, street, desk, port):
        self.street, self.desk, self.port, self.post = street, desk, port, Post(desk)
        desk.ledger.lead("one", 1e6)

    def read(self, name):
        return Reader(self.port, path=STREAM, token=self.token(name))

    def token(self, name):
        body = json.dumps({"name": name, "password": PASSWORD}).encode()
        url = f"http://127.0.0.1:{self.port}/api/v1/login"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["token"]

    def offers(self, household="h1", plug=0, hours=0):
        now_ms = self.street.service_ms
        wish = Wish(
            site=SITE, household=household, vehicle=f"car of {household}", energy_kwh=3.5, max_w=7_000,
            earliest_ms=now_ms, depart_by_ms=now_ms + 20 * HOUR_MS,
        )  # fmt: skip
        turn = self.desk.ask(wish, now_ms).id
        place = Place(PLUGS[plug], bucket_at(now_ms) + 1 + hours * 4, (7_000,) * 2)
        self.desk.plan(turn, place, now_ms)
        self.desk.offer(turn, place, now_ms)
        return turn

    def posts(self):
        return self.post.turn(1, self.street.service_ms)


@pytest.fixture
def quiet():
    return QuietHours(0, 0)


@pytest.fixture
def house(tmp_path, idle_store, monkeypatch, quiet):
    monkeypatch.setattr(told, "LOOK_EVERY_S", 0.1)
    street = Street()
    street.everything_free()
    with closing(opened(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        desk = Desk(ledger, SitesOf(STREET), Drawn(), is_workday)
        ledger.adopt(RuleSet(site=SITE, compounds=("c-01",), quiet=quiet), 0, "init", street.service_ms)
        for no, name in enumerate(("wang", "zhang"), 1):
            ledger.register(Household(id=f"h{no}", compound="c-01", dwelling=f"3-50{no}"))
            ledger.accounts.add(Account(name=name, role="resident", household=f"h{no}", password=HASH))
        turns = Turns(desk, ledger.accounts, "Asia/Shanghai")
        with street.app(tmp_path, store=idle_store, turns=lambda: turns) as app:
            line = bound_port("127.0.0.1", 0)
            web = Web([(app, line)], lambda: None)
            web.start()
            try:
                yield House(street, desk, line.getsockname()[1])
            finally:
                app.state.live.close()
                web.stop()


def test_a_household_is_shown_what_it_was_told_and_then_each_notice_once(house):
    first = house.offers()
    house.posts()
    with closing(house.read("wang")) as wang, closing(house.read("zhang")) as zhang:
        [shown] = wang.next("snapshot").data["items"]
        assert (shown["what"], shown["turn"]) == ("offer", first)
        assert zhang.next("snapshot").data == {"items": []}
        house.desk.accept(first, house.street.service_ms)
        second = house.offers("h2", plug=1)
        house.posts()
        assert [wang.next("notice").data["what"], zhang.next("notice").data["turn"]] == ["reserved", second]
        house.desk.cancel(first, house.street.service_ms)
        third = house.offers()
        house.posts()
        told_next = wang.next("notice").data
        assert (told_next["turn"], told_next["what"]) == (third, "offer")
        assert told_next["text"]["en"].startswith("There is a place for you")


def test_a_reader_that_comes_back_missed_nothing(house):
    with closing(house.read("wang")) as wang:
        assert wang.next("snapshot").data == {"items": []}
    turn = house.offers()
    house.posts()
    with closing(house.read("wang")) as again:
        assert [one["turn"] for one in again.next("snapshot").data["items"]] == [turn]


@pytest.mark.parametrize("quiet", [QuietHours(0, 24 * 60 - 1)])
def test_what_waits_for_the_morning_is_not_called_out_at_night(house, monkeypatch):
    monkeypatch.setattr(told, "HEARTBEAT_S", 0.1)
    house.offers(hours=18)
    house.posts()
    with closing(house.read("wang")) as wang:
        assert wang.next().data == {"items": []}
        assert [wang.next().name for _ in range(4)] == ["heartbeat"] * 4
    assert len(house.desk.ledger.outgoing(["pending"])) == 1


def test_while_the_ledger_is_away_the_stream_stays_and_says_afterwards_what_was_told(house, monkeypatch):
    accounts = type(house.desk.ledger.accounts)
    with closing(house.read("wang")) as wang:
        wang.next("snapshot")
        monkeypatch.setattr(told, "HEARTBEAT_S", 0.1)
        with monkeypatch.context() as away:
            away.setattr(accounts, "notices", lambda *_: (_ for _ in ()).throw(LedgerUnavailable("away")))
            for _ in range(3):
                wang.next("heartbeat")
        turn = house.offers()
        house.posts()
        assert wang.next("notice").data["turn"] == turn


def test_it_is_for_who_has_a_household(house):
    refused = Reader(house.port, path=STREAM)
    assert refused.answer.status == 401
    refused.close()
