"""Floor 3 · One MQTT connection at a time over paho, with fast reads and writes of many packets at once."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from ingest.packets import PUBACK, PUBLISH, MalformedPacket, PacketBuffer

log = logging.getLogger(__name__)

_READ_BYTES = 256 * 1024
_LARGEST_PACKET_BYTES = 2 * 1024 * 1024
_CONNECT_S = 5.0
_SILENT_KEEPALIVES = 1.9
"""A broker answers a ping, which goes out after one keep-alive; paho itself waits two and a look or two."""
_PINGRESP = b"\xd0\0"


class Connection(paho.Client):
    """paho for what happens once a connection; what travels by the thousand passes it by, many packets a call.

    Used by one thread only. It reaches into paho (2.2): its own reads are a call to the socket for each field of a
    packet, and its own publishes cost ten times what `packets.publish` does.
    """

    def __init__(
        self,
        client_id: str,
        *,
        clean_session: bool,
        deliver: Callable[[list[tuple[int, bytes]]], None],
        arrived: Callable[[int], None],
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id, clean_session=clean_session, reconnect_on_failure=False
        )
        self._deliver = deliver
        self._arrived = arrived
        self._buffer = PacketBuffer(_LARGEST_PACKET_BYTES)
        self._heard_s = self._answered_s = 0.0
        self.connect_timeout = _CONNECT_S

    def aim(self, url: str, keepalive_s: int, ca_file: Path | None, pinned_cert: Path | None) -> None:
        """Where `reconnect` connects to: `mqtt://host:port`, or `mqtts://` with the certificates to trust."""
        address = urlsplit(url)
        secure = address.scheme == "mqtts"
        if secure:
            self.tls_set_context(_trusting(ca_file, pinned_cert))
        self.connect_async(address.hostname or "127.0.0.1", address.port or (8883 if secure else 1883), keepalive_s)

    def reconnect(self) -> MQTTErrorCode:
        self._buffer = PacketBuffer(_LARGEST_PACKET_BYTES)
        self._heard_s = paho.time_func()
        code = super().reconnect()
        self._answered_s = paho.time_func()
        return code

    def loop_misc(self) -> MQTTErrorCode:
        """As paho's, and a broker that fell silent is left before twice the keep-alive is over."""
        if paho.time_func() - self._heard_s > _SILENT_KEEPALIVES * self._keepalive:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_KEEPALIVE)
        return super().loop_misc()

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

    def excuse_silence(self) -> None:
        """Nothing is read now by our own choice: that the broker's answers are not heard is no sign that it is gone."""
        self._last_bytes_received = self._heard_s = self._answered_s = paho.time_func()
        self._ping_t = 0
        if not self.is_connected():  # no ping goes out yet, and paho would hang up a keep-alive after its greeting
            self._last_msg_out = self._heard_s

    def unanswered(self) -> bool:
        """Whether a whole keep-alive brought nothing, or nothing but answers to pings."""
        return paho.time_func() - self._answered_s >= self._keepalive

    def pending(self) -> bool:
        """Whether TLS holds bytes that the socket will not announce."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def write(self, packets: bytes) -> None:
        self._packet_queue(paho.PUBACK, packets, 0, 0)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 - paho's signature
        try:
            data = self._sock_recv(_READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = self._heard_s = paho.time_func()
        if data != _PINGRESP:
            self._answered_s = self._heard_s
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
            if first == PUBACK:
                self._arrived(int.from_bytes(body[:2]))
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


def _trusting(ca_file: Path | None, pinned_cert: Path | None) -> ssl.SSLContext:
    trusted = pinned_cert or ca_file
    context = ssl.create_default_context(cafile=str(trusted) if trusted else None)
    if pinned_cert:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
