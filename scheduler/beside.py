"""Floor 2 · Beside: a turn whose code was typed at another plug of its site goes on there, where that one is free."""

from __future__ import annotations

from scheduler import turns
from scheduler.buckets import Place, bucket_at
from scheduler.desk import Desk
from scheduler.ledger import Change, Moved, OverLimit, Taken
from scheduler.postings import notice
from scheduler.site_facts import SiteFacts
from scheduler.turns import NotNow, Turn


def follow(
    desk: Desk, site: SiteFacts, turn: Turn, connector: str, walk_in: Turn | None, now_ms: int, *, left_is_free: bool
) -> bool:
    """Its car is at that plug, where it may be charging as a walk-in: move the turn there and begin it, in one change.

    Its time and its power stay as they were promised. Whether it was possible: the plug must be of the same type, and
    nobody else's until the turn is over, or promised to one who can have the plug of the turn instead. `left_is_free`
    says that this one is free, or that the other's car stands there already.
    """
    if turn.place is None or not _is_alike(site, turn.place, connector):
        return False
    place = Place(connector, turn.place.first, turn.place.watts)
    claims = desk.ledger.claims(site.id, range(bucket_at(now_ms), place.end))
    others = {one.turn for one in claims if one.connector == connector and (walk_in is None or one.turn != walk_in.id)}
    if len(others) > 1 or (others and not left_is_free):
        return False
    try:
        moved = turns.plugged_in(turns.moved(turn, place, now_ms, desk.quiet(turn)), now_ms)
        changes = [desk.change(turn, moved, by="watch")]
        if walk_in is not None:
            changes.append(desk.change(walk_in, turns.done(walk_in, now_ms), by="watch"))
        changes += [_instead(desk, site, desk.turn(other), turn.place.connector, now_ms) for other in others]
        desk.ledger.commit(changes, now_ms)
    except (NotNow, Moved, Taken, OverLimit):  # it changed since: the next look decides
        return False
    return True


def _instead(desk: Desk, site: SiteFacts, other: Turn, connector: str, now_ms: int) -> Change:
    """The same time at the plug that the turn leaves, for who was promised the one where it is. Raises NotNow."""
    if other.place is None or not _is_alike(site, other.place, connector):
        raise NotNow(other, "plan")
    place = Place(connector, other.place.first, other.place.watts)
    moved = turns.moved(other, place, now_ms, desk.quiet(other))
    says = notice(moved, "moved", was=other.place, why="BLOCKED")
    return desk.change(other, moved, outgoing=(says,), by="watch")


def _is_alike(site: SiteFacts, promised: Place, connector: str) -> bool:
    was, there = (
        next((one for one in site.connectors if one.id == of), None) for of in (promised.connector, connector)
    )
    if there is None or there.max_w < max(promised.watts):
        return False
    return was is None or was.type == there.type  # of a plug that left the inventory nothing is known against it
