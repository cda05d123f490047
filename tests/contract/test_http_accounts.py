"""Accounts over HTTP: who is let in, who sees what, and what a resident does without staff."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import bcrypt
import pytest
from icalendar import Calendar

from api.routes.login import NOBODY
from api.turns import Turns
from ingest.clock import rfc3339
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn
from scheduler.accounts import Account
from scheduler.buckets import Place, bucket_at
from scheduler.desk import Desk
from scheduler.ledger import Household
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from tests.boards import STAFF, STREET, TOKEN, Devices, Street
from tests.desks import SitesOf
from tests.ledgers import opened

SITE, ONE = "jn-01", "jn-01/pile-1/1"
HOUR_MS = 3_600_000
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
CAR = {"connector_types": ["GBT_AC"], "max_ac_kw": 6.6, "battery_kwh": 45.0}


class Door:
    """A client for each who comes, over one application."""

    def __init__(self, street, client, desk):
        self.street, self.client, self.desk = street, client, desk
        self.tokens = {}

    def says(self, who, method, path, headers=None, **more):
        """As that account, by its token."""
        if who is not None and who not in self.tokens:
            answer = self.client.post("/api/v1/login", json={"name": who, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            self.tokens[who] = answer.json()["token"]
            self.client.cookies.clear()
        sent = {"Authorization": f"Bearer {self.tokens[who]}"} if who is not None else {}
        return self.client.request(method, f"/api/v1{path}", headers=sent | (headers or {}), **more)

    def asks(self, who="wang", **said):
        usual = {"site": SITE, "vehicle": "car-1", "energy_kwh": 7, "depart_by": self.at(8)}
        return self.says(who, "POST", "/turns", json={**usual, **said})

    def at(self, hours):
        return rfc3339(self.street.service_ms + hours * HOUR_MS)

    def promised(self, who="wang"):
        turn = self.asks(who).json()["id"]
        place = Place(ONE, bucket_at(self.street.service_ms) + 4, (7_000,) * 4)
        self.desk.plan(turn, place, self.street.service_ms)
        self.desk.offer(turn, place, self.street.service_ms)
        return turn, place


@pytest.fixture
def door(tmp_path, idle_store):
    street = Street()
    street.everything_free()
    with closing(opened(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        desk = Desk(ledger, SitesOf(STREET), Drawn(), is_workday)
        rules = RuleSet(site=SITE, compounds=("c-01",), quiet=QuietHours(0, 0), longest_turn_min=600)
        ledger.adopt(rules, after=0, by="init", now_ms=street.service_ms)
        for no in (1, 2):
            ledger.register(Household(id=f"h{no}", compound="c-01", dwelling=f"3-50{no}"))
        for name, role, household in (
            ("wang", "resident", "h1"), ("zhang", "resident", "h2"), ("sun", "committee", None),
            ("li", "staff", None), ("zhao", "operator", None),
        ):  # fmt: skip
            ledger.accounts.add(Account(name=name, role=role, household=household, password=HASH))
        turns = Turns(desk, ledger.accounts, "Asia/Shanghai")
        with street.client(tmp_path, store=idle_store, turns=lambda: turns, commands=Devices()) as client:
            yield Door(street, client, desk)


# --- coming in -------------------------------------------------------------------------------------------------------


def test_a_token_lets_in_until_it_is_given_back(door):
    assert door.says("wang", "GET", "/me").json() == {
        "name": "wang", "role": "resident", "language": "zh", "mail": None,
        "household": {"id": "h1", "compound": "c-01", "dwelling": "3-501", "accessibility": False, "essential": False},
    }  # fmt: skip
    assert door.says("wang", "DELETE", "/login").status_code == 204
    refused = door.says("wang", "GET", "/me")
    assert (refused.status_code, refused.json()["type"]) == (401, "/problems/unauthorized")


def test_a_token_ends_after_thirty_days(door):
    door.says("wang", "GET", "/me")
    door.street.mono_s += 30 * 86_400 - 1
    assert door.says("wang", "GET", "/me").status_code == 200
    door.street.mono_s += 1
    assert door.says("wang", "GET", "/me").status_code == 401


@pytest.mark.parametrize(("name", "password"), [("wang", "wrong horse"), ("nobody", PASSWORD), ("wang", "长" * 60)])
def test_a_wrong_name_and_a_wrong_password_are_the_same(door, name, password):
    answer = door.client.post("/api/v1/login", json={"name": name, "password": password})
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/wrong-login")
    assert "set-cookie" not in answer.headers


def test_a_name_that_is_not_there_takes_as_long(door):
    cost = bcrypt.gensalt().split(b"$")[2]  # as accounts are made with
    assert NOBODY.split(b"$")[2] == cost
    assert not bcrypt.checkpw(b"", NOBODY)


def test_what_no_database_keeps_is_no_name_and_no_note(door, monkeypatch):
    turn = door.asks().json()["id"]
    assert door.says("wang", "POST", f"/turns/{turn}/review", json={"note": "I was\x00 there"}).status_code == 422
    assert door.says("wang", "POST", f"/turns/{turn}/review", json={"note": "I was\nthere"}).status_code == 201
    asked = []
    monkeypatch.setattr(type(door.desk.ledger.accounts), "account", lambda _self, name: asked.append(name))
    answer = door.client.post("/api/v1/login", json={"name": "wang\x00", "password": PASSWORD})
    assert (answer.status_code, answer.json()["type"], asked) == (401, "/problems/wrong-login", [])


def test_who_guesses_has_to_wait(door):
    tries = [door.client.post("/api/v1/login", json={"name": "wang", "password": "wrong horse"}) for _ in range(6)]
    assert [one.status_code for one in tries] == [401] * 5 + [429]
    assert int(tries[-1].headers["retry-after"]) > 0


def test_a_browser_has_a_cookie_that_no_script_reads_and_no_other_site_uses(door):
    answer = door.client.post("/api/v1/login", json={"name": "wang", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert door.says(None, "GET", "/me").json()["name"] == "wang"
    ask = {"site": SITE, "vehicle": "car-1", "energy_kwh": 7, "depart_by": door.at(8)}
    for theirs in (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
    ):
        refused = door.says(None, "POST", "/turns", headers=theirs, json=ask)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/cross-site")
    for ours in ({"sec-fetch-site": "same-origin"}, {"origin": "http://testserver"}):
        assert door.says(None, "POST", "/turns", headers=ours, json=ask).status_code in (201, 422)
    assert door.says(None, "DELETE", "/login").status_code == 204
    assert door.says(None, "GET", "/me").status_code == 401


@pytest.mark.parametrize(("proxies", "is_secure"), [(("10.0.0.1",), True), ((), False)])
def test_behind_a_trusted_proxy_with_tls_the_cookie_is_for_tls_alone(door, tmp_path, idle_store, proxies, is_secure):
    turns = door.client.app.state.ctx.turns
    with door.street.client(tmp_path, store=idle_store, turns=turns, trusted_proxies=proxies) as client:
        said = {"name": "wang", "password": PASSWORD}
        answer = client.post("/api/v1/login", json=said, headers={"x-forwarded-proto": "https"})
    assert ("; secure" in answer.headers["set-cookie"].lower()) == is_secure


def test_who_has_a_token_alone_cannot_guess_the_password_either(door):
    said = {"password": "battery staple", "current_password": "wrong horse"}
    tries = [door.says("wang", "PATCH", "/me", json=said).status_code for _ in range(6)]
    assert tries == [401] * 4 + [429] * 2, "of five tries, one was to log in"
    assert door.says("wang", "PATCH", "/me", json={"language": "en"}).status_code == 200


def test_a_cookie_is_logged_out_beside_a_login_of_another_kind(door):
    door.client.post("/api/v1/login", json={"name": "wang", "password": PASSWORD})
    cookie = door.client.cookies["lunchong"]
    door.client.delete("/api/v1/login", auth=("staff", "something"))
    assert door.client.get("/api/v1/me", headers={"Cookie": f"lunchong={cookie}"}).status_code == 401


def test_an_address_for_mail_is_given_and_taken_back_where_mail_is_sent(door, tmp_path, idle_store):
    no = door.says("wang", "PATCH", "/me", json={"mail": "wang@example.org"})
    assert (no.status_code, no.json()["type"]) == (422, "/problems/invalid")
    assert "no mail is sent from here" in no.text
    turns = replace(door.client.app.state.ctx.turns(), mails=True)
    with door.street.client(tmp_path, store=idle_store, turns=lambda: turns) as client:
        token = client.post("/api/v1/login", json={"name": "wang", "password": PASSWORD}).json()["token"]

        def says(**wish):
            return client.patch("/api/v1/me", headers={"Authorization": f"Bearer {token}"}, json=wish)

        assert says(mail="wang@example.org").json()["mail"] == "wang@example.org"
        assert says(language="en").json()["mail"] == "wang@example.org"
        assert says(mail="wang@example.org, li@example.org").status_code == 422
        assert says(mail=None).json()["mail"] is None


def test_another_password_ends_every_login(door):
    wrong = door.says("wang", "PATCH", "/me", json={"password": "battery staple", "current_password": "no"})
    assert wrong.json()["type"] == "/problems/wrong-login"
    short = door.says("wang", "PATCH", "/me", json={"password": "short", "current_password": PASSWORD})
    assert short.json()["type"] == "/problems/invalid"
    said = {"password": "battery staple", "current_password": PASSWORD, "language": "en"}
    assert door.says("wang", "PATCH", "/me", json=said).json()["language"] == "en"
    assert door.says("wang", "GET", "/me").status_code == 401
    again = door.client.post("/api/v1/login", json={"name": "wang", "password": "battery staple"})
    assert again.status_code == 200


# --- who may what ----------------------------------------------------------------------------------------------------

ONLY_STAFF = [
    ("GET", "/devices"), ("GET", "/sessions"), ("GET", "/trouble"), ("GET", "/accounts"), ("PUT", "/households/h3"),
    ("POST", "/reviews/r1/answer"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ONLY_STAFF)
def test_staff_paths_are_for_staff(door, method, path):
    body = {"json": {"compound": "c-01", "dwelling": "9"} if method == "PUT" else {"answer": "so it was"}}
    more = body if method != "GET" else {}
    for who in ("wang", "sun"):
        refused = door.says(who, method, path, **more)
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    for who in ("li", "zhao"):
        assert door.says(who, method, path, **more).status_code in (200, 404)
    assert door.client.request(method, f"/api/v1{path}", headers=STAFF, **more).status_code in (200, 404)


def test_only_operators_give_devices_commands(door):
    said = {"type": "stop", "connector": 1, "reason": "test"}
    assert door.says("li", "POST", "/devices/jn-01/pile-1/cmd", json=said).status_code == 403
    assert door.says("zhao", "POST", "/devices/jn-01/pile-1/cmd", json=said).status_code == 200


def test_a_household_sees_and_changes_its_own_turns_alone(door):
    turn = door.asks("wang").json()["id"]
    assert [one["id"] for one in door.says("wang", "GET", "/turns").json()["items"]] == [turn]
    assert door.says("zhang", "GET", "/turns?household=h1").json()["items"] == []
    assert door.says("sun", "GET", "/turns").json()["items"] == []
    for method, path in (
        ("GET", f"/turns/{turn}"), ("GET", f"/turns/{turn}/explain"), ("GET", f"/turns/{turn}.ics"),
        ("POST", f"/turns/{turn}/cancel"), ("POST", f"/turns/{turn}/check-in"),
    ):  # fmt: skip
        refused = door.says("zhang", method, path)
        assert (refused.status_code, refused.json()["type"]) == (404, "/problems/unknown-turn")
    assert door.says("li", "GET", f"/turns/{turn}").json()["household"] == "h1"
    assert door.says("wang", "POST", f"/turns/{turn}/cancel").json()["state"] == "cancelled"


def test_nobody_asks_for_another_household_but_staff(door):
    assert door.asks("zhang", on_behalf_of="h1").status_code == 403
    assert door.asks("sun").status_code == 403
    assert door.asks("li").json()["errors"][0]["where"] == "body.on_behalf_of"
    assert door.asks("li", on_behalf_of="h1").json()["household"] == "h1"
    assert door.asks("wang", on_behalf_of="h1", vehicle="car-2").status_code == 201


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_vehicle_says_how_much_and_how_fast(door):
    assert door.says("wang", "PUT", "/me/vehicles/leaf", json=CAR).status_code == 200
    asked = door.asks("wang", vehicle="leaf", energy_kwh=None, soc_now=40, target_soc=80).json()
    assert asked["energy_kwh"] == 20.0  # 40 % of 45 kWh, of which a tenth is lost
    assert door.desk.turn(asked["id"]).max_w == 6_600
    door.says("wang", "POST", f"/turns/{asked['id']}/cancel")
    capped = door.asks("wang", vehicle="leaf", energy_kwh=60, soc_now=90).json()
    assert capped["energy_kwh"] == 5.0, "there is no more room in its battery"
    assert door.says("wang", "GET", "/me/vehicles").json()["items"] == [{"id": "leaf", "max_dc_kw": 0.0} | CAR]
    assert door.says("zhang", "GET", "/me/vehicles").json()["items"] == []
    assert door.says("wang", "DELETE", "/me/vehicles/leaf").status_code == 204
    assert door.says("wang", "DELETE", "/me/vehicles/leaf").json()["type"] == "/problems/unknown-vehicle"


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"energy_kwh": None}, "body.energy_kwh"),
        ({"energy_kwh": None, "soc_now": 40, "target_soc": 80}, "body.vehicle"),
        ({"energy_kwh": None, "soc_now": 80, "target_soc": 40, "vehicle": "leaf"}, "body.target_soc"),
        ({"site": None}, "body.site"),
    ],
)
def test_a_wish_that_says_too_little_is_told_what_is_missing(door, said, where):
    door.says("wang", "PUT", "/me/vehicles/leaf", json=CAR)
    refused = door.asks("wang", **said)
    assert (refused.status_code, refused.json()["errors"][0]["where"]) == (422, where)


def test_a_vehicle_that_no_plug_takes_is_refused(door):
    none = door.says("wang", "PUT", "/me/vehicles/leaf", json={**CAR, "max_ac_kw": 0})
    assert none.status_code == 422


def test_the_nearest_site_is_found_where_the_household_may_ask(door):
    near = {"vehicle": "car-1", "energy_kwh": 7, "depart_by": door.at(8)}
    asked = door.says("wang", "POST", "/turns?near=31.2405,121.4405", json=near)
    assert asked.json()["site"] == SITE
    door.says("wang", "POST", f"/turns/{asked.json()['id']}/cancel")
    far = door.says("wang", "POST", "/turns?near=31.40,121.70", json=near)
    assert (far.status_code, far.json()["errors"][0]["where"]) == (422, "query.near")


def test_a_calendar_has_the_turn_with_an_alarm(door):
    turn = door.asks().json()["id"]
    assert door.says("wang", "GET", f"/turns/{turn}.ics").json()["type"] == "/problems/not-now"
    door.says("wang", "POST", f"/turns/{turn}/cancel")
    turn, place = door.promised()
    door.says("wang", "POST", f"/turns/{turn}/accept")
    answer = door.says("wang", "GET", f"/turns/{turn}.ics")
    assert answer.headers["content-type"].startswith("text/calendar")
    [event] = Calendar.from_ical(answer.content).walk("VEVENT")
    assert round(event.decoded("dtstart").timestamp() * 1_000) == place.start_ms
    assert (str(event["status"]), str(event["uid"])) == ("CONFIRMED", f"{turn}@lunchong")
    assert "江宁路轮充点" in str(event["location"])
    assert len(event.walk("VALARM")) == 1
    door.says("wang", "POST", f"/turns/{turn}/cancel")
    [gone] = Calendar.from_ical(door.says("wang", "GET", f"/turns/{turn}.ics").content).walk("VEVENT")
    assert str(gone["status"]) == "CANCELLED"
    assert int(str(gone["sequence"])) > int(str(event["sequence"]))


def test_nobody_buries_who_is_on_duty_in_objections_to_one_turn(door):
    turn = door.asks().json()["id"]

    def object_to():
        return door.says("wang", "POST", f"/turns/{turn}/review", json={"note": "I was there"})

    assert [object_to().status_code for _ in range(4)] == [201, 201, 201, 409]
    waits = door.says("li", "GET", "/reviews?unanswered=true").json()["items"][0]
    door.says("li", "POST", f"/reviews/{waits['id']}/answer", json={"answer": "so you were"})
    assert object_to().status_code == 201


def test_what_became_of_a_turn_is_reviewed_by_a_person(door):
    turn = door.asks().json()["id"]
    asked = door.says("wang", "POST", f"/turns/{turn}/review", json={"note": "I was there"})
    assert (asked.status_code, asked.json()["answer"]) == (201, None)
    assert door.says("zhang", "POST", f"/turns/{turn}/review", json={"note": "me too"}).status_code == 404
    assert door.says("zhang", "GET", "/reviews").json()["items"] == []
    [waits] = door.says("li", "GET", "/reviews?unanswered=true").json()["items"]
    path = f"/reviews/{waits['id']}/answer"
    assert door.says("li", "POST", path, json={"answer": "so you were"}).json()["answer"] == "so you were"
    assert door.says("li", "GET", "/reviews?unanswered=true").json()["items"] == []
    told = door.says("wang", "GET", "/me/notices").json()["items"][0]
    assert (told["what"], told["turn"]) == ("answered", turn)
    assert told["text"]["en"].startswith("Your objection has an answer: ")
    [answered] = door.says("wang", "GET", "/reviews").json()["items"]
    assert answered["answer"] == "so you were"
    assert door.says("li", "POST", "/reviews/none/answer", json={"answer": "?"}).status_code == 404


def test_staff_say_that_a_site_is_safe_again(door):
    door.desk.ledger.cut(SITE, "jn-01/pile-1: smoke alarm", door.street.service_ms)
    assert door.says("wang", "GET", "/cuts").status_code == 403
    assert door.says("wang", "DELETE", f"/cuts/{SITE}").status_code == 403
    assert door.says("li", "GET", "/cuts").json() == {"items": [{"site": SITE, "why": "jn-01/pile-1: smoke alarm"}]}
    assert door.says("li", "DELETE", f"/cuts/{SITE}").status_code == 204
    assert door.says("li", "DELETE", f"/cuts/{SITE}").status_code == 404


# --- me --------------------------------------------------------------------------------------------------------------


def test_notices_say_what_was_so_when_they_were_written(door):
    turn, _ = door.promised()
    door.says("wang", "POST", f"/turns/{turn}/accept")
    door.says("wang", "POST", f"/turns/{turn}/cancel")
    reserved, offer = door.says("wang", "GET", "/me/notices").json()["items"]
    assert (reserved["what"], offer["what"], offer["turn"]) == ("reserved", "offer", turn)
    assert ONE in offer["text"]["en"]
    assert offer["text"]["zh"].startswith("有位置了")
    assert len(door.says("wang", "GET", "/me/notices?limit=1").json()["items"]) == 1
    assert door.says("zhang", "GET", "/me/notices").json()["items"] == []


def test_the_standing_says_how_much_less_or_more_than_the_others(door):
    turn, place = door.promised()
    door.asks("zhang")
    door.says("wang", "POST", f"/turns/{turn}/accept")
    door.street.service_ms = place.start_ms
    door.desk.plug_in(turn, door.street.service_ms)
    door.street.service_ms += HOUR_MS
    door.desk.unplug(turn, door.street.service_ms)
    [mine], [theirs] = (door.says(who, "GET", "/me/standing").json()["items"] for who in ("wang", "zhang"))
    assert (mine["minutes"], mine["occupied_min"], mine["rank"], mine["of"]) == (30.0, 60.0, 2, 2)
    assert (theirs["minutes"], theirs["rank"]) == (-30.0, 1)
    assert "30 minutes more than the average household here" in mine["text"]["en"]


def test_what_is_watched_is_kept_once_and_not_without_end(door):
    assert door.says("wang", "POST", "/watches", json={}).status_code == 422
    assert door.says("wang", "POST", "/watches", json={"site": "st-01"}).status_code == 422
    for _ in range(2):
        [one] = door.says("wang", "POST", "/watches", json={"site": SITE}).json()["items"]
    near = door.says("wang", "POST", "/watches?near=31.2405,121.4405&minutes=60", json={}).json()["items"]
    assert {watch["site"] for watch in near} == {SITE, "cjd-07"}
    assert door.says("zhang", "DELETE", f"/watches/{one['id']}").json()["type"] == "/problems/unknown-watch"
    assert door.says("wang", "DELETE", f"/watches/{one['id']}").status_code == 204
    assert [watch["site"] for watch in door.says("wang", "GET", "/watches").json()["items"]] == ["cjd-07"]


def test_everything_that_is_kept_can_be_taken_along_and_forgotten(door):
    door.says("wang", "PUT", "/me/vehicles/leaf", json=CAR)
    turn, place = door.promised()
    door.says("wang", "POST", f"/turns/{turn}/accept")
    kept = door.says("wang", "GET", "/me/export").json()
    assert [one["id"] for one in kept["turns"]] == [turn]
    assert [one["what"] for one in kept["notices"]] == ["reserved", "offer"]
    assert kept["vehicles"][0]["id"] == "leaf"
    door.street.service_ms = place.start_ms
    door.desk.plug_in(turn, door.street.service_ms)
    refused = door.says("wang", "DELETE", "/me")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not-now")
    door.desk.unplug(turn, door.street.service_ms + HOUR_MS)
    waits = door.asks("wang", vehicle="car-2").json()["id"]
    assert door.says("wang", "DELETE", "/me").status_code == 204
    assert door.says("wang", "GET", "/me").status_code == 401
    assert door.desk.turn(waits).state == "cancelled"
    assert door.desk.turn(turn).household != "h1"
    assert not door.desk.ledger.imbalance()
    assert [one["name"] for one in door.says("li", "GET", "/accounts").json()["items"]] == [
        "li",
        "sun",
        "zhang",
        "zhao",
    ]


def test_who_goes_while_its_car_is_plugged_in_is_told(door, monkeypatch):
    turn, place = door.promised()
    door.says("wang", "POST", f"/turns/{turn}/accept")
    door.street.service_ms = place.start_ms
    ledger = door.desk.ledger
    before = ledger.turns(household="h1")
    door.desk.plug_in(turn, door.street.service_ms)
    monkeypatch.setattr(ledger, "turns", lambda **_said: before)
    refused = door.says("wang", "DELETE", "/me")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/not-now")
    assert door.says("wang", "GET", "/me").status_code == 200


def test_the_last_two_of_a_household_who_go_at_once_keep_no_plug(door, monkeypatch):
    accounts = door.desk.ledger.accounts
    accounts.add(Account(name="wu", role="resident", household="h1", password=HASH))
    turn, _ = door.promised()
    door.says("wang", "POST", f"/turns/{turn}/accept")
    door.says("wu", "GET", "/me")
    remove = accounts.remove

    def beside(name):
        monkeypatch.setattr(accounts, "remove", remove)
        assert door.says("wu", "DELETE", "/me").status_code == 204
        remove(name)

    monkeypatch.setattr(accounts, "remove", beside)
    assert door.says("wang", "DELETE", "/me").status_code == 204
    left = door.desk.turn(turn)
    assert (left.state, left.household.startswith("gone-")) == ("cancelled", True)
    assert door.desk.ledger.household("h1") is None


@pytest.mark.parametrize(("times", "status"), [(1, 204), (99, 409)])
def test_who_goes_while_another_asks_cancels_that_too_or_is_told(door, monkeypatch, times, status):
    accounts, asked = door.desk.ledger.accounts, []
    remove = accounts.remove

    def beside(name):
        if len(asked) < times:
            asked.append(door.asks("wang").json()["id"])
        remove(name)

    monkeypatch.setattr(accounts, "remove", beside)
    assert door.says("wang", "DELETE", "/me").status_code == status
    assert {door.desk.turn(turn).state for turn in asked} == {"cancelled"}
    assert (door.desk.ledger.household("h1") is None) == (status == 204)
    assert door.says("wang", "GET", "/me").status_code == (401 if status == 204 else 200)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/me/vehicles/leaf", CAR),
        ("POST", "/watches", {"site": SITE}),
        ("POST", "/turns", {"site": SITE, "vehicle": "car-1", "energy_kwh": 7, "depart_by": "2099-01-01T00:00:00Z"}),
    ],
)
def test_what_is_sent_by_who_is_just_forgotten_is_a_404(door, monkeypatch, method, path, body):
    ledger = door.desk.ledger
    looks = {"PUT": (ledger.accounts, "vehicles"), "POST": (ledger, "household")}[method]
    looks = (ledger.accounts, "watches") if path == "/watches" else looks
    look = getattr(*looks)

    def looked(*said):
        found = look(*said)
        ledger.accounts.remove("wang")
        return found

    monkeypatch.setattr(*looks, looked)
    refused = door.says("wang", method, path, json=body)
    assert (refused.status_code, refused.json()["type"]) == (404, "/problems/unknown-household")
    monkeypatch.undo()
    assert (ledger.turns(), ledger.accounts.vehicles("h1"), ledger.accounts.watches()) == ([], [], [])


def test_the_admin_token_is_no_account(door):
    for method, path in (("GET", "/me"), ("PATCH", "/me"), ("DELETE", "/me"), ("GET", "/me/notices")):
        answer = door.client.request(method, f"/api/v1{path}", headers=STAFF, json={} if method == "PATCH" else None)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert TOKEN not in door.client.get("/openapi.json").text


def test_where_no_turns_are_given_nobody_logs_in(street, tmp_path):
    with street.client(tmp_path) as client:
        answer = client.post("/api/v1/login", json={"name": "wang", "password": PASSWORD})
        assert answer.status_code == 503
        assert client.get("/api/v1/me", headers={"Authorization": "Bearer x"}).status_code in (401, 503)
