"""Floor 2 · Stops: a household whose pile broke or fell silent under its car is told so, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec.structs import replace

from scheduler.alone import Around, not_alone
from scheduler.desk import Desk
from scheduler.ground import Charging, Ground
from scheduler.ledger import Moved
from scheduler.postings import notice
from scheduler.turns import Turn

PATIENCE_MS = 10 * 60_000
"""A pile that is broken or silent for less may have begun anew, or was out of reach for a moment."""


class Stops:
    """Used by who leads alone. That somebody was told stands in the outbox, where the notice is kept once a turn."""

    def __init__(self, desk: Desk, ground: Ground, around: Around = not_alone) -> None:
        self._desk, self._ground, self._around = desk, ground, around
        self._since_ms: dict[str, int] = {}
        """By turn, since when its plug is seen to be broken or silent."""
        self._told: set[str] = set()

    def look(self, there: Iterable[Turn], given: Mapping[str, Charging], now_ms: int) -> None:
        """`there` are the cars of turns, `given` by connector what each was given until its plug was last heard of."""
        stopped = [turn for turn in there if turn.charged_ms is None and turn.household and self._trouble(turn)]
        self._since_ms = {turn.id: self._since_ms.get(turn.id, now_ms) for turn in stopped}
        self._told &= self._since_ms.keys()
        for turn in stopped:
            is_due = now_ms - self._since_ms[turn.id] >= PATIENCE_MS and turn.id not in self._told
            if is_due and not self._desk.quiet(turn).quiet_at(now_ms):  # nobody is asked to move a car at night
                with self._around(turn.site), suppress(Moved):  # it changed since: the next look decides
                    self._tell(turn, given, now_ms)
                    self._told.add(turn.id)

    def _trouble(self, turn: Turn) -> str | None:
        trouble = self._ground.plug(turn.place.connector).trouble if turn.place is not None else None
        return trouble if trouble in ("broken", "silent") else None

    def _tell(self, turn: Turn, given: Mapping[str, Charging], now_ms: int) -> None:
        assert turn.place is not None
        charging = self._ground.plug(turn.place.connector).charging or given.get(turn.place.connector)
        had_kwh = f"{charging.energy_kwh:.1f}" if charging is not None else None
        says = notice(turn, "stopped" if self._trouble(turn) == "broken" else "unheard", had_kwh=had_kwh)
        once = replace(says, id=f"{turn.id}:stopped")
        self._desk.ledger.commit([self._desk.change(turn, turn, outgoing=(once,), by="watch")], now_ms)
