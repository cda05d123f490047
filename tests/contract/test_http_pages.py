"""The pages as a program may ask for them: whatever the address says, a page comes back, in the right words."""

from __future__ import annotations

import json
import re

import pytest

from tests.boards import Street, charging, free


@pytest.fixture
def client(street, tmp_path, idle_store):
    with street.client(tmp_path, store=idle_store) as made:
        yield made


def page(client, path, **headers):
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.text)


@pytest.mark.parametrize(
    "query",
    [
        "minutes=many",
        "minutes=99999999",
        "minutes=-1",
        "near=nowhere",
        "near=99,999",
        "place=x.y",
        "pace=flying",
        "lang=xx",
    ],
)
def test_a_page_comes_back_whatever_its_address_says(client, query):
    assert "附近有什么空着" in page(client, f"/?{query}")


def test_nothing_heard_is_not_told_as_nothing_free(client):
    assert '<span id="none-free" hidden>' in page(client, "/")
    assert '<span id="none-known" >没听到有空闲的，4 把情况不明</span>' in page(client, "/")


def test_without_ingest_the_page_says_that_nothing_is_believed(street, client):
    street.everything_free()
    assert '<p class="warning" id="unbelieved" role="status" hidden>' in page(client, "/")
    street.ingest(online=False)
    assert '<p class="warning" id="unbelieved" role="status" >' in page(client, "/")


def test_every_fact_has_its_age_in_service_time(street, client):
    street.everything_free()
    street.passes(42)
    assert "<span data-oldest>oldest report 42 s ago</span>" in page(client, "/?lang=en")
    assert page(client, "/sites/jn-01?lang=en").count(">42 s ago</span>") == 3


def test_a_faster_clock_is_said_to_be_one(tmp_path, idle_store):
    street = Street(speed=60)
    with street.client(tmp_path, store=idle_store) as client:
        assert "demo time 09:00:00 (×60)" in page(client, "/?lang=en")
    street.speed = 1
    with street.client(tmp_path, store=idle_store) as client:
        assert "demo-clock" not in page(client, "/?lang=en")


def test_the_price_of_the_hour_and_its_end_are_told_and_the_fee_is_not_guessed(street, client):
    told = page(client, "/sites/jn-01?lang=en")
    assert "Energy ¥0.617/kWh (until 22:00) · service fee: not published" in told
    street.passes(14 * 3_600)
    assert "Energy ¥0.307/kWh (until 06:00)" in page(client, "/sites/jn-01?lang=en")


def test_opening_past_midnight_is_told_as_people_say_it(client):
    assert "Workdays 18:00–next day 08:00" in page(client, "/sites/cjd-07?lang=en")
    assert "工作日 18:00–次日 08:00" in page(client, "/sites/cjd-07")
    assert "opens 18:00" in page(client, "/sites/cjd-07?lang=en")


def test_what_people_wrote_cannot_become_markup(street, tmp_path, idle_store):
    street.station(amenities={"<script>alert(1)</script>": {"ok": True}})
    with street.client(tmp_path, store=idle_store) as client:
        told = page(client, "/")
    assert "<script>alert" not in told
    assert "&lt;script&gt;alert" in told


def test_data_for_the_script_cannot_end_its_element(client):
    data = re.search(r'id="page-data">(.*?)</script>', page(client, "/?near=31.2,121.4"))[1]
    assert "<" not in data
    assert json.loads(data)["stream"].startswith("/api/v1/availability/stream?near=")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("connector=jn-01/pile-1/1&kind=broken&note=x", "thanks"),
        ("connector=jn-01/pile-1/9&kind=broken", "unknown-connector"),
        ("kind=broken", "invalid"),
        ("connector=jn-01/pile-1/1&kind=broken&note=" + "x" * 501, "invalid"),
        ("%ff%fe", "invalid"),
    ],
)
def test_the_form_for_troubles_answers_with_the_page_again(client, body, told):
    answer = client.post("/sites/jn-01?lang=en", content=body, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sites/jn-01?lang=en&told={told}")
    assert ("Thank you" in page(client, answer.headers["location"])) == (told == "thanks")


def test_a_stations_card_can_be_asked_for_alone(street, client):
    street.station(climate={"indoor_c": 26.0, "indoor_rh_pct": 50.0, "outdoor_c": 36.0})
    assert "Cool room" in page(client, "/sites/st-01/stations/station-1?lang=en")
    assert client.get("/sites/jn-01/stations/pile-1").status_code == 404


def test_a_device_s_page_tells_what_is_not_known(street, client):
    street.everything_free()
    who = ("me", client.app.state.ctx.admin_token)
    assert "Ingest does not answer" in client.get("/devices/jn-01/pile-1?lang=en", auth=who).text


def test_the_api_is_described_on_a_page_of_our_own(client):
    told = page(client, "/docs")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in told
    assert "<script" not in told
    assert "https://" not in told


def test_static_files_may_be_kept_because_their_address_changes_with_them(client):
    address = re.search(r'src="(/static/page.js\?v=[0-9a-f]+)"', page(client, "/"))[1]
    assert "max-age=86400" in client.get(address).headers["cache-control"]
    assert client.get("/static/leaflet/leaflet.js").status_code == 200
    assert client.get("/static/../app.py").status_code == 404


def test_a_connector_in_use_tells_its_power_and_a_blocked_one_does_not(street, client):
    street.pile("jn-01/pile-1", charging(1), free(2, bay_occupied=True))
    told = page(client, "/sites/jn-01?lang=en")
    assert "charging at 6.8 kW" in told
    assert "Bay blocked" in told
