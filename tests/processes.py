"""The command `lunchong` as a user runs it: one call to its end, or a server that is up until the test is over."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from lunchong import cli
from tests.brokers import until

COMMAND = [sys.executable, "-m", "lunchong"]
ROOT = Path(__file__).resolve().parents[1]
UP_WITHIN_S = 60.0
FREE_PORTS = {"LUNCHONG_MQTT_LISTEN": "127.0.0.1:0", "LUNCHONG_HTTP_PORT": "0"}


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's own, without settings of the machine it runs on."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("LUNCHONG_")}
    return {**kept, "PYTHONPATH": str(ROOT), **(more or {})}


def lunchong(
    *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lunchong_here(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same in this process, for commands that only ask: it takes a tenth of the time."""
    said, complained, code = io.StringIO(), io.StringIO(), 0
    argv = ["lunchong", *map(str, arguments)]
    with (
        patch.dict(os.environ, environment(env), clear=True),
        patch.object(sys, "argv", argv),
        redirect_stdout(said),
        redirect_stderr(complained),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(argv, code, said.getvalue(), complained.getvalue())


def end(process: subprocess.Popen[bytes], by: signal.Signals = signal.SIGTERM, within_s: float = 15.0) -> None:
    """Ask a child to end, and make it where it does not."""
    process.send_signal(by)
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet asked for its code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Pids of a process's children, and of theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


class Server:
    """`lunchong serve`, or another command that serves, on a data folder and free ports."""

    def __init__(
        self,
        data: Path,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = ("serve",),
        ready: str = "ready.json",
        prefix: Sequence[str] = (),
        seen_as: Callable[[int], Path] | None = None,
    ) -> None:
        self.data, self.env, self._ready_file = data, dict(env or {}), ready
        self._ready_before = self._ready()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe would stop the process once it is full
        self.process = subprocess.Popen(
            [*prefix, *COMMAND, *command, "--data", str(data), *map(str, arguments)],
            env=environment({**FREE_PORTS, **(env or {})}),
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        if seen_as:
            self.data = seen_as(self.process.pid)
        try:
            self.ready: dict[str, Any] = until(self._come_up, UP_WITHIN_S)
        except BaseException:
            self.kill()
            raise

    def _come_up(self) -> dict[str, Any] | None:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self._logged()}")
        ready = self._ready()
        return ready if ready != self._ready_before else None

    def _ready(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.data / self._ready_file).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def http(self) -> str:
        return self.ready["http"]

    @property
    def mqtt(self) -> str:
        return self.ready["mqtt"]

    def get(self, path: str) -> Any:
        """The JSON answer to a staff member's request."""
        request = urllib.request.Request(self.http + path)
        request.add_header("Authorization", f"Bearer {(self.data / 'admin-token').read_text().strip()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def stop(self, number: int = signal.SIGTERM, within_s: float = 10.0) -> int:
        self.process.send_signal(number)
        return self.wait(within_s)

    def wait(self, within_s: float = 10.0) -> int:
        try:
            self.output = self.process.communicate(timeout=within_s)[0].decode()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.errors = self._logged()
        self._log.close()
        return self.process.returncode

    def _logged(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.stop()
        elif not self.process.stdout.closed:
            self.wait()
