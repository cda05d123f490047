"""Real brokers as child processes, users who may log in to them, and an MQTT client that shares no code with ours."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ingest.assets import Device, Inventory, Name, Site
from ingest.broker import EmbeddedBroker
from ingest.credentials import Credential, Kind, credential, hash_secret, mosquitto_files, mosquitto_hash, nats_config
from ingest.enrolments import write_broker_files
from ingest.tied import tied

T = TypeVar("T")

WITNESS = "witness"
"""A user that only tests have: it hears all topics, so that a test can say that nothing came."""

REDELIVER_S = 1.0
BELOW_CLIENTS = range(20_000, 32_768)


def until(condition: Callable[[], T], within_s: float = 20.0) -> T:
    """The first true value of `condition`; fails when there is none in time."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.005)
    return value


def free_port() -> int:
    """One below those that the system gives to clients, who would else take it before its server comes (back) to it."""
    while True:
        port = BELOW_CLIENTS.start + secrets.randbelow(len(BELOW_CLIENTS))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def password_of(username: str) -> str:
    return f"the secret of {username}"


@cache
def user(username: str, kind: Kind = "device") -> Credential:
    return credential(username, kind, password_of(username))


def place(*devices: str) -> Inventory:
    """An inventory of these `SITE/DEVICE`."""
    sites = {name.split("/")[0] for name in devices}
    return Inventory(
        sites={site: Site(id=site, name=Name(site, site), lat=31.2, lon=121.4) for site in sites},
        devices={name: Device(site=name.split("/")[0], id=name.split("/")[1], kind="pile") for name in devices},
    )


DEVICES = ("jn-01/pile-1", "jn-01/pile-2", "cjd-07/pile-9")
OTHERS: tuple[tuple[str, Kind], ...] = (
    ("jn-01/+", "gateway"),
    ("board", "reader"),
    ("service/ingest", "service"),
    ("service/api", "service"),
    ("service/scheduler", "service"),
)


def everyone() -> list[Credential]:
    return [user(name) for name in DEVICES] + [user(name, kind) for name, kind in OTHERS]


class Broker(Protocol):
    """A broker that a test may load users into, kill and start again."""

    @property
    def url(self) -> str: ...

    def load(self, users: Iterable[Credential], inventory: Inventory) -> None:
        """Take these users, without a disconnect of those that stay."""

    def kill(self) -> None:
        """kill -9, and start it again."""

    def stop(self) -> None: ...


class Nats:
    """Our embedded broker, with the witness added."""

    def __init__(self, folder: Path, *, redeliver_s: float = REDELIVER_S) -> None:
        self.embedded = EmbeddedBroker(folder, ("127.0.0.1", 0))
        self.url = self.embedded.url
        self._redeliver_s = redeliver_s
        self.embedded.start(self._config(everyone(), place(*DEVICES)))

    def _config(self, users: Iterable[Credential], inventory: Inventory) -> str:
        text = nats_config(
            users,
            inventory,
            listen=self.embedded.listen,
            store_dir=self.embedded.store_dir,
            log_file=self.embedded.log_file,
            ack_wait_s=self._redeliver_s,
        )
        return text.replace("users: [\n", f'users: [\n    {{ user: {WITNESS}, password: "{_witness_hash()}" }}\n')

    def load(self, users: Iterable[Credential], inventory: Inventory) -> None:
        self.embedded.reload(self._config(users, inventory))

    def has_written(self, text: str) -> bool:
        """Whether this stands in its store on disk."""
        return any(text.encode() in block.read_bytes() for block in self.embedded.store_dir.rglob("*.blk"))

    def kill(self) -> None:
        before, restarts = self.embedded.pid, self.embedded.restarts
        assert before is not None
        os.kill(before, signal.SIGKILL)
        until(lambda: self.embedded.restarts > restarts and self.embedded.pid != before and _accepts(self.url))

    def stop(self) -> None:
        self.embedded.stop()


class Mosquitto:
    """Debian's mosquitto over the files that we write for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        port = free_port()
        self.url = f"mqtt://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self._write(everyone(), place(*DEVICES))
        as_user = "user root\n" if os.geteuid() == 0 else ""
        (folder / "mosquitto.conf").write_text(
            f"listener {port} 127.0.0.1\n{as_user}persistence true\npersistence_location {folder}/\n"
            f"log_dest file {folder / 'mosquitto.log'}\n"
            f"include_dir {folder / 'acl.d'}\n"
        )
        self._start()

    def _write(self, users: Iterable[Credential], inventory: Inventory) -> None:
        files = mosquitto_files(users, inventory, self._folder)
        files["passwd"] += f"{WITNESS}:{mosquitto_hash(password_of(WITNESS))}\n"
        files["acl"] += f"\nuser {WITNESS}\ntopic readwrite #\n"
        write_broker_files(self._folder / "acl.d", {"lunchong.conf": files.pop("lunchong.conf")})
        write_broker_files(self._folder, files)

    def _start(self) -> None:
        program = mosquitto_program()
        assert program, "mosquitto is missing: apt-get install mosquitto"
        command = tied([program, "-c", str(self._folder / "mosquitto.conf")])
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: _accepts(self.url))

    def load(self, users: Iterable[Credential], inventory: Inventory) -> None:
        assert self._process
        self._write(users, inventory)
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()
        self._start()

    def stop(self) -> None:
        from tests.processes import end  # which waits by this module's `until`

        if self._process:
            end(self._process)


def mosquitto_program() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@cache
def _witness_hash() -> str:
    return hash_secret(password_of(WITNESS))


def _accepts(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=1).close()
    except OSError:
        return False
    return True


class Heard(NamedTuple):
    topic: str
    payload: str
    retained: bool
    mid: int


class Refused(Exception):
    """The broker did not let this user in."""


class Client:
    """Stock paho with answers that can be waited for. Use as a context manager: it is connected inside."""

    def __init__(
        self,
        url: str,
        username: str,
        *,
        password: str | None = None,
        client_id: str | None = None,
        keep_session: bool = False,
        will: tuple[str, str] | None = None,
        manual_ack: bool = False,
        keepalive_s: int = 30,
    ) -> None:
        self.heard: list[Heard] = []
        self.disconnected = threading.Event()
        self._url = urlsplit(url)
        self._keepalive_s = keepalive_s
        self._answer: list[int] = []
        self._granted: dict[int, int] = {}
        self._sent: set[int] = set()
        self._paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id or f"test-{uuid.uuid4().hex}",
            clean_session=not keep_session,
            manual_ack=manual_ack,
            reconnect_on_failure=False,
        )
        self._paho.max_inflight_messages_set(500)
        self._paho.username_pw_set(username, password_of(username) if password is None else password)
        if will:
            self._paho.will_set(will[0], will[1], qos=1, retain=True)
        self._paho.on_connect = lambda _c, _u, _f, reason, _p: self._answer.append(reason.value)
        self._paho.on_message = self._take
        self._paho.on_subscribe = lambda _c, _u, mid, codes, _p: self._granted.update({mid: codes[0].value})
        self._paho.on_publish = lambda _c, _u, mid, _r, _p: self._sent.add(mid)
        self._paho.on_disconnect = lambda *_: self.disconnected.set()

    def __enter__(self) -> Self:
        self._paho.connect(self._url.hostname or "", self._url.port or 1883, self._keepalive_s)
        self._paho.loop_start()
        until(lambda: self._answer or self.disconnected.is_set())
        if self._answer != [0]:
            self.__exit__()
            raise Refused
        return self

    def __exit__(self, *_raised: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()
        self._paho._reset_sockets()  # else paho closes its own two when they are collected, which Python warns about

    def subscribe(self, topic: str, qos: int = 1) -> int:
        """The QoS that the broker grants; 128 or more is a refusal, and so is being disconnected."""
        mid = self._paho.subscribe(topic, qos)[1]
        assert mid is not None
        until(lambda: mid in self._granted or self.disconnected.is_set())
        return self._granted.get(mid, 128)

    def publish(self, topic: str, payload: str = "x", qos: int = 1, *, retain: bool = False) -> None:
        """Returns when a QoS 1 message was acknowledged, or the broker hung up."""
        mid = self._paho.publish(topic, payload, qos, retain).mid
        until(lambda: mid in self._sent or self.disconnected.is_set())

    def acknowledge(self, heard: Heard) -> None:
        self._paho.ack(heard.mid, 1)

    def payloads(self, count: int, within_s: float = 20.0) -> list[str]:
        """What was heard, once there are `count` messages."""
        until(lambda: len(self.heard) >= count, within_s)
        return [message.payload for message in self.heard]

    def vanish(self) -> None:
        """End without a word, as a device that lost its power or its network."""
        sock = self._paho.socket()
        assert isinstance(sock, socket.socket)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        until(self.disconnected.is_set)

    def fall_silent(self) -> None:
        """Stay connected and say nothing more, not even that we are there."""
        self._paho._thread_terminate = True
        self._paho._thread.join()

    def burst(self, topic: str, count: int) -> None:
        """Publish 0, 1, 2 … at QoS 1; returns when all were acknowledged."""
        mids = {self._paho.publish(topic, str(n), 1).mid for n in range(count)}
        until(lambda: mids <= self._sent, 30)

    @staticmethod
    def raw(url: str, data: bytes) -> None:
        """Send bytes that may be no MQTT, and wait until the broker hangs up."""
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as line:
            with contextlib.suppress(OSError):
                line.sendall(data)
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                line.recv(4096)

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, message.payload.decode(), message.retain, message.mid))
