"""Floor 2 · One round of who leads: look, keep the promises, plan what changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from scheduler.alone import Around, not_alone
from scheduler.arrivals import Arrivals
from scheduler.desk import Desk
from scheduler.fire import Fire
from scheduler.ground import Ground
from scheduler.planning import Planning
from scheduler.turns import LIVE, WAITING
from scheduler.watch import Watch

PLAN_EVERY_MS = 5 * 60_000
"""Of service time, and no more often than after events."""
AFTER_AN_EVENT_S = 2.0
"""Of wall time: what comes together is planned together."""


class Rounds:
    """Levels, not events: what a round missed, the next one finds. Safe to begin again in another process."""

    def __init__(
        self,
        desk: Desk,
        ground: Ground,
        watch: Watch,
        arrivals: Arrivals,
        planning: Planning,
        sites_a_round: int = 2,
        speed: Callable[[], float] = lambda: 1.0,
        around: Around = not_alone,
    ) -> None:
        self._around = around
        self._desk, self._ground, self._watch = desk, ground, watch
        self._fire = Fire(desk, ground, around)
        self._arrivals, self._planning = arrivals, planning
        self._planned: dict[str, tuple[object, int]] = {}
        """By site what the last plan saw, and when, in service time."""
        self._changed_s: dict[str, float] = {}
        self._sites_a_round, self._speed = sites_a_round, speed

    def round(self, now_ms: int, mono_s: float) -> None:
        """Everything that is due. `mono_s` is a steady clock of the wall."""
        self._ground.look(now_ms)
        self._fire.look(now_ms)
        self._arrivals.look(now_ms)
        self._watch.tick(now_ms)
        planned = self._to_plan(now_ms, mono_s) if self._ground.believed else []
        for site in planned:
            with self._around(site):
                self._planning.site(site, now_ms)
        if planned:
            seen, _ = self._seen()
            self._planned |= {site: (seen[site], now_ms) for site in planned}

    def _to_plan(self, now_ms: int, mono_s: float) -> list[str]:
        """Sites where somebody waits and something changed 2 s ago, or that were planned 5 minutes ago; those that wait
        longest first.

        No more of them than leave time for the watch: promises are kept first, and made better after.
        """
        due: list[tuple[int, str]] = []
        (seen, waiting), given = self._seen(), self._desk.ledger.versions()
        cut = self._desk.ledger.cuts()
        for site in self._ground.sites():
            if site not in given or site not in waiting or site in cut:
                continue
            saw, at_ms = self._planned.get(site, (None, 0))
            if saw != seen[site]:
                since_s = self._changed_s.setdefault(site, mono_s)
                is_due = mono_s - since_s >= AFTER_AN_EVENT_S or saw is None
            else:
                is_due = now_ms - at_ms >= max(PLAN_EVERY_MS, AFTER_AN_EVENT_S * 1_000 * self._speed())
            if is_due:
                due.append((at_ms, site))
        chosen = [site for _, site in sorted(due)[: self._sites_a_round]]
        for site in chosen:
            self._changed_s.pop(site, None)
        return chosen

    def _seen(self) -> tuple[dict[str, tuple[object, ...]], set[str]]:
        """By site what a plan depends on, its live turns as they are and which plugs work; and where somebody waits."""
        found: dict[str, list[object]] = defaultdict(list)
        waiting: set[str] = set()
        for turn in self._desk.ledger.turns(states=LIVE):
            found[turn.site].append((turn.id, turn.rev))
            if turn.state in WAITING:
                waiting.add(turn.site)
            elif turn.state == "active":
                self._planning.began(turn)
        for name, site in self._ground.sites().items():
            found[name] += [one.id for one in site.connectors if self._ground.plug(one.id).trouble is None]
        return {site: tuple(seen) for site, seen in found.items()}, waiting
