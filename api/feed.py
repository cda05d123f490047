"""Floor 3 · The API's ear on the bus: retained states for the board, and the answers of devices to commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from api.board import Board
from ingest.codec import BadPayload, decode_result, encode
from ingest.messages import AnyCommand, CommandResult, ServiceNotice
from ingest.mqtt import Bus, Inbound, one_by_one
from ingest.topics import ROOT, device_topic, service_topic, split_topic

OFFLINE = (service_topic("api"), encode(ServiceNotice(v=1, online=False)), 1, True)
SUBSCRIPTIONS = tuple((f"{ROOT}/{topic}", 1) for topic in ("+/+/state", "+/+/turns", "service/+", "+/+/cmd/result"))


class Feed:
    """One connection to the bus, under an account of its own. Feeds `board`, and is the way of commands to devices.

    `notice` is what the API says of itself on `service/api`, where it is a process of its own.
    """

    def __init__(
        self,
        board: Board,
        url: str,
        *,
        client_id: str,
        username: str,
        password: str,
        ca_file: Path | None = None,
        pinned_cert: Path | None = None,
        notice: Callable[[], ServiceNotice] | None = None,
    ) -> None:
        self._board, self._notice = board, notice
        self._lock = Lock()
        self._waiting: dict[tuple[str, str], Future[CommandResult]] = {}
        self._bus = Bus(
            url,
            client_id=client_id,
            username=username,
            password=password,
            subscriptions=SUBSCRIPTIONS,
            on_arrival=one_by_one(self._on_message),
            on_connect=self._connected,
            on_disconnect=lambda: board.link(False),
            will=OFFLINE if notice else None,
            persistent=False,
            manual_ack=False,
            ca_file=ca_file,
            pinned_cert=pinned_cert,
        )

    def start(self) -> None:
        self._bus.start()

    def stop(self) -> None:
        self._bus.stop(OFFLINE if self._notice else None)
        self._board.link(False)

    def tell(self) -> None:
        """Say on `service/api` how we are."""
        if self._notice:
            self._bus.publish(service_topic("api"), encode(self._notice()), 1, True)

    async def send(self, device: str, command: AnyCommand, timeout_s: float) -> CommandResult | None:
        """Publish a command to `SITE/DEVICE` and wait for its answer; None when none came in time."""
        key = (device, command.id)
        answer: Future[CommandResult] = Future()
        with self._lock:
            self._waiting[key] = answer
        try:
            self._bus.publish(device_topic(device, "cmd"), encode(command), qos=1)
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                del self._waiting[key]

    def _connected(self) -> None:
        self._board.link(True)
        self.tell()

    def _on_message(self, message: Inbound) -> None:
        device = split_topic(message.topic)
        if device is not None and device[1] == "cmd/result":
            self._answered(device[0], message.payload)
        else:
            self._board.apply(message.topic, message.payload)

    def _answered(self, device: str, payload: bytes) -> None:
        try:
            result = decode_result(payload)
        except BadPayload:
            return
        with self._lock:
            answer = self._waiting.get((device, result.id))
            if answer is not None and not answer.done():
                answer.set_result(result)
