"""Floor 1 · What became of a device's messages, and how ingest itself is."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from ingest.clock import rfc3339
from ingest.conditions import device_conditions
from ingest.memory import DeviceMemory
from ingest.messages import Condition, Severity
from ingest.spooling import Damage, SpoolSize

OUTCOMES = ("received", "duplicate", "hole", "dropped", "lost", "skewed", "dead")
"""What became of a device's messages, as its account counts it and every list shows it."""

LATE_MS = 60_000
"""The store is late when the oldest batch of the spool waits longer than this, in service time."""

SERVICE_CODES = {
    "disk_full": "the spool takes no commit; devices hold their readings",
    "store_unavailable": "the store takes nothing; readings stay in the spool",
    "store_late": "history is behind: the spool's oldest batch waits for over a minute",
    "rollup_failed": "hours and days are not counted up; readings are stored",
    "ingest_error": "a mistake of ours made ingest begin again; messages are taken one by one for a minute",
    "spool_damaged": "acknowledged batches were gone from the spool at start",
}
"""Every code that `service/ingest` can carry, with its meaning."""


class DeviceAccount(Struct, frozen=True, kw_only=True):
    """Counts since the device was first heard. `hole` may still come; `lost` will not, and nothing explains it."""

    site: str
    device: str
    received: int
    duplicate: int
    hole: int
    dropped: int
    lost: int
    skewed: int
    dead: int
    boots: int
    online: bool
    heard_ms: int | None
    conditions: list[Condition] = []


class IngestStatus(Struct, frozen=True, kw_only=True):
    """`complete_until_ms`: history is whole up to here, for what was received. Ages are service time."""

    accepting: bool
    connected: bool
    conditions: list[Condition]
    spool_rows: int
    spool_bytes: int
    spool_age_s: float
    complete_until_ms: int


def account(memory: DeviceMemory) -> DeviceAccount:
    record = memory.record
    return DeviceAccount(
        site=record.site,
        device=record.device,
        received=record.received,
        duplicate=record.duplicates,
        hole=memory.missing(),
        dropped=memory.dropped(),
        lost=memory.lost(),
        skewed=record.skewed,
        dead=record.dead,
        boots=len(record.order),
        online=record.online,
        heard_ms=record.heard_ms,
        conditions=device_conditions(memory),
    )


def service_conditions(
    *,
    full: tuple[int, str] | None,
    away: tuple[int, str] | None,
    uncounted: tuple[int, str] | None = None,
    failed: tuple[int, str] | None = None,
    size: SpoolSize,
    damage: Iterable[Damage],
    now_ms: int,
) -> list[Condition]:
    """What is wrong with ingest itself; each but `size` and `damage` is (since when in service time, why)."""
    found: list[Condition] = []
    if full is not None:
        found.append(Condition(code="disk_full", since=rfc3339(full[0]), severity="critical", evidence=full[1]))
    if away is not None:
        found.append(Condition(code="store_unavailable", since=rfc3339(away[0]), severity="warning", evidence=away[1]))
    if size.oldest_ms is not None and now_ms - size.oldest_ms > LATE_MS:
        evidence = f"history is complete until {rfc3339(size.oldest_ms)}"
        found.append(Condition(code="store_late", since=rfc3339(size.oldest_ms), severity="warning", evidence=evidence))
    if uncounted is not None:
        since = rfc3339(uncounted[0])
        found.append(Condition(code="rollup_failed", since=since, severity="warning", evidence=uncounted[1]))
    if failed is not None:
        found.append(Condition(code="ingest_error", since=rfc3339(failed[0]), severity="warning", evidence=failed[1]))
    for gone in damage:
        batches = gone.last_no - gone.first_no + 1
        evidence = f"batches {gone.first_no} to {gone.last_no} were gone; {gone.stored} of {batches} had been stored"
        severity: Severity = "warning" if gone.stored == batches else "critical"
        since = rfc3339(gone.found_ms)
        found.append(Condition(code="spool_damaged", since=since, severity=severity, evidence=evidence))
    return found
