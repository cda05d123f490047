"""One installation in one process: broker, ingest, store, API, wired together, started in order, stopped in reverse."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ingest.assets import Inventory
from ingest.messages import Condition
from lunchong.control import bound_socket
from lunchong.data_folder import API_LOCK, LOCK, SOCKET
from lunchong.errors import UserError
from lunchong.facts_side import FactsSide
from lunchong.http_side import HttpSide
from lunchong.jobs import Jobs
from lunchong.process import Process
from lunchong.settings import Settings
from lunchong.timing import BY_THE_WALL, Timing
from lunchong.web import Web, office_app

if TYPE_CHECKING:
    from lunchong.turns_side import TurnsSide


class Installation(Process):
    """Everything but the street."""

    locks = (LOCK, API_LOCK)
    ready = "ready.json"

    def __init__(self, settings: Settings, timing: Timing = BY_THE_WALL) -> None:
        super().__init__(settings)
        self._timing = timing
        self._http_ended = threading.Event()

    def _start(self, ending: ExitStack, jobs: Jobs) -> dict[str, object]:
        http = HttpSide(self.settings, self.folder, self.in_use, ending)
        self.http_url, self.board = http.url, http.board
        facts = self._facts = FactsSide(self.settings, self._timing, self.folder, self.in_use, http.url)
        self.clock, self.enrolments, self.admit = facts.clock, facts.gate.enrolments, facts.gate.admit
        facts.start(ending, jobs)
        self.store, self.worker, self.mqtt_url = facts.store, facts.worker, facts.gate.url
        self.broker = facts.gate.broker
        http.hear(facts.gate.url, facts.gate.keys["api"], facts.gate.trust())
        self.turns = self._start_turns(ending, jobs)
        given = self.turns.given if self.turns else None
        app = http.application(store=facts.store, clock=facts.clock, ingest=facts.worker, turns=given)
        ending.callback(self.folder.forget, SOCKET)
        office = (office_app(facts.desk), bound_socket(self.folder.path))
        web = Web([(app, http.line), office], self._http_ended.set)
        ending.callback(web.stop)
        ending.callback(app.state.live.close)
        web.start()
        ending.callback(facts.keep_clock_at_the_end)
        port = int(self.mqtt_url.rpartition(":")[2]) if self.broker else None
        return {"http": self.http_url, "mqtt": self.mqtt_url, "mqtt_port": port}

    def check(self) -> None:
        part = "HTTP" if self._http_ended.is_set() else None if self.worker.running else "ingest"
        if part:
            raise UserError(f"{part} ended by itself; the log says why")

    def greeting(self) -> str:
        return f"Lunchong serves {self.http_url}, devices at {self.mqtt_url}"

    def conditions(self) -> list[tuple[str, Condition]]:
        """Conditions that hold, each with whom it is about: `ingest` or a device's name."""
        return self._facts.conditions()

    def _use(self, inventory: Inventory) -> None:
        self._facts.use(inventory)
        if self.turns:
            self.turns.use(inventory)

    def _start_turns(self, ending: ExitStack, jobs: Jobs) -> TurnsSide | None:
        """Nothing is promised where service time follows messages of another time."""
        if self._timing.messages:
            return None
        from lunchong.turns_side import TurnsSide  # a second of imports, in which devices are acknowledged already

        facts, settings = self._facts, self.settings
        turns = TurnsSide(settings, self.in_use, facts.clock, ending)
        turns.start(facts.gate.url, facts.gate.keys["scheduler"], facts.gate.trust(), ending, jobs)
        return turns
