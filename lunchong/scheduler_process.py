"""`lunchong scheduler`: the promises alone, beside `ingest`; a second one stands by and takes over."""

from __future__ import annotations

from contextlib import ExitStack

from ingest.assets import Inventory
from lunchong.gate import held_key
from lunchong.jobs import Jobs
from lunchong.process import Process
from lunchong.settings import Settings, apart
from lunchong.timing import KEEP_EVERY_S, FollowedClock
from lunchong.turns_side import TurnsSide


class SchedulerProcess(Process):
    """It takes nothing of the data folder for itself: as many may run as there are to stand by."""

    locks = ()
    ready = "ready-scheduler.json"

    def __init__(self, settings: Settings) -> None:
        super().__init__(apart("scheduler", settings))

    def _start(self, ending: ExitStack, jobs: Jobs) -> dict[str, object]:
        settings, key = self.settings, held_key(self.folder, "scheduler", "the scheduler")
        clock = FollowedClock(self.folder)
        jobs.every(KEEP_EVERY_S, clock.look)
        self._turns = TurnsSide(settings, self.in_use, clock, ending)
        self._turns.start(settings.mqtt_url, key, {"ca_file": settings.mqtt_tls_cert}, ending, jobs)
        return {"mqtt": settings.mqtt_url}

    def check(self) -> None:
        """Nothing of it ends by itself: without a ledger or a broker it waits for them."""

    def greeting(self) -> str:
        return f"Lunchong's scheduler stands by, with what ingest says at {self.settings.mqtt_url}"

    def _use(self, inventory: Inventory) -> None:
        self._turns.use(inventory)
