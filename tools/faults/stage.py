"""The stage of a fault: a data folder, a broker and a store, and what is started on them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

import msgspec

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.broker import EmbeddedBroker
from ingest.credentials import nats_config
from ingest.enrolments import Enrolments
from ingest.influx_setup import prepare
from ingest.inventory import dump
from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from ingest.tied import tied
from tests.influx import ORG, Influxd
from tests.processes import end
from tools.faults.http_proxy import HttpProxy
from tools.faults.mosquitto import Mosquitto
from tools.faults.outcome import On
from tools.faults.programs import Server, Street
from tools.faults.tcp_proxy import TcpProxy

LAST_LINES = 5
SERVICES = ("ingest", "api")
PREFIX = "lunchong"
RETENTION_DAYS = 90


def place(sites: int = 4, piles: int = 50) -> Inventory:
    """Sites with piles of two connectors, and a station each."""
    devices = [
        Device(site=f"site-{s}", id=f"pile-{p:03d}", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2)))
        for s in range(sites)
        for p in range(piles)
    ]
    devices += [Device(site=f"site-{s}", id="station", kind="station", seats=8) for s in range(sites)]
    return Inventory(
        sites={
            f"site-{s}": Site(id=f"site-{s}", name=Name(f"场地{s}", f"Site {s}"), lat=31.23, lon=121.47)
            for s in range(sites)
        },
        devices={device.name: device for device in devices},
    )


class Stage:
    """Everything that is started here has ended, and its folder is gone, when the block is left.

    On `production` parts mosquitto (not where `brings_broker`) and InfluxDB are the harness's and outlive `serve`; on
    `embedded` ones `serve` has its own broker, unless `own_broker` is asked for.
    """

    def __init__(self, inventory: Inventory, on: On = "embedded", *, brings_broker: bool = False) -> None:
        self.inventory, self.on, self._brings_broker = inventory, on, brings_broker
        self.ending = ExitStack()
        self.folder = Path(self.ending.enter_context(tempfile.TemporaryDirectory(prefix="lunchong-faults-")))
        self.data = self.folder / "data"
        self.seen = self.data
        """The data folder as the harness sees it, where `serve` sees another disk there."""
        self.prefix: Sequence[str] = ()
        """What `serve` is started by."""
        self.data.mkdir(exist_ok=True)
        (self.data / "inventory.toml").write_text(dump(inventory), encoding="utf-8")
        self.cast = self.data / "inventory.toml"
        """The inventory whose devices a street plays."""
        self.enrolments = Enrolments(self.data / "credentials.json")
        for service in SERVICES:
            self.enrolments.service(service)
        self.gateways = dict(self.enrolments.enroll_gateway(site) for site in inventory.sites)
        self.credentials = self.folder / "gateways.json"
        logins = [{"username": name, "password": password} for name, password in self.gateways.items()]
        self.credentials.write_bytes(msgspec.json.encode(logins))
        self.settings = {"LUNCHONG_HTTP_PORT": "0", "LUNCHONG_MQTT_LISTEN": "127.0.0.1:0"}
        self._direct: str | None = None
        """The broker's own address, where `serve` is given a proxy's."""
        self._children: list[subprocess.Popen[bytes]] = []
        self._mosquitto: Mosquitto | None = None
        self._influxd: Influxd | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is not None:
            self._tell_last()
        self.ending.close()

    def _tell_last(self) -> None:
        """What went on when a row could not go on: how each process is, and its last words."""
        for process in self._children:
            words = process.args if isinstance(process.args, list) else []
            name = next((word for word in words if word in ("serve", "ingest", "demo", "simulate")), None)
            if name:
                print(f"  {name} {'runs' if process.poll() is None else f'ended with {process.returncode}'}")
        for log in sorted(self.folder.glob("*.log")):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]:
                print(f"  {log.stem}: {line}")

    def own_broker(self) -> None:
        """A broker of the harness, which outlives `serve`: production parts have no other."""
        if self.on == "production":
            self.mosquitto()
        else:
            self._nats()

    def _nats(self) -> None:
        broker = EmbeddedBroker(self.folder / "broker", ("127.0.0.1", 0))
        broker.start(
            nats_config(
                self.enrolments.credentials,
                self.inventory,
                listen=broker.listen,
                store_dir=broker.store_dir,
                log_file=broker.log_file,
            )
        )
        self.ending.callback(broker.stop)
        self.settings["LUNCHONG_MQTT_URL"] = broker.url

    def mosquitto(self, *, tells_all: bool = False) -> Mosquitto:
        """Started when it is asked for first; who is enrolled by then may enter."""
        if self._mosquitto is None:
            folder = self.folder / "mosquitto"
            self._mosquitto = Mosquitto(folder, self.enrolments, self.inventory, tells_all=tells_all)
            self.ending.callback(self._mosquitto.stop)
            self.settings["LUNCHONG_MQTT_URL"] = self._mosquitto.url
        return self._mosquitto

    def influxd(self) -> Influxd:
        """Started when it is asked for first, with the buckets that `init` makes."""
        if self._influxd is None:
            self._influxd = influxd = Influxd(self.folder / "influxd")
            self.ending.callback(influxd.kill)
            prepare(influxd.url, influxd.token, org=ORG, prefix=PREFIX, retention_days=RETENTION_DAYS)
            self.settings |= {
                "LUNCHONG_STORE": "influxdb",
                "LUNCHONG_INFLUX_URL": influxd.url,
                "LUNCHONG_INFLUX_TOKEN": influxd.token,
                "LUNCHONG_INFLUX_BUCKET": PREFIX,
            }
        return self._influxd

    def before_influxd(self) -> HttpProxy:
        """A proxy between InfluxDB and the `serve` that is started next."""
        proxy = self.ending.enter_context(HttpProxy(self.influxd().url))
        self.settings["LUNCHONG_INFLUX_URL"] = proxy.url
        return proxy

    def before_broker(self) -> TcpProxy:
        """A proxy between the broker and the `serve` that is started next; devices go straight to the broker."""
        self.own_broker()
        self._direct = self.settings["LUNCHONG_MQTT_URL"]
        proxy = self.ending.enter_context(TcpProxy(self._direct))
        self.settings["LUNCHONG_MQTT_URL"] = proxy.url
        return proxy

    @contextmanager
    def opened(self) -> Iterator[TelemetryStore]:
        """The store. On embedded parts nothing may run on it any more."""
        if self.on == "production":
            influxd = self.influxd()
            store: TelemetryStore = InfluxStore(influxd.url, influxd.token, org=ORG, prefix=PREFIX)
        else:
            store = DuckStore(self._facts_file())
        with closing(store):
            yield store

    def _facts_file(self) -> Path:
        """DuckDB follows links, and so would leave the other disk."""
        if self.seen == self.data:
            return self.data / "facts.duckdb"
        copy = self.folder / "copy"
        copy.mkdir(exist_ok=True)
        for file in self.seen.glob("facts.duckdb*"):
            shutil.copy(file, copy)
        return copy / "facts.duckdb"

    def keep_as(self, copy: Path) -> None:
        """Put the data folder, and InfluxDB's own, aside as they are; nothing may be running on the first."""
        shutil.copytree(self.data, copy / "data", ignore=_sockets)
        if self._influxd:
            self._influxd.stop()
            shutil.copytree(self._influxd.folder, copy / "influxd", ignore=_sockets)
            self._influxd.start()

    def put_back(self, copy: Path) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(copy / "data", self.data)
        if self._influxd:
            self._influxd.stop()
            shutil.rmtree(self._influxd.folder)
            shutil.copytree(copy / "influxd", self._influxd.folder)
            self._influxd.start()

    def play_only(self, inventory: Inventory) -> None:
        """Leave the other devices of the place to the harness."""
        self.cast = self.folder / "cast.toml"
        self.cast.write_text(dump(inventory), encoding="utf-8")

    def ingest(self) -> Server:
        """The process that takes messages: of its own on production parts, all in one on embedded ones."""
        return self._server((), alone=self.on == "production")

    def serve(self, *options: str) -> Server:
        return self._server(options)

    def _server(self, options: tuple[str, ...], *, alone: bool = False) -> Server:
        if self.on == "production":
            if not self._brings_broker:
                self.mosquitto()
            self.influxd()
        return Server(self, options, alone=alone)

    def street(self, server: Server, *options: str) -> Street:
        return Street(self, self._direct or server.said.mqtt, options)

    def child(self, command: list[str], log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        # Measured for coverage, a process would start later than the matrix allows.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("LUNCHONG_", "COVERAGE_"))
        }
        with log.open("ab") as output:
            process = subprocess.Popen(tied(command), env=inherited | settings, stdout=output, stderr=output)
        self._children.append(process)
        self.ending.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)  # one that is stopped hears nothing else
    end(process)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]
