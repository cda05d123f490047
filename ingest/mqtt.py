"""Floor 3 · The service's own line to the bus: an MQTT 3.1.1 client over paho that stays connected and reads fast."""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import paho.mqtt.client as paho
from msgspec import Struct
from paho.mqtt.exception import MQTTException
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.outbox import Outbound, Outbox
from ingest.packets import MalformedPacket, Publish, PublishReader, pubacks
from ingest.paho_connection import Connection
from ingest.waker import Waker

log = logging.getLogger(__name__)

_POLL_MS = 1_000
_LOOKS_A_KEEPALIVE = 4
_BACKOFF_S = (1.0, 10.0)
"""NATS holds a client id back that comes again within a second."""


class Arrival(Struct, frozen=True):
    """Publishes that one read of the socket brought. `connection` and `packet_ids` are what `acknowledge` needs."""

    publishes: list[Publish]
    packet_ids: list[int]
    connection: int
    bytes: int


class Inbound(Struct, frozen=True):
    """One message of an arrival."""

    topic: str
    payload: bytes
    retained: bool


def one_by_one(handle: Callable[[Inbound], None]) -> Callable[[Arrival], None]:
    """For those who take messages singly. What cannot be handled is logged, and holds up nothing."""

    def arrived(arrival: Arrival) -> None:
        for said in arrival.publishes:
            try:
                handle(Inbound(*said))
            except Exception:
                log.exception("a message on %s could not be handled", said[0])

    return arrived


class Bus:
    """A connection that is kept, with a network thread of its own, from `start` to `stop`.

    `on_arrival`, `on_connect` and `on_disconnect` run on that thread, should be short, and may not call `stop`.
    `on_connect` is called when the subscriptions stand; messages of a kept session may come before it. With
    `manual_ack` a QoS 1 message is the broker's until `acknowledge`. `ca_file` checks a server by its authority and
    name; `pinned_cert` trusts exactly that certificate, whatever name it carries.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        username: str,
        password: str,
        subscriptions: Sequence[tuple[str, int]],
        on_arrival: Callable[[Arrival], None],
        on_connect: Callable[[], None] | None = None,
        on_disconnect: Callable[[], None] | None = None,
        will: tuple[str, bytes, int, bool] | None = None,
        persistent: bool = False,
        manual_ack: bool = False,
        keepalive_s: int = 15,
        ca_file: Path | None = None,
        pinned_cert: Path | None = None,
    ) -> None:
        self.connection = 0
        self.last_error = ""
        self.refused_filters: frozenset[str] = frozenset()
        self._subscriptions = list(subscriptions)
        self._on_arrival, self._on_connect, self._on_disconnect = on_arrival, on_connect, on_disconnect
        self._reader = PublishReader()
        self._holding = self._end_known = False
        self._poll_ms = min(_POLL_MS, keepalive_s * 1_000 // _LOOKS_A_KEEPALIVE)
        self._manual_ack = manual_ack
        self._outbox = Outbox()
        self._hanging_up = False
        self._stopping = threading.Event()
        self._flushed = threading.Event()
        self._thread: threading.Thread | None = None
        self._waker = Waker()
        self._client = Connection(
            client_id, clean_session=not persistent, deliver=self._deliver, arrived=self._outbox.arrived
        )
        self._client.username_pw_set(username, password)
        if will:
            self._client.will_set(will[0], will[1], will[2], will[3])
        self._client.aim(url, keepalive_s, ca_file, pinned_cert)
        self._client.on_connect = self._connack
        self._client.on_subscribe = self._suback

    @property
    def connected(self) -> bool:
        return self._outbox.connected

    @property
    def unsent(self) -> int:
        """QoS 1 messages given up because the broker was away for too long."""
        return self._outbox.unsent

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
        self._thread.start()

    def stop(self, last: tuple[str, bytes, int, bool] | None = None, within_s: float = 2.0) -> None:
        """Send `last` and what is on its way, for at most `within_s`, and leave without the will being sent."""
        if last:
            self.publish(*last)
        self._stopping.set()
        self._waker.wake()
        if self._thread:
            if self.connected:
                self._flushed.wait(within_s)
            self._flushed.set()
            self._waker.wake()
            self._thread.join()
            self._thread = None
        self._waker.close()

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Hand a message over; never blocks, from any thread, in the order of the calls.

        While there is no connection a QoS 0 message is dropped; of a retained QoS 1 message the newest of each
        topic waits, and of others the newest ten thousand.
        """
        if qos not in (0, 1):
            raise ValueError(f"QoS {qos} is not spoken here")
        self._outbox.put(Outbound(topic, payload, qos, retain))
        if not self._waker.awake:
            self._waker.wake()

    def acknowledge(self, arrivals: Iterable[Arrival]) -> None:
        """Tell the broker that these need not come again; those of an older connection are skipped."""
        now = self.connection
        packets = b"".join([pubacks(one.packet_ids) for one in arrivals if one.connection == now])
        if packets:
            self._outbox.put_packets(packets, now)
            self._waker.wake()

    def hold(self, holding: bool) -> None:
        """Read nothing more until told otherwise: the broker waits, its messages take no memory here."""
        if holding != self._holding:
            self._holding = holding
            self._waker.wake()

    def reconnect(self) -> None:
        """Hang up and connect again: what was not acknowledged is sent again."""
        self._hanging_up = True
        self._waker.wake()

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
        self._end_known = False
        try:
            self._client.reconnect()
            self._serve()
        except OSError as error:
            self._failed(f"cannot reach the broker: {error}")
        except (MQTTException, MalformedPacket):
            self._failed("what answers at the broker's address speaks no MQTT")
        except Exception:
            log.exception("the line to the broker broke")
        stood = self._outbox.fall()
        if not (self._end_known or self._stopping.is_set()):
            self._failed("the line to the broker broke off" if stood else "the broker hung up before it let us in")
        self._client.hang_up()
        if stood and not self._stopping.is_set():
            self._tell(self._on_disconnect)
        return stood

    def _serve(self) -> None:
        client, poll = self._client, select.poll()
        sock = client.socket()
        assert sock is not None
        line, wake = sock.fileno(), self._waker.fileno()
        self._hanging_up = False  # what was wanted before this connection, it is
        poll.register(wake, select.POLLIN)
        while True:
            reading, writing = 0 if self._holding else select.POLLIN, select.POLLOUT if client.want_write() else 0
            poll.register(line, reading | writing)
            ready = dict(poll.poll(0 if reading and client.pending() else self._poll_ms))
            if wake in ready:
                self._waker.rest()
            if self._hanging_up:
                self._hanging_up, self._end_known = False, True
                return
            if not reading:
                if ready.get(line, 0) & ~select.POLLOUT:
                    return
                client.excuse_silence()
            elif (ready.get(line, 0) & ~select.POLLOUT or client.pending()) and client.loop_read():
                return
            if said := self._outbox.take(self.connection):
                client.write(said)
            if client.want_write() and client.loop_write():
                return
            if (not self._outbox.connected and self._ignored()) or client.loop_misc() or client.socket() is None:
                return
            if self._stopping.is_set() and self._leave():
                return

    def _ignored(self) -> bool:
        """Whether the broker has left unanswered for too long what a connection begins with."""
        if not self._client.unanswered():
            return False
        asked = "our subscriptions" if self._client.is_connected() else "our greeting"
        self._failed(f"the broker does not answer {asked}")
        return True

    def _leave(self) -> bool:
        if self.connected and not self._flushed.is_set():
            if self._outbox.on_its_way or self._client.want_write():
                return False
            self._flushed.set()
        self._client.disconnect()
        self._client.loop_write()
        return True

    def _deliver(self, packets: list[tuple[int, bytes]]) -> None:
        publishes, packet_ids = self._reader.read(packets)
        size = sum([len(body) for _, body in packets])
        try:
            self._on_arrival(Arrival(publishes, packet_ids, self.connection, size))
        except Exception:
            log.exception("%d messages could not be handled", len(publishes))
        if packet_ids and not self._manual_ack:
            self._client.write(pubacks(packet_ids))

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
        if not self.refused_filters:
            if self.last_error:
                log.warning("the broker is there again")
            self.last_error = ""  # first: whoever sees the line stand sees no error of the one before
        self._outbox.stand()
        self._tell(self._on_connect)

    def _tell(self, listener: Callable[[], None] | None) -> None:
        try:
            if listener:
                listener()
        except Exception:
            log.exception("a listener of the line to the broker failed")

    def _failed(self, why: str) -> None:
        if why != self.last_error:
            log.warning("%s", why)
        self.last_error, self._end_known = why, True
