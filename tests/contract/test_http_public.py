"""What anybody may ask: what is free, where, how far, and how sure that is."""

from __future__ import annotations

import logging

import pytest

from api.geo import distance_m, snapped, walk_min
from ingest.clock import rfc3339
from tests.boards import STREET, Street, charging, free

HERE = (31.2400, 121.4400)


@pytest.fixture
def ask(street, tmp_path, idle_store):
    with street.client(tmp_path, store=idle_store) as client:
        yield client.get


def sites(answer):
    assert answer.status_code == 200, answer.text
    return {site["site"]: site for site in answer.json()["sites"]}


def connector(ask, name):
    [found] = [c for site in sites(ask("/api/v1/availability")).values() for c in site["connectors"] if c["id"] == name]
    return found


def status(ask, name="jn-01/pile-1/1"):
    return connector(ask, name)["status"]


def test_nothing_is_known_before_a_pile_has_spoken(ask):
    said = connector(ask, "jn-01/pile-1/1")
    assert (said["status"], said["state"], said["stale"], said["observed_at"]) == ("UNKNOWN", None, True, None)
    summary = sites(ask("/api/v1/availability"))["jn-01"]["summary"]
    assert (summary["total"], summary["unknown"], summary["wait_min"], summary["next_free_at"]) == (3, 3, None, None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"state": "available"}, "AVAILABLE"),
        ({"state": "available", "bay_occupied": False}, "AVAILABLE"),
        ({"state": "available", "bay_occupied": True}, "BLOCKED"),
        ({"state": "preparing"}, "CHARGING"),
        ({"state": "charging", "bay_occupied": True}, "CHARGING"),
        ({"state": "suspended", "suspended_by": "ev"}, "CHARGING"),
        ({"state": "finishing"}, "CHARGING"),
        ({"state": "faulted", "bay_occupied": True}, "OUTOFORDER"),
        ({"state": "unavailable", "bay_occupied": True}, "INOPERATIVE"),
        ({}, "UNKNOWN"),
    ],
)
def test_a_connectors_status_is_the_first_that_holds(street, ask, said, expected):
    street.pile("jn-01/pile-1", {"connector": 1, **said})
    assert status(ask) == expected


def test_a_plug_is_reserved_while_a_turn_waits_for_its_car_and_a_quarter_of_an_hour_before_one_begins(street, ask):
    street.pile("jn-01/pile-1", free(1), free(2))
    street.turns("jn-01/pile-1", {"connector": 1, "until_s": 3_600}, {"connector": 2, "from_s": 1_200})
    assert [status(ask, f"jn-01/pile-1/{no}") for no in (1, 2)] == ["RESERVED", "AVAILABLE"]
    assert sites(ask("/api/v1/availability"))["jn-01"]["summary"]["reserved"] == 1
    assert connector(ask, "jn-01/pile-1/1")["free_at"] == "2026-11-23T02:00:00.000Z"
    street.passes(301)
    street.pile("jn-01/pile-1", free(1), charging(2))
    assert [status(ask, f"jn-01/pile-1/{no}") for no in (1, 2)] == ["RESERVED", "CHARGING"]
    street.pile("jn-01/pile-1", free(1), free(2))
    assert status(ask, "jn-01/pile-1/2") == "RESERVED"
    street.turns("jn-01/pile-1", {"connector": 1}, {"connector": 2})
    assert [status(ask, f"jn-01/pile-1/{no}") for no in (1, 2)] == ["AVAILABLE", "AVAILABLE"]


def test_a_promise_comes_into_force_by_the_clock_alone(street, ask):
    street.pile("jn-01/pile-1", free(1), interval_s=900)
    street.turns("jn-01/pile-1", {"connector": 1, "from_s": 1_200})
    street.passes(299)
    assert status(ask) == "AVAILABLE"
    street.passes(1)
    assert status(ask) == "RESERVED"


def test_a_car_without_a_turn_that_left_keeps_the_plug_from_nobody(street, ask):
    street.pile("jn-01/pile-1", free(1))
    street.turns("jn-01/pile-1", {"connector": 1, "until_s": 3_600, "code_hash": "-"})
    assert (status(ask), connector(ask, "jn-01/pile-1/1")["free_at"]) == ("AVAILABLE", None)


def test_an_older_leader_s_word_and_one_that_cannot_be_read_change_nothing(street, ask):
    street.pile("jn-01/pile-1", free(1))
    street.turns("jn-01/pile-1", {"connector": 1, "until_s": 3_600}, epoch=4)
    street.turns("jn-01/pile-1", {"connector": 1}, epoch=3)
    street.board.apply("lunchong/v1/jn-01/pile-1/turns", b'{"v":1,"connectors":[')
    assert (status(ask), street.board.refused) == ("RESERVED", 1)
    street.board.apply("lunchong/v1/jn-01/pile-1/turns", b"")
    assert status(ask) == "AVAILABLE"


def test_outside_its_opening_a_site_is_inoperative_even_while_a_car_charges(street, ask):
    street.pile("cjd-07/pile-1", charging(1))
    assert status(ask, "cjd-07/pile-1/1") == "INOPERATIVE"
    street.passes(9 * 3600)
    street.pile("cjd-07/pile-1", charging(1))
    assert status(ask, "cjd-07/pile-1/1") == "CHARGING"


def test_a_closed_site_says_when_it_opens(street, ask):
    street.pile("cjd-07/pile-1", free(1))
    site = sites(ask("/api/v1/availability"))["cjd-07"]
    assert (site["open_now"], site["opens_at"]) == (False, "2026-11-23T10:00:00.000Z")
    assert site["summary"]["closed"] == 1


def test_a_pile_that_falls_silent_is_unknown_after_three_of_its_intervals(street, ask):
    street.pile("jn-01/pile-1", free(1), interval_s=30)
    street.passes(90)
    assert status(ask) == "AVAILABLE"
    street.passes(0.001)
    assert status(ask) == "UNKNOWN"
    assert connector(ask, "jn-01/pile-1/1")["state"] == "available", "what it said last is still told, as stale"


def test_a_pile_whose_clock_is_minutes_behind_is_not_taken_for_silent(street, ask):
    ten_minutes_ago = rfc3339(street.service_ms - 600_000)
    street.pile("jn-01/pile-1", free(1, observed_at=ten_minutes_ago), clock_behind_s=600.0, interval_s=30)
    street.passes(90)
    assert status(ask) == "AVAILABLE"
    street.passes(0.001)
    assert status(ask) == "UNKNOWN"


def test_at_high_speed_silence_counts_from_two_seconds_of_the_wall(tmp_path):
    street = Street(speed=600)
    with street.client(tmp_path) as client:
        street.pile("jn-01/pile-1", free(1))
        street.passes(2 * 600)
        assert status(client.get) == "AVAILABLE"
        street.passes(1)
        assert status(client.get) == "UNKNOWN"


def test_one_silent_connector_does_not_hide_its_neighbour(street, ask):
    street.pile("jn-01/pile-1", free(1), free(2))
    street.passes(170)
    street.pile("jn-01/pile-1", free(1, observed_at="2026-11-23T01:00:00Z"), free(2))
    street.passes(20)
    assert (status(ask, "jn-01/pile-1/1"), status(ask, "jn-01/pile-1/2")) == ("UNKNOWN", "AVAILABLE")


def test_an_offline_pile_is_unknown_at_once(street, ask):
    street.pile("jn-01/pile-1", free(1), online=False)
    assert status(ask) == "UNKNOWN"


def test_when_ingest_goes_offline_nothing_is_believed_and_all_comes_back_with_it(street, ask):
    street.everything_free()
    street.ingest(online=False)
    assert status(ask) == "UNKNOWN"
    street.ingest(online=True)
    assert status(ask) == "AVAILABLE"


def test_when_the_bus_is_cut_nothing_is_believed(street, ask):
    street.everything_free()
    street.board.link(False)
    assert status(ask) == "UNKNOWN"


def test_an_older_state_never_replaces_a_newer_one(street, ask):
    street.pile("jn-01/pile-1", charging(1), rev=7)
    street.pile("jn-01/pile-1", free(1), rev=6)
    street.pile("jn-01/pile-1", free(1), rev=7)
    assert status(ask) == "CHARGING"


def test_an_empty_payload_means_gone_and_the_device_may_come_back(street, ask):
    street.pile("jn-01/pile-1", free(1), rev=7)
    street.board.apply("lunchong/v1/jn-01/pile-1/state", b"")
    assert status(ask) == "UNKNOWN"
    street.pile("jn-01/pile-1", free(1), rev=1)
    assert status(ask) == "AVAILABLE"


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"v":1}', b"\xff", b"{" * 10_000])
def test_an_unreadable_state_changes_nothing_and_is_counted(street, ask, payload):
    street.pile("jn-01/pile-1", free(1))
    street.board.apply("lunchong/v1/jn-01/pile-1/state", payload)
    assert status(ask) == "AVAILABLE"
    assert street.board.refused == 1


def test_a_time_that_is_none_and_a_room_that_makes_no_sense_are_refused_when_they_are_said(street, ask):
    street.pile("jn-01/pile-1", free(1, observed_at="yesterday"))
    street.station(climate={"indoor_c": "hot"})
    street.station(presence={"seats_used": 1, "observed_at": "soon"})
    assert street.board.refused == 3
    assert status(ask) == "UNKNOWN"


def test_a_fault_of_ours_is_a_problem_too_and_is_counted(street, tmp_path, idle_store, caplog):
    def broken():
        raise RuntimeError("no inventory today")

    with street.client(tmp_path, store=idle_store, inventory=broken) as client:
        answer = client.get("/api/v1/availability?near=31.2,121.4")
        assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no inventory today" not in answer.text
        assert client.app.state.metrics.requests.labels("GET", "/api/v1/availability", "500")._value.get() == 1
    assert "no inventory today" in caplog.text
    assert "121.4" not in caplog.text.replace("test_", "")


def test_a_device_that_the_inventory_does_not_know_is_not_shown(street, ask):
    street.pile("jn-01/pile-9", free(1))
    street.pile("jn-99/pile-1", free(1))
    assert {c["id"] for c in sites(ask("/api/v1/availability"))["jn-01"]["connectors"]} == {
        "jn-01/pile-1/1", "jn-01/pile-1/2", "jn-01/pile-2/1",
    }  # fmt: skip


def test_a_charged_car_that_stays_is_counted_as_finishing(street, ask):
    session = {"id": "s", "started_at": "2026-11-23T00:00:00Z", "energy_kwh": 5.0}
    full = session | {"charge_ended_at": "2026-11-23T00:30:00Z"}
    street.pile("jn-01/pile-1", charging(1, session=session), charging(2, state="suspended", session=full))
    summary = sites(ask("/api/v1/availability"))["jn-01"]["summary"]
    assert (summary["in_use"], summary["finishing"], summary["unknown"]) == (1, 1, 1)


def test_the_counts_of_every_site_add_up_to_its_total(street, ask):
    street.pile("jn-01/pile-1", charging(1), free(2, bay_occupied=True))
    street.pile("cjd-07/pile-1", free(1))
    counted = ("available", "reserved", "in_use", "finishing", "blocked", "out_of_order", "closed", "unknown")
    for site in sites(ask("/api/v1/availability")).values():
        assert sum(site["summary"][name] for name in counted) == site["summary"]["total"] == len(site["connectors"])


def test_free_keeps_the_sites_with_a_free_connector(street, ask):
    street.pile("jn-01/pile-2", free(1))
    assert sites(ask("/api/v1/availability?free=1")).keys() == {"jn-01"}
    assert sites(ask("/api/v1/availability?free=0")).keys() == {"jn-01", "cjd-07"}


def test_a_free_plug_means_no_wait_and_no_other_wait_is_guessed(street, ask):
    street.pile("jn-01/pile-1", charging(1), charging(2))
    street.pile("jn-01/pile-2", charging(1))
    assert sites(ask("/api/v1/availability"))["jn-01"]["summary"]["wait_min"] is None
    street.pile("jn-01/pile-2", free(1))
    assert sites(ask("/api/v1/availability"))["jn-01"]["summary"]["wait_min"] == {"p50": 0, "p90": 0}


@pytest.mark.parametrize(("pace", "slow"), [("", False), ("&pace=slow", True)])
def test_walking_minutes_follow_the_formula_from_the_snapped_position(ask, pace, slow):
    answer = sites(ask(f"/api/v1/availability?near={HERE[0]},{HERE[1]}&minutes=60{pace}"))
    for name, site in answer.items():
        place = STREET.sites[name]
        assert site["walk_min"] == walk_min(distance_m(*snapped(*HERE), place.lat, place.lon), slow)


def test_only_sites_within_the_walk_are_told_and_the_nearest_first(ask):
    near = ask(f"/api/v1/availability?near={HERE[0]},{HERE[1]}&minutes=60").json()["sites"]
    assert [site["site"] for site in near] == ["jn-01", "cjd-07"]
    assert sites(ask(f"/api/v1/availability?near={HERE[0]},{HERE[1]}&minutes=5")).keys() == {"jn-01"}


def test_without_a_position_nobody_is_told_a_walk(ask):
    assert sites(ask("/api/v1/availability"))["jn-01"]["walk_min"] is None


@pytest.mark.parametrize(
    "query",
    [
        "near=31",
        "near=north,east",
        "near=91,0",
        "near=31,121&minutes=0",
        "near=31,121&minutes=241",
        "near=31,121&pace=fast",
    ],
)
def test_a_bad_question_says_what_is_wrong_with_it(ask, query):
    answer = ask(f"/api/v1/availability?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/invalid"
    assert answer.json()["errors"][0]["where"].startswith("query.")


def test_equal_facts_are_equal_bytes_and_cost_a_304(street, ask):
    street.everything_free()
    first = ask("/api/v1/availability")
    street.passes(1)
    again = ask("/api/v1/availability")
    assert (first.content, first.headers["etag"]) == (again.content, again.headers["etag"])
    assert first.headers["cache-control"] == "max-age=1"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        unchanged = ask("/api/v1/availability", headers={"If-None-Match": known})
        assert (unchanged.status_code, unchanged.content) == (304, b"")


def test_another_fact_is_another_etag(street, ask):
    street.everything_free()
    before = ask("/api/v1/availability").headers["etag"]
    street.pile("jn-01/pile-1", charging(1), free(2))
    assert ask("/api/v1/availability", headers={"If-None-Match": before}).status_code == 200


def test_growing_stale_is_another_etag_though_nothing_was_said(street, ask):
    street.everything_free()
    before = ask("/api/v1/availability").headers["etag"]
    street.passes(181)
    assert ask("/api/v1/availability", headers={"If-None-Match": before}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "availability",
        "sites",
        "sites/jn-01",
        "sites/jn-01/rules",
        "stations",
        "stations/st-01/station-1",
        "nearby?lat=31.24&lon=121.44",
    ],
)
def test_every_public_answer_has_an_etag(ask, path):
    assert ask(f"/api/v1/{path}").headers["etag"]


def test_a_site_is_told_with_its_opening_and_connectors(ask):
    site = ask("/api/v1/sites/cjd-07").json()
    assert site["opening"][0] == {"days": "workday", "start": "18:00", "end": "32:00"}
    assert [c["id"] for c in site["connectors"]] == ["cjd-07/pile-1/1"]
    assert {s["site"] for s in ask("/api/v1/sites").json()["sites"]} == set(STREET.sites)


def test_initial_rules_are_version_one_and_no_rules_are_said_to_be_none(ask):
    assert ask("/api/v1/sites/jn-01/rules").json() == {"site": "jn-01", "version": 1, "rules": {"hold_min": 15}}
    assert ask("/api/v1/sites/cjd-07/rules").json()["type"] == "/problems/no-rules"


def test_a_station_tells_its_room_seats_and_what_is_broken(street, ask):
    street.station(
        climate={"indoor_c": 26.0, "indoor_rh_pct": 55.0, "outdoor_c": 36.0, "outdoor_rh_pct": 50.0},
        presence={"people": 4, "seats_used": 5, "reading_seats_used": 1},
        outlets={"outlets_used": 3, "energy_wh": 10.0},
        amenities={"wifi": {"ok": False, "note": "router"}},
    )
    station = ask("/api/v1/stations/st-01/station-1").json()
    assert (station["refuge"], station["refuge_reason"], station["stale"]) == ("cool", "cooler_inside", False)
    assert (station["seats"]["used"], station["reading_seats"]["total"], station["outlets"]["free"]) == (5, 4, 5)
    assert station["climate"]["feels_like_c"] > 36
    assert [(a["name"], a["ok"]) for a in station["amenities"]] == [("drinking_water", None), ("wifi", False)]


def test_a_refuge_needs_a_fresh_temperature(street, ask):
    street.station(climate={"indoor_c": 26.0, "indoor_rh_pct": 55.0, "outdoor_c": 36.0})
    street.passes(120)
    street.station(
        climate={"indoor_c": 26.0, "indoor_rh_pct": 55.0, "outdoor_c": 36.0, "observed_at": "2026-11-23T01:00:00Z"},
        presence={"people": 0, "seats_used": 0},
    )
    street.passes(61)
    station = ask("/api/v1/stations/st-01/station-1").json()
    assert (station["refuge"], station["refuge_reason"], station["stale"]) == ("none", "no_reading", False)


def test_smoke_ends_a_refuge_at_once(street, ask):
    climate = {"indoor_c": 26.0, "indoor_rh_pct": 55.0, "outdoor_c": 36.0}
    street.station(climate=climate, smoke={"alarm": True})
    station = ask("/api/v1/stations/st-01/station-1").json()
    assert (station["refuge"], station["refuge_reason"], station["smoke"]) == ("none", "smoke", True)


def test_nearby_tells_plugs_and_rooms_together(ask):
    near = ask(f"/api/v1/nearby?lat={HERE[0]}&lon={HERE[1]}&minutes=5").json()
    assert [site["site"] for site in near["sites"]] == ["jn-01"]
    assert [(room["device"], room["walk_min"]) for room in near["stations"]] == [("station-1", 1)]


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        ("/api/v1/sites/xx", "unknown-site"),
        ("/api/v1/availability?site=xx", "unknown-site"),
        ("/api/v1/availability/stream?site=xx", "unknown-site"),
        ("/api/v1/stations/st-01/xx", "unknown-device"),
        ("/api/v1/stations/jn-01/pile-1", "unknown-device"),
        ("/api/v2", "not-found"),
    ],
)
def test_what_is_not_there_is_a_problem_with_a_stable_type(ask, path, slug):
    answer = ask(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"/problems/{slug}"
    assert "text/html" in ask(answer.json()["type"]).headers["content-type"], "and its type is a page about it"


def test_a_wrong_method_is_a_problem_that_names_the_right_one(street, tmp_path):
    with street.client(tmp_path) as client:
        answer = client.delete("/api/v1/availability")
    assert (answer.status_code, answer.json()["type"]) == (405, "/problems/method-not-allowed")
    assert answer.headers["allow"] == "GET"


def test_another_inventory_is_shown_without_a_restart(street, ask):
    assert "cjd-07" in sites(ask("/api/v1/availability"))
    kept = {name: device for name, device in STREET.devices.items() if device.site != "cjd-07"}
    street.inventory = type(STREET)(sites=STREET.sites, devices=kept)
    assert "cjd-07" not in sites(ask("/api/v1/availability"))


def test_where_somebody_asked_from_is_in_no_log(ask, caplog):
    caplog.set_level(logging.DEBUG)
    ask(f"/api/v1/availability?near={HERE[0]},{HERE[1]}")
    assert [record.message for record in caplog.records if record.name == "lunchong.http"] == [
        "GET /api/v1/availability 200"
    ]


def test_a_long_address_does_not_fill_the_log(ask, caplog):
    caplog.set_level(logging.INFO)
    ask(f"/{'a' * 50_000}")
    [line] = [record.message for record in caplog.records if record.name == "lunchong.http"]
    assert len(line) < 250


def test_answers_carry_safe_headers_and_forbid_what_is_not_ours(ask):
    for path in ("/", "/api/v1/availability", "/nope", "/docs", "/static/page.js"):
        headers = ask(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
