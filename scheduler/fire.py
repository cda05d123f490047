"""Floor 2 · Fire: where a pile reports smoke or heat its whole site is cut off at once, and a person resets that.

Nothing here waits for a plan, for quiet hours or for an answer, and no timer ends it.
"""

from __future__ import annotations

from msgspec import json

from scheduler import turns
from scheduler.alone import Around, not_alone
from scheduler.desk import Desk, delivered
from scheduler.ground import Ground
from scheduler.ledger import Change, Moved, Outgoing, Taken
from scheduler.postings import notice
from scheduler.standing import WINDOW_MS
from scheduler.turns import HOLDING, Turn

TRIES = 3


class Fire:
    """Used by who leads alone, after the ground was looked at and before anything else."""

    def __init__(self, desk: Desk, ground: Ground, around: Around = not_alone) -> None:
        self._desk, self._ledger, self._ground, self._around = desk, desk.ledger, ground, around

    def look(self, now_ms: int) -> None:
        cut = self._ledger.cuts()
        for site, why in self._ground.alarms.items():
            if site not in cut:
                with self._around(site):
                    self._ledger.cut(site, why, now_ms, self._told(site, now_ms))
                    cut[site] = why
        for site in cut:
            for turn in self._ledger.turns(site=site, states=HOLDING):
                with self._around(site):
                    self._release(turn, now_ms)

    def _told(self, site: str, now_ms: int) -> list[Outgoing]:
        """Everybody near: who has a turn or waits there, and who asked there in the last weeks."""
        near = {turn.household for turn in self._ledger.turns(site=site, states=turns.LIVE)}
        near |= set(self._ledger.pool(site, now_ms - WINDOW_MS))
        body = json.encode({"what": "fire", "said": {"place": site}}).decode()
        return [
            Outgoing(id=f"fire:{site}:{now_ms}:{one}", kind="notice", to=one, body=body)
            for one in sorted(household for household in near if household is not None)
        ]

    def _release(self, turn: Turn, now_ms: int) -> None:
        for _ in range(TRIES):
            try:
                self._ledger.commit(self._without(turn, now_ms), now_ms)
            except (Moved, Taken):
                turn = self._desk.turn(turn.id)
                if turn.state not in HOLDING:
                    return
            else:
                return

    def _without(self, turn: Turn, now_ms: int) -> list[Change]:
        """Its buckets are given back. Who was promised a place waits for the next one; a car that is there is done."""
        if turn.state == "active":
            gone = delivered(turn, now_ms, 0.0)
            return [self._desk.change(turn, turns.done(turn, now_ms), by="fire", delivery=gone)]
        if turn.state == "offered":
            return [self._desk.change(turn, turns.withdrawn(turn), by="fire")]
        failed = turns.failed(turn, "POWER_OUTAGE", now_ms)
        said = notice(failed, "failed", was=turn.place)
        return [self._desk.change(turn, failed, by="fire", outgoing=(said,)), self._desk.made_good(turn, now_ms)]
