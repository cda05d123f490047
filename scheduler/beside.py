"""Floor 2 · Beside: a turn whose code was typed at another plug of its site goes on there, where that one is free."""

from __future__ import annotations

from scheduler import turns
from scheduler.buckets import Place, bucket_at
from scheduler.desk import Desk
from scheduler.ledger import Moved, OverLimit, Taken
from scheduler.site_facts import SiteFacts
from scheduler.turns import NotNow, Turn


def follow(desk: Desk, site: SiteFacts, turn: Turn, connector: str, walk_in: Turn | None, now_ms: int) -> bool:
    """Its car is at that plug, where it may be charging as a walk-in: move the turn there and begin it, in one change.

    Its time and its power stay as they were promised. Whether it was possible: the plug must be of the same type, and
    nobody else's until the turn is over.
    """
    if turn.place is None or not _is_alike(site, turn.place, connector):
        return False
    place = Place(connector, turn.place.first, turn.place.watts)
    theirs = {turn.id, *(() if walk_in is None else (walk_in.id,))}
    until_then = range(bucket_at(now_ms), place.end)
    if any(one.connector == connector and one.turn not in theirs for one in desk.ledger.claims(site.id, until_then)):
        return False
    try:
        moved = turns.plugged_in(turns.moved(turn, place, now_ms, desk.quiet(turn)), now_ms)
        ends = [] if walk_in is None else [desk.change(walk_in, turns.done(walk_in, now_ms), by="watch")]
        desk.ledger.commit([*ends, desk.change(turn, moved, by="watch")], now_ms)
    except (NotNow, Moved, Taken, OverLimit):  # it changed since: the next look decides
        return False
    return True


def _is_alike(site: SiteFacts, promised: Place, connector: str) -> bool:
    was, there = (
        next((one for one in site.connectors if one.id == of), None) for of in (promised.connector, connector)
    )
    if there is None or there.max_w < max(promised.watts):
        return False
    return was is None or was.type == there.type
