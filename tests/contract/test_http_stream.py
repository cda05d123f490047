"""The live stream over a real socket: what changed, once, in time; and readers that do not read."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from api import live
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from lunchong.web import Web, bound_port
from tests.boards import STREET, Street, charging, free
from tests.brokers import until

STREAM = "/api/v1/availability/stream"
STUCK = 6


@dataclass
class Event:
    name: str
    id: str | None
    data: dict


class Reader:
    """A client of the stream that shares no code with it."""

    def __init__(self, port, query="", last_event_id=None, path=STREAM, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        self.connection.request("GET", path + query, headers=headers)
        self.answer = self.connection.getresponse()

    def next(self, *names):
        """The next event, of one of these names when given."""
        while True:
            fields = {}
            while line := self.answer.readline().decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
            if not fields:
                raise EOFError
            if not names or fields["event"] in names:
                return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))

    def close(self):
        self.answer.close()
        self.connection.close()


class Served:
    def __init__(self, app, port):
        self.app, self.port = app, port
        self._readers = []

    def read(self, query="", last_event_id=None):
        self._readers.append(Reader(self.port, query, last_event_id))
        return self._readers[-1]

    def close_readers(self):
        for reader in self._readers:
            reader.close()


@contextmanager
def serving(street, folder, store) -> Iterator[Served]:
    with street.app(folder, store=store) as app:
        line = bound_port("127.0.0.1", 0)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)  # full soon, for a reader that does not read
        served = Served(app, line.getsockname()[1])
        web = Web([(app, line)], lambda: None)
        web.start()
        try:
            yield served
        finally:
            served.close_readers()
            web.stop()


@pytest.fixture
def street():
    said = Street()
    said.everything_free()
    return said


@pytest.fixture
def served(street, tmp_path, idle_store):
    with serving(street, tmp_path, idle_store) as it:
        yield it


def test_a_reader_gets_the_whole_and_then_what_changed(street, served):
    reader = served.read()
    snapshot = reader.next("snapshot")
    assert {site["site"] for site in snapshot.data["sites"]} == {"jn-01", "cjd-07"}
    assert [room["device"] for room in snapshot.data["stations"]] == ["station-1"]
    street.pile("jn-01/pile-1", charging(1), free(2))
    change = reader.next("change")
    [connector] = [c for c in change.data["connectors"] if c["id"] == "jn-01/pile-1/1"]
    assert (connector["site"], connector["status"], connector["power_kw"]) == ("jn-01", "CHARGING", 6.8)
    [site] = change.data["sites"]
    assert (site["site"], site["summary"]["in_use"]) == ("jn-01", 1)


def test_the_clock_comes_with_each_heartbeat(served, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    reader = served.read()
    beats = [reader.next("heartbeat").data for _ in range(3)]
    assert beats == [{"now": "2026-11-23T01:00:00.000Z", "speed": 1.0, "believed": True}] * 3


def test_ids_grow_within_an_epoch(street, served):
    reader = served.read()
    ids = [reader.next("snapshot").id]
    for connector in (charging(1), free(1), charging(1)):
        street.pile("jn-01/pile-2", connector)
        ids.append(reader.next("change").id)
    assert len({event_id.rpartition("-")[0] for event_id in ids}) == 1
    numbers = [int(event_id.rpartition("-")[2]) for event_id in ids]
    assert numbers == sorted(set(numbers))


def test_many_changes_of_a_connector_within_a_tick_are_one(street, served):
    reader = served.read()
    reader.next("heartbeat")
    for n in range(200):
        street.pile("jn-01/pile-2", charging(1, power_kw=float(n)))
    seen = []
    while not seen or seen[-1] != 199.0:
        seen += [c["power_kw"] for c in reader.next("change").data["connectors"]]
    assert len(seen) < 10


def test_a_reader_that_comes_back_gets_what_it_missed_and_no_more(street, served):
    reader = served.read()
    last_id = reader.next("snapshot").id
    reader.close()
    street.pile("jn-01/pile-2", charging(1))
    again = served.read(last_event_id=last_id).next("snapshot", "change")
    assert again.name == "change"
    assert [c["id"] for c in again.data["connectors"]] == ["jn-01/pile-2/1"]


@pytest.mark.parametrize(
    "last_id",
    ["", "nonsense", "00000000-5", "{epoch}-99999999", "{epoch}-x", "{epoch}--1", "{epoch}-" + "9" * 5_000],
)
def test_an_unknown_last_event_gets_the_whole(served, last_id):
    epoch = served.read().next("snapshot").id.rpartition("-")[0]
    reader = served.read(last_event_id=last_id.format(epoch=epoch))
    assert reader.next().name == "snapshot"


def test_a_reader_of_one_site_hears_of_no_other(street, served):
    reader = served.read("?site=cjd-07")
    assert [site["site"] for site in reader.next("snapshot").data["sites"]] == ["cjd-07"]
    street.pile("jn-01/pile-2", charging(1))
    street.pile("cjd-07/pile-1", charging(1))
    assert [c["site"] for c in reader.next("change").data["connectors"]] == ["cjd-07"]


def test_a_reader_nearby_hears_of_what_is_within_the_walk(street, served):
    reader = served.read("?near=31.2400,121.4400&minutes=5")
    [site] = reader.next("snapshot").data["sites"]
    assert (site["site"], site["walk_min"]) == ("jn-01", 1)
    street.pile("cjd-07/pile-1", charging(1))
    street.pile("jn-01/pile-2", charging(1))
    assert [c["site"] for c in reader.next("change").data["connectors"]] == ["jn-01"]


def test_silence_is_news_too(street, served):
    reader = served.read("?site=jn-01")
    reader.next("heartbeat")
    street.passes(181)
    change = reader.next("change")
    assert {c["status"] for c in change.data["connectors"]} == {"UNKNOWN"}


def test_a_new_inventory_is_a_new_whole(street, served):
    reader = served.read()
    first = reader.next("snapshot")
    kept = {name: device for name, device in STREET.devices.items() if device.site != "cjd-07"}
    street.inventory = Inventory(sites=STREET.sites, devices=kept)
    second = reader.next("snapshot")
    assert [site["site"] for site in second.data["sites"]] == ["jn-01"]
    assert first.id.rpartition("-")[0] != second.id.rpartition("-")[0]


def test_a_reader_that_leaves_is_forgotten(served):
    readers = [served.read() for _ in range(5)]
    assert served.app.state.live.readers == 5
    for reader in readers:
        reader.next("snapshot")
        reader.close()
    until(lambda: served.app.state.live.readers == 0)


def test_when_all_places_are_taken_the_next_is_told_so(served, monkeypatch):
    monkeypatch.setattr(live, "MAX_READERS", 1)
    served.read().next("snapshot")
    refused = served.read()
    assert refused.answer.status == 503
    assert json.loads(refused.answer.read())["type"] == "/problems/too-many-readers"


@pytest.mark.parametrize("path", ["/api/v1/availability", "/healthz", "/", "/nope", "/static/page.js", STREAM])
def test_head_is_answered_like_get_without_the_body_and_holds_no_stream(served, path):
    line, another = (http.client.HTTPConnection("127.0.0.1", served.port, timeout=5) for _ in range(2))
    for _ in range(2):
        line.request("HEAD", path)
        head = line.getresponse()
        assert head.read() == b""
    another.request("GET", path)
    full = another.getresponse()
    assert (head.status, head.headers["content-type"]) == (full.status, full.headers["content-type"])
    assert head.headers["etag"] == full.headers["etag"]
    line.close()
    another.close()
    until(lambda: served.app.state.live.readers == 0)


def test_streams_end_at_once_when_the_service_goes_down(street, tmp_path, idle_store):
    with serving(street, tmp_path, idle_store) as served:
        reader = served.read()
        reader.next("snapshot")
        served.app.state.live.close()
        with pytest.raises(EOFError):
            list(iter(reader.next, None))


def crowd(sites, piles):
    """Sites with so many piles each."""
    return Inventory(
        sites={f"s{n}": Site(id=f"s{n}", name=Name("站", "Site"), lat=31.2, lon=121.4) for n in range(sites)},
        devices={
            f"s{n}/p{m}": Device(site=f"s{n}", id=f"p{m}", kind="pile", connectors=(ConnectorSpec(1),))
            for n in range(sites)
            for m in range(piles)
        },
    )


def test_readers_that_stop_reading_are_sent_away_and_the_others_hear_on(tmp_path, idle_store, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE_S", 0.5)
    street = Street(crowd(20, 100))
    street.everything_free()
    with serving(street, tmp_path, idle_store) as served:
        stuck = []
        for _ in range(STUCK):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            line.connect(("127.0.0.1", served.port))
            line.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            stuck.append(line)
        until(lambda: served.app.state.live.readers == STUCK)
        reader = served.read("?site=s0")
        reader.next("snapshot")
        busy = threading.Event()

        def everything_changes():
            while not busy.wait(0.02):
                for n in range(100):
                    street.pile(f"s{n % 20}/p{n % 100}", charging(1))
                street.passes(0.01)

        changing = threading.Thread(target=everything_changes)
        changing.start()
        try:
            until(lambda: reader.next("change") and served.app.state.live.sent_away == STUCK, within_s=30)
        finally:
            busy.set()
            changing.join()
            for line in stuck:
                line.close()
        assert served.app.state.live.readers == 1


def test_two_thousand_devices_do_not_hold_the_board_up(tmp_path, idle_store):
    street = Street(crowd(200, 10))
    with serving(street, tmp_path, idle_store) as served:
        reader = served.read("?site=s199")
        reader.next("snapshot")
        street.everything_free()
        change = reader.next("change")
        while not any(site["summary"]["available"] == 10 for site in change.data["sites"]):
            change = reader.next("change")
        answer = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
        answer.request("GET", "/api/v1/availability")
        body = json.loads(answer.getresponse().read())
        answer.close()
        assert sum(site["summary"]["available"] for site in body["sites"]) == 2_000
