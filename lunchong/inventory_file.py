"""The inventory as a file that may be edited at any time: read at the start, and again whenever it changes."""

from __future__ import annotations

import logging
from pathlib import Path

from ingest.assets import Inventory
from ingest.inventory import InventoryError, load
from lunchong.errors import UsageError

log = logging.getLogger(__name__)

Seen = tuple[int, int, int]


class InventoryMistakes(UsageError):
    """The file is no inventory. `mistakes` are lines, each with the file and the line that it is about."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class InventoryFile:
    """One inventory file. Reading raises InventoryMistakes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: Seen | None = None

    def read(self) -> Inventory:
        self._seen = self._look()
        try:
            return load(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            hint = "write one, or let `lunchong init` write an example"
            raise InventoryMistakes([f"there is no inventory {self.path}: {hint}"]) from None
        except OSError as error:
            raise InventoryMistakes([f"cannot read the inventory {self.path}: {error.strerror}"]) from None
        except UnicodeDecodeError as error:
            raise InventoryMistakes([f"the inventory {self.path} is not UTF-8: {error.reason}"]) from None
        except InventoryError as error:
            raise InventoryMistakes([f"{self.path} {mistake}" for mistake in error.mistakes]) from None

    def changed(self) -> bool:
        """Whether the file is another than at the last `read`."""
        return self._look() != self._seen

    def _look(self) -> Seen | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class InventoryInUse:
    """The inventory as its file was when it was last right. Reading it first raises InventoryMistakes."""

    def __init__(self, path: Path) -> None:
        self._file = InventoryFile(path)
        self.inventory = self._file.read()
        self.mistakes: list[str] = []
        """What is wrong with the file now."""

    def look(self) -> bool:
        """Read the file again if it changed; whether another inventory is in use now."""
        if not self._file.changed():
            return False
        try:
            self.inventory = self._file.read()
        except InventoryMistakes as error:
            self.mistakes = error.mistakes
            log.error("the inventory has mistakes now; the one before stays in use:\n%s", error)  # noqa: TRY400 - lines of the file, no trace
            return False
        self.mistakes = []
        log.info("the inventory was read again: %d devices", len(self.inventory.devices))
        return True
