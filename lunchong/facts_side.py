"""The side that owns the facts: ingest on its clock, and its office. `serve` and `ingest` have it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from importlib.metadata import version

from ingest.assets import Inventory
from ingest.clock import rfc3339
from ingest.messages import Condition
from ingest.running import IngestSettings
from ingest.worker import IngestWorker
from lunchong.data_folder import DataFolder
from lunchong.gate import Gate
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.office import Desk, Health, IngestNow
from lunchong.settings import Settings
from lunchong.stores import check_store, open_store
from lunchong.timing import KEEP_EVERY_S, Timing, keep_clock, start_clock


class FactsSide:
    """Clock, broker, store and ingest over one data folder. `http` is where this process serves HTTP, if it does."""

    def __init__(
        self, settings: Settings, timing: Timing, folder: DataFolder, in_use: InventoryInUse, http: str | None
    ) -> None:
        self._settings, self._timing, self._folder, self._in_use, self._http = settings, timing, folder, in_use, http
        self.clock = start_clock(timing, folder)
        self._keep_clock()
        self.gate = Gate(settings, folder, in_use)

    def start(self, ending: ExitStack, jobs: Jobs) -> None:
        check_store(self._settings)
        self.gate.open(ending, jobs)
        self.store = open_store(self._settings)
        ending.callback(self.store.close)
        self.worker = self._start_worker(ending)
        jobs.every(KEEP_EVERY_S, self._keep_clock)
        self.desk = Desk(
            inventory=lambda: self._in_use.inventory,
            enrolments=self.gate.enrolments,
            admit=self.gate.admit,
            mqtt_url=self.gate.url,
            store=lambda: self.store,
            retry=self.worker.retry_dead,
            health=self.health,
            ingest=lambda: IngestNow(self.worker.accounts(), self.worker.status()),
        )

    def keep_clock_at_the_end(self) -> None:
        self._keep_clock(last=True)

    def use(self, inventory: Inventory) -> None:
        self.gate.admit()
        self.worker.reload_inventory(inventory)

    def conditions(self) -> list[tuple[str, Condition]]:
        """Conditions that hold, each with whom it is about: `ingest` or a device's name."""
        held = [("ingest", condition) for condition in self.worker.status().conditions]
        known = self._in_use.inventory.devices
        for account in self.worker.accounts():
            name = f"{account.site}/{account.device}"
            held += [(name, condition) for condition in account.conditions if name in known]
        return held

    def health(self) -> Health:
        status, accounts, broker = self.worker.status(), self.worker.accounts(), self.gate.broker
        return Health(
            pid=os.getpid(),
            http=self._http,
            mqtt=self.gate.url,
            service_time=rfc3339(self.clock.service_ms()),
            speed=self.clock.speed,
            accepting=status.accepting,
            conditions=list(status.conditions),
            device_conditions=[held for held in self.conditions() if held[0] != "ingest"],
            spool_rows=status.spool_rows,
            spool_bytes=status.spool_bytes,
            spool_age_s=status.spool_age_s,
            complete_until=rfc3339(status.complete_until_ms),
            devices=len(self._in_use.inventory.devices),
            messages_lost=sum(account.lost for account in accounts),
            messages_dropped=sum(account.dropped for account in accounts),
            dead_letters=self.desk.count_dead(),
            refusals=broker.refusals() if broker else None,
            last_refusal=broker.last_refusal if broker else "",
            broker_restarts=broker.restarts if broker else None,
            inventory_mistakes=self._in_use.mistakes,
            connected=status.connected,
            broker_error=self.worker.broker_error,
        )

    def _keep_clock(self, *, last: bool = False) -> None:
        keep_clock(self.clock, self._timing, self._folder, last=last)

    def _start_worker(self, ending: ExitStack) -> IngestWorker:
        key = self.gate.keys["ingest"]
        ingest = IngestSettings(
            data_dir=self._folder.path,
            mqtt_url=self.gate.url,
            username=key.username,
            password=key.password,
            client_id=key.client_id,
            retention_days=self._settings.retention_days,
            version=version("lunchong"),
            **self.gate.trust(),
        )
        worker = IngestWorker(ingest, self._in_use.inventory, self.store, self.clock)
        worker.start()
        ending.callback(worker.stop)
        return worker
