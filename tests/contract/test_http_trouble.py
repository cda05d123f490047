"""What people at a pile report to staff."""

from __future__ import annotations

import pytest

from api.ports import BookUnavailable
from tests.boards import STAFF, Ingest

TROUBLE = {"connector": "jn-01/pile-1/1", "kind": "broken", "note": "枪头裂了"}


@pytest.fixture
def api(street, tmp_path):
    with street.client(tmp_path, ingest=Ingest()) as client:
        yield client


def test_a_trouble_is_kept_for_staff_over_a_restart(street, tmp_path):
    with street.client(tmp_path) as client:
        assert client.post("/api/v1/trouble", json=TROUBLE).status_code == 201
    with street.client(tmp_path) as client:
        kept = client.get("/api/v1/trouble", headers=STAFF).json()
    assert kept["total"] == 1
    assert {name: kept["items"][0][name] for name in TROUBLE} == TROUBLE


def test_a_trouble_that_was_seen_to_waits_no_more(api):
    reported = api.post("/api/v1/trouble", json=TROUBLE).json()["id"]
    assert api.delete(f"/api/v1/trouble/{reported}").status_code == 401
    assert api.delete(f"/api/v1/trouble/{reported}", headers=STAFF).status_code == 204
    assert api.get("/api/v1/trouble", headers=STAFF).json() == {"items": [], "total": 0}
    assert api.delete(f"/api/v1/trouble/{reported}", headers=STAFF).json()["type"] == "/problems/unknown-trouble"


@pytest.mark.parametrize("change", [{"kind": "ugly"}, {"note": "x" * 501}, {"name": "Li Lei"}, {"connector": 1}])
def test_a_trouble_that_makes_no_sense_is_refused(api, change):
    answer = api.post("/api/v1/trouble", json=TROUBLE | change)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


@pytest.mark.parametrize("connector", ["jn-01/pile-1/9", "jn-01", "", "st-01/station-1/1"])
def test_a_trouble_at_no_connector_is_refused(api, connector):
    answer = api.post("/api/v1/trouble", json=TROUBLE | {"connector": connector})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-connector")


def test_one_address_cannot_flood_the_book(api, street):
    codes = [api.post("/api/v1/trouble", json=TROUBLE).status_code for _ in range(6)]
    assert codes == [201] * 5 + [429]
    assert int(api.post("/api/v1/trouble", json=TROUBLE).headers["retry-after"]) > 0
    street.passes(60)
    assert api.post("/api/v1/trouble", json=TROUBLE).status_code == 201


def test_behind_a_trusted_proxy_each_neighbour_is_counted_alone(street, tmp_path):
    with street.client(tmp_path, trusted_proxies=("10.0.0.0/24",)) as client:
        for _ in range(6):
            last = client.post(
                "/api/v1/trouble", json=TROUBLE, headers={"X-Forwarded-For": "6.6.6.6, 10.1.1.1, 10.0.0.9"}
            )
        assert last.status_code == 429
        assert client.post("/api/v1/trouble", json=TROUBLE, headers={"X-Forwarded-For": "10.1.1.2"}).status_code == 201


def test_a_line_with_many_addresses_of_ipv6_counts_once(street, tmp_path):
    with street.client(tmp_path, trusted_proxies=("10.0.0.0/24",)) as client:

        def told(address):
            return client.post("/api/v1/trouble", json=TROUBLE, headers={"X-Forwarded-For": address}).status_code

        assert [told(f"2001:db8:0:1::{n}") for n in range(1, 7)] == [201] * 5 + [429]
        assert told("2001:db8:0:2::1") == 201
        assert told("::ffff:10.1.1.2") == told("::ffff:10.1.1.3") == 201


def test_an_address_cannot_be_made_up_without_a_trusted_proxy(api):
    answers = [
        api.post("/api/v1/trouble", json=TROUBLE, headers={"X-Forwarded-For": f"10.1.1.{n}"}).status_code
        for n in range(6)
    ]
    assert answers[-1] == 429


def test_a_trouble_that_cannot_be_kept_is_not_thanked_for(street, tmp_path):
    class Full:
        def add(self, trouble):
            raise BookUnavailable("disk full")

        def count(self):
            return 0

        def close(self): ...

    with street.client(tmp_path, trouble=Full()) as client:
        answer = client.post("/api/v1/trouble", json=TROUBLE)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")


def test_a_huge_body_is_refused(api):
    answer = api.post("/api/v1/trouble", content=b"x" * 70_000, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")


@pytest.mark.parametrize("body", [b"\xff\xfe{", b"[" * 30_000, b"9" * 60_000])
def test_a_body_that_cannot_be_read_is_a_problem_of_the_stable_kind(api, body):
    answer = api.post("/api/v1/trouble", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")
