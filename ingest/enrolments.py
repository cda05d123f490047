"""Floor 3 · The file of who is enrolled: `credentials.json`, readable by its owner alone."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from ingest.credentials import SERVICE_ACCESS, Credential, Kind, credential, new_secret
from ingest.topics import SERVICE

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class EnrolmentError(Exception):
    """A name cannot be enrolled, or the file not be read or written; one line says which and why."""


class ServiceKey(NamedTuple):
    """How a process of ours logs in. Its client id is a secret too: who uses the same one would push it out."""

    username: str
    password: str
    client_id: str


class _File(msgspec.Struct):
    v: Literal[1] = 1
    credentials: list[Credential] = []
    services: dict[str, ServiceKey] = {}


_decoder = msgspec.json.Decoder(_File)


class Enrolments:
    """Enrolled users of the bus. Every change is on disk when the method returns; passwords are shown once.

    Enrolling a name again gives it a new password and ends the old one. A service keeps what it was given first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._services: dict[str, ServiceKey] = {}
        self._users: dict[str, Credential] = {}
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise EnrolmentError(f"cannot read {path}: {error.strerror}") from None
        try:
            file = _decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise EnrolmentError(f"{path} is not a file of enrolments: {error}") from None
        self._services = file.services
        self._users = {user.username: user for user in file.credentials}

    @property
    def credentials(self) -> list[Credential]:
        return list(self._users.values())

    def enroll_device(self, site: str, device: str) -> tuple[str, str]:
        """(username, password) of a device."""
        return self._enroll(_device_name(site, device), "device")

    def enroll_gateway(self, site: str) -> tuple[str, str]:
        """(username, password) of a gateway that speaks for each device of `site`."""
        return self._enroll(f"{_checked_site(site)}/+", "gateway")

    def enroll_reader(self, name: str) -> tuple[str, str]:
        """(username, password) of a program that reads states and sessions."""
        return self._enroll(_checked(name), "reader")

    def enroll_devices(self, names: Iterable[str]) -> dict[str, str]:
        """The passwords of many devices, by `SITE/DEVICE`, with one write."""
        passwords = {_device_name(*name.split("/", 1)): new_secret() for name in names}
        self._users |= {name: credential(name, "device", password) for name, password in passwords.items()}
        self._save()
        return passwords

    def remove(self, username: str) -> bool:
        """End a user's access; whether there was one."""
        if self._users.pop(username, None) is None:
            return False
        self._save()
        return True

    def held(self, name: str) -> ServiceKey | None:
        """The key of one of our own processes, where it has been made already."""
        return self._services.get(name)

    def service(self, name: str) -> ServiceKey:
        """The key of one of our own processes, made when first asked for."""
        if name not in SERVICE_ACCESS:
            raise ValueError(f"no service is called {name!r}")
        key = self._services.get(name)
        if key is None or key.username not in self._users:
            key = ServiceKey(f"{SERVICE}/{name}", new_secret(), f"{name}-{secrets.token_hex(16)}")
            self._services[name] = key
            self._users[key.username] = credential(key.username, "service", key.password)
            self._save()
        return key

    def _enroll(self, username: str, kind: Kind) -> tuple[str, str]:
        password = new_secret()
        self._users[username] = credential(username, kind, password)
        self._save()
        return username, password

    def _save(self) -> None:
        file = _File(credentials=list(self._users.values()), services=self._services)
        write_private(self.path, msgspec.json.format(msgspec.json.encode(file), indent=1))


def _device_name(site: str, device: str = "") -> str:
    return f"{_checked_site(site)}/{_checked(device)}"


def _checked_site(site: str) -> str:
    if site == SERVICE:
        raise EnrolmentError(f"no site may be called {SERVICE!r}: that is the name of our own processes")
    return _checked(site)


def _checked(name: str) -> str:
    """A broker's files give other characters a meaning of their own."""
    if not _ID.fullmatch(name):
        raise EnrolmentError(f"{name!r} is no name: use 1 to 32 letters, digits, _ or -")
    return name


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file whole and synced: a reader sees the old one or the new one. Raises EnrolmentError."""
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise EnrolmentError(f"cannot write {path}: {error.strerror}") from None


def make_for_others(folder: Path, mode: int) -> None:
    """A folder that is missing, with those on the way to it, which others may pass. Raises EnrolmentError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        for one in reversed(missing):
            one.mkdir()
            one.chmod(mode if one == folder else 0o755)
    except OSError as error:
        raise EnrolmentError(f"cannot make {folder}: {error.strerror}") from None


def write_broker_files(folder: Path, files: dict[str, str]) -> None:
    """Put a broker's generated files where it reads them.

    The group may read them: give the folder the broker's group and the set-group-id bit, so that the broker, which
    runs as another user, can. Raises EnrolmentError.
    """
    make_for_others(folder, 0o750)
    for name, text in files.items():
        write_private(folder / name, text.encode(), 0o640)
