"""Turns where the scheduler is another process: wishes and answers go to the ledger, and whoever leads plans them."""

from __future__ import annotations

from contextlib import ExitStack

from api.turns import Turns
from ingest.workdays import is_workday
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.settings import Settings
from lunchong.turns_side import Drawn, open_ledger
from scheduler.desk import Desk, SiteFacts
from scheduler.ground import sites_of

TRIED_EVERY_S = 5.0
"""So often a ledger that was away at the start is looked for again."""


class TurnsApart:
    """`given` is None until the ledger was there once. What shows facts need not wait for it."""

    def __init__(self, settings: Settings, in_use: InventoryInUse, ending: ExitStack, jobs: Jobs) -> None:
        self._settings, self._ending = settings, ending
        self._sites = _Sites(in_use)
        self.given: Turns | None = None
        jobs.every(TRIED_EVERY_S, self.look, at_once=True)

    def look(self) -> None:
        """Open the ledger where that was not done. Raises UserError."""
        if self.given is None:
            ledger = open_ledger(self._settings.ledger_url)
            self._ending.callback(ledger.close)
            self.given = Turns(Desk(ledger, self._sites, Drawn(), is_workday), ledger.accounts, self._settings.timezone)


class _Sites:
    """What the desk must know of a site, by the inventory in use."""

    def __init__(self, in_use: InventoryInUse) -> None:
        self._in_use, self._of = in_use, in_use.inventory
        self._facts = sites_of(self._of)

    def site(self, site: str) -> SiteFacts | None:
        if (inventory := self._in_use.inventory) is not self._of:
            self._facts, self._of = sites_of(inventory), inventory
        return self._facts.get(site)
