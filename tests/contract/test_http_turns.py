"""Turns over HTTP, as staff ask for them on behalf of a household, over a real ledger."""

from __future__ import annotations

import itertools
from contextlib import closing

import pytest

from api.turns import Turns
from ingest.clock import rfc3339
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn, open_ledger
from scheduler.buckets import Place, bucket_at
from scheduler.desk import Desk
from scheduler.explain import Decision
from scheduler.ledger import LedgerUnavailable
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from tests.boards import STAFF, STREET, Street
from tests.desks import SitesOf

SITE, ONE = "jn-01", "jn-01/pile-1/1"
HOUR_MS = 3_600_000


class Office:
    """The API with a desk, and what the planner does by hand."""

    def __init__(self, street, client, desk):
        self.street, self.client, self.desk = street, client, desk

    @property
    def now_ms(self):
        return self.street.service_ms

    def at(self, hours):
        return rfc3339(self.now_ms + round(hours * HOUR_MS))

    def ask(self, key=None, **said):
        wish = {"site": SITE, "on_behalf_of": "h-17", "vehicle": "car-1", "energy_kwh": 7, "depart_by": self.at(6)}
        headers = STAFF | ({"Idempotency-Key": key} if key else {})
        return self.client.post("/api/v1/turns", headers=headers, json=wish | said)

    def get(self, path):
        return self.client.get(f"/api/v1{path}", headers=STAFF)

    def does(self, turn, what):
        return self.client.post(f"/api/v1/turns/{turn}/{what}", headers=STAFF)

    def offer(self, turn, bucket=1):
        place = Place(ONE, bucket_at(self.now_ms) + bucket, (7_000,) * 4)
        self.desk.plan(turn, place, self.now_ms)
        self.desk.offer(turn, place, self.now_ms)
        return place


@pytest.fixture
def office(street: Street, tmp_path, idle_store):
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        desk = Desk(ledger, SitesOf(STREET), Drawn(), is_workday)
        rules = RuleSet(
            site=SITE, compounds=("c-01",), quiet=QuietHours(0, 0), longest_turn_min=600, service_fee_yuan_kwh=0.4
        )
        ledger.adopt(rules, after=0, by="init", now_ms=street.service_ms)
        turns = Turns(desk, ledger.accounts, "Asia/Shanghai")
        with street.client(tmp_path, store=idle_store, turns=lambda: turns) as client:
            office = Office(street, client, desk)
            household = {"compound": "c-01", "dwelling": "3-502"}
            assert client.put("/api/v1/households/h-17", headers=STAFF, json=household).status_code == 200
            yield office


def test_a_turn_from_the_wish_to_the_promise(office):
    asked = office.ask()
    assert asked.status_code == 201, asked.text
    turn = asked.json()
    assert (turn["state"], turn["connector"], turn["start"], turn["code"]) == ("requested", None, None, None)
    place = office.offer(turn["id"])
    offered = office.get(f"/turns/{turn['id']}").json()
    assert (offered["state"], offered["connector"], offered["end"]) == ("offered", ONE, rfc3339(place.end_ms))
    assert offered["start"] == {"p50": rfc3339(place.start_ms), "p90": rfc3339(place.start_ms)}
    assert offered["cost"] == {"energy": 4.32, "service": 2.8, "currency": "CNY"}  # 7 kWh at 0.617 by day, and 0.4
    assert len(offered["code"]) == 6
    assert offered["offer_expires_at"] is not None
    assert office.does(turn["id"], "accept").json()["state"] == "reserved"
    assert [one["id"] for one in office.get(f"/turns?site={SITE}&state=reserved").json()["items"]] == [turn["id"]]
    assert office.get("/turns?state=active&state=done").json()["items"] == []
    assert office.does(turn["id"], "cancel").json()["state"] == "cancelled"
    again = office.does(turn["id"], "accept")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/not-now")
    assert not office.desk.ledger.imbalance()


def test_who_is_at_its_plug_checks_in_and_says_when_it_wants_no_more(office):
    turn = office.ask().json()["id"]
    assert office.does(turn, "check-in").status_code == 409, "it has no place yet"
    office.offer(turn)
    office.does(turn, "accept")
    assert office.does(turn, "finish").status_code == 409, "its car is not there"
    office.street.service_ms = office.desk.turn(turn).place.start_ms
    assert office.does(turn, "check-in").json()["state"] == "reserved"
    assert office.desk.turn(turn).checked_in_ms == office.street.service_ms
    office.desk.plug_in(turn, office.street.service_ms)
    assert office.does(turn, "finish").json()["state"] == "active"
    assert office.desk.turn(turn).finished_ms == office.street.service_ms


def test_a_snooze_gives_the_place_back(office):
    turn = office.ask().json()["id"]
    office.offer(turn)
    snoozed = office.does(turn, "snooze").json()
    assert (snoozed["state"], snoozed["connector"], snoozed["code"]) == ("queued", None, None)


def test_a_request_that_is_sent_twice_is_one_turn(office):
    ids = [office.ask(key="a-key").json()["id"] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(office.get("/turns").json()["items"]) == 1


def test_an_empty_key_is_none_and_not_the_same_as_another_empty_one(office):
    wish = {"site": SITE, "on_behalf_of": "h-17", "vehicle": "car-1", "energy_kwh": 7, "depart_by": office.at(6)}
    refused = office.client.post("/api/v1/turns", headers=STAFF | {"Idempotency-Key": ""}, json=wish)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/invalid")
    assert office.get("/turns").json()["items"] == []


def test_a_wish_that_a_rule_refuses_is_answered_with_the_rule_in_both_languages_and_kept(office):
    refused = office.ask(energy_kwh=100, depart_by=office.at(30))
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/refused-by-rule")
    assert "858" in refused.json()["detail"]
    assert "分钟" in refused.json()["detail"]
    [kept] = office.get("/turns?household=h-17").json()["items"]
    assert (kept["state"], kept["reasons"][0]["code"]) == ("rejected", "refused_longest_turn_min")
    twice = [office.ask(), office.ask(energy_kwh=3)][1]
    assert "This vehicle has a turn already." in twice.json()["detail"]


def test_why_it_stands_where_it_does(office):
    turn = office.ask().json()["id"]
    assert office.get(f"/turns/{turn}/explain").json() == {"reasons": []}
    office.desk.ledger.decide({turn: Decision(rank=2, of=9, standing_min=-312, bound_by="taken")})
    said = office.get(f"/turns/{turn}/explain").json()["reasons"]
    assert [one["code"] for one in said] == ["standing_less", "ahead_one", "taken", "near_by"]
    sentence = "In 28 days you charged 312 minutes less than the average household here, so you are 2nd of 9."
    assert said[0]["text"]["en"] == sentence
    assert "312" in said[0]["text"]["zh"]
    assert office.get(f"/turns/{turn}").json()["rank"] == 2


@pytest.mark.parametrize(
    ("said", "status", "problem"),
    [
        ({"site": "jn-99"}, 404, "unknown-site"),
        ({"site": "cjd-07"}, 404, "unknown-site"),
        ({"on_behalf_of": "h-99"}, 404, "unknown-household"),
        ({"energy_kwh": 0}, 422, "invalid"),
        ({"energy_kwh": "much"}, 422, "invalid"),
        ({"depart_by": "tomorrow"}, 422, "invalid"),
        ({"depart_by": "2020-01-01T00:00:00Z"}, 422, "invalid"),
        ({"vehicle": "a car"}, 422, "invalid"),
        ({"colour": "red"}, 422, "invalid"),
    ],
)
def test_a_wish_that_nobody_can_keep_is_refused_with_what_is_wrong(office, said, status, problem):
    answer = office.ask(**said)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert office.get("/turns").json()["items"] == []


@pytest.mark.parametrize("dwelling", ["3-5\x002", "3-502\n", ""])
def test_a_dwelling_that_nobody_can_keep_is_refused(office, dwelling):
    said = {"compound": "c-01", "dwelling": dwelling}
    answer = office.client.put("/api/v1/households/h-1", json=said, headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


def test_two_households_have_not_one_dwelling(office):
    answer = office.client.put("/api/v1/households/h-18", headers=STAFF, json={"compound": "c-01", "dwelling": "3-502"})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/dwelling-taken")


def test_what_is_not_there_is_not_found(office):
    for path in ("/turns/none", "/turns/none/explain"):
        assert office.get(path).json()["type"] == "/problems/unknown-turn"
    for what in ("accept", "snooze", "cancel", "check-in", "finish"):
        assert office.does("none", what).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer of nothing"}])
def test_only_staff_asks_and_looks(office, headers):
    turn = office.ask().json()["id"]
    for method, path in itertools.chain(
        [("GET", "/turns"), ("GET", f"/turns/{turn}"), ("GET", f"/turns/{turn}/explain"), ("POST", "/turns")],
        [("POST", f"/turns/{turn}/{what}") for what in ("accept", "snooze", "cancel", "check-in", "finish")],
        [("PUT", "/households/h-17")],
    ):
        assert office.client.request(method, f"/api/v1{path}", headers=headers).status_code == 401


def test_while_the_ledger_is_away_it_says_so_and_when_to_come_again(office, monkeypatch):
    def away(*_said, **_more):
        raise LedgerUnavailable("gone")

    for method in ("turn", "turns", "household", "commit"):
        monkeypatch.setattr(office.desk.ledger, method, away)
    for answer in (office.ask(), office.get("/turns"), office.get("/turns/x"), office.does("x", "accept")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["type"] == "/problems/not-ready"


def test_where_no_turns_are_given_it_says_so(street, tmp_path, idle_store):
    with street.client(tmp_path, store=idle_store) as client:
        answer = client.get("/api/v1/turns", headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
