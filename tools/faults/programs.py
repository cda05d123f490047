"""`lunchong serve`, `ingest` and `simulate` as processes of a stage: what they say, and how they are ended."""

from __future__ import annotations

import math
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from lunchong.control import RemoteOffice
from lunchong.errors import UserError
from lunchong.office import Health
from tools.faults.outcome import NotInTime, until

if TYPE_CHECKING:
    from tools.faults.stage import Stage

START_S = 90.0
DRAIN_S, END_S = 60.0, 20.0
LAST_ACKS_S = 30.0
CATCH_UP_S, FEW_OPEN = 180.0, 3_000


class Ready(msgspec.Struct):
    """`ready.json` of a data folder; `ready-ingest.json`, which has no `http`."""

    pid: int
    mqtt: str
    http: str = ""


class Figures(msgspec.Struct):
    """The last line of `lunchong simulate --json`."""

    sent: int
    acked: int
    resent: int
    dropped: int
    garbage: int


class Progress(msgspec.Struct):
    """The other lines."""

    progress: Figures


class Server:
    """`lunchong serve`, or `ingest` alone, on the stage's data folder, ready to be used."""

    def __init__(self, stage: Stage, options: tuple[str, ...], *, alone: bool = False) -> None:
        program, ready = ("ingest", "ready-ingest.json") if alone else ("serve", "ready.json")
        self.log = stage.folder / f"{program}.log"
        self._data = stage.seen
        self._name = f"lunchong {program}"
        self.began_s = time.monotonic()
        command = [*stage.prefix, sys.executable, "-m", "lunchong", program, "--data", str(stage.data), *options]
        said = stage.seen / ready
        said.unlink(missing_ok=True)
        self.process = stage.child(command, self.log, stage.settings)
        self.pid = self.process.pid
        until(lambda: said.exists() or self.process.poll() is not None, START_S, f"{self._name} starts")
        if self.process.poll() is not None:
            raise NotInTime(f"{self._name} ended: {self.log.read_text(encoding='utf-8')[-2_000:]}")
        self.said = msgspec.json.decode(said.read_bytes(), type=Ready)
        if not alone:
            until(lambda: _answers(f"{self.said.http}/readyz"), START_S, f"{self._name} is ready")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all that carry these labels; no number while nobody answers."""
        try:
            with urlopen(f"{self.said.http}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            return math.nan
        wanted = "".join(f'(?=.*{label}="{value}")' for label, value in labels.items())
        return sum(float(value) for value in re.findall(rf"^{name}{wanted}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def health(self) -> Health:
        health = RemoteOffice(self._data).health()
        assert health is not None
        return health

    def conditions(self) -> dict[str, str]:
        """Code and evidence of what holds at ingest or at a device."""
        return {condition.code: condition.evidence for condition in self.health().conditions}

    def memory_mib(self) -> float:
        """What it holds in memory now."""
        [kib] = re.findall(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(kib) / 1024

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        """Stop it in order, once the store has everything that was acknowledged."""
        until(self._drained, DRAIN_S, "the spool drains")
        self.process.terminate()
        until(lambda: self.process.poll() is not None, END_S, f"{self._name} ends")

    def _drained(self) -> bool:
        with suppress(UserError):  # too busy to answer
            return self.health().spool_rows == 0
        return False


class Street:
    """`lunchong simulate` as a process; `acked`, `sent` and `dropped` are its range files."""

    def __init__(self, stage: Stage, mqtt: str, options: tuple[str, ...]) -> None:
        self.acked, self.sent, self.dropped = (stage.folder / f"{name}.csv" for name in ("acked", "sent", "dropped"))
        self.log = stage.folder / "simulate.log"
        command = [sys.executable, "-m", "lunchong", "simulate", "--mqtt", mqtt, "--json"]
        command += ["--inventory", str(stage.cast), "--credentials", str(stage.credentials)]
        command += ["--acked", str(self.acked), "--sent", str(self.sent), "--dropped", str(self.dropped)]
        self.process = stage.child([*command, *options], self.log, {})

    def acked_bytes(self) -> int:
        return self.acked.stat().st_size if self.acked.exists() else 0

    def wait_for_acks(self, within_s: float, more_than: int | None = None) -> float:
        """Until something was acknowledged beyond what the file had (now); how long that took."""
        began_s, had = time.monotonic(), self.acked_bytes() if more_than is None else more_than
        until(lambda: self.acked_bytes() > had, within_s, "messages are acknowledged")
        return time.monotonic() - began_s

    def finish(self, *, caught_up: bool = True) -> Figures:
        """Once it was told of nearly all that it sent, stop it and give it time for its last acks; what it counted."""
        if caught_up:
            until(lambda: self._open() < FEW_OPEN, CATCH_UP_S, "the street is told of what it sent")
        self.process.send_signal(signal.SIGTERM)
        until(lambda: self.process.poll() is not None, LAST_ACKS_S, "lunchong simulate ends")
        lines = self.log.read_bytes().splitlines()
        if self.process.returncode or not lines:
            raise NotInTime(f"lunchong simulate failed: {self.log.read_text(encoding='utf-8')[-2_000:]}")
        return msgspec.json.decode(lines[-1], type=Figures)

    def progress(self) -> Figures | None:
        """The newest line that it printed; one comes each second."""
        lines = [line for line in self.log.read_bytes().splitlines(keepends=True) if line.startswith(b'{"progress"')]
        lines = [line for line in lines if line.endswith(b"\n")]
        return msgspec.json.decode(lines[-1], type=Progress).progress if lines else None

    def _open(self) -> int:
        """How many messages were sent and not acknowledged."""
        now = self.progress()
        return now.sent - now.acked - now.dropped if now else FEW_OPEN


def children_of(pid: int) -> list[int]:
    """The processes that any thread of this one started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in lists for child in file.read_text(encoding="ascii").split()]


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(url, timeout=5):
        return True
    return False
