"""A real PostgreSQL for the tests, from Debian's package, on a free port and a folder that goes with it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ingest.tied import tied
from tests.brokers import free_port
from tests.processes import end

MISSING = "PostgreSQL is missing: apt-get install postgresql"
UP_WITHIN_S = 30.0
ROOTS_STAND_IN = "postgres"


def postgresql_folder() -> Path | None:
    """The newest one's programs, or None where this machine has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A server of one's own, that may be killed and started again. PostgreSQL refuses to run as root."""

    def __init__(self) -> None:
        programs = postgresql_folder()
        if programs is None:
            pytest.skip(MISSING)
        self._programs = programs
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="lunchong-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self.folder, ROOTS_STAND_IN)
        initdb = ("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")
        subprocess.run([*self._as_nobody_special(*initdb), str(self.folder / "data")], check=True, capture_output=True)
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        here = ("-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder))
        settings = ("listen_addresses=127.0.0.1", "max_connections=200", "shared_buffers=64MB")
        command = self._as_nobody_special("postgres", *here, *(f"--{setting}" for setting in settings))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command if os.geteuid() == 0 else tied(command), stdout=log, stderr=log)
        deadline_s = time.monotonic() + UP_WITHIN_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2_000:]
            assert time.monotonic() < deadline_s, "postgres does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9; `start` brings it back."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        end(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """An empty database of the caller's own; its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(6)}"
        self._ask(f'CREATE DATABASE "{name}"')
        yield f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"
        self._ask(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _ask(self, statement: str) -> None:
        with psycopg.connect(self._where(), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._where(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _where(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def _as_nobody_special(self, program: str, *arguments: str) -> list[str]:
        """As another than root, and ended with us. The other cannot read what stands below our own folders."""
        command = [str(self._programs / program), *arguments]
        if os.geteuid() != 0:
            return command
        other = (f"--reuid={ROOTS_STAND_IN}", f"--regid={ROOTS_STAND_IN}", "--init-groups", "--pdeathsig=QUIT")
        return ["setpriv", *other, *command]
