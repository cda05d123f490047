"""Floor 3 · The live stream of a household's notices: what it was told lately, then each as it is told.

A reader that comes back is shown the latest again, each under its id, so that nothing is missed between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from anyio.to_thread import run_sync

from api.live import HEARTBEAT_S, EventStream, Live
from api.problems import NotReady
from api.schemas_me import NoticeAnswer, NoticesAnswer

LATEST = 100
"""So many are looked through each time, newest first: those that waited for the morning too."""
LOOK_EVERY_S = 2.0
LASTS_S = 900.0
"""Then the reader comes again, and is asked again who it is."""
TOLD = ("sent", "unknown")
"""What is pending, or just leaves, waits for its time, in quiet hours say."""

Latest = Callable[[], Sequence[NoticeAnswer]]


def stream(live: Live, latest: Latest) -> EventStream:
    """Raises TooManyReaders."""
    return live.carry(_events(live, latest))


async def _events(live: Live, latest: Latest) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    ends_s, beats_s = clock() + LASTS_S, clock()
    shown: set[str] | None = None
    while not live.closed and clock() < ends_s:
        try:
            told = [one for one in await run_sync(latest) if one.sent in TOLD]
        except NotReady:  # the ledger is away: what is told meanwhile comes after
            told = []
        else:
            if shown is None:
                shown = {one.id for one in told}
                yield _event("snapshot", NoticesAnswer(items=told).model_dump_json())
        for one in reversed(told):
            if shown is not None and one.id not in shown:
                shown.add(one.id)
                yield _event("notice", one.model_dump_json())
        if clock() >= beats_s:
            beats_s = clock() + HEARTBEAT_S
            yield live.heartbeat()
        await live.pause(LOOK_EVERY_S)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
