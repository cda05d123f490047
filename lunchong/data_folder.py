"""The data folder: made when missing, held by one process at a time, and the small files that it keeps."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

import msgspec

from ingest.clock import ServiceClock, parse_rfc3339
from ingest.messages import ClockReading
from lunchong.errors import UserError

ADMIN_TOKEN = "admin-token"
CLOCK = "clock.json"
LOCK = "lunchong.lock"
"""Held by whoever has the spool and the credentials: `serve`, `ingest`, or a command while neither runs."""
API_LOCK = "api.lock"
"""Held by whoever serves HTTP: `serve` or `api`."""
API_READY = "ready-api.json"
SOCKET = "lunchong.sock"


_reading = msgspec.json.Decoder(ClockReading)


class FolderError(UserError):
    """The data folder cannot be used; one line says why and what to do."""


class DataFolder:
    """A folder that exists and can be written to. Raises FolderError where it is not so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._locks: list[int] = []
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise FolderError(f"cannot write to the data folder {path}: {error.strerror}") from None

    def hold(self, *names: str) -> None:
        """Keep every other process off this folder, or off what these locks stand for, until `release` or our end."""
        for name in names or (LOCK,):
            try:
                self._locks.append(self._locked(name))
            except OSError as error:
                raise FolderError(f"cannot write {self.path / name}: {error.strerror}") from None

    def _locked(self, name: str) -> int:
        file = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise FolderError(
                f"the data folder {self.path} is in use by process {holder}: stop it, or name another with --data"
            ) from None
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        return file

    def is_held(self, name: str) -> bool:
        """Whether a process, this one too, holds that lock."""
        try:
            with (self.path / name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def release(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def admin_token(self) -> str:
        """The token that staff paths ask for, drawn once and readable by the owner alone."""
        try:
            if kept := (self.path / ADMIN_TOKEN).read_text(encoding="ascii").strip():
                return kept
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise FolderError(f"cannot read {self.path / ADMIN_TOKEN}: {error}") from None
        token = secrets.token_urlsafe(24)
        self.keep(ADMIN_TOKEN, token.encode() + b"\n")
        return token

    def clock(self) -> ServiceClock | None:
        """The clock that was kept, or None in a fresh folder. Raises FolderError when it cannot be read."""
        try:
            kept = _reading.decode((self.path / CLOCK).read_bytes())
            return ServiceClock(parse_rfc3339(kept.wall0), parse_rfc3339(kept.service0), kept.speed)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise FolderError(f"cannot read {self.path / CLOCK}: {error}") from None

    def keep_clock(self, clock: ServiceClock) -> None:
        self.keep(CLOCK, msgspec.json.encode(clock.reading()))

    def keep(self, name: str, content: bytes) -> None:
        """Write one small private file, whole or not at all, and durably."""
        new = self.path / f".{name}.new"
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path / name)
        except OSError as error:
            raise FolderError(f"cannot write {self.path / name}: {error.strerror}") from None

    def forget(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)
