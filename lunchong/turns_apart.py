"""Turns where the scheduler is another process: wishes and answers go to the ledger, and whoever leads plans them."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from api.board import Board
from api.turns import Turns
from ingest.workdays import is_workday
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.live_clock import LiveClock
from lunchong.settings import Settings
from lunchong.turns_side import Drawn, open_ledger
from scheduler.desk import Desk
from scheduler.ground import Ground, Heard
from scheduler.plan_greedy import greedy
from scheduler.planning import TURNOVER, Likely, Planning
from scheduler.turns import Turn

TRIED_EVERY_S = 5.0
"""So often a ledger that was away at the start is looked for again."""


class TurnsApart:
    """`given` is None until the ledger was there once. What shows facts need not wait for it."""

    def __init__(
        self,
        settings: Settings,
        in_use: InventoryInUse,
        board: Board,
        clock: LiveClock,
        ending: ExitStack,
        jobs: Jobs,
    ) -> None:
        self._settings, self._ending = settings, ending
        self._ground = Ground(lambda: in_use.inventory, Heard(board.state, lambda: board.believed, lambda: clock.speed))
        self._looking = threading.Lock()
        self.given: Turns | None = None
        jobs.every(TRIED_EVERY_S, self.look, at_once=True)

    def look(self) -> None:
        """Open the ledger where that was not done. Raises UserError."""
        if self.given is None:
            ledger = open_ledger(self._settings.ledger_url)
            self._ending.callback(ledger.close)
            desk = Desk(ledger, self._ground, Drawn(), is_workday)
            self._planning = Planning(desk, self._ground, greedy, is_workday, TURNOVER)
            self.given = Turns(
                desk, ledger.accounts, self._settings.timezone, self._likely, self._settings.mail_url is not None
            )

    def _likely(self, turn: Turn, now_ms: int) -> Likely | None:
        """By what is heard now. How late turns really begin is learnt by who leads alone."""
        with self._looking:
            self._ground.look(now_ms)
            return self._planning.likely(turn, now_ms)
