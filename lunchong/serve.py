"""One installation in one process: broker, ingest, store, API, wired together, started in order, stopped in reverse."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from socket import socket
from typing import Self
from zoneinfo import ZoneInfo

import msgspec

from api.board import Board
from api.context import ApiContext
from api.feed import Feed
from api.ports import BookUnavailable
from api.trouble import SqliteTroubleBook
from ingest.assets import Inventory
from ingest.broker import BrokerError, EmbeddedBroker
from ingest.clock import rfc3339
from ingest.credentials import nats_config
from ingest.enrolments import EnrolmentError, Enrolments, ServiceKey
from ingest.messages import Condition
from ingest.running import IngestSettings
from ingest.store import StoreUnavailable, StoreUnusable
from ingest.workdays import is_workday
from ingest.worker import IngestWorker
from lunchong.control import bound_socket
from lunchong.data_folder import READY, SOCKET, DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryFile, InventoryMistakes
from lunchong.jobs import Jobs
from lunchong.live_clock import wall_ms
from lunchong.office import Desk, Health, every_id, write_acl
from lunchong.settings import EMBEDDED, Settings
from lunchong.stopping import asked_to_stop
from lunchong.stores import open_store
from lunchong.timing import BY_THE_WALL, KEEP_EVERY_S, Timing, keep_clock, start_clock
from lunchong.web import Web, bound_port, office_app

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
HEAL_EVERY_S = 1.0
LET_GO_EVERY_S = 300.0
DEAD_LETTERS_MS = 30 * 86_400_000


class Installation:
    """Everything but the street. Enter it to start; raises UserError, with nothing left running, when it cannot."""

    def __init__(self, settings: Settings, timing: Timing = BY_THE_WALL) -> None:
        self.settings, self.timing = settings, timing
        self.ended = threading.Event()
        """Set when HTTP ended by itself."""
        self.inventory_mistakes: list[str] = []
        self._refusals_said = 0
        self._file = InventoryFile(settings.inventory)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            with self._stack:
                self._start()
                self._stack = self._stack.pop_all()
        except (BrokerError, EnrolmentError, StoreUnavailable, StoreUnusable, BookUnavailable, OSError) as error:
            raise UserError(str(error)) from None
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        settings, ending = self.settings, self._stack
        self.folder = DataFolder(settings.data_dir)
        self.folder.hold()
        ending.callback(self.folder.release)
        self.folder.forget(READY)
        self.inventory = self._file.read()
        http = bound_port(settings.http_host, settings.http_port)
        ending.callback(http.close)
        self.http_url = f"http://{_shown(settings.http_host)}:{http.getsockname()[1]}"
        self.clock = start_clock(self.timing, self.folder)
        self._keep_clock()
        self.enrolments = Enrolments(self.folder.path / "credentials.json")
        keys = {name: self.enrolments.service(name) for name in ("ingest", "api")}
        self.broker = self._start_broker()
        self.store = open_store(settings)
        ending.callback(self.store.close)
        self.worker = self._start_worker(keys["ingest"])
        self.board, feed = self._start_feed(keys["api"])
        jobs = Jobs()
        jobs.every(WATCH_EVERY_S, self._watch_inventory)
        jobs.every(KEEP_EVERY_S, self._keep_clock)
        if self.broker:
            jobs.every(HEAL_EVERY_S, self.broker.heal)
            jobs.every(WATCH_EVERY_S, self._watch_refusals)
        jobs.every(LET_GO_EVERY_S, self._let_dead_letters_go)
        self._start_web(http, feed)
        jobs.start()
        ending.callback(self._keep_clock, last=True)
        ending.callback(jobs.stop)
        self.folder.keep(READY, msgspec.json.encode(self._readiness()))
        ending.callback(self.folder.forget, READY)

    def check(self) -> None:
        """Raise UserError when a part that must run has ended by itself."""
        part = "HTTP" if self.ended.is_set() else None if self.worker.running else "ingest"
        if part:
            raise UserError(f"{part} ended by itself; the log says why")

    def admit(self) -> None:
        """Tell the broker who may enter now, after an enrolment or another inventory."""
        if self.broker:
            self.broker.reload(self._broker_config(self.broker))
        write_acl(self.settings, self.enrolments, self.inventory)

    @property
    def mqtt_url(self) -> str:
        return self.broker.url if self.broker else self.settings.mqtt_url

    def conditions(self) -> list[tuple[str, Condition]]:
        """Conditions that hold, each with whom it is about: `ingest` or a device's name."""
        held = [("ingest", condition) for condition in self.worker.status().conditions]
        for name in self.inventory.devices:
            state = self.board.state(name)
            held += [(name, condition) for condition in state.conditions] if state else []
        return held

    def health(self) -> Health:
        status, accounts = self.worker.status(), self.worker.accounts()
        return Health(
            pid=os.getpid(),
            http=self.http_url,
            mqtt=self.mqtt_url,
            service_time=rfc3339(self.clock.service_ms()),
            speed=self.clock.speed,
            accepting=status.accepting,
            conditions=list(status.conditions),
            device_conditions=[held for held in self.conditions() if held[0] != "ingest"],
            spool_rows=status.spool_rows,
            spool_bytes=status.spool_bytes,
            spool_age_s=status.spool_age_s,
            complete_until=rfc3339(status.complete_until_ms),
            devices=len(self.inventory.devices),
            messages_lost=sum(account.lost for account in accounts),
            messages_dropped=sum(account.dropped for account in accounts),
            dead_letters=len(every_id(self.desk)),
            refusals=self.broker.refusals() if self.broker else None,
            last_refusal=self.broker.last_refusal if self.broker else "",
            broker_restarts=self.broker.restarts if self.broker else None,
            inventory_mistakes=self.inventory_mistakes,
        )

    def _keep_clock(self, *, last: bool = False) -> None:
        keep_clock(self.clock, self.timing, self.folder, last=last)

    def _start_broker(self) -> EmbeddedBroker | None:
        settings = self.settings
        if settings.mqtt_url != EMBEDDED:
            write_acl(settings, self.enrolments, self.inventory)
            return None
        cert, key = settings.mqtt_tls_cert, settings.mqtt_tls_key
        tls = (cert, key) if cert and key else None
        broker = EmbeddedBroker(self.folder.path / "broker", settings.mqtt_listen, tls=tls)
        broker.start(self._broker_config(broker))
        self._stack.callback(broker.stop)
        return broker

    def _broker_config(self, broker: EmbeddedBroker) -> str:
        return nats_config(
            self.enrolments.credentials,
            self.inventory,
            listen=broker.listen,
            store_dir=broker.store_dir,
            log_file=broker.log_file,
            tls=broker.tls,
        )

    def _watch_inventory(self) -> None:
        if not self._file.changed():
            return
        try:
            inventory = self._file.read()
        except InventoryMistakes as error:
            self.inventory_mistakes = error.mistakes
            log.error("the inventory has mistakes now; the one before stays in use:\n%s", error)  # noqa: TRY400 - lines of the file, no trace
            return
        self.inventory_mistakes = []
        self._use(inventory)

    def _watch_refusals(self) -> None:
        refused = self.broker.refusals() if self.broker else 0
        if self.broker and refused > self._refusals_said:
            log.warning("the broker refused %d times, the last: %s", refused, self.broker.last_refusal)
        self._refusals_said = refused

    def _let_dead_letters_go(self) -> None:
        self.store.purge_dead(before_ms=self.clock.service_ms() - DEAD_LETTERS_MS)

    def _use(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.admit()
        self.worker.reload_inventory(inventory)
        log.info("the inventory was read again: %d devices", len(inventory.devices))

    def _start_worker(self, key: ServiceKey) -> IngestWorker:
        ingest = IngestSettings(
            data_dir=self.folder.path,
            mqtt_url=self.mqtt_url,
            username=key.username,
            password=key.password,
            client_id=key.client_id,
            retention_days=self.settings.retention_days,
            version=version("lunchong"),
            **self._trust(),
        )
        worker = IngestWorker(ingest, self.inventory, self.store, self.clock)
        worker.start()
        self._stack.callback(worker.stop)
        return worker

    def _trust(self) -> dict[str, Path | None]:
        """How our own clients check the broker: the embedded one by its very certificate."""
        return {"pinned_cert" if self.broker else "ca_file": self.settings.mqtt_tls_cert}

    def _start_feed(self, key: ServiceKey) -> tuple[Board, Feed]:
        board = Board(ZoneInfo(self.settings.timezone), is_workday)
        feed = Feed(
            board,
            self.mqtt_url,
            client_id=key.client_id,
            username=key.username,
            password=key.password,
            wall=wall_ms,
            **self._trust(),
        )
        feed.start()
        self._stack.callback(feed.stop)
        return board, feed

    def _start_web(self, http: socket, feed: Feed) -> None:
        from api.app import create_app  # a second of imports, in which devices are acknowledged already

        book = SqliteTroubleBook(self.folder.path / "trouble.db")
        self._stack.callback(book.close)
        self.desk = Desk(
            inventory=lambda: self.inventory,
            enrolments=self.enrolments,
            admit=self.admit,
            mqtt_url=self.mqtt_url,
            store=lambda: self.store,
            retry=self.worker.retry_dead,
            health=self.health,
        )
        app = create_app(
            ApiContext(
                inventory=lambda: self.inventory,
                store=self.store,
                board=self.board,
                service_ms=self.clock.service_ms,
                mono_s=self.clock.mono_s,
                admin_token=self.folder.admin_token(),
                trouble=book,
                speed=lambda: self.clock.speed,
                ingest=self.worker,
                commands=feed,
                trusted_proxies=self.settings.trusted_proxies,
                zone=ZoneInfo(self.settings.timezone),
                version=version("lunchong"),
            )
        )
        self._stack.callback(self.folder.forget, SOCKET)
        web = Web([(app, http), (office_app(self.desk), bound_socket(self.folder.path))], self.ended.set)
        self._stack.callback(web.stop)
        self._stack.callback(app.state.live.close)
        web.start()

    def _readiness(self) -> dict[str, object]:
        """What `ready.json` tells a program that started us."""
        port = int(self.mqtt_url.rpartition(":")[2]) if self.broker else None
        return {"pid": os.getpid(), "http": self.http_url, "mqtt": self.mqtt_url, "mqtt_port": port}


def _shown(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def serve(settings: Settings, timing: Timing) -> None:
    """Run until a signal asks to stop, or something that must run has ended."""
    asked = asked_to_stop()
    with Installation(settings, timing) as installation:
        print(f"Lunchong serves {installation.http_url}, devices at {installation.mqtt_url}", flush=True)
        while not asked.wait(0.2):
            installation.check()
