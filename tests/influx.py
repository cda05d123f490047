"""A real InfluxDB for the tests: a server of our own on a free port, or one that the environment names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ingest.influx_setup import prepare
from ingest.tied import tied
from tests.brokers import free_port
from tests.processes import end

ROOT = Path(__file__).resolve().parents[1]
ORG = "lunchong"
TOKEN = "the-token-of-the-tests"
UP_WITHIN_S = 60.0
NO_TOKEN = "INFLUX_URL names an InfluxDB for the tests: set INFLUX_TOKEN too, to a token that may make buckets there"
MISSING = "InfluxDB is missing: tools/influxd install"


@cache
def influxd_program() -> str | None:
    """The path of influxd, or None where this machine has none."""
    found = subprocess.run([ROOT / "tools" / "influxd", "find"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def check_environment() -> None:
    """Raises where the environment names a server of somebody's without what it takes to use it."""
    if os.environ.get("INFLUX_URL") and not os.environ.get("INFLUX_TOKEN"):
        raise pytest.UsageError(NO_TOKEN)


def want_influxd() -> str:
    """The path of influxd; without it the test is skipped, or fails where REQUIRE_INFLUXD=1 says that it must run."""
    program = influxd_program()
    if program is None:
        if os.environ.get("REQUIRE_INFLUXD") == "1":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return program


class Server(NamedTuple):
    """A server that is up, whoever started it."""

    url: str
    token: str
    org: str = ORG

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call of its HTTP API, as its operator."""
        request = urllib.request.Request(
            f"{self.url}/api/v2/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def org_id(self) -> str:
        return self.ask("GET", f"orgs?org={self.org}")["orgs"][0]["id"]

    def new_token(self) -> tuple[str, str]:
        """(id, token) of one that may read and write every bucket, to be revoked with `set_token`."""
        rights = [{"action": action, "resource": {"type": "buckets"}} for action in ("read", "write")]
        made = self.ask("POST", "authorizations", {"orgID": self.org_id(), "permissions": rights})
        return made["id"], made["token"]

    def set_token(self, token_id: str, *, active: bool) -> None:
        self.ask("PATCH", f"authorizations/{token_id}", {"status": "active" if active else "inactive"})

    def bucket_id(self, name: str) -> str:
        return self.ask("GET", f"buckets?name={name}")["buckets"][0]["id"]

    def drop_bucket(self, name: str) -> None:
        for bucket in self.ask("GET", f"buckets?name={name}")["buckets"]:
            self.ask("DELETE", f"buckets/{bucket['id']}")


class Influxd:
    """A server of one's own, with an organisation and a token, that may be stopped, killed and started again."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.server = Server(f"http://127.0.0.1:{self.port}", TOKEN)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()
        self._onboard()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def token(self) -> str:
        return self.server.token

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        program = want_influxd()
        command = [
            program,
            *("--bolt-path", str(self.folder / "influxd.bolt"), "--engine-path", str(self.folder / "engine")),
            *("--http-bind-address", f"127.0.0.1:{self.port}", "--log-level", "error"),
            *("--reporting-disabled", "--no-tasks", "--ui-disabled", "--pprof-disabled", "--metrics-disabled"),
        ]
        with (self.folder / "influxd.log").open("ab") as log:
            self._process = subprocess.Popen(tied(command), stdout=log, stderr=log)
        deadline_s = time.monotonic() + UP_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "influxd.log").read_text()[-2_000:]
            assert time.monotonic() < deadline_s, "influxd does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9; `start` brings it back."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As its operator stops it; `start` brings it back."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def _end(self, by: signal.Signals) -> None:
        if self._process is not None:
            end(self._process, by)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _onboard(self) -> None:
        with urllib.request.urlopen(f"{self.url}/api/v2/setup", timeout=30) as answer:
            if not json.loads(answer.read())["allowed"]:
                return
        who = {"username": "tests", "password": "a long password", "org": ORG, "bucket": "unused", "token": TOKEN}
        self.server.ask("POST", "setup", who)


@contextmanager
def running(folder: Path) -> Iterator[Influxd]:
    """A server for the time of a block; its data go with it."""
    influxd = Influxd(folder)
    try:
        yield influxd
    finally:
        influxd.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def some_server(folder: Path) -> Iterator[Server]:
    """The server that INFLUX_URL and INFLUX_TOKEN name, else one of our own."""
    if url := os.environ.get("INFLUX_URL"):
        yield Server(url, os.environ["INFLUX_TOKEN"], os.environ.get("INFLUX_ORG", ORG))
        return
    with running(folder) as influxd:
        yield influxd.server


@contextmanager
def fresh_buckets(server: Server, retention_days: int = 0) -> Iterator[str]:
    """The prefix of buckets that nobody used before; they go afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    prepare(server.url, server.token, org=server.org, prefix=prefix, retention_days=retention_days)
    try:
        yield prefix
    finally:
        for name in (prefix, f"{prefix}_facts", f"{prefix}_rollups"):
            try:
                server.drop_bucket(name)
            except (urllib.error.URLError, OSError):
                break  # the server went first
