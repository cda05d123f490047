"""Floor 2 · Everything the API stands on, handed in by whoever composes the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo

from api.board import Board, Now, Picture
from api.ports import Commands, IngestView, TroubleBook
from api.turns import Turns
from ingest.assets import Inventory
from ingest.store import TelemetryStore

SHANGHAI = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, kw_only=True)
class ApiContext:
    """Clocks are functions: `service_ms` and `wall_ms` in milliseconds since 1970, `mono_s` for technical time-outs.

    `ingest` is None where nothing tells of it, `commands` where nothing may be sent to devices, `turns` where
    none are given; that it answers None is that the ledger was not there yet.
    `trusted_proxies` are addresses or networks whose X-Forwarded-For is believed.
    """

    inventory: Callable[[], Inventory]
    store: TelemetryStore
    board: Board
    service_ms: Callable[[], int]
    mono_s: Callable[[], float]
    wall_ms: Callable[[], int]
    admin_token: str
    trouble: TroubleBook
    speed: Callable[[], float] = lambda: 1.0
    ingest: IngestView | None = None
    commands: Commands | None = None
    turns: Callable[[], Turns | None] | None = None
    trusted_proxies: Sequence[str] = ()
    zone: tzinfo = SHANGHAI
    version: str = "0"

    def now(self) -> Now:
        return Now(self.service_ms(), self.speed())

    def picture(self) -> Picture:
        return self.board.look(self.inventory(), self.now())
