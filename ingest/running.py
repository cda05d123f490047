"""Floor 1 · What the ingest process is given: its settings, and the clocks of the process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct

from ingest.messages import ClockReading


class Clock(Protocol):
    """The clocks of the running process."""

    judges_skew: bool

    @property
    def speed(self) -> float: ...
    @property
    def reading(self) -> ClockReading: ...
    def wall_ms(self) -> int: ...
    def mono_s(self) -> float: ...
    def service_ms(self) -> int: ...
    def heard(self, device: str, ts_ms: int) -> None: ...


class IngestSettings(Struct, frozen=True, kw_only=True):
    """`retention_days` 0 keeps raw rows for ever."""

    data_dir: Path
    mqtt_url: str
    username: str
    password: str
    client_id: str
    retention_days: int = 90
    version: str = "0"
    ca_file: Path | None = None
    pinned_cert: Path | None = None
