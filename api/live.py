"""Floor 3 · The live stream: each reader gets a snapshot, then the latest of whatever changed, each 100 ms.

A reader holds nothing but how far it has read: what it missed is made from the board when it comes back for more, with
one entry a connector. A reader that takes nothing for half a minute is sent away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from secrets import token_hex

from msgspec import Struct
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.board import Delta, Picture
from api.context import ApiContext
from api.nearby import Walk
from api.problems import TooManyReaders
from api.schemas import Change, Clock, ConnectorChange, SiteChange
from api.views import sites_with_plugs, stations_near
from ingest.clock import rfc3339

TICK_S = 0.1
HEARTBEAT_S = 5.0
PATIENCE_S = 30.0
MAX_READERS = 1_000
PIECE_BYTES = 16 * 1024
"""Written at once, so that a connection's buffer stays small however large an event is."""


class Live:
    """The readers of the stream, and the one look a tick that serves them all."""

    def __init__(self, ctx: ApiContext) -> None:
        self._ctx = ctx
        self._epoch = token_hex(4)
        self._picture = Picture(0, 0, {}, {})
        self._changed = asyncio.Event()
        self._closed = False
        self._deltas: dict[int, Delta] = {}
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
        if self.readers >= MAX_READERS:
            raise TooManyReaders(headers={"Retry-After": "30"})
        return EventStream(self, self._events(walk, site, last_event_id))

    def _look(self) -> None:
        picture = self._ctx.picture()
        if picture is not self._picture:
            self._picture, self._deltas = picture, {}
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _since(self, n: int) -> Delta:
        """One delta serves all readers that are equally far."""
        if n not in self._deltas:
            self._deltas[n] = self._ctx.board.since(n)
        return self._deltas[n]

    async def _events(self, walk: Walk | None, site: str | None, last_event_id: str | None) -> AsyncIterator[bytes]:
        self._look()
        picture = self._picture
        seen = self._resumed(picture, last_event_id)
        shown = _shown(picture, walk, site)
        if seen is None:
            for piece in self._snapshot(picture, walk, site):
                yield piece
            seen = picture.n
        yield self._heartbeat()
        while not self._closed:
            changed = self._changed
            if self._picture.epoch != picture.epoch:
                picture = self._picture
                shown = _shown(picture, walk, site)
                for piece in self._snapshot(picture, walk, site):
                    yield piece
                seen = picture.n
            elif self._picture.n > seen:
                picture, before = self._picture, seen
                event = self._change(picture, self._since(before), shown)
                seen = picture.n
                if event:
                    yield event
            else:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await changed.wait()
                except TimeoutError:
                    yield self._heartbeat()

    def _resumed(self, picture: Picture, last_event_id: str | None) -> int | None:
        epoch, _, n = (last_event_id or "").rpartition("-")
        if epoch != self._epoch_of(picture) or not n.isascii() or not n.isdigit() or int(n) > picture.n:
            return None
        return int(n)

    def _epoch_of(self, picture: Picture) -> str:
        return f"{self._epoch}{picture.epoch}"

    def _snapshot(self, picture: Picture, walk: Walk | None, site: str | None) -> Iterator[bytes]:
        """Site by site: a reader that stops in the middle holds no copy of the whole board."""
        yield f'event: snapshot\nid: {self._epoch_of(picture)}-{picture.n}\ndata: {{"sites":['.encode()
        for number, here in enumerate(sites_with_plugs(picture, walk, site)):
            yield (b"," if number else b"") + here.model_dump_json().encode()
        yield b'],"stations":['
        for number, room in enumerate(stations_near(picture, walk, site)):
            yield (b"," if number else b"") + room.model_dump_json().encode()
        yield b"]}\n\n"

    def _change(self, picture: Picture, delta: Delta, shown: Shown) -> bytes | None:
        change = Change(
            connectors=[
                ConnectorChange(site=site, **dict(connector))
                for connector in delta.connectors
                if (site := connector.id.partition("/")[0]) in shown.sites
            ],
            sites=[
                SiteChange(site=site, open_now=picture.sites[site].open_now, summary=picture.sites[site].summary)
                for site in delta.sites
                if site in shown.sites
            ],
            stations=[picture.stations[name] for name in delta.stations if name in shown.stations],
        )
        if not (change.connectors or change.sites or change.stations):
            return None
        return (
            f"event: change\nid: {self._epoch_of(picture)}-{picture.n}\ndata: {change.model_dump_json()}\n\n".encode()
        )

    def _heartbeat(self) -> bytes:
        now = self._ctx.now()
        clock = Clock(now=rfc3339(now.service_ms), speed=now.speed, believed=self._ctx.board.believed)
        return f"event: heartbeat\ndata: {clock.model_dump_json()}\n\n".encode()


class Shown(Struct, frozen=True):
    """What a reader asked to see."""

    sites: set[str]
    stations: set[str]


def _shown(picture: Picture, walk: Walk | None, site: str | None) -> Shown:
    return Shown(
        {here.site for here in sites_with_plugs(picture, walk, site)},
        {f"{here.site}/{here.device}" for here in stations_near(picture, walk, site)},
    )


class EventStream(Response):
    """Sends events as long as the reader takes them."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, events: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._live, self._events = live, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self._live.readers += 1
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            pump = asyncio.create_task(self._pump(send))
            gone = asyncio.create_task(_disconnected(receive))
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
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
                    async with asyncio.timeout(PATIENCE_S):
                        piece = event[start : start + PIECE_BYTES]
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._live.sent_away += 1


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
