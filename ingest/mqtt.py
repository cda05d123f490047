"""Floor 3 · The service's own line to the bus: an MQTT 3.1.1 client over paho that stays connected and reads fast."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.packets import PUBLISH, MalformedPacket, PacketBuffer, pubacks, publish_at_most_once, read_publish

log = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_LARGEST_PACKET_BYTES = 2 * 1024 * 1024
_POLL_MS = 1_000
_BACKOFF_S = (1.0, 10.0)
"""NATS holds a client id back that comes again within a second."""
_OUT_LIMIT = 10_000
"""QoS 1 publishes on their way, and as many again kept while offline."""
_CONNECT_S = 5.0


class Inbound(Struct, frozen=True):
    """A message as it came. `connection` and `mid` are what `acknowledge` needs."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    connection: int
    received_wall_ms: int


class Outbound(Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int
    retain: bool


class Bus:
    """A connection that is kept, with a network thread of its own.

    `on_message`, `on_connect` and `on_disconnect` run on that thread and should be short. `on_connect` is called
    when the subscriptions stand; messages of a kept session may come before it. With `manual_ack` a QoS 1 message
    is the broker's until `acknowledge`. `ca_file` checks a server by its authority and name; `pinned_cert` trusts
    exactly that certificate, whatever name it carries.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        username: str,
        password: str,
        subscriptions: Sequence[tuple[str, int]],
        on_message: Callable[[Inbound], None],
        wall: Callable[[], int],
        on_connect: Callable[[], None] | None = None,
        on_disconnect: Callable[[], None] | None = None,
        will: tuple[str, bytes, int, bool] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        keepalive_s: int = 15,
        ca_file: Path | None = None,
        pinned_cert: Path | None = None,
    ) -> None:
        self.connected = False
        self.connection = 0
        self.last_error = ""
        self.refused_filters: frozenset[str] = frozenset()
        self.unsent = 0
        """QoS 1 messages given up because the broker was away for too long."""
        self._subscriptions = list(subscriptions)
        self._on_message, self._on_connect, self._on_disconnect = on_message, on_connect, on_disconnect
        self._wall = wall
        self._manual_ack = manual_ack
        self._lock = threading.Lock()
        self._out: deque[Outbound | tuple[int, bytes]] = deque()
        self._held: dict[str | int, Outbound] = {}
        self._held_no = 0
        self._in_flight = 0
        self._stopping = threading.Event()
        self._flushed = threading.Event()
        self._thread: threading.Thread | None = None
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._client = _Client(client_id, clean_session=not persistent, deliver=self._deliver)
        self._client.username_pw_set(username, password)
        self._client.connect_timeout = _CONNECT_S
        if will:
            self._client.will_set(will[0], will[1], will[2], will[3])
        address = urlsplit(url)
        if address.scheme == "mqtts":
            self._client.tls_set_context(_tls(ca_file, pinned_cert))
        self._client.connect_async(
            address.hostname or "127.0.0.1", address.port or (8883 if address.scheme == "mqtts" else 1883), keepalive_s
        )
        self._client.on_connect = self._connack
        self._client.on_subscribe = self._suback
        self._client.on_publish = self._published

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()

    def stop(self, last: tuple[str, bytes, int, bool] | None = None, within_s: float = 2.0) -> None:
        """Send `last` and what is on its way, for at most `within_s`, and leave without the will being sent."""
        if last:
            self.publish(*last)
        self._stopping.set()
        self._wake()
        if self._thread:
            if self.connected:
                self._flushed.wait(within_s)
            self._flushed.set()
            self._wake()
            self._thread.join()
            self._thread = None
        self._waker.close()
        self._woken.close()

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Hand a message over; never blocks, from any thread, in the order of the calls.

        While there is no connection a QoS 0 message is dropped; of a retained QoS 1 message the newest of each
        topic waits, and of others the newest ten thousand.
        """
        message = Outbound(topic, payload, qos, retain)
        with self._lock:
            if self.connected:
                self._out.append(message)
            elif qos:
                self._hold(message)
        self._wake()

    def acknowledge(self, received: Iterable[Inbound]) -> None:
        """Tell the broker that these need not come again; those of an older connection are skipped."""
        now = self.connection
        packets = pubacks([message.mid for message in received if message.qos and message.connection == now])
        if packets:
            with self._lock:
                self._out.append((now, packets))
            self._wake()

    def _hold(self, message: Outbound) -> None:
        self._held_no += 1
        key = message.topic if message.retain else self._held_no
        self._held.pop(key, None)
        self._held[key] = message
        if len(self._held) > _OUT_LIMIT:
            oldest = next((key for key in self._held if isinstance(key, int)), None)
            if oldest is not None:
                del self._held[oldest]
                self.unsent += 1

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake already; closed: it has ended
            self._waker.send(b"\0")

    def _run(self) -> None:
        delay_s = _BACKOFF_S[0]
        while not self._stopping.is_set():
            if self._live():
                delay_s = _BACKOFF_S[0]
            self._stopping.wait(delay_s)
            delay_s = min(delay_s * 2, _BACKOFF_S[1])

    def _live(self) -> bool:
        """One connection from its beginning to its end; whether it ever stood."""
        self.connection += 1
        try:
            self._client.reconnect()
            self._serve()
        except OSError as error:
            self._failed(f"cannot reach the broker: {error}")
        with self._lock:
            stood, self.connected = self.connected, False
            for left in self._out:
                if isinstance(left, Outbound) and left.qos:
                    self._hold(left)
            self._out.clear()
        self._client.hang_up()
        if stood and self._on_disconnect:
            self._on_disconnect()
        return stood

    def _serve(self) -> None:
        client, poll = self._client, select.poll()
        sock = client.socket()
        assert sock is not None
        line, wake = sock.fileno(), self._woken.fileno()
        poll.register(wake, select.POLLIN)
        while True:
            poll.register(line, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
            ready = dict(poll.poll(0 if client.pending() else _POLL_MS))
            if wake in ready:
                self._woken.recv(65_536)
            if (ready.get(line, 0) & ~select.POLLOUT or client.pending()) and client.loop_read():
                return
            self._send_out()
            if client.want_write() and client.loop_write():
                return
            if client.loop_misc() or client.socket() is None:
                return
            if self._stopping.is_set() and self._leave():
                return

    def _leave(self) -> bool:
        if self.connected and not self._flushed.is_set():
            if self._out or self._in_flight or self._client.want_write():
                return False
            self._flushed.set()
        self._client.disconnect()
        self._client.loop_write()
        return True

    def _send_out(self) -> None:
        """Write what was handed over; what is neither a command nor at QoS 1 goes out as one piece."""
        raw: list[bytes] = []
        while self._out and self._in_flight < _OUT_LIMIT:
            item = self._out.popleft()
            if not isinstance(item, Outbound):
                if item[0] == self.connection:
                    raw.append(item[1])
            elif item.qos == 0:
                raw.append(publish_at_most_once(item.topic, item.payload, item.retain))
            else:
                if raw:
                    self._client.write(b"".join(raw))
                    raw.clear()
                self._in_flight += 1
                self._client.publish(item.topic, item.payload, item.qos, item.retain)
        if raw:
            self._client.write(b"".join(raw))

    def _deliver(self, packets: list[tuple[int, bytes]]) -> None:
        now_ms, connection, own_acks = self._wall(), self.connection, []
        for first, body in packets:
            topic, payload, qos, retained, mid = read_publish(first, body)
            try:
                self._on_message(Inbound(topic, payload, retained, qos, mid, connection, now_ms))
            except Exception:
                log.exception("a message on %s could not be handled", topic)
            if qos and not self._manual_ack:
                own_acks.append(mid)
        if own_acks:
            self._client.write(pubacks(own_acks))

    def _connack(
        self,
        _client: paho.Client,
        _data: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        _more: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._failed(f"the broker refused us: {reason}")
        elif self._subscriptions:
            self._client.subscribe(self._subscriptions)
        else:
            self._stand()

    def _suback(
        self, _client: paho.Client, _data: object, _mid: int, codes: list[ReasonCode], _more: Properties | None
    ) -> None:
        refused = [topic for (topic, _), code in zip(self._subscriptions, codes, strict=True) if code.is_failure]
        self.refused_filters = frozenset(refused)
        if refused:
            self._failed(f"the broker does not let us read {', '.join(refused)}")
        self._stand()

    def _stand(self) -> None:
        with self._lock:
            self._out.extend(self._held.values())
            self._held.clear()
            self.connected = True
        if not self.refused_filters:
            self.last_error = ""
        if self._on_connect:
            self._on_connect()

    def _published(self, *_told: object) -> None:
        self._in_flight = max(0, self._in_flight - 1)

    def _failed(self, why: str) -> None:
        if why != self.last_error:
            log.warning("%s", why)
        self.last_error = why


class _Client(paho.Client):
    """paho with reads that take all there is: publishes are handed over together, everything else stays its own.

    Used by one thread only.
    """

    def __init__(
        self, client_id: str, *, clean_session: bool, deliver: Callable[[list[tuple[int, bytes]]], None]
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id, clean_session=clean_session, reconnect_on_failure=False
        )
        self._deliver = deliver
        self._buffer = PacketBuffer(_LARGEST_PACKET_BYTES)
        self.max_inflight_messages_set(0)

    def reconnect(self) -> MQTTErrorCode:
        self._buffer = PacketBuffer(_LARGEST_PACKET_BYTES)
        return super().reconnect()

    def hang_up(self) -> None:
        self._sock_close()

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        """As paho's, but a socket whose handshake failed is closed."""
        assert self._ssl_context
        line = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self.host, do_handshake_on_connect=False)
        try:
            line.settimeout(self.connect_timeout)
            line.do_handshake()
        except OSError:
            line.close()
            raise
        return line

    def pending(self) -> bool:
        """Whether TLS holds bytes that the socket will not announce."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def write(self, packets: bytes) -> None:
        self._packet_queue(paho.PUBACK, packets, 0, 0)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002
        try:
            data = self._sock_recv(_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = paho.time_func()
        try:
            return self._take(self._buffer.feed(data))
        except MalformedPacket as error:
            log.error("the broker sent %s", error)  # noqa: TRY400 - its own words, no trace
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)

    def _take(self, packets: list[tuple[int, bytes]]) -> MQTTErrorCode:
        publishes: list[tuple[int, bytes]] = []
        for first, body in packets:
            if first & 0xF0 == PUBLISH:
                publishes.append((first, body))
                continue
            if publishes:
                self._deliver(publishes)
                publishes = []
            self._in_packet["command"], self._in_packet["packet"] = first, bytearray(body)
            self._in_packet["remaining_length"] = len(body)
            code = self._packet_handle()
            self._in_packet["command"] = 0
            if code:
                return self._loop_rc_handle(code)
        if publishes:
            self._deliver(publishes)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _tls(ca_file: Path | None, pinned_cert: Path | None) -> ssl.SSLContext:
    trusted = pinned_cert or ca_file
    context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
    if pinned_cert:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
