"""The connections of a replay: one for each credential, and the piles that speak through it."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec

from ingest.clock import DAY_MS, ServiceClock, parse_rfc3339, rfc3339
from ingest.messages import AnyCommand, Refusal, ServiceNotice
from ingest.mqtt import Bus, Inbound, one_by_one
from ingest.topics import device_topic, service_topic, split_topic
from lunchong.errors import UsageError, UserError
from lunchong.live_clock import wall_ms
from simulators.device import NoLossDevice
from simulators.orders import Orders
from simulators.replay import Replay

INGEST = service_topic("ingest")
PATIENCE_S = 0.05
"""How long to wait for a word from the bus before looking after what is due again."""


class Login(msgspec.Struct, frozen=True):
    """What `device enroll --json` prints: a device `SITE/DEVICE`, or a gateway `SITE/+` for all others of its site."""

    username: str
    password: str
    url: str | None = None


_login, _logins = msgspec.json.Decoder(Login), msgspec.json.Decoder(list[Login])
_notice = msgspec.json.Decoder(ServiceNotice)


def read_logins(path: Path) -> list[Login]:
    """One login a line, or one JSON list. Raises UsageError."""
    try:
        text = path.read_bytes().strip()
        if text.startswith(b"["):
            return _logins.decode(text)
        return [_login.decode(line) for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"cannot read the credentials {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} holds no credentials as `device enroll --json` prints them: {error}") from None


class _Heard(NamedTuple):
    """A line stood, fell, or brought a message."""

    line: _Line
    what: bool | Inbound


class _Line:
    def __init__(self, url: str, login: Login, heard: SimpleQueue[_Heard]) -> None:
        self.name = login.username
        self.devices: list[NoLossDevice] = []
        self.connected = False
        self.notice: bytes | None = None
        self.bus = Bus(
            url,
            client_id=f"replay-{secrets.token_hex(8)}",
            username=login.username,
            password=login.password,
            subscriptions=[
                (device_topic(login.username, "ack"), 0),
                (device_topic(login.username, "cmd"), 1),
                (INGEST, 1),
            ],
            on_arrival=one_by_one(lambda message: heard.put(_Heard(self, message))),
            on_connect=lambda: heard.put(_Heard(self, True)),
            on_disconnect=lambda: heard.put(_Heard(self, False)),
        )

    def speaks_for(self, name: str) -> bool:
        return self.name == name or self.name == f"{name.partition('/')[0]}/+"

    def admit(self, device: NoLossDevice, mono_s: float) -> None:
        self.devices.append(device)
        if self.connected:
            self._greet(device, mono_s)

    def stood(self, mono_s: float) -> None:
        self.connected = True
        for device in self.devices:
            self._greet(device, mono_s)

    def fell(self) -> None:
        self.connected, self.notice = False, None
        for device in self.devices:
            device.on_disconnect()

    def _greet(self, device: NoLossDevice, mono_s: float) -> None:
        device.on_connect(mono_s)
        if self.notice is not None:
            device.on_service_notice(self.notice)


class Lines:
    """All connections of one replay. `run` lives it; the bus is heard and spoken to on the caller's thread only."""

    def __init__(self, replay: Replay, url: str, logins: Iterable[Login]) -> None:
        """Each pile speaks by the login of its own name, else by the gateway of its site."""
        self._replay = replay
        self._heard: SimpleQueue[_Heard] = SimpleQueue()
        self._lines = [_Line(url, login, self._heard) for login in logins]
        self._line_of: dict[str, _Line] = {}
        self._orders: defaultdict[str, Orders] = defaultdict(Orders)

    def start(self) -> None:
        for line in self._lines:
            line.bus.start()

    def stop(self) -> None:
        """Say that the piles are gone, and leave."""
        for line in self._lines:
            for device in line.devices:
                line.bus.publish(device_topic(device.name, "status"), device.will(), 1, retain=True)
            line.bus.stop()

    def troubles(self) -> list[str]:
        """What keeps lines from standing, each said once."""
        return sorted({line.bus.last_error for line in self._lines if line.bus.last_error})

    def step(self, until_ms: int | None) -> None:
        """Hear what there is, or wait a little for it; let the piles go on; say what is due."""
        self._hear()
        self._replay.advance(until_ms)
        mono_s = time.monotonic()
        for name, device in self._replay.devices.items():
            line = self._line_of.get(name) or self._admit(name, device, mono_s)
            if not device.connected:
                continue
            if device.status_due:
                status = device.status(self._replay.now_ms)
                line.bus.publish(device_topic(name, "status"), status, 1, retain=True)
            for payload in device.due(mono_s):
                line.bus.publish(device_topic(name, "telemetry"), payload, 1)

    def _admit(self, name: str, device: NoLossDevice, mono_s: float) -> _Line:
        fitting = [line for line in self._lines if line.speaks_for(name)]
        if not fitting:
            raise UsageError(f"the credentials hold none for {name}, nor for {name.partition('/')[0]}/+")
        line = self._line_of[name] = min(fitting, key=lambda line: line.name != name)
        line.admit(device, mono_s)
        return line

    def _hear(self) -> None:
        try:
            heard = self._heard.get(timeout=PATIENCE_S)
            while True:
                self._take(heard)
                heard = self._heard.get_nowait()
        except Empty:
            pass

    def _take(self, heard: _Heard) -> None:
        line, what = heard
        if isinstance(what, Inbound):
            self._read(line, what)
        elif what:
            line.stood(time.monotonic())
        else:
            line.fell()

    def _check_clock(self, notice: bytes) -> None:
        """Service time never goes back; where it is past the file's times, those would be taken for a wrong clock."""
        try:
            clock = _notice.decode(notice).clock
        except msgspec.MsgspecError:
            return
        if not clock:
            return
        service_ms = ServiceClock(parse_rfc3339(clock.wall0), parse_rfc3339(clock.service0), clock.speed).at(wall_ms())
        if service_ms > self._replay.now_ms + DAY_MS:
            begin, now = rfc3339(self._replay.begin_ms)[:10], rfc3339(service_ms)[:10]
            raise UserError(
                f"the file begins on {begin}, but there it is {now} already: start that installation on a fresh data "
                "folder with --clock messages, and with LUNCHONG_RETENTION_DAYS=0 to keep such old facts"
            )

    def _read(self, line: _Line, message: Inbound) -> None:
        if message.topic == INGEST:
            if line.notice is None:
                self._check_clock(message.payload)
            line.notice = message.payload
            for device in line.devices:
                device.on_service_notice(message.payload)
        elif (named := split_topic(message.topic)) and named[0] in self._replay.devices:
            name, leaf = named
            if leaf == "ack":
                self._replay.devices[name].on_ack(message.payload)
            elif answer := self._orders[name].take(message.payload, _not_in_the_past):
                line.bus.publish(device_topic(name, "cmd/result"), msgspec.json.encode(answer), 1)


def _not_in_the_past(_command: AnyCommand) -> Refusal:
    """What was recorded cannot be changed by an order of today."""
    return "unsupported"
