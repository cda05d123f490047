"""`lunchong api`: HTTP alone, over the bus, the store and the data folder that `lunchong ingest` keeps."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from importlib.metadata import version

from ingest.assets import Inventory
from ingest.clock import rfc3339
from ingest.messages import ServiceNotice
from lunchong.data_folder import API_LOCK, API_READY
from lunchong.errors import UserError
from lunchong.gate import held_key
from lunchong.http_side import HttpSide
from lunchong.jobs import Jobs
from lunchong.process import NOTICE_EVERY_S, Process
from lunchong.remote_ingest import RemoteIngest
from lunchong.settings import Settings, apart
from lunchong.stores import check_store, open_store
from lunchong.timing import KEEP_EVERY_S, FollowedClock
from lunchong.turns_apart import TurnsApart
from lunchong.web import Web


class ApiProcess(Process):
    """It writes nothing that ingest keeps, so either may be stopped and started without the other."""

    locks = (API_LOCK,)
    ready = API_READY

    def __init__(self, settings: Settings) -> None:
        super().__init__(apart("api", settings))
        self._http_ended = threading.Event()

    def _start(self, ending: ExitStack, jobs: Jobs) -> dict[str, object]:
        settings = self.settings
        http = HttpSide(settings, self.folder, self.in_use, ending)
        self._http_url = http.url
        key = held_key(self.folder, "api", "the API")
        self._clock = FollowedClock(self.folder)
        jobs.every(KEEP_EVERY_S, self._clock.look)
        self._since = rfc3339(self._clock.service_ms())
        check_store(settings)
        store = open_store(settings)
        ending.callback(store.close)
        feed = http.hear(settings.mqtt_url, key, {"ca_file": settings.mqtt_tls_cert}, self._notice)
        jobs.every(NOTICE_EVERY_S, feed.tell)
        turns = TurnsApart(settings, self.in_use, http.board, self._clock, ending, jobs)
        ingest = RemoteIngest(self.folder.path)
        app = http.application(store=store, clock=self._clock, ingest=ingest, turns=lambda: turns.given)
        web = Web([(app, http.line)], self._http_ended.set)
        ending.callback(web.stop)
        ending.callback(app.state.live.close)
        web.start()
        return {"http": http.url, "mqtt": settings.mqtt_url}

    def check(self) -> None:
        if self._http_ended.is_set():
            raise UserError("HTTP ended by itself; the log says why")

    def _use(self, inventory: Inventory) -> None:
        """Whoever asks is answered from the inventory in use."""

    def greeting(self) -> str:
        return f"Lunchong's API serves {self._http_url}, with what ingest says at {self.settings.mqtt_url}"

    def _notice(self) -> ServiceNotice:
        return ServiceNotice(
            v=1, online=True, version=version("lunchong"), since=self._since, clock=self._clock.reading, conditions=[]
        )
