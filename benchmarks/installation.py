"""`lunchong serve` as a process of its own over a fresh data folder, with the embedded broker or Debian's mosquitto."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.credentials import mosquitto_files
from ingest.enrolments import Enrolments, write_broker_files
from ingest.inventory import dump
from ingest.tied import tied
from tests.processes import end

SITES, PILES_PER_SITE, CONNECTORS = 4, 50, 2
START_S = 30.0
SERVICES = ("ingest", "api")


class MosquittoMissing(Exception):
    """There is no mosquitto on this machine."""


class Ready(msgspec.Struct):
    """`ready.json` of the data folder."""

    pid: int
    http: str
    mqtt: str


class Gateway(NamedTuple):
    site: str
    username: str
    password: str


class Installation(NamedTuple):
    http: str
    mqtt: str
    pid: int
    gateways: list[Gateway]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all that carry these labels."""
        wanted = "".join(f'(?=.*{label}="{value}")' for label, value in labels.items())
        with urlopen(f"{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}{wanted}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def cpu_s(self) -> float:
        """Processor seconds of the process so far, its child (the broker) left out."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def neighbourhood() -> Inventory:
    sites = [f"bench-{number}" for number in range(SITES)]
    connectors = tuple(ConnectorSpec(number + 1) for number in range(CONNECTORS))
    piles = [
        Device(site=site, id=f"pile-{number:03d}", kind="pile", connectors=connectors)
        for site in sites
        for number in range(PILES_PER_SITE)
    ]
    return Inventory(
        sites={site: Site(id=site, name=Name(site, site), lat=31.23, lon=121.47) for site in sites},
        devices={pile.name: pile for pile in piles},
    )


@contextmanager
def installed(broker: str) -> Iterator[Installation]:
    """An installation that is ready; ended, and its folder removed, when the block is left."""
    with TemporaryDirectory(prefix="lunchong-bench-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        inventory = neighbourhood()
        (data / "inventory.toml").write_text(dump(inventory), encoding="utf-8")
        enrolments = Enrolments(data / "credentials.json")
        gateways = [Gateway(site, *enrolments.enroll_gateway(site)) for site in inventory.sites]
        for service in SERVICES:
            enrolments.service(service)
        if broker == "embedded":
            with _serving(data, {"LUNCHONG_MQTT_LISTEN": "127.0.0.1:0"}) as ready:
                yield Installation(ready.http, ready.mqtt, ready.pid, gateways)
        else:
            with (
                mosquitto(Path(folder), enrolments, inventory) as url,
                _serving(data, {"LUNCHONG_MQTT_URL": url}) as ready,
            ):
                yield Installation(ready.http, ready.mqtt, ready.pid, gateways)


@contextmanager
def _serving(data: Path, settings: dict[str, str]) -> Iterator[Ready]:
    command = [sys.executable, "-m", "lunchong", "serve", "--data", str(data)]
    log = data / "serve.log"
    with log.open("wb") as output, _child(command, {"LUNCHONG_HTTP_PORT": "0"} | settings, output.fileno()) as process:
        ready = data / "ready.json"
        if not _until(lambda: ready.exists() or process.poll() is not None, START_S) or process.poll() is not None:
            raise RuntimeError(f"lunchong serve did not start:\n{log.read_text(encoding='utf-8')}")
        said = msgspec.json.decode(ready.read_bytes(), type=Ready)
        if not _until(lambda: _answers(f"{said.http}/readyz"), START_S):
            raise RuntimeError(f"lunchong serve did not become ready:\n{log.read_text(encoding='utf-8')}")
        yield said


@contextmanager
def mosquitto(folder: Path, enrolments: Enrolments, inventory: Inventory) -> Iterator[str]:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise MosquittoMissing
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    write_broker_files(folder, mosquitto_files(enrolments.credentials, inventory, folder))
    as_user = "user root\n" if os.geteuid() == 0 else ""
    settings = (folder / "lunchong.conf").read_text(encoding="utf-8")
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\n{as_user}persistence true\npersistence_location {folder}/\n{settings}",
        encoding="utf-8",
    )
    with _child([program, "-c", str(config)], {}, subprocess.DEVNULL):
        if not _until(lambda: _listens(port), START_S):
            raise RuntimeError("mosquitto did not start")
        yield f"mqtt://127.0.0.1:{port}"


@contextmanager
def _child(command: list[str], settings: dict[str, str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNCHONG_")}
    process = subprocess.Popen(tied(command), env=inherited | settings, stdout=output, stderr=output)
    try:
        yield process
    finally:
        end(process)


def _until(condition: Callable[[], bool], within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(url, timeout=5):
        return True
    return False


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
