"""Files of seqs, a range a line: `site,device,boot,lo,hi`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lunchong.errors import UsageError, UserError

SeqRange = tuple[str, str, int, int]
"""`SITE/DEVICE`, boot, lowest and highest seq."""


class SyncedRanges:
    """A file to which ranges are appended. `written` counts seqs that are on the disk, and none before."""

    def __init__(self, path: Path) -> None:
        try:
            _cut_to_whole_lines(path)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        self._path = path
        self.written = 0
        self._lines: list[str] = []
        self._count = 0

    def add(self, of: SeqRange) -> None:
        self._lines.append(_line(of))
        self._count += of[3] - of[2] + 1

    def sync(self) -> None:
        """Put what was added on the disk. Raises UserError when that cannot be done."""
        if not self._lines:
            return
        left = memoryview("".join(self._lines).encode())
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fdatasync(self._file)
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror}") from None
        self.written += self._count
        self._lines.clear()
        self._count = 0

    def close(self) -> None:
        self.sync()
        os.close(self._file)


def write_ranges(path: Path, ranges: Iterable[SeqRange]) -> None:
    """Write the whole file at once."""
    try:
        path.write_text("".join(_line(of) for of in ranges), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _cut_to_whole_lines(path: Path) -> None:
    """What a kill left of a line was never counted; the next one would be appended to it."""
    if path.is_file():
        written = path.read_bytes()
        if not written.endswith(b"\n"):
            os.truncate(path, written.rfind(b"\n") + 1)


def _line(of: SeqRange) -> str:
    name, boot, lo, hi = of
    return f"{name.replace('/', ',', 1)},{boot},{lo},{hi}\n"
