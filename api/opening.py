"""Floor 0 · Whether a site is open now, and until which moment that holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, tzinfo

from msgspec import Struct

from ingest.assets import Site
from ingest.clock import from_ms, rfc3339, to_ms
from ingest.opening import next_change, open_at

FAR_MS = 86_400_000


class Opening(Struct, frozen=True):
    open_now: bool
    opens_at: str | None
    holds_until_ms: int
    """From this service time on, ask again."""


def opening_of(site: Site, service_ms: int, zone: tzinfo, is_workday: Callable[[date], bool]) -> Opening:
    """Where no change is in sight, the answer is to be asked again in a day."""
    local = from_ms(service_ms).astimezone(zone)
    open_now = open_at(site.opening, local, is_workday)
    change = next_change(site.opening, local, is_workday) if site.opening else None
    until_ms = to_ms(change) if change else service_ms + FAR_MS
    return Opening(open_now, rfc3339(until_ms) if change and not open_now else None, until_ms)
