"""Floor 3 · Many devices on one bus: a connection for each, with its own credential and will, all in one loop.

The owner calls `step` again and again; nothing here waits longer than it is told, no clock is read but those given.
"""

from __future__ import annotations

import selectors
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from ingest.packets import MalformedPacket
from ingest.topics import device_topic, service_topic
from simulators.device import NoLossDevice
from simulators.device_line import PINGREQ, DeviceLine, Event, Message, Subscribed, Welcomed
from simulators.kept import Acked
from simulators.sockets import Sockets

KEEPALIVE_S = 30
CONNECT_WITHIN_S = 10.0
BACKOFF_S = (1.0, 15.0)
"""Some brokers hold a client back that comes again within a second."""
CONNECTING_AT_ONCE = 100
SWEEP_EVERY_S = 0.5
READ_BYTES = 256 * 1024
UNSENT_LIMIT_BYTES = 2 * 1024 * 1024
"""A line that takes this much no more is given nothing further until it does."""
INGEST = service_topic("ingest")
FEW_DEVICES = 500
"""Up to so many hear commands with QoS 1. In a larger crowd QoS 0 must do, where what is not taken does not come again:
each filter of QoS 1 is a consumer in NATS, and it makes some fifty a second."""


class Credential(Struct, frozen=True):
    """Whom a device logs in as: itself, `SITE/DEVICE`, or the gateway of its site, `SITE/+`."""

    username: str | None
    password: str | None
    url: str


class Listener(Protocol):
    """What the owner of a crowd is told, on the thread that calls `step`."""

    def on_notice(self, payload: bytes) -> None:
        """`service/ingest` was said; told once for each device that hears it."""

    def on_connected(self, device: NoLossDevice) -> None:
        """A device's line stands (again)."""

    def on_acked(self, device: NoLossDevice, acked: list[Acked]) -> None:
        """An `ack` was said to a device; `acked` is what it covered for the first time."""

    def on_said(self, device: NoLossDevice, leaf: str, payload: bytes) -> None:
        """Something else was said to a device: `cmd` or `turns`."""

    def to_publish(self, device: NoLossDevice, payloads: list[bytes]) -> list[bytes]:
        """A last look at telemetry before it goes out."""


class Crowd:
    """All devices with their lines. `stamp_ms` is the time by a device's own clock, `mono_s` the wall's monotonic one.

    Nothing is published until `speaking` is set: the owner may first want to hear what time it is.
    """

    def __init__(
        self,
        devices: Iterable[tuple[NoLossDevice, Credential]],
        listener: Listener,
        *,
        rng: Random,
        mono_s: Callable[[], float],
        stamp_ms: Callable[[NoLossDevice], int],
        ca_file: Path | None = None,
    ) -> None:
        self._listener = listener
        self._mono_s, self._stamp_ms = mono_s, stamp_ms
        self._selector = selectors.DefaultSelector()
        self._sockets = Sockets(ca_file)
        self._members = {device.name: _Member(device, who, rng) for device, who in devices}
        self._waiting = deque(self._members.values())
        self._connecting = 0
        self._may_connect_more = False
        self._busy: dict[_Member, None] = {}
        self._swept_s = float("-inf")
        self.muted: set[str] = set()
        """Devices that publish nothing for now, though their lines stand."""
        self.speaking = False

    @property
    def connected(self) -> int:
        return sum(1 for member in self._members.values() if member.device.connected)

    @property
    def troubles(self) -> list[str]:
        """Why devices are not connected, each reason once."""
        return sorted({member.trouble for member in self._members.values() if member.trouble})

    def touch(self, name: str) -> None:
        """A device has said something: look after it in the next step."""
        self._busy[self._members[name]] = None

    def step(self, timeout_s: float) -> None:
        """Read what has come, waiting for it up to `timeout_s`, then publish what is due."""
        for key, mask in self._selector.select(timeout_s):
            member: _Member = key.data
            if mask & selectors.EVENT_WRITE:
                self._writable(member)
            if mask & selectors.EVENT_READ and member.sock:
                self._readable(member)
        now_s = self._mono_s()
        if now_s - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = now_s
            self._sweep(now_s)
        elif self._may_connect_more:
            self._connect_some(now_s)
        busy, self._busy = self._busy, {}
        for member in busy:
            self._publish_due(member, now_s)

    def publish(self, name: str, leaf: str, payload: bytes) -> None:
        """Publish beside the no-loss messages, at QoS 1; dropped while there is no line."""
        member = self._members[name]
        if member.sock and member.device.connected:
            self._send(member, member.line.publish(device_topic(name, leaf).encode(), payload))

    def hang_up(self, name: str, for_s: float) -> None:
        """End a device's line without a word, so that its will is said; it comes back after `for_s`."""
        member = self._members[name]
        self._lost(member, "")
        member.not_before_s = self._mono_s() + for_s

    def close(self) -> None:
        """End all lines without a word: the broker says each one's will."""
        for member in self._members.values():
            self._lost(member, "")
        self._selector.close()

    def _sweep(self, now_s: float) -> None:
        for member in self._members.values():
            if member.device.connected:
                self._busy[member] = None
                if now_s >= member.ping_s:
                    member.ping_s = now_s + KEEPALIVE_S / 2
                    self._send(member, PINGREQ)
                if now_s - member.heard_s > 1.5 * KEEPALIVE_S:
                    self._lost(member, "the broker fell silent")
            elif member.sock and now_s - member.began_s > CONNECT_WITHIN_S:
                self._lost(member, f"no answer within {CONNECT_WITHIN_S:.0f} s")
        self._connect_some(now_s)

    def _connect_some(self, now_s: float) -> None:
        self._may_connect_more = False
        for _ in range(len(self._waiting)):
            if self._connecting >= CONNECTING_AT_ONCE:
                return
            member = self._waiting.popleft()
            if now_s < member.not_before_s:
                self._waiting.append(member)
            else:
                self._begin(member, now_s)

    def _begin(self, member: _Member, now_s: float) -> None:
        member.is_waiting = False
        member.began_s = member.heard_s = now_s
        member.line, member.out = DeviceLine(), bytearray()
        address = urlsplit(member.who.url)
        port = address.port or (8883 if address.scheme == "mqtts" else 1883)
        self._connecting += 1
        member.is_connecting = True
        try:
            member.sock = self._sockets.open(address.hostname or "127.0.0.1", port, tls=address.scheme == "mqtts")
        except OSError as error:
            self._lost(member, f"cannot reach {address.hostname}:{port}: {error.strerror or error}")
            return
        name = member.device.name
        member.out += member.line.connect(
            f"{name.replace('/', '-')}-{member.client_no}", member.who.username, member.who.password,
            will_topic=device_topic(name, "status"), will=member.device.will(), keepalive_s=KEEPALIVE_S,
        )  # fmt: skip
        self._selector.register(member.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, member)
        member.watches_write = True

    def _lost(self, member: _Member, why: str) -> None:
        if member.is_connecting:
            member.is_connecting = False
            self._connecting -= 1
            self._may_connect_more = True
        if member.sock:
            with suppress(KeyError):
                self._selector.unregister(member.sock)
            member.sock.close()
            member.sock = None
        if member.device.connected:
            member.device.on_disconnect()
        member.trouble = why
        if not member.is_waiting:
            member.is_waiting = True
            member.not_before_s = self._mono_s() + member.backoff_s
            member.backoff_s = min(BACKOFF_S[1], member.backoff_s * 2)
            self._waiting.append(member)

    def _readable(self, member: _Member) -> None:
        assert member.sock
        try:
            data = member.sock.recv(READ_BYTES)
            while isinstance(member.sock, ssl.SSLSocket) and member.sock.pending():
                data += member.sock.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._lost(member, f"{error.strerror or error}")
            return
        if not data:
            self._lost(member, "the broker hung up" if member.device.connected else "the broker hung up at once")
            return
        member.heard_s = self._mono_s()
        try:
            events, answer = member.line.received(data)
        except MalformedPacket as error:
            self._lost(member, f"the broker sent {error}")
            return
        if answer:
            self._send(member, answer)
        for event in events:
            self._take(member, event)

    def _take(self, member: _Member, event: Event) -> None:
        if member.sock is None:  # what came just before made us hang up
            return
        if isinstance(event, Message):
            self._heard(member, event)
        elif isinstance(event, Welcomed):
            self._welcomed(member, event)
        elif isinstance(event, Subscribed):
            self._stands(member, event)

    def _welcomed(self, member: _Member, welcome: Welcomed) -> None:
        if welcome.refusal:
            self._lost(member, f"the broker refused {member.who.username}: {welcome.refusal}")
            return
        heard = (("ack", 0), ("cmd", 1 if len(self._members) <= FEW_DEVICES else 0), ("turns", 0))
        topics = [(member.prefix + leaf, qos) for leaf, qos in heard]
        self._send(member, member.line.subscribe([*topics, (INGEST, 0)]))

    def _stands(self, member: _Member, answer: Subscribed) -> None:
        if answer.refused:
            self._lost(member, f"{member.who.username} may not read {member.device.name}'s topics")
            return
        if member.is_connecting:
            member.is_connecting = False
            self._connecting -= 1
            self._may_connect_more = True
        now_s = self._mono_s()
        member.trouble, member.backoff_s, member.ping_s = "", BACKOFF_S[0], now_s + KEEPALIVE_S / 2
        notice, member.notice = member.notice, None
        member.device.on_connect(now_s)
        if notice is not None:
            member.device.on_service_notice(notice)
        self._listener.on_connected(member.device)
        self._busy[member] = None

    def _heard(self, member: _Member, message: Message) -> None:
        device = member.device
        if message.topic == INGEST:
            if device.connected:
                device.on_service_notice(message.payload)
            else:  # some brokers hand out retained messages before they answer the subscription
                member.notice = message.payload
            self._listener.on_notice(message.payload)
        elif message.topic == member.ack_topic:
            self._listener.on_acked(device, device.on_ack(message.payload))
        elif message.topic.startswith(member.prefix):
            self._listener.on_said(device, message.topic[len(member.prefix) :], message.payload)
        self._busy[member] = None

    def _publish_due(self, member: _Member, now_s: float) -> None:
        device = member.device
        if not self.speaking or not device.connected or member.sock is None or len(member.out) > UNSENT_LIMIT_BYTES:
            return
        packets = []
        if device.status_due and now_s >= member.status_s:
            member.status_s = now_s + 1.0
            packets.append(member.line.publish(member.status_topic, device.status(self._stamp_ms(device)), retain=True))
        if device.name not in self.muted and (payloads := device.due(now_s)):
            payloads = self._listener.to_publish(device, payloads)
            packets += [member.line.publish(member.telemetry_topic, payload) for payload in payloads]
        if packets:
            self._send(member, b"".join(packets))

    def _send(self, member: _Member, data: bytes) -> None:
        if member.sock is None:
            return
        member.out += data
        if not member.watches_write:
            self._writable(member)

    def _writable(self, member: _Member) -> None:
        assert member.sock
        try:
            if member.out:
                sent = member.sock.send(member.out)
                del member.out[:sent]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._lost(member, f"{error.strerror or error}")
            return
        if member.watches_write != bool(member.out):
            member.watches_write = bool(member.out)
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.out else 0)
            self._selector.modify(member.sock, mask, member)


class _Member:
    """One device with what belongs to its line."""

    def __init__(self, device: NoLossDevice, who: Credential, rng: Random) -> None:
        self.device, self.who = device, who
        self.prefix = device_topic(device.name, "")
        self.ack_topic = self.prefix + "ack"
        self.telemetry_topic = (self.prefix + "telemetry").encode()
        self.status_topic = (self.prefix + "status").encode()
        self.client_no = f"{rng.getrandbits(32):08x}"
        self.line = DeviceLine()
        self.sock: socket.socket | None = None
        self.out = bytearray()
        self.watches_write = False
        self.is_waiting = True
        self.is_connecting = False
        self.notice: bytes | None = None
        self.trouble = ""
        self.backoff_s = BACKOFF_S[0]
        self.not_before_s = self.began_s = self.heard_s = self.ping_s = self.status_s = 0.0
