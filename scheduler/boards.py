"""Floor 2 · What a pile is told of the turns at it: who is awaited now, and who comes next, by call name alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from ingest.clock import rfc3339
from ingest.messages import NO_CODE, TurnNext, TurnNow, Turns, TurnsAt
from scheduler.site_facts import SiteFacts
from scheduler.turns import Turn

NEXT = 3
"""So many that come next are told."""


def boards(sites: Iterable[SiteFacts], held: Iterable[Turn], epoch: int, now_ms: int) -> dict[str, Turns]:
    """`turns` of each device by `SITE/DEVICE`. `held` are the turns that hold a place."""
    by_connector: dict[str, list[Turn]] = defaultdict(list)
    for turn in held:
        if turn.place is not None:
            by_connector[turn.place.connector].append(turn)
    devices: dict[str, list[TurnsAt]] = defaultdict(list)
    for site in sites:
        for one in site.connectors:
            device, _, number = one.id.rpartition("/")
            devices[device].append(_at(int(number), by_connector[one.id], now_ms))
    return {
        device: Turns(v=1, ts=rfc3339(now_ms), epoch=epoch, connectors=connectors)
        for device, connectors in devices.items()
    }


def code_hash(turn: Turn) -> str:
    """The first 32 hex digits of SHA-256 of `TURN:CODE`."""
    return hashlib.sha256(f"{turn.id}:{turn.code}".encode()).hexdigest()[:32] if turn.code else NO_CODE


def _at(number: int, turns: list[Turn], now_ms: int) -> TurnsAt:
    now: TurnNow | None = None
    following: list[TurnNext] = []
    for turn in sorted(turns, key=lambda one: (one.state != "active", one.place.first if one.place else 0)):
        assert turn.place is not None
        is_now = turn.state == "active" or (turn.state == "reserved" and turn.place.start_ms <= now_ms)
        if now is None and is_now:
            now = TurnNow(turn=turn.id, call=turn.call, code_hash=code_hash(turn), until=rfc3339(turn.place.end_ms))
        elif len(following) < NEXT:
            following.append(TurnNext(call=turn.call, from_=rfc3339(turn.place.start_ms)))
    return TurnsAt(connector=number, now=now, next=following)
