"""Floor 2 · The events of the live stream as bytes. What many readers share is encoded once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from api.board import Board, Now, Picture
from api.nearby import Walk
from api.schemas import Clock, ConnectorChange, SiteChange
from api.views import sites_with_plugs, stations_near
from ingest.clock import rfc3339

PIECE_BYTES = 32 * 1024
KNOWN_N = re.compile("[0-9]{1,18}")


class Asked(Struct, frozen=True):
    """What a reader asked to see."""

    walk: Walk | None
    site: str | None


class Shown(Struct, frozen=True):
    """What that is in the present inventory: ids of sites, and `SITE/DEVICE` of stations."""

    sites: set[str]
    stations: set[str]


Part = tuple[str, bytes]
"""To whom it belongs (a site's id or a station's name), and its JSON."""


class Events:
    """Encodes one picture at a time; readers that are equally far and ask for the same get the same bytes."""

    def __init__(self, board: Board, stream: str) -> None:
        self._board, self._stream = board, stream
        self.picture = Picture(0, 0, {}, {})
        self._made: dict[tuple[int, Asked], bytes | None] = {}
        self._parts: dict[int, tuple[list[Part], list[Part], list[Part]]] = {}

    def turn_to(self, picture: Picture) -> None:
        self.picture = picture
        self._made, self._parts = {}, {}

    @property
    def epoch(self) -> str:
        return f"{self._stream}{self.picture.epoch}"

    def shown(self, asked: Asked) -> Shown:
        return Shown(
            {here.site for here in sites_with_plugs(self.picture, asked.walk, asked.site)},
            {f"{here.site}/{here.device}" for here in stations_near(self.picture, asked.walk, asked.site)},
        )

    def seen(self, last_event_id: str | None) -> int | None:
        """The `n` that a returning reader has come to; None when we cannot know what it missed."""
        epoch, _, n = (last_event_id or "").rpartition("-")
        if epoch != self.epoch or not KNOWN_N.fullmatch(n) or int(n) > self.picture.n:
            return None
        return int(n)

    def snapshot(self, asked: Asked) -> Iterator[bytes]:
        """In pieces: a reader that stops in the middle holds no copy of the whole board."""
        picture = self.picture
        yield from _pieces(self._snapshot(picture, asked, f"{self.epoch}-{picture.n}"))

    def change(self, since_n: int, asked: Asked, shown: Shown) -> bytes | None:
        """What changed after `since_n` of what is shown; None when nothing of it did."""
        key = (since_n, asked)
        if key not in self._made:
            self._made[key] = self._change(since_n, shown)
        return self._made[key]

    def heartbeat(self, now: Now) -> bytes:
        clock = Clock(now=rfc3339(now.service_ms), speed=now.speed, believed=self._board.believed)
        return f"event: heartbeat\ndata: {clock.model_dump_json()}\n\n".encode()

    def _snapshot(self, picture: Picture, asked: Asked, event_id: str) -> Iterator[bytes]:
        yield f'event: snapshot\nid: {event_id}\ndata: {{"sites":['.encode()
        for number, site in enumerate(sites_with_plugs(picture, asked.walk, asked.site)):
            yield (b"," if number else b"") + site.model_dump_json().encode()
        yield b'],"stations":['
        for number, room in enumerate(stations_near(picture, asked.walk, asked.site)):
            yield (b"," if number else b"") + room.model_dump_json().encode()
        yield b"]}\n\n"

    def _change(self, since_n: int, shown: Shown) -> bytes | None:
        connectors, sites, stations = self._parts_since(since_n)
        chosen = [
            [json for site, json in connectors if site in shown.sites],
            [json for site, json in sites if site in shown.sites],
            [json for name, json in stations if name in shown.stations],
        ]
        if not any(chosen):
            return None
        event_id = f"{self.epoch}-{self.picture.n}".encode()
        return b'event: change\nid: %b\ndata: {"connectors":[%b],"sites":[%b],"stations":[%b]}\n\n' % (
            event_id,
            *(b",".join(parts) for parts in chosen),
        )

    def _parts_since(self, n: int) -> tuple[list[Part], list[Part], list[Part]]:
        if n not in self._parts:
            delta, picture = self._board.since(n), self.picture
            connectors = [
                ConnectorChange(site=connector.id.partition("/")[0], **dict(connector))
                for connector in delta.connectors
            ]
            sites = [
                SiteChange(site=site.site, open_now=site.open_now, summary=site.summary)
                for site in (picture.sites[name] for name in delta.sites if name in picture.sites)
            ]
            rooms = [(name, picture.stations[name]) for name in delta.stations if name in picture.stations]
            self._parts[n] = (
                [(connector.site, connector.model_dump_json().encode()) for connector in connectors],
                [(site.site, site.model_dump_json().encode()) for site in sites],
                [(name, room.model_dump_json().encode()) for name, room in rooms],
            )
        return self._parts[n]


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces."""
    piece = bytearray()
    for part in parts:
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
