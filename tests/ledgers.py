"""Turns in a line, for the tests of the ledger and of what stands above it."""

from __future__ import annotations

import itertools
from typing import Any

from msgspec.structs import replace

from scheduler import turns
from scheduler.buckets import BUCKET_MS, Place
from scheduler.ledger import NO_LIMITS, Change, Ledger, Limits
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import migrate
from scheduler.ledger_sql import SqlLedger
from scheduler.quiet import QuietHours
from scheduler.turns import Turn
from tests.stores import NINE_MS

NINE = NINE_MS // BUCKET_MS
"""The bucket that begins at 09:00 UTC."""
PLUG, OTHER_PLUG = "jn-01/pile-01/1", "jn-01/pile-01/2"
NO_QUIET = QuietHours(0, 0)

_numbers = itertools.count(1)


def opened(url: str) -> SqlLedger:
    """The ledger of that database, with its tables made."""
    engine = engine_of(url)
    migrate(engine)
    return SqlLedger(engine)


def a_turn(**said: Any) -> Turn:
    """A household of its own asks at nine for 7 kWh within ten hours."""
    no = next(_numbers)
    usual = {
        "id": f"t{no}", "site": "jn-01", "mode": "in_turn", "household": f"h{no}", "state": "requested",
        "energy_kwh": 7.0, "max_w": 7_000, "earliest_ms": NINE_MS, "depart_by_ms": NINE_MS + 40 * BUCKET_MS,
        "requested_ms": NINE_MS, "waiting_ms": NINE_MS, "due_ms": NINE_MS + 36 * BUCKET_MS,
    }  # fmt: skip
    return Turn(**{**usual, **said})


def a_place(connector: str = PLUG, first: int = NINE, buckets: int = 4, watts: int = 7_000) -> Place:
    return Place(connector, first, (watts,) * buckets)


def ask(ledger: Ledger, key: str | None = None, **said: Any) -> Turn:
    [kept] = ledger.commit([Change(before=None, after=a_turn(**said), key=key)], NINE_MS)
    return kept


def step(ledger: Ledger, before: Turn, after: Turn, limits: Limits = NO_LIMITS, now_ms: int = NINE_MS) -> Turn:
    [kept] = ledger.commit([Change(before=before, after=after, limits=limits)], now_ms)
    return kept


def offer(ledger: Ledger, place: Place, limits: Limits = NO_LIMITS, now_ms: int = NINE_MS, **said: Any) -> Turn:
    """Asked for, planned, and offered."""
    queued = turns.planned(ask(ledger, **said), place)
    queued = step(ledger, queued, queued)
    return step(ledger, queued, turns.offered(queued, place, now_ms, NO_QUIET), limits, now_ms)


def promise(ledger: Ledger, place: Place, limits: Limits = NO_LIMITS, **said: Any) -> Turn:
    """Offered, and accepted."""
    held = offer(ledger, place, limits, **said)
    return step(ledger, held, turns.accepted(held, NINE_MS, NO_QUIET))


def walk_in(place: Place, **said: Any) -> Turn:
    """A car that came without a turn, plugged in at the start of the place."""
    came_ms = place.start_ms
    asked = a_turn(kind="walk_in", household=None, state="active", place=place, due_ms=came_ms + turns.STALE_MS)
    return replace(asked, plugged_ms=came_ms, **said)
