"""Debian's mosquitto over the files that we write for it, as a process that can be killed and loses its memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ingest.assets import Inventory
from ingest.credentials import mosquitto_files
from ingest.enrolments import Enrolments, write_broker_files
from ingest.tied import tied
from tests.processes import end
from tools.faults.outcome import until

START_S = 20.0


def mosquitto_program() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Mosquitto:
    """Runs from `__init__` to `stop`, on one port. Who is enrolled when it starts may enter. Its log tells each
    refusal only where `tells_all`: it then tells each message, too."""

    def __init__(self, folder: Path, enrolments: Enrolments, inventory: Inventory, *, tells_all: bool) -> None:
        self._folder, self._enrolments, self._inventory = folder, enrolments, inventory
        self._tells = "all" if tells_all else "error"
        self.log, self.memory = folder / "log", folder / "memory"
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = server.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self._port}"
        folder.mkdir()
        self.start()

    def start(self) -> None:
        """Returns when it listens."""
        write_broker_files(self._folder, mosquitto_files(self._enrolments.credentials, self._inventory, self._folder))
        self.memory.mkdir(exist_ok=True)
        config = self._folder / "mosquitto.conf"
        ours = (self._folder / "lunchong.conf").read_text(encoding="utf-8")
        as_user = "user root\n" if os.geteuid() == 0 else ""
        config.write_text(
            f"listener {self._port} 127.0.0.1\n{as_user}persistence true\npersistence_location {self.memory}/\n"
            f"log_dest stderr\nlog_type {self._tells}\n{ours}",
            encoding="utf-8",
        )
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied([mosquitto_program() or "mosquitto", "-c", str(config)]), stdout=log, stderr=log
            )
        until(self._listens, START_S, "mosquitto listens")

    def kill(self) -> None:
        """kill -9. What it had on disk is thrown away, as after a power cut."""
        end(self._process, signal.SIGKILL)
        self.memory.rename(self.memory.with_name(f"gone-{time.monotonic_ns()}"))

    def stop(self) -> None:
        end(self._process)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False
