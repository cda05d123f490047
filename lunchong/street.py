"""The simulated street as a child process, and what it says of itself line by line."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from ingest.tied import tied

log = logging.getLogger(__name__)


class Figures(Struct, frozen=True):
    """What a street counted: see `lunchong simulate --json`."""

    sent: int = 0
    acked: int = 0
    resent: int = 0
    dropped: int = 0
    garbage: int = 0
    devices: int = 0
    connected: int = 0


class _Line(Struct, frozen=True):
    progress: Figures | None = None


_line, _figures = msgspec.json.Decoder(_Line), msgspec.json.Decoder(Figures)


class Street:
    """Ends with this process, whatever ends that: to be started by a thread that stays."""

    def __init__(self, arguments: list[str], log_file: Path) -> None:
        self.figures = Figures()
        with log_file.open("ab") as errors:
            self._process = subprocess.Popen(
                tied([sys.executable, "-m", "lunchong", "simulate", *arguments, "--json"]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us: the street gets its own signal, in time for the last acks
            )
        self._reader = threading.Thread(target=self._read, name="street", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit code, once it ended."""
        return self._process.poll()

    def stop(self, within_s: float) -> Figures:
        """End it in order, within so long; the last figures."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            log.warning("the street did not end within %.0f s", within_s)
            self._process.kill()
            self._process.wait()
        self._reader.join()
        return self.figures

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                try:
                    said = _line.decode(line)
                    self.figures = said.progress or _figures.decode(line)
                except msgspec.MsgspecError:
                    log.warning("the street said %r", line[:200])
