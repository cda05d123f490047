"""What staff may ask and order."""

from __future__ import annotations

import pytest

from ingest.facts import Batch, Session
from ingest.messages import SetLimit, Show, Stop
from tests.boards import NINE_MS, STAFF, Devices, Ingest, free

HOUR_MS = 3_600_000


@pytest.fixture
def devices():
    return Devices()


@pytest.fixture
def api(street, tmp_path, devices):
    with street.client(tmp_path, commands=devices, ingest=Ingest()) as client:
        yield client


PATHS = [
    "/api/v1/sessions",
    "/api/v1/devices",
    "/api/v1/devices/jn-01/pile-1",
    "/api/v1/devices/jn-01/pile-1/history",
    "/api/v1/trouble",
]
NO_TOKEN = [None, "Bearer wrong", "Basic abc", "Bearer ü"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("said", NO_TOKEN)
def test_staff_paths_are_closed_without_the_token(api, path, said):
    answer = api.get(path, headers={"Authorization": said.encode()} if said else {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", PATHS)
def test_staff_paths_open_with_the_token(api, path):
    answer = api.get(path, headers=STAFF)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_a_device_tells_what_became_of_its_messages(api, street):
    street.pile("jn-01/pile-1", free(1), clock_skew_s=420.0)
    device = api.get("/api/v1/devices/jn-01/pile-1", headers=STAFF).json()
    assert device["messages"] == {
        "received": 100, "duplicate": 3, "hole": 1, "dropped": 2, "lost": 4, "skewed": 5, "dead": 6,
    }  # fmt: skip
    assert (device["online"], device["clock_skew_s"]) == (True, 420.0)
    everything = api.get("/api/v1/devices", headers=STAFF).json()["items"]
    assert [d["messages"] is None for d in everything] == [False, True, True, True]
    assert everything[1]["online"] is None


def test_devices_of_one_site(api):
    items = api.get("/api/v1/devices?site=cjd-07", headers=STAFF).json()["items"]
    assert [d["device"] for d in items] == ["pile-1"]
    assert api.get("/api/v1/devices?site=xx", headers=STAFF).json()["type"] == "/problems/unknown-site"


def sessions(count):
    return [
        Session(
            id=f"s-{n}", site="jn-01", device="pile-1", connector=1, started_ms=NINE_MS + n * HOUR_MS, open_boot="b",
            open_seq=n + 1, energy_kwh=float(n), ended_ms=None if n == count - 1 else NINE_MS + n * HOUR_MS + 60_000,
        )
        for n in range(count)
    ]  # fmt: skip


def test_sessions_come_page_by_page_and_say_how_far_history_is_whole(street, tmp_path):
    with street.client(tmp_path, ingest=Ingest()) as client:
        client.app.state.ctx.store.write(Batch(spool="s", no=1, sessions=sessions(5)))
        seen, cursor = [], ""
        while cursor is not None:
            where = f"&cursor={cursor}" if cursor else ""
            page = client.get(f"/api/v1/sessions?limit=2{where}", headers=STAFF).json()
            seen += page["items"]
            cursor = page["next"]
        assert [session["id"] for session in seen] == [f"s-{n}" for n in range(5)]
        assert page["complete_until"] == "2026-11-23T01:00:00.000Z"
        assert (seen[0]["ended_at"], seen[4]["ended_at"]) == ("2026-11-23T01:01:00.000Z", None)
        some = client.get("/api/v1/sessions?from=2026-11-23T02:00:00Z&to=2026-11-23T04:00:00Z", headers=STAFF).json()
        assert [session["id"] for session in some["items"]] == ["s-1", "s-2"]


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "from=yesterday", "to=2026-11-23", "limit=0", "device=pile-1", "limit=many"]
)
def test_a_bad_question_about_sessions_is_refused(api, query):
    answer = api.get(f"/api/v1/sessions?{query}", headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


def test_history_comes_in_steps(street, tmp_path):
    with street.client(tmp_path) as client:
        rows = [
            ((NINE_MS - n * 60_000) * 10**6, "jn-01", "pile-1", "meter", "b", 10 - n, NINE_MS, False, 1, 6.0, 10.0 - n,
             27.0, 230.0, None, None, None, None, None, None, None)
            for n in range(1, 10)
        ]  # fmt: skip
        client.app.state.ctx.store.write(Batch(spool="s", no=1, pile=rows))
        history, same = (
            client.get(f"/api/v1/devices/jn-01/pile-1/history?every={every}", headers=STAFF).json()
            for every in ("300", "5m")
        )
        assert history == same
        assert history["every_s"] == 300
        assert [point["values"]["power_kw"] for point in history["points"]] == [6.0, 6.0]
        too_much = "/api/v1/devices/jn-01/pile-1/history?from=2000-01-01T00:00:00Z&every=1"
        assert client.get(too_much, headers=STAFF).status_code == 422


@pytest.mark.parametrize(
    "query",
    [
        "from=9999-12-31T00:00:00Z&to=9999-12-31T23:00:00Z",
        "from=1969-12-31T23:59:59Z&to=1970-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00%2B23:00",
    ],
)
def test_history_of_years_that_no_message_can_have_is_refused(api, query):
    answer = api.get(f"/api/v1/devices/jn-01/pile-1/history?{query}", headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


def test_history_begins_with_time_itself(api):
    answer = api.get("/api/v1/devices/jn-01/pile-1/history?to=1970-01-01T00:00:00Z", headers=STAFF)
    assert (answer.status_code, answer.json()["points"]) == (200, [])


def test_history_of_a_connector_that_the_pile_does_not_have_is_not_an_empty_one(api):
    answer = api.get("/api/v1/devices/jn-01/pile-1/history?connector=64", headers=STAFF)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-connector")


def test_a_command_reaches_the_device_and_its_answer_comes_back(api, street, devices):
    street.pile("jn-01/pile-1", free(1))
    answer = api.post(
        "/api/v1/devices/jn-01/pile-1/cmd",
        headers=STAFF,
        json={"type": "set_limit", "connector": 1, "limit_kw": 3.5, "fallback_kw": 3.0},
    )
    assert (answer.status_code, answer.json()["result"]) == (200, "accepted")
    [(name, command)] = devices.sent
    assert name == "jn-01/pile-1"
    assert isinstance(command, SetLimit)
    assert (command.epoch, command.limit_kw, command.id) == (0, 3.5, answer.json()["id"])


def test_a_command_by_hand_is_given_under_the_epoch_that_the_piles_know(api, street, devices):
    street.pile("jn-01/pile-1", free(1))
    street.turns("jn-01/pile-2", {"connector": 1}, epoch=7)
    api.post("/api/v1/devices/jn-01/pile-1/cmd", headers=STAFF, json={"type": "show", "text": "hello"})
    assert devices.sent[0][1].epoch == 7


@pytest.mark.parametrize(
    ("wish", "kind"),
    [({"type": "stop", "connector": 1, "reason": "fire drill"}, Stop), ({"type": "show", "text": "hello"}, Show)],
)
def test_staff_may_stop_and_show(api, street, devices, wish, kind):
    street.pile("jn-01/pile-1", free(1))
    assert api.post("/api/v1/devices/jn-01/pile-1/cmd", headers=STAFF, json=wish).status_code == 200
    assert isinstance(devices.sent[0][1], kind)


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"type": "dance"},
        {"type": "stop"},
        {"type": "stop", "connector": 65},
        {"type": "show", "text": "x" * 201},
        {"type": "show", "text": "x", "colour": "red"},
        {"type": "set_limit", "connector": 1, "limit_kw": -1, "fallback_kw": 0},
    ],
)
def test_a_command_that_no_device_could_obey_is_not_sent(api, street, devices, wish):
    street.pile("jn-01/pile-1", free(1))
    answer = api.post("/api/v1/devices/jn-01/pile-1/cmd", headers=STAFF, json=wish)
    assert answer.status_code == 422
    assert devices.sent == []


def test_a_command_to_an_offline_device_is_not_sent(api, street, devices):
    street.pile("jn-01/pile-1", free(1), online=False)
    answer = api.post("/api/v1/devices/jn-01/pile-1/cmd", headers=STAFF, json={"type": "show", "text": "hello"})
    assert (answer.status_code, devices.sent) == (409, [])


def test_a_device_that_does_not_answer_is_said_to_be_silent(api, street, devices):
    street.pile("jn-01/pile-1", free(1))
    devices.answer = None
    answer = api.post("/api/v1/devices/jn-01/pile-1/cmd", headers=STAFF, json={"type": "show", "text": "hello"})
    assert (answer.status_code, answer.json()["type"]) == (504, "/problems/device-silent")


def test_ready_only_when_bus_ingest_and_store_are_there(api, street):
    assert api.get("/healthz").json()["status"] == "ok"
    assert api.get("/readyz").status_code == 200
    street.ingest(online=False)
    answer = api.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "ingest is offline" in answer.json()["detail"]
    street.board.link(False)
    assert "the bus is not connected" in api.get("/readyz").json()["detail"]
    assert api.get("/healthz").status_code == 200


def test_metrics_count_what_devices_suffer_from_without_their_own_codes(api, street):
    held = {"since": "2026-11-23T01:00:00.000Z", "evidence": "said so"}
    faults = [{"code": f"fault:E{n}", "severity": "warning", **held} for n in range(2)]
    street.pile("jn-01/pile-1", free(1), conditions=[*faults, {"code": "smoke", "severity": "critical", **held}])
    text = api.get("/metrics").text
    assert 'lunchong_condition{code="fault",severity="warning"} 2.0' in text
    assert 'lunchong_condition{code="smoke",severity="critical"} 1.0' in text


def test_metrics_tell_accounts_spool_and_requests_but_no_position(api, street):
    street.everything_free()
    api.get("/api/v1/availability?near=31.2,121.4")
    text = api.get("/metrics").text
    assert 'lunchong_device_messages_total{device="pile-1",outcome="lost",site="jn-01"} 4.0' in text
    assert 'lunchong_device_holes{device="pile-1",site="jn-01"} 1.0' in text
    assert "lunchong_spool_rows 7.0" in text
    assert 'lunchong_http_requests_total{method="GET",route="/api/v1/availability",status="200"} 1.0' in text
    assert 'lunchong_connectors{condition="available"} 3.0' in text
    assert "121.4" not in text
