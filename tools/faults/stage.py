"""The stage of a fault: a data folder, a broker, `lunchong serve` and `lunchong simulate`, processes of their own."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

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
from lunchong.control import RemoteOffice
from lunchong.office import Health
from tests.influx import ORG, Influxd
from tools.faults.http_proxy import HttpProxy
from tools.faults.mosquitto import Mosquitto
from tools.faults.outcome import NotInTime, On, until
from tools.faults.tcp_proxy import TcpProxy

START_S = 90.0
DRAIN_S = 60.0
LAST_ACKS_S = 30.0
CATCH_UP_S, FEW_OPEN = 180.0, 3_000
SERVICES = ("ingest", "api")
PREFIX = "lunchong"
RETENTION_DAYS = 90


class Ready(msgspec.Struct):
    """`ready.json` of a data folder."""

    pid: int
    http: str
    mqtt: str


class Figures(msgspec.Struct):
    """The last line of `lunchong simulate --json`."""

    sent: int
    acked: int
    resent: int
    dropped: int
    garbage: int


class Progress(msgspec.Struct):
    """The other lines."""

    progress: Figures


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
        self._mosquitto: Mosquitto | None = None
        self._influxd: Influxd | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.ending.close()

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

    def serve(self, *options: str) -> Server:
        if self.on == "production":
            if not self._brings_broker:
                self.mosquitto()
            self.influxd()
        return Server(self, options)

    def street(self, server: Server, *options: str) -> Street:
        return Street(self, self._direct or server.said.mqtt, options)

    def child(self, command: list[str], log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
        # Measured for coverage, a process would start later than the matrix allows.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("LUNCHONG_", "COVERAGE_"))
        }
        with log.open("ab") as output:
            process = subprocess.Popen(tied(command), env=inherited | settings, stdout=output, stderr=output)
        self.ending.callback(_end, process)
        return process


class Server:
    """`lunchong serve` on the stage's data folder, ready to be used."""

    def __init__(self, stage: Stage, options: tuple[str, ...]) -> None:
        self.log = stage.folder / "serve.log"
        self._data = stage.seen
        self.began_s = time.monotonic()
        command = [*stage.prefix, sys.executable, "-m", "lunchong", "serve", "--data", str(stage.data), *options]
        ready = stage.seen / "ready.json"
        ready.unlink(missing_ok=True)
        self.process = stage.child(command, self.log, stage.settings)
        self.pid = self.process.pid
        until(lambda: ready.exists() or self.process.poll() is not None, START_S, "lunchong serve starts")
        if self.process.poll() is not None:
            raise NotInTime(f"lunchong serve ended: {self.log.read_text(encoding='utf-8')[-2_000:]}")
        self.said = msgspec.json.decode(ready.read_bytes(), type=Ready)
        until(lambda: _answers(f"{self.said.http}/readyz"), START_S, "lunchong serve is ready")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all that carry these labels; no number while nobody answers."""
        try:
            with urlopen(f"{self.said.http}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return math.nan
        wanted = "".join(f'(?=.*{label}="{value}")' for label, value in labels.items())
        return sum(float(value) for value in re.findall(rf"^{name}{wanted}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def health(self) -> Health:
        health = RemoteOffice(self._data).health()
        assert health is not None
        return health

    def conditions(self) -> dict[str, str]:
        """Code and evidence of what holds at ingest or at a device."""
        return {condition.code: condition.evidence for condition in self.health().conditions}

    def memory_mib(self) -> float:
        """What it holds in memory now."""
        [kib] = re.findall(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(kib) / 1024

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        """Stop it in order, once the store has everything that was acknowledged."""
        until(lambda: self.metric("lunchong_spool_rows") == 0, DRAIN_S, "the spool drains")
        self.process.terminate()
        self.process.wait(20)


class Street:
    """`lunchong simulate` as a process; `acked`, `sent` and `dropped` are its range files."""

    def __init__(self, stage: Stage, mqtt: str, options: tuple[str, ...]) -> None:
        self.acked, self.sent, self.dropped = (stage.folder / f"{name}.csv" for name in ("acked", "sent", "dropped"))
        self.log = stage.folder / "simulate.log"
        command = [sys.executable, "-m", "lunchong", "simulate", "--mqtt", mqtt, "--json"]
        command += ["--inventory", str(stage.cast), "--credentials", str(stage.credentials)]
        command += ["--acked", str(self.acked), "--sent", str(self.sent), "--dropped", str(self.dropped)]
        self.process = stage.child([*command, *options], self.log, {})

    def acked_bytes(self) -> int:
        return self.acked.stat().st_size if self.acked.exists() else 0

    def wait_for_acks(self, within_s: float, more_than: int | None = None) -> float:
        """Until something was acknowledged beyond what the file had (now); how long that took."""
        began_s, had = time.monotonic(), self.acked_bytes() if more_than is None else more_than
        until(lambda: self.acked_bytes() > had, within_s, "messages are acknowledged")
        return time.monotonic() - began_s

    def finish(self, *, caught_up: bool = True) -> Figures:
        """Once it was told of nearly all that it sent, stop it and give it time for its last acks; what it counted."""
        if caught_up:
            until(lambda: self._open() < FEW_OPEN, CATCH_UP_S, "the street is told of what it sent")
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LAST_ACKS_S)
        lines = self.log.read_bytes().splitlines()
        if self.process.returncode or not lines:
            raise NotInTime(f"lunchong simulate failed: {self.log.read_text(encoding='utf-8')[-2_000:]}")
        return msgspec.json.decode(lines[-1], type=Figures)

    def progress(self) -> Figures | None:
        """The newest line that it printed; one comes each second."""
        lines = [line for line in self.log.read_bytes().splitlines(keepends=True) if line.startswith(b'{"progress"')]
        lines = [line for line in lines if line.endswith(b"\n")]
        return msgspec.json.decode(lines[-1], type=Progress).progress if lines else None

    def _open(self) -> int:
        """How many messages were sent and not acknowledged."""
        now = self.progress()
        return now.sent - now.acked - now.dropped if now else FEW_OPEN


def children_of(pid: int) -> list[int]:
    """The processes that any thread of this one started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in lists for child in file.read_text(encoding="ascii").split()]


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(url, timeout=5):
        return True
    return False


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]
