"""A whole installation with a device of the test's own, and Debian's chromium to look at it."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from api.board import Now
from ingest.assets import Compound, ConnectorSpec, Device, Inventory, Name, Section, Site, Workstation
from ingest.inventory import dump
from lunchong.serve import Installation
from lunchong.settings import read as read_settings
from lunchong.timing import Timing
from tests.brokers import Client, until

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}

PLACE = Inventory(
    workstations={"east": Workstation("east", Name("东部联动工作站", "East workstation"))},
    sections={"s-01": Section("s-01", Name("江宁段", "Jiangning section"), "east")},
    compounds={"c-01": Compound("c-01", Name("和平小区", "Heping <i>Compound</i>"), "s-01", 31.2400, 121.4400, 400)},
    sites={
        "jn-01": Site(
            id="jn-01", name=Name("江宁路轮充点", "Jiangning Road bays"), lat=31.2405, lon=121.4405, mode="in_turn",
            section="s-01", compounds=("c-01",),
        ),
        "far-01": Site(id="far-01", name=Name("远郊临停点", "Faraway bays"), lat=31.4, lon=121.4),
        "st-01": Site(id="st-01", name=Name("暖心园", "Xin Yuan"), lat=31.2402, lon=121.4402, mode="station"),
    },
    devices={
        "jn-01/pile-1": Device(
            site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2))
        ),
        "far-01/pile-1": Device(site="far-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1),)),
        "st-01/station-1": Device(
            site="st-01", id="station-1", kind="station", seats=10, reading_seats=4, outlets=6, amenities=("wifi",)
        ),
    },
)  # fmt: skip


class Talker:
    """A device as its maker would write it: plain JSON over a stock MQTT client."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self._boot, self._seq = f"boot-of-{name}", 0

    def status(self, *, online: bool) -> None:
        said = {"v": 1, "boot": self._boot, "online": online}
        if online:
            said |= {"ts": now(), "interval_s": 600, "last_seq": self._seq}
        self._client.publish(f"lunchong/v1/{self._name}/status", json.dumps(said), retain=True)

    def says(self, kind: str, **fields: Any) -> None:
        self._seq += 1
        said = {"v": 1, "boot": self._boot, "seq": self._seq, "ts": now(), "kind": kind} | fields
        self._client.publish(f"lunchong/v1/{self._name}/telemetry", json.dumps(said))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Neighbourhood:
    """The installation, and its three devices."""

    def __init__(self, installation: Installation, talkers: dict[str, Talker]) -> None:
        self.installation, self.url = installation, installation.http_url
        self.pile, self.far_pile, self.station = (talkers[name] for name in PLACE.devices)

    def everything_free(self) -> None:
        """Two free plugs near, none far away, and a cool room on a hot day."""
        for talker in (self.pile, self.far_pile, self.station):
            talker.status(online=True)
        for connector in (1, 2):
            self.pile.says("connector", connector=connector, state="available", bay_occupied=False)
        self.far_pile.says("connector", connector=1, state="charging", bay_occupied=True)
        self.station.says("climate", indoor_c=26.0, indoor_rh_pct=50.0, outdoor_c=37.0, outdoor_rh_pct=50.0)
        self.station.says("presence", people=3, seats_used=3, reading_seats_used=1)
        self.station.says("amenity", name="wifi", ok=True)
        until(lambda: self.summary("jn-01").available == 2 and self.summary("far-01").in_use == 1)

    def summary(self, site: str) -> Any:
        place = self.installation
        return place.board.look(place.inventory, Now(place.clock.service_ms())).sites[site].summary

    def troubles(self) -> list[dict[str, Any]]:
        asked = urllib.request.Request(
            f"{self.url}/api/v1/trouble", headers={"Authorization": f"Bearer {self.installation.folder.admin_token()}"}
        )
        with urllib.request.urlopen(asked) as answer:
            found: list[dict[str, Any]] = json.load(answer)["items"]
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    folder: Path = tmp_path_factory.mktemp("place")
    (folder / "inventory.toml").write_text(dump(PLACE), encoding="utf-8")
    options = {"inventory": folder / "inventory.toml", "http_port": 0, "mqtt_listen": "127.0.0.1:0"}
    with Installation(read_settings(data_dir=folder, options=options), Timing()) as installation:
        logins = [installation.enrolments.enroll_device(*name.split("/")) for name in PLACE.devices]
        installation.admit()
        clients = [Client(installation.mqtt_url, name, password=secret) for name, secret in logins]
        for client in clients:
            client.__enter__()
        try:
            talkers = {name: Talker(client, name) for name, client in zip(PLACE.devices, clients, strict=True)}
            yield Neighbourhood(installation, talkers)
        finally:
            for client in clients:
                client.__exit__()


@pytest.fixture
def place(running: Neighbourhood) -> Neighbourhood:
    running.everything_free()
    return running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is missing: apt-get install chromium fonts-wqy-microhei")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


class Phone:
    """Opens pages as a phone would, and remembers what went wrong in them and whom they asked."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self.errors: list[str] = []
        self.asked: set[str] = set()
        self._contexts: list[Any] = []

    def open(self, path: str, **options: Any) -> Page:
        context = self._browser.new_context(viewport=PHONE, **({"locale": "zh-CN"} | options))
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))
        page.goto(self._url + path)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def phone(browser: Browser, place: Neighbourhood) -> Iterator[Phone]:
    held = Phone(browser, place.url)
    yield held
    held.close()
    assert held.errors == []
    assert {address for address in held.asked if not address.startswith((place.url, "data:"))} == set()
