"""What every process of an installation is: parts that start in order, are looked after, and end in reverse."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Self

import msgspec

from api.ports import BookUnavailable
from ingest.assets import Inventory
from ingest.broker import BrokerError
from ingest.enrolments import EnrolmentError
from ingest.store import StoreUnavailable, StoreUnusable
from lunchong.data_folder import DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryInUse
from lunchong.jobs import Jobs
from lunchong.settings import Settings
from lunchong.stopping import asked_to_stop

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
NOTICE_EVERY_S = 10.0
"""How often a process apart says on the bus how it is."""
CANNOT_START = (BrokerError, EnrolmentError, StoreUnavailable, StoreUnusable, BookUnavailable, OSError)


class Process(ABC):
    """Enter it to start; raises UserError, with nothing left running, when it cannot."""

    locks: tuple[str, ...]
    """What of the data folder is this process's alone."""
    ready: str
    """The file in the data folder that tells that it is up, and where."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = ExitStack()

    @abstractmethod
    def _start(self, ending: ExitStack, jobs: Jobs) -> dict[str, object]:
        """Start the parts, leave in `ending` what ends each; returns what the file `ready` tells beside the pid."""

    @abstractmethod
    def check(self) -> None:
        """Raise UserError when a part that must run has ended by itself."""

    @abstractmethod
    def greeting(self) -> str:
        """One line for whoever started it."""

    def __enter__(self) -> Self:
        try:
            with self._stack:
                self._enter(self._stack)
                self._stack = self._stack.pop_all()
        except CANNOT_START as error:
            raise UserError(str(error)) from None
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def _enter(self, ending: ExitStack) -> None:
        self.folder = DataFolder(self.settings.data_dir)
        ending.callback(self.folder.release)
        if self.locks:  # with no name it would be the lock of ingest
            self.folder.hold(*self.locks)
        self.folder.forget(self.ready)
        self.in_use = InventoryInUse(self.settings.inventory)
        jobs = Jobs()
        said = self._start(ending, jobs)
        jobs.every(WATCH_EVERY_S, self._watch_inventory)
        jobs.start()
        ending.callback(jobs.stop)
        self.folder.keep(self.ready, msgspec.json.encode({"pid": os.getpid(), **said}))
        ending.callback(self.folder.forget, self.ready)

    @property
    def inventory(self) -> Inventory:
        return self.in_use.inventory

    @property
    def inventory_mistakes(self) -> list[str]:
        return self.in_use.mistakes

    def _watch_inventory(self) -> None:
        if self.in_use.look():
            self._use(self.inventory)

    @abstractmethod
    def _use(self, inventory: Inventory) -> None:
        """Another inventory holds from now on."""


def run(process: Process) -> None:
    """Run until a signal asks to stop, or something that must run has ended."""
    asked = asked_to_stop()
    with process:
        print(process.greeting(), flush=True)
        while not asked.wait(0.2):
            process.check()
