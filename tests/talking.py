"""A pile of the example inventory that speaks to a running server, and the commands that are used beside one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError

import pytest

from ingest.tied import tied
from lunchong.setting_up import EXAMPLE
from tests.brokers import Client, Refused, free_port, mosquitto_program, until
from tests.processes import ROOT, Server, lunchong_here

PILE = "gate-01/pile-0001"
TELEMETRY = f"lunchong/v1/{PILE}/telemetry"
ACK = f"lunchong/v1/{PILE}/ack"
METER = {"kind": "meter", "connector": 1, "power_kw": 0, "energy_kwh": 7, "current_a": 0, "voltage_v": 230}


def a_place(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inventory.toml").write_text(EXAMPLE)
    return folder


def beside(server, *arguments):
    """What a command says that is started beside a running server, with its settings."""
    run = lunchong_here(*arguments, "--data", server.data, env=server.env)
    assert run.returncode == 0, run
    return run.stdout


def enrolled(server, *who):
    return json.loads(beside(server, *(who or ("device", "enroll", *PILE.split("/"))), "--json"))


def as_device(server):
    """A connection of the pile, enrolled anew."""
    key = enrolled(server)
    return Client(key["url"], key["username"], password=key["password"])


def message(seq, boot, **fields):
    """A telemetry message of now, by the server's clock at speed 1."""
    ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"v": 1, "boot": boot, "seq": seq, "ts": ts, **METER, **fields})


def status(boot, last_seq):
    """What the pile says of itself, retained, when it comes."""
    ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    of_boots = [{"boot": boot, "last_seq": last_seq, "dropped_ranges": []}]
    said = {"online": True, "interval_s": 60, "last_seq": last_seq, "model": "m", "firmware": "f", "boots": of_boots}
    return json.dumps({"v": 1, "boot": boot, "ts": ts, **said})


def say(device, *messages):
    """Publish, and wait for the ack of the last."""
    device.subscribe(ACK, 0)
    for one in messages:
        device.publish(TELEMETRY, one)
    boot, seq = (json.loads(messages[-1])[key] for key in ("boot", "seq"))

    def covered():
        acks = [json.loads(heard.payload) for heard in device.heard if heard.topic == ACK]
        return any(ack["boot"] == boot and lo <= seq <= hi for ack in acks for lo, hi in ack["ranges"])

    until(covered, 10)


def doctor(server):
    run = lunchong_here("doctor", "--json", "--data", server.data, env=server.env)
    return {finding["what"]: finding["said"] for finding in json.loads(run.stdout)["findings"]}


def ready(server: Server) -> bool:
    """Whether what serves HTTP says that bus, ingest and store are there."""
    with suppress(HTTPError):
        return bool(server.get("/readyz") == {"status": "ready"})
    return False


class OwnMosquitto:
    """Debian's broker with the files that `init` wrote for it. `env` are the settings that name it."""

    def __init__(self, folder: Path) -> None:
        if not mosquitto_program():
            pytest.skip("mosquitto is missing: apt-get install mosquitto")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port = folder, free_port()
        self.url = f"mqtt://127.0.0.1:{self._port}"
        self.env = {"LUNCHONG_MQTT_URL": self.url, "LUNCHONG_MQTT_ACL_DIR": str(folder / "acl")}

    def start(self) -> None:
        as_user = "user root\n" if os.geteuid() == 0 else ""
        config = self._folder / "mosquitto.conf"
        config.write_text(f"listener {self._port} 127.0.0.1\n{as_user}include_dir {self._folder / 'acl'}\n")
        self._run([mosquitto_program(), "-c", str(config)])
        until(self.answers)

    def start_watched(self) -> None:
        """As docker-compose.yml starts it: it is told of new files by a script beside it."""
        config = self._folder / "mosquitto.conf"
        self._run(["/bin/sh", str(ROOT / "deploy/mosquitto/run"), str(config), str(self._folder / "acl")])

    def _run(self, command: list[str]) -> None:
        path = f"{Path(mosquitto_program()).parent}:{os.environ['PATH']}"
        self._process = subprocess.Popen(tied(command), env={**os.environ, "PATH": path}, stderr=subprocess.DEVNULL)

    def answers(self) -> bool:
        """Whether it is up: before it answers, the signal by which it is told to read again would end it."""
        try:
            with Client(self.url, "nobody", password="none"):
                return True
        except Refused:
            return True
        except ConnectionRefusedError:
            return False

    def read_again(self) -> None:
        """As its operator tells it after an enrolment."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def own_mosquitto(folder: Path, data: Path, env: Mapping[str, str] | None = None) -> Iterator[OwnMosquitto]:
    """A data folder after `init` with these settings, and the broker that it was made for."""
    broker = OwnMosquitto(folder)
    run = lunchong_here("init", "--data", data, env={**broker.env, **(env or {})})
    assert run.returncode == 0, run
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Beside(NamedTuple):
    """An installation of which no process is asked: commands are run with its folder and settings."""

    data: Path
    env: Mapping[str, str]


@contextmanager
def let_in(server: Server | Beside, broker: OwnMosquitto) -> Iterator[Client]:
    """A connection of the pile, enrolled anew, once mosquitto knows it."""
    key = enrolled(server)
    broker.read_again()

    def known():
        with suppress(Refused), Client(key["url"], key["username"], password=key["password"]):
            return True
        return False

    until(known)
    with Client(key["url"], key["username"], password=key["password"]) as device:
        yield device
