"""Floor 1 · What the API needs of others: ingest's accounts, a way to devices, a book for troubles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ingest.messages import AnyCommand, CommandResult, Condition

TroubleKind = Literal["broken", "blocked", "other"]


class DeviceAccount(Protocol):
    """What became of a device's messages, as counts since its account began."""

    @property
    def site(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def received(self) -> int: ...
    @property
    def duplicate(self) -> int: ...
    @property
    def hole(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def skewed(self) -> int: ...
    @property
    def dead(self) -> int: ...


class IngestStatus(Protocol):
    @property
    def accepting(self) -> bool: ...
    @property
    def conditions(self) -> Sequence[Condition]: ...
    @property
    def spool_rows(self) -> int: ...
    @property
    def spool_bytes(self) -> int: ...
    @property
    def spool_age_s(self) -> float: ...
    @property
    def complete_until_ms(self) -> int | None: ...


class IngestView(Protocol):
    """Ingest as staff see it, when it runs in this process."""

    def accounts(self) -> Sequence[DeviceAccount]: ...
    def status(self) -> IngestStatus: ...


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
    def add(self, trouble: Trouble) -> None:
        """Keep it durably, or raise BookUnavailable."""

    def newest(self, limit: int) -> list[Trouble]: ...

    def count(self) -> int: ...
