"""The broker as an installation has it, ours or another's, and who may enter there."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from ingest.broker import EmbeddedBroker
from ingest.credentials import nats_config
from ingest.enrolments import Enrolments, ServiceKey
from lunchong.data_folder import DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.letters import plain
from lunchong.office import write_acl
from lunchong.settings import EMBEDDED, Settings

log = logging.getLogger(__name__)

HEAL_EVERY_S = 1.0
WATCH_EVERY_S = 1.0


def held_key(folder: DataFolder, service: str, called: str) -> ServiceKey:
    """The key of a process apart, which `init` and whoever has the gate make. Raises UserError."""
    enrolments = Enrolments(folder.path / "credentials.json")
    key = enrolments.held(service)
    if key is None:
        raise UserError(f"{enrolments.path} holds no account for {called}: run `lunchong init` or start `ingest` first")
    return key


class Gate:
    """Starts the embedded broker where the settings want it, and keeps its users, or mosquitto's files, right."""

    def __init__(self, settings: Settings, folder: DataFolder, in_use: InventoryInUse) -> None:
        self._settings, self._in_use = settings, in_use
        self._refusals_said = 0
        self.enrolments = Enrolments(folder.path / "credentials.json")
        self.keys = {name: self.enrolments.service(name) for name in ("ingest", "api", "scheduler")}
        self.broker: EmbeddedBroker | None = None
        self._folder = folder.path / "broker"

    def open(self, ending: ExitStack, jobs: Jobs) -> None:
        settings = self._settings
        if settings.mqtt_url != EMBEDDED:
            write_acl(settings, self.enrolments, self._in_use.inventory)
            return
        cert, key = settings.mqtt_tls_cert, settings.mqtt_tls_key
        tls = (cert, key) if cert and key else None
        self.broker = EmbeddedBroker(self._folder, settings.mqtt_listen, tls=tls)
        self.broker.start(self._config(self.broker))
        ending.callback(self.broker.stop)
        jobs.every(HEAL_EVERY_S, self.broker.heal)
        jobs.every(WATCH_EVERY_S, self._watch_refusals)

    def admit(self) -> None:
        """Tell the broker who may enter now, after an enrolment or another inventory."""
        if self.broker:
            self.broker.reload(self._config(self.broker))
        write_acl(self._settings, self.enrolments, self._in_use.inventory)

    @property
    def url(self) -> str:
        return self.broker.url if self.broker else self._settings.mqtt_url

    def trust(self) -> dict[str, Path | None]:
        """How our own clients check the broker: the embedded one by its very certificate."""
        return {"pinned_cert" if self.broker else "ca_file": self._settings.mqtt_tls_cert}

    def _config(self, broker: EmbeddedBroker) -> str:
        return nats_config(
            self.enrolments.credentials,
            self._in_use.inventory,
            listen=broker.listen,
            store_dir=broker.store_dir,
            log_file=broker.log_file,
            tls=broker.tls,
        )

    def _watch_refusals(self) -> None:
        refused = self.broker.refusals() if self.broker else 0
        if self.broker and refused > self._refusals_said:
            log.warning("the broker refused %d times, the last: %s", refused, plain(self.broker.last_refusal))
        self._refusals_said = refused
