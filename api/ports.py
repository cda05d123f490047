"""Floor 1 · What the API needs of others: ingest's accounts, a way to devices, a book for troubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ingest.accounts import DeviceAccount, IngestStatus
from ingest.messages import AnyCommand, CommandResult

TroubleKind = Literal["broken", "blocked", "other"]


class IngestView(Protocol):
    """Ingest as staff see it; None while it runs in another process and does not answer."""

    def accounts(self) -> Sequence[DeviceAccount] | None: ...
    def status(self) -> IngestStatus | None: ...


class Commands(Protocol):
    """The way to devices."""

    async def send(self, device: str, command: AnyCommand, timeout_s: float) -> CommandResult | None:
        """Publish to `SITE/DEVICE` and wait for its answer; None when none came in time."""


class Trouble(Struct, frozen=True, kw_only=True):
    """What somebody at a pile reported. Nothing about who they are is kept."""

    id: str
    reported_ms: int
    connector: str
    kind: TroubleKind
    note: str


class BookUnavailable(Exception):
    """The trouble was not kept."""


class TroubleBook(Protocol):
    """What waits for staff. Any method may raise BookUnavailable."""

    def add(self, trouble: Trouble) -> None:
        """Keep it durably, or raise BookUnavailable."""

    def newest(self, limit: int) -> list[Trouble]: ...

    def clear(self, trouble_id: str) -> bool:
        """Whether there was such a trouble; it is gone now."""

    def count(self) -> int: ...
