"""The inventory as a file that may be edited at any time: read at the start, and again whenever it changes."""

from __future__ import annotations

from pathlib import Path

from ingest.assets import Inventory
from ingest.inventory import InventoryError, load
from lunchong.errors import UsageError

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
