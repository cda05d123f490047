"""Floor 2 · What is found again from the store: sessions after a filled hole or a restart, memory after damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, convert

from ingest.assets import Device
from ingest.clock import Now
from ingest.facts import PILE_COLUMNS, Batch, DeadLetter, Reading, Session
from ingest.memory import DeviceMemory
from ingest.mending import Mended, mend, order_boots, refill
from ingest.pipeline import Pipeline
from ingest.prepared import prepared
from ingest.spooling import Damage, Spool
from ingest.store import TelemetryStore
from ingest.topics import split_topic

READING = prepared(Reading)
WINDOW_MS = 3 * 24 * 3_600_000
"""How far back is looked first; the whole history only where no closed session is found in this."""
MOST_PENDING_ROWS = 50_000
"""Rows that the store may be behind while sessions are derived again; beyond, that waits."""
_SITE, _DEVICE, _CONNECTOR = (PILE_COLUMNS.index(name) for name in ("site", "device", "connector"))


class Stored(Struct, frozen=True):
    """What the store has of a pile since a time: sessions that ended since or are open, readings by connector."""

    since_ms: int
    sessions: list[Session]
    readings: dict[int, list[Reading]]


def look_back_to(memory: DeviceMemory) -> int:
    """From when on the stored is wanted to derive a device's sessions again."""
    return 0 if memory.unfilled else max(0, (memory.record.heard_ms or 0) - WINDOW_MS)


def look_up(store: TelemetryStore, device: Device, since_ms: int) -> Stored:
    """Raises StoreUnavailable."""
    sessions = store.sessions_after(device.site, device.id, since_ms)
    numbers = [spec.id for spec in device.connectors]
    return Stored(since_ms, sessions, {no: store.readings(device.site, device.id, no, since_ms) for no in numbers})


def mend_device(memory: DeviceMemory, device: Device, stored: Stored, pending: list[Batch]) -> list[Mended] | None:
    """Derive a device's sessions again where its record asks for it, from what is stored and what is on its way there.

    None where that does not go back far enough: then the whole history is wanted.
    """
    record = memory.record
    known = _sessions(stored.sessions, pending, device)
    numbers = [spec.id for spec in device.connectors if spec.id in stored.readings]
    if stored.since_ms > look_back_to(memory) or (
        stored.since_ms and not all(_has_start(memory, known.values(), number) for number in numbers)
    ):
        return None
    readings: dict[int, list[Reading]] = {}
    for number in numbers:
        said = {(r.boot, r.seq): r for r in stored.readings[number]}
        said.update({(r.boot, r.seq): r for r in _readings(pending, device, number)})
        readings[number] = list(said.values())
    found: list[Mended] = []
    if record.mend_from is not None:
        for number in numbers:
            mine = [session for session in known.values() if session.connector == number]
            found.append(mend(memory, number, readings[number], mine))
    if memory.unfilled:
        refill(memory, [reading for some in readings.values() for reading in some])
    return found


def recover(pipeline: Pipeline, spool: Spool, store: TelemetryStore, now: Now) -> Damage | None:
    """After a spool was found damaged: learn again from the store what was seen. Returns what is gone.

    What was learned is in the pipeline's draft; the damage may be recorded once that is committed.
    """
    if spool.lost is None:
        return None
    first, last = spool.lost.first_no, spool.lost.last_no
    stored_to = store.drained(spool.lost.spool)
    since = (spool.id, first - 1) if spool.lost.spool == spool.id and first > 1 else None
    touched: set[str] = set()
    for site, device, boot, lo, hi, _rows in store.stored(since):
        pipeline.relearn(f"{site}/{device}", boot, lo, hi)
        touched.add(f"{site}/{device}")
    for letter in all_dead_letters(store):
        name, _leaf = split_topic(letter.topic) or ("", "")
        if letter.boot is not None and letter.seq is not None and pipeline.device(name) is not None:
            pipeline.relearn(name, letter.boot, letter.seq, letter.seq)
    for name in touched:
        device_now = pipeline.device(name)
        if device_now is not None:
            _derive_whole(pipeline.devices[name], device_now, store)
    return Damage(first, last, min(max(stored_to - first + 1, 0), last - first + 1), now.service_ms)


def all_pending(spool: Spool, drained: int) -> Iterator[Batch]:
    """What the store does not have yet, in order, some at a time."""
    while batches := spool.pending(drained, MOST_PENDING_ROWS):
        yield from batches
        drained = batches[-1].no


def all_dead_letters(store: TelemetryStore) -> Iterator[DeadLetter]:
    """Every dead letter, newest first, a page at a time."""
    after: str | None = None
    while letters := store.dead_letters(limit=500, after=after):
        yield from letters
        after = letters[-1].id


def _derive_whole(memory: DeviceMemory, device: Device, store: TelemetryStore) -> None:
    """Everything stored of a pile is derived again, in the order of its boots by time."""
    record = memory.record
    if not device.connectors or not record.order:
        return
    order_boots(memory, [r for spec in device.connectors for r in store.readings(device.site, device.id, spec.id, 0)])
    record.at_boot = record.order[-1]
    record.next_seq = memory.seen[record.at_boot].highest + 1
    record.mend_from = (record.order[0], 0)
    memory.waiting.clear()
    memory.unfilled = False


def _has_start(memory: DeviceMemory, sessions: Iterable[Session], connector: int) -> bool:
    if memory.record.mend_from is None:
        return True
    fill = (memory.place(memory.record.mend_from[0]), memory.record.mend_from[1])
    return any(
        session.connector == connector
        and session.close_boot is not None
        and memory.place(session.close_boot) >= 0
        and (memory.place(session.close_boot), session.close_seq or 0) < fill
        for session in sessions
    )


def _sessions(stored: list[Session], pending: list[Batch], device: Device) -> dict[str, Session]:
    """What the store will say once it has taken what is pending."""
    known = {session.id: session for session in stored}
    for batch in pending:
        for gone in batch.withdrawn:
            known.pop(gone, None)
        for session in batch.sessions:
            if (session.site, session.device) == (device.site, device.id):
                known[session.id] = session
    return known


def _readings(pending: list[Batch], device: Device, connector: int) -> list[Reading]:
    found = []
    for batch in pending:
        for cells in batch.pile:
            if (cells[_SITE], cells[_DEVICE], cells[_CONNECTOR]) == (device.site, device.id, connector):
                row = dict(zip(PILE_COLUMNS, cells, strict=True))
                said = {"at_ms": int(row["at_ns"] or 0) // 1_000_000, **row}
                found.append(convert({name: said[name] for name in Reading.__struct_fields__}, READING))
    return found
