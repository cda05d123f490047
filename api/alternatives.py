"""Floor 3 · Sites near a turn's own where it would begin sooner."""

from __future__ import annotations

from api.context import ApiContext
from api.geo import distance_m, walk_min
from api.problems import NotReady
from api.schemas import Text
from api.schemas_turns import AlternativeAnswer, StartAnswer
from api.turns import Turns
from api.wishes import takes_w
from ingest.assets import Site
from ingest.clock import rfc3339
from scheduler import moving
from scheduler.desk import UnknownSite
from scheduler.turns import Turn

MOST_SITES = 20
"""So many are planned for one answer, the nearest of those that the turn may go to."""


def alternatives(ctx: ApiContext, given: Turns, turn: Turn, minutes: int, slow: bool) -> list[AlternativeAnswer]:
    """In order of start. Raises NotWaiting, Unseen, and NotReady where this process plans nothing."""
    moving.must_wait(turn)
    if given.likely is None:
        raise NotReady("This process plans no turns.")
    now_ms, planned = ctx.service_ms(), 0
    found: list[tuple[int, int, AlternativeAnswer]] = []
    for walk, site in _within(ctx, given, turn, minutes, slow):
        try:
            there = moving.there(given.desk, turn, site.id, takes_w(given, turn, site.id), now_ms)
        except (moving.NotThere, moving.RefusedThere, UnknownSite):
            continue
        likely, planned = given.likely(there, now_ms), planned + 1
        if likely is not None and (turn.place is None or likely.place.start_ms < turn.place.start_ms):
            place = likely.place
            answer = AlternativeAnswer(
                site=site.id, name=Text(zh=site.name.zh, en=site.name.en), walk_min=walk,
                start=StartAnswer(p50=rfc3339(place.start_ms), p90=rfc3339(likely.p90_ms)), end=rfc3339(place.end_ms),
                energy_kwh=round(min(turn.energy_kwh, place.energy_kwh), 3),
            )  # fmt: skip
            found.append((place.start_ms, walk, answer))
        if planned == MOST_SITES:
            break
    return [answer for _, _, answer in sorted(found, key=lambda one: one[:2])]


def _within(ctx: ApiContext, given: Turns, turn: Turn, minutes: int, slow: bool) -> list[tuple[int, Site]]:
    """Other sites within a walk of the turn's own where turns are given, the nearest first."""
    sites, ruled = ctx.inventory().sites, given.desk.ledger.versions()
    home = sites.get(turn.site)
    if home is None:
        return []
    reached = [
        (distance_m(home.lat, home.lon, one.lat, one.lon), one)
        for one in sites.values()
        if one.id != home.id and one.id in ruled and given.desk.sites.site(one.id) is not None
    ]
    walks = [(walk_min(metres, slow), one) for metres, one in sorted(reached, key=lambda it: (it[0], it[1].id))]
    return [(walk, one) for walk, one in walks if walk <= minutes]
