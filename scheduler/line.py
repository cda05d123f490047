"""Floor 3 · The scheduler's line to the bus: what devices are, and what they are told of the turns at them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import MsgspecError
from msgspec.structs import replace

from ingest.codec import BadPayload, decode_notice, decode_result, decode_state, decode_tokens, encode
from ingest.messages import AnyCommand, CommandResult, DeviceState, ServiceNotice, Turns
from ingest.mqtt import Bus, Inbound, one_by_one
from ingest.topics import ROOT, device_topic, service_topic, split_topic

OFFLINE = (service_topic("scheduler"), encode(ServiceNotice(v=1, online=False)), 1, True)
SUBSCRIPTIONS = tuple(
    (f"{ROOT}/{topic}", 1) for topic in ("+/+/token", "+/+/state", "+/+/turns", "+/+/cmd/result", "service/ingest")
)
MOST_RESULTS = 10_000


class Line:
    """One connection under an account of its own. `notice` is what the scheduler says of itself."""

    def __init__(
        self,
        url: str,
        notice: Callable[[], ServiceNotice],
        *,
        client_id: str,
        username: str,
        password: str,
        ca_file: Path | None = None,
        pinned_cert: Path | None = None,
    ) -> None:
        self._notice = notice
        self._lock = threading.Lock()
        self._states: dict[str, DeviceState] = {}
        self._tokens: dict[str, dict[str, str]] = {}
        self._told: dict[str, Turns] = {}
        self._results: deque[tuple[str, CommandResult]] = deque(maxlen=MOST_RESULTS)
        self._linked = self._ingest_online = False
        self._bus = Bus(
            url,
            client_id=client_id,
            username=username,
            password=password,
            subscriptions=SUBSCRIPTIONS,
            on_arrival=one_by_one(self._on_message),
            on_connect=self._connected,
            on_disconnect=self._disconnected,
            will=OFFLINE,
            persistent=False,
            manual_ack=False,
            ca_file=ca_file,
            pinned_cert=pinned_cert,
        )

    def start(self) -> None:
        self._bus.start()

    def stop(self) -> None:
        self._bus.stop(OFFLINE)

    def state(self, device: str) -> DeviceState | None:
        """The latest of `SITE/DEVICE`."""
        return self._states.get(device)

    def token(self, connector: str) -> str | None:
        """The code that was typed at `SITE/DEVICE/1`, while a car is there."""
        device, _, number = connector.rpartition("/")
        return self._tokens.get(device, {}).get(number)

    def believed(self) -> bool:
        """Whether facts reach us at all: the bus is connected and ingest says that it is online."""
        return self._linked and self._ingest_online

    def say(self) -> None:
        """Say on `service/scheduler` how we are."""
        self._bus.publish(service_topic("scheduler"), encode(self._notice()), 1, True)

    def tell(self, turns: Mapping[str, Turns]) -> None:
        """Publish what changed of each device's `turns`, or is not what stands there.

        Of a device that is not among them any more the topic is cleared by ingest.
        """
        with self._lock:
            for device, said in turns.items():
                before = self._told.get(device)
                if before is not None and replace(before, ts=said.ts) == said:
                    continue
                self._bus.publish(device_topic(device, "turns"), encode(said), 1, True)
                self._told[device] = said

    def command(self, device: str, command: AnyCommand) -> None:
        """Publish it to `SITE/DEVICE`; what it answers is among the `results`."""
        self._bus.publish(device_topic(device, "cmd"), encode(command), 1)

    def results(self) -> list[tuple[str, CommandResult]]:
        """What devices answered to commands since this was last asked, whoever gave them."""
        with self._lock:
            found = [*self._results]
            self._results.clear()
        return found

    def _connected(self) -> None:
        self._linked = True
        with self._lock:
            self._told.clear()
        self.say()

    def _disconnected(self) -> None:
        self._linked = False

    def _on_message(self, message: Inbound) -> None:
        device = split_topic(message.topic)
        with suppress(BadPayload, MsgspecError, ValueError):  # the API reads the same, and counts what cannot be read
            if device is not None and device[1] == "turns":
                self._told_by(device[0], message.payload)
            elif device is not None and device[1] == "cmd/result":
                with self._lock:
                    self._results.append((device[0], decode_result(message.payload)))
            elif device is not None and device[1] == "token":
                self._tokens[device[0]] = decode_tokens(message.payload).tokens if message.payload else {}
            elif device is None:
                self._ingest_online = bool(message.payload) and decode_notice(message.payload).online
            elif not message.payload:
                self._states.pop(device[0], None)
            else:
                self._newer(device[0], decode_state(message.payload))

    def _told_by(self, device: str, payload: bytes) -> None:
        """What stands at a device's `turns`: where one that led before us spoke last, ours is to be said again."""
        with self._lock:
            ours = self._told.get(device)
            if ours is not None and encode(ours) != payload:
                del self._told[device]

    def _newer(self, device: str, state: DeviceState) -> None:
        before = self._states.get(device)
        if before is None or state.rev > before.rev:
            self._states[device] = state
