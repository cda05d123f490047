"""Neighbouring sites over HTTP, over a real ledger and the scheduler's own planning: what is shown, and to whom."""

from __future__ import annotations

from contextlib import closing

import bcrypt
import pytest
from msgspec.structs import replace

from api.alternatives import MOST_SITES
from api.turns import Turns
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import rfc3339
from ingest.messages import ConnectorState, DeviceState
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn
from scheduler.accounts import Account, Vehicle
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.desk import Desk
from scheduler.ground import Ground, Heard
from scheduler.ledger import Household
from scheduler.plan_greedy import greedy
from scheduler.planning import TURNOVER, Planning
from scheduler.rules import Quota, RuleSet
from tests.boards import STAFF, STREET, Street
from tests.ledgers import NO_QUIET, opened

HOME, NEXT, FAST, FAR = "jn-01", "jn-02", "jn-03", "jn-04"
HOUR_MS = 3_600_000
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def site(site_id, lat):
    return Site(id=site_id, name=Name(f"{site_id}点", site_id), lat=lat, lon=121.44, mode="in_turn")


def pile(site_id, kind="GBT_AC", max_kw=7.0):
    return Device(site=site_id, id="pile-1", kind="pile", connectors=(ConnectorSpec(1, kind, max_kw),))


INVENTORY = Inventory(
    sections=STREET.sections,
    compounds=STREET.compounds,
    sites={one.id: one for one in (site(HOME, 31.240), site(NEXT, 31.243), site(FAST, 31.245), site(FAR, 31.260))},
    devices={
        one.name: one
        for one in (pile(HOME), pile(NEXT), pile(FAST, "GBT_DC", 60.0), pile(FAR))
    },
)  # fmt: skip


class Neighbours:
    """Four sites in a row with one plug each, two of them within a quarter of an hour of the first."""

    def __init__(self, street, client, desk, planning, ground):
        self.street, self.client, self.desk, self.planning, self.ground = street, client, desk, planning, ground
        self.tokens = {"staff": STAFF}

    @property
    def now_ms(self):
        return self.street.service_ms

    def says(self, who, method, path, **more):
        if who not in self.tokens:
            answer = self.client.post("/api/v1/login", json={"name": who, "password": PASSWORD})
            self.tokens[who] = {"Authorization": f"Bearer {answer.json()['token']}"}
            self.client.cookies.clear()
        return self.client.request(method, f"/api/v1{path}", headers=self.tokens[who] | more.pop("headers", {}), **more)

    def asks(self, who="wang", site=HOME, **said):
        wish = {"site": site, "vehicle": "car-1", "energy_kwh": 7, "depart_by": rfc3339(self.now_ms + 8 * HOUR_MS)}
        answer = self.says(who, "POST", "/turns", json=wish | said)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def is_taken(self, plug, hours):
        """By a car that came without a turn."""
        walks_in = self.desk.walk_in(plug, plug.partition("/")[0], self.now_ms)
        place = walks_in.place
        after = replace(walks_in, place=Place(plug, place.first, place.watts[:1] * (hours * 4)))
        self.desk.ledger.commit([self.desk.change(walks_in, after)], self.now_ms)

    def plans(self, site=HOME):
        self.planning.site(site, self.now_ms)

    def near(self, turn, who="wang", query=""):
        return self.says(who, "GET", f"/turns/{turn}/alternatives{query}")

    def moves(self, turn, site=NEXT, who="wang", key=None):
        headers = {"Idempotency-Key": key} if key else {}
        return self.says(who, "POST", f"/turns/{turn}/move", json={"site": site}, headers=headers)


@pytest.fixture
def neighbours(tmp_path, idle_store):
    street = Street(INVENTORY)
    said = {
        device.name: DeviceState(
            rev=1, site=device.site, device=device.id, kind="pile", ts=rfc3339(street.service_ms),
            observed_at=rfc3339(street.service_ms), online=True, interval_s=60,
            connectors=[ConnectorState(connector=1, state="available", observed_at=rfc3339(street.service_ms))],
        )
        for device in INVENTORY.devices.values()
    }  # fmt: skip
    with closing(opened(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        ground = Ground(lambda: INVENTORY, Heard(said.get, lambda: True, lambda: 1.0))
        desk = Desk(ledger, ground, Drawn(), is_workday)
        planning = Planning(desk, ground, greedy, is_workday, TURNOVER)
        for name in INVENTORY.sites:
            rules = RuleSet(site=name, compounds=("c-01",), quiet=NO_QUIET)
            ledger.adopt(rules, after=0, by="init", now_ms=street.service_ms)
        for no, name in enumerate(("wang", "zhang", "chen"), 1):
            ledger.register(Household(id=f"h{no}", compound="c-01", dwelling=f"3-50{no}"))
            ledger.accounts.add(Account(name=name, role="resident", household=f"h{no}", password=HASH))
        ground.look(street.service_ms)
        turns = Turns(desk, ledger.accounts, "Asia/Shanghai", planning.likely)
        with street.client(tmp_path, store=idle_store, turns=lambda: turns) as client:
            yield Neighbours(street, client, desk, planning, ground)
        assert not ledger.imbalance()


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_a_site_near_by_that_is_free_is_shown_with_when_and_how_far(neighbours):
    neighbours.is_taken(f"{HOME}/pile-1/1", hours=3)
    turn = neighbours.asks()
    neighbours.plans()
    before = neighbours.desk.ledger.turns()
    first_ms = (bucket_at(neighbours.now_ms) + 1) * BUCKET_MS
    assert neighbours.near(turn).json() == {
        "items": [
            {
                "site": NEXT,
                "name": {"zh": "jn-02点", "en": "jn-02"},
                "walk_min": 6,
                "start": {"p50": rfc3339(first_ms), "p90": rfc3339(first_ms + HOUR_MS)},
                "end": rfc3339(first_ms + HOUR_MS),
                "energy_kwh": 7.0,
            }
        ]
    }
    assert neighbours.desk.ledger.turns() == before, "nothing is written"
    assert neighbours.desk.ledger.outgoing(["pending"]) == [], "and nobody is told"


def test_what_is_shown_is_what_the_plan_there_gives_once_it_is_moved(neighbours):
    for home, hours in ((HOME, 6), (NEXT, 1)):
        neighbours.is_taken(f"{home}/pile-1/1", hours=hours)
    neighbours.asks("zhang", NEXT)
    neighbours.street.service_ms += 60_000  # of equal waiting the ids would decide, which are drawn
    turn = neighbours.asks("wang")
    neighbours.plans()
    [shown] = neighbours.near(turn).json()["items"]
    moved = neighbours.moves(turn).json()
    neighbours.plans(NEXT)
    got = neighbours.says("wang", "GET", f"/turns/{moved['id']}").json()
    assert (got["start"], got["end"]) == (shown["start"], shown["end"])
    assert neighbours.near(turn).status_code == 409, "it is over"


def test_who_waits_longer_there_is_not_passed(neighbours):
    neighbours.is_taken(f"{HOME}/pile-1/1", hours=6)
    neighbours.asks("zhang", NEXT)
    neighbours.street.service_ms += 60_000
    turn = neighbours.asks("wang")
    [shown] = neighbours.near(turn).json()["items"]
    free_ms = (bucket_at(neighbours.now_ms) + 1) * BUCKET_MS
    assert shown["start"]["p50"] == rfc3339(free_ms + HOUR_MS + TURNOVER * BUCKET_MS)


def test_what_a_household_had_elsewhere_counts_where_it_never_asked(neighbours):
    desk, had = neighbours.desk, neighbours.asks("wang")
    neighbours.plans()
    desk.plug_in(desk.accept(had, neighbours.now_ms), neighbours.now_ms)
    neighbours.street.service_ms += 3 * HOUR_MS
    desk.unplug(had, neighbours.now_ms, 7.0)
    neighbours.is_taken(f"{HOME}/pile-1/1", hours=6)
    turn = neighbours.asks("wang")
    neighbours.street.service_ms += 60_000
    neighbours.asks("zhang", NEXT)
    [shown] = neighbours.near(turn).json()["items"]
    free_ms = (bucket_at(neighbours.now_ms) + 1) * BUCKET_MS
    assert shown["start"]["p50"] == rfc3339(free_ms + HOUR_MS + TURNOVER * BUCKET_MS), "who had nothing goes first"


def test_a_site_where_it_would_begin_no_sooner_is_not_shown_and_all_are_while_it_has_no_place(neighbours):
    turn = neighbours.asks()
    assert [one["site"] for one in neighbours.near(turn).json()["items"]] == [NEXT]
    place = Place(f"{HOME}/pile-1/1", bucket_at(neighbours.now_ms) + 1, (7_000,) * 4)
    neighbours.desk.plan(turn, place, neighbours.now_ms)
    assert neighbours.near(turn).json() == {"items": []}


def test_how_far_somebody_walks_decides_and_the_earliest_comes_first(neighbours):
    turn = neighbours.asks()
    neighbours.is_taken(f"{NEXT}/pile-1/1", hours=2)
    assert [one["site"] for one in neighbours.near(turn, query="?minutes=60").json()["items"]] == [FAR, NEXT]
    assert neighbours.near(turn, query="?minutes=5").json() == {"items": []}
    [slow] = neighbours.near(turn, query="?pace=slow").json()["items"]
    assert slow["walk_min"] == 10
    assert neighbours.near(turn, query="?minutes=0").status_code == 422


def test_only_sites_are_shown_where_the_household_may_ask_and_its_car_fits(neighbours):
    ledger = neighbours.desk.ledger
    turn = neighbours.asks()
    assert [one["site"] for one in neighbours.near(turn).json()["items"]] == [NEXT], "nothing for DC"
    others = RuleSet(site=NEXT, compounds=("c-02",), quiet=NO_QUIET)
    ledger.adopt(others, after=1, by="p", now_ms=neighbours.now_ms)
    assert neighbours.near(turn).json() == {"items": []}
    none = RuleSet(site=NEXT, compounds=("c-01",), quiet=NO_QUIET, quotas=(Quota(compound="c-01", connectors=0),))
    ledger.adopt(none, after=2, by="p", now_ms=neighbours.now_ms)
    assert neighbours.near(turn).json() == {"items": []}, "its compound's quota there is 0"
    ledger.adopt(RuleSet(site=NEXT, compounds=("c-01",)), after=3, by="p", now_ms=neighbours.now_ms)
    ledger.cut(NEXT, "smoke", neighbours.now_ms)
    assert neighbours.near(turn).json() == {"items": []}, "it is cut off"


def test_a_car_that_is_known_for_direct_current_is_shown_where_that_is_and_takes_more_there(neighbours):
    car = Vehicle(
        household="h1", id="car-1", connector_types=("GBT_AC", "GBT_DC"), max_ac_kw=6.6, max_dc_kw=80.0, battery_kwh=60
    )
    neighbours.desk.ledger.accounts.keep_vehicle(car)
    neighbours.is_taken(f"{NEXT}/pile-1/1", hours=6)
    turn = neighbours.asks(energy_kwh=12)
    [shown] = [one for one in neighbours.near(turn).json()["items"] if one["site"] == FAST]
    first_ms = (bucket_at(neighbours.now_ms) + 1) * BUCKET_MS
    assert (shown["start"]["p50"], shown["end"]) == (rfc3339(first_ms), rfc3339(first_ms + BUCKET_MS))
    moved = neighbours.moves(turn, FAST).json()
    assert neighbours.desk.turn(moved["id"]).max_w == 60_000
    back = neighbours.moves(moved["id"], HOME).json()
    assert neighbours.desk.turn(back["id"]).max_w == 6_600


def test_what_it_was_asked_for_to_take_at_most_holds_at_another_site_too(neighbours):
    car = Vehicle(household="h1", id="car-1", connector_types=("GBT_AC",), max_ac_kw=6.6, battery_kwh=60)
    neighbours.desk.ledger.accounts.keep_vehicle(car)
    moved = neighbours.moves(neighbours.asks(max_kw=3)).json()
    assert neighbours.desk.turn(moved["id"]).max_w == 3_000


def test_a_flexible_turn_is_shown_how_much_of_it_fits(neighbours):
    neighbours.is_taken(f"{HOME}/pile-1/1", hours=8)
    neighbours.is_taken(f"{NEXT}/pile-1/1", hours=5)
    turn = neighbours.asks(energy_kwh=50, flexible=True)
    [shown] = neighbours.near(turn).json()["items"]
    assert 3 <= shown["energy_kwh"] < 50


def test_no_more_sites_are_planned_than_an_answer_needs(neighbours, monkeypatch):
    monkeypatch.setattr("api.alternatives.MOST_SITES", 1)
    turn = neighbours.asks()
    assert MOST_SITES > 1
    assert [one["site"] for one in neighbours.near(turn, query="?minutes=60").json()["items"]] == [NEXT]


# --- to whom, and when -----------------------------------------------------------------------------------------------


def test_another_households_turn_is_not_there_and_staff_see_it(neighbours):
    turn = neighbours.asks()
    for answer in (neighbours.near(turn, "zhang"), neighbours.moves(turn, who="zhang"), neighbours.near("none")):
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-turn")
    assert neighbours.client.get(f"/api/v1/turns/{turn}/alternatives").status_code == 401
    assert neighbours.client.post(f"/api/v1/turns/{turn}/move", json={"site": NEXT}).status_code == 401
    assert neighbours.desk.turn(turn).state == "requested"


def test_staff_look_and_move_on_behalf_of_a_household(neighbours):
    turn = neighbours.asks()
    assert [one["site"] for one in neighbours.near(turn, "staff").json()["items"]] == [NEXT]
    moved = neighbours.moves(turn, who="staff").json()
    assert (moved["household"], moved["site"], moved["state"]) == ("h1", NEXT, "requested")


def test_what_is_offered_or_promised_is_given_up_first(neighbours):
    turn = neighbours.asks()
    neighbours.plans()
    assert neighbours.desk.turn(turn).state == "offered"
    for answer in (neighbours.near(turn), neighbours.moves(turn)):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-now")
        assert "snooze it first" in answer.json()["detail"]
    neighbours.says("wang", "POST", f"/turns/{turn}/accept")
    assert "cancel it, and ask there" in neighbours.moves(turn).json()["detail"]
    assert neighbours.desk.turn(turn).state == "reserved"


def test_while_nothing_is_heard_of_the_piles_nothing_is_guessed(neighbours, monkeypatch):
    turn = neighbours.asks()
    monkeypatch.setattr(neighbours.ground, "_believed_ms", None)
    answer = neighbours.near(turn)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
    assert "Retry-After" in answer.headers
    assert neighbours.moves(turn).status_code == 201, "whoever wants to may still go"


# --- moving ----------------------------------------------------------------------------------------------------------


def test_a_turn_is_taken_to_another_site_and_goes_on_waiting_there(neighbours):
    turn = neighbours.asks()
    neighbours.street.service_ms += HOUR_MS
    answer = neighbours.moves(turn, key="k1")
    assert answer.status_code == 201
    moved = answer.json()
    assert (moved["site"], moved["state"], moved["household"]) == (NEXT, "requested", "h1")
    assert moved["vehicle"] == "h1/car-1"
    assert neighbours.says("wang", "GET", f"/turns/{turn}").json()["state"] == "cancelled"
    assert neighbours.moves(turn, key="k1").json() == moved
    again = neighbours.moves(turn, key="k2")
    assert (again.status_code, again.json()["type"]) == (409, "/problems/not-now")


def test_what_a_rule_there_refuses_is_answered_with_the_rule_and_the_turn_stays(neighbours):
    turn = neighbours.asks()
    others = RuleSet(site=NEXT, compounds=("c-02",), quiet=NO_QUIET)
    neighbours.desk.ledger.adopt(others, after=1, by="p", now_ms=neighbours.now_ms)
    refused = neighbours.moves(turn)
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/refused-by-rule")
    assert "Only households of c-02 may ask here." in refused.json()["detail"]
    assert "住户" in refused.json()["detail"]
    [kept] = neighbours.desk.ledger.turns()
    assert (kept.id, kept.state) == (turn, "requested")


@pytest.mark.parametrize(
    ("site", "status", "problem"),
    [("jn-99", 404, "unknown-site"), (HOME, 422, "invalid"), (FAST, 422, "invalid"), ("no site", 422, "invalid")],
)
def test_where_it_cannot_go_it_does_not(neighbours, site, status, problem):
    turn = neighbours.asks()
    answer = neighbours.moves(turn, site)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert neighbours.desk.turn(turn).state == "requested"
