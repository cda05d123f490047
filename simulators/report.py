"""Floor 0 · One thing that a device has to say, before it has a boot and a seq."""

from __future__ import annotations

from typing import NamedTuple


class Report(NamedTuple):
    """When it became true, in service milliseconds, and the fields of its kind, `kind` first."""

    ts_ms: int
    fields: dict[str, object]
