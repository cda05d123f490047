"""Floor 3 · The live stream: each reader gets a snapshot, then the latest of whatever changed, each 100 ms.

A reader holds nothing but how far it has read: what it missed is made from the board when it comes back for more, with
one entry a connector. A reader that takes nothing for half a minute is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from secrets import token_hex

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.context import ApiContext
from api.events import PIECE_BYTES, Asked, Events
from api.nearby import Walk
from api.problems import TooManyReaders

TICK_S = 0.1
HEARTBEAT_S = 5.0
PATIENCE_S = 30.0
MAX_READERS = 1_000


class Live:
    """The readers of the stream, and the one look a tick that serves them all."""

    def __init__(self, ctx: ApiContext) -> None:
        self._ctx = ctx
        self._events = Events(ctx.board, token_hex(4))
        self._changed = asyncio.Event()
        self._closed = False
        self.readers = 0
        self.sent_away = 0

    async def run(self) -> None:
        """Look at the board each tick while somebody reads; for the life of the application."""
        while not self._closed:
            await asyncio.sleep(TICK_S)
            if self.readers:
                self._look()
        self._wake()

    def close(self) -> None:
        """End every stream within a tick: the service is going down. May be called from any thread."""
        self._closed = True

    def open(self, walk: Walk | None, site: str | None, last_event_id: str | None) -> EventStream:
        """A stream from now on, or from the event that a returning reader saw last."""
        return self.carry(self._stream(Asked(walk, site), last_event_id))

    def carry(self, events: AsyncIterator[bytes]) -> EventStream:
        """Any events, as long as there is room for another reader. Raises TooManyReaders."""
        if self.readers >= MAX_READERS:
            raise TooManyReaders(headers={"Retry-After": "30"})
        return EventStream(self, events)

    @property
    def closed(self) -> bool:
        return self._closed

    def heartbeat(self) -> bytes:
        return self._events.heartbeat(self._ctx.now())

    async def pause(self, seconds: float) -> None:
        """So long, or until the service goes down."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._closed:
                    await self._changed.wait()

    def _look(self) -> None:
        picture = self._ctx.picture()
        if picture is not self._events.picture:
            self._events.turn_to(picture)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _stream(self, asked: Asked, last_event_id: str | None) -> AsyncIterator[bytes]:
        self._look()
        events = self._events
        seen = events.seen(last_event_id)
        epoch, shown = events.epoch, events.shown(asked)
        if seen is not None:
            yield events.heartbeat(self._ctx.now())
        while not self._closed:
            changed = self._changed
            if seen is None or events.epoch != epoch:
                epoch, shown, seen = events.epoch, events.shown(asked), events.picture.n
                for piece in events.snapshot(asked):
                    yield piece
                yield events.heartbeat(self._ctx.now())
            elif events.picture.n > seen:
                event = events.change(seen, asked, shown)
                seen = events.picture.n
                if event:
                    yield event
            else:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await changed.wait()
                except TimeoutError:
                    yield events.heartbeat(self._ctx.now())


class EventStream(Response):
    """Sends events as long as the reader takes them."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._live, self._events = live, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        self._live.readers += 1
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            pump = asyncio.create_task(self._pump(send))
            gone = asyncio.create_task(_disconnected(receive))
            try:
                await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (pump, gone):
                    task.cancel()
                await asyncio.gather(pump, gone, return_exceptions=True)
            if pump.done() and not pump.cancelled() and (failure := pump.exception()):
                raise failure
        finally:
            self._live.readers -= 1

    async def _pump(self, send: Send) -> None:
        try:
            async for event in self._events:
                for start in range(0, len(event), PIECE_BYTES):
                    piece = event[start : start + PIECE_BYTES]
                    async with asyncio.timeout(PATIENCE_S):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._live.sent_away += 1


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
