"""`lunchong ingest`: the facts alone, beside a broker and a store that other processes share; and the office."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from ingest.assets import Inventory
from lunchong.control import bound_socket
from lunchong.data_folder import LOCK, SOCKET
from lunchong.errors import UserError
from lunchong.facts_side import FactsSide
from lunchong.jobs import Jobs
from lunchong.process import Process
from lunchong.settings import Settings, apart
from lunchong.timing import Timing
from lunchong.web import Web, office_app


class IngestProcess(Process):
    """It has the spool, keeps the clock and the credentials, and answers for them on the socket in the data folder."""

    locks = (LOCK,)
    ready = "ready-ingest.json"

    def __init__(self, settings: Settings, timing: Timing) -> None:
        super().__init__(apart("ingest", settings))
        self._timing = timing
        self._office_ended = threading.Event()

    def _start(self, ending: ExitStack, jobs: Jobs) -> dict[str, object]:
        facts = self._facts = FactsSide(self.settings, self._timing, self.folder, self.in_use, None)
        facts.start(ending, jobs)
        ending.callback(self.folder.forget, SOCKET)
        web = Web([(office_app(facts.desk), bound_socket(self.folder.path))], self._office_ended.set)
        ending.callback(web.stop)
        web.start()
        ending.callback(facts.keep_clock_at_the_end)
        return {"mqtt": facts.gate.url}

    def check(self) -> None:
        part = "the office" if self._office_ended.is_set() else None if self._facts.worker.running else "ingest"
        if part:
            raise UserError(f"{part} ended by itself; the log says why")

    def greeting(self) -> str:
        return f"Lunchong's ingest takes what comes at {self._facts.gate.url}"

    def _use(self, inventory: Inventory) -> None:
        self._facts.use(inventory)
