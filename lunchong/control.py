"""The socket in the data folder: a running server's office for commands started beside it.

One POST a method, arguments and answer as JSON. Who may enter the folder may use it.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from ingest.facts import DeadLetter
from lunchong.data_folder import SOCKET
from lunchong.errors import UsageError, UserError
from lunchong.office import FOR_NOW, EnrolKind, Enrolled, Health, IngestNow, Office

METHODS = ("enroll", "dead_letters", "retry_dead", "purge_dead", "inventory_text", "health", "ingest")
ANSWER_WITHIN_S = 30.0
T = TypeVar("T")

_KINDS: tuple[Any, ...] = (
    dict[str, object], Enrolled, list[DeadLetter], tuple[int, int], int, str, Health, IngestNow,
)  # fmt: skip
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in _KINDS}


def answer(office: Office, method: str, body: bytes) -> tuple[int, bytes]:
    """HTTP status and body for one call."""
    if method not in METHODS:
        return 404, msgspec.json.encode(f"the office knows no {method!r}")
    try:
        result = getattr(office, method)(**_DECODERS[dict[str, object]].decode(body))
        return 200, msgspec.json.encode(result)
    except FOR_NOW as error:
        return 422 if isinstance(error, UsageError) else 409, msgspec.json.encode(str(error))


class RemoteOffice:
    """The office of the server that runs on a data folder."""

    def __init__(self, folder: Path, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._folder, self._within_s = folder, answer_within_s

    def enroll(self, what: EnrolKind, site: str, name: str) -> Enrolled:
        return self._call("enroll", Enrolled, what=what, site=site, name=name)

    def dead_letters(self, limit: int, after: str | None) -> list[DeadLetter]:
        return self._call("dead_letters", list[DeadLetter], limit=limit, after=after)

    def retry_dead(self, ids: list[str] | None) -> tuple[int, int]:
        return self._call("retry_dead", tuple[int, int], ids=ids)

    def purge_dead(self, ids: list[str] | None, before_ms: int | None) -> int:
        return self._call("purge_dead", int, ids=ids, before_ms=before_ms)

    def inventory_text(self) -> str:
        return self._call("inventory_text", str)

    def health(self) -> Health | None:
        return self._call("health", Health)

    def ingest(self) -> IngestNow | None:
        return self._call("ingest", IngestNow)

    def _call(self, method: str, kind: type[T], **arguments: object) -> T:
        try:
            status, body = self._post(method, msgspec.json.encode(arguments))
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"the server that holds {self._folder} does not answer: {error}") from None
        if status == 200:
            return cast(T, _DECODERS[kind].decode(body))
        try:
            said = _DECODERS[str].decode(body)
        except msgspec.MsgspecError:
            said = f"the server that holds {self._folder} failed with status {status}: its log says why"
        raise UsageError(said) if status == 422 else UserError(said)

    def _post(self, method: str, body: bytes) -> tuple[int, bytes]:
        with _short_path(self._folder) as path, socket.socket(socket.AF_UNIX) as line:
            line.settimeout(self._within_s)
            line.connect(path)
            connection = http.client.HTTPConnection("lunchong")
            connection.sock = line
            connection.request("POST", f"/{method}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()


def bound_socket(folder: Path) -> socket.socket:
    """The listening end, for the process that holds the folder: what an earlier one left is replaced."""
    (folder / SOCKET).unlink(missing_ok=True)
    line = socket.socket(socket.AF_UNIX)
    with _short_path(folder) as path:
        line.bind(path)
    (folder / SOCKET).chmod(0o600)
    return line


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A path of the socket that fits into the 108 bytes of its address, however deep the folder lies."""
    inside = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{inside}/{SOCKET}"
    finally:
        os.close(inside)


def is_running(folder: Path) -> bool:
    """Whether a server answers on the folder's socket."""
    if not (folder / SOCKET).exists():
        return False
    with _short_path(folder) as path, socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_WITHIN_S)
        return line.connect_ex(path) == 0
