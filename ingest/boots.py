"""Floor 0 · What a device says of its starts: which are older, what of them is still kept, what it had to drop."""

from __future__ import annotations

from ingest.memory import BootRecord, DeviceMemory
from ingest.messages import KeptBoot, Status
from ingest.ranges import Ranges

MOST_DROPPED_RANGES = 1_000


def note_status(memory: DeviceMemory, status: Status, *, live: bool) -> None:
    """Take in what a status says of boots. Where their order changes under what was derived, it is derived again.

    `live` is False for a retained delivery: it tells of boots all the same, and ends none.
    """
    record = memory.record
    derived = record.order[: memory.place(record.at_boot) + 1] if record.at_boot is not None else []
    name, own = memory.boot(status.boot)
    own.last_seq = max(own.last_seq, status.last_seq or 0)
    moved = False
    if live and record.order[-1] != name:
        moved |= _move(memory, name, len(record.order) - 1)
    listed = {status.boot}
    newer = name
    for kept in status.boots or []:
        listed.add(kept.boot)
        if kept.boot == status.boot:
            _note_kept(own, kept, memory.seen[name], final=False)
            continue
        inside = record.used_again.get(kept.boot, kept.boot)
        if inside not in record.boots:
            memory.add_boot(inside, kept.boot, memory.place(newer))
        elif memory.place(inside) > memory.place(newer):
            moved |= _move(memory, inside, memory.place(newer))
        _note_kept(record.boots[inside], kept, memory.seen[inside], final=True)
        newer = inside
    if live and status.online:
        for older in record.order[: memory.place(name)]:
            boot = record.boots[older]
            boot.ended = boot.wire not in listed or record.used_again.get(boot.wire, older) != older
    if moved:
        _derive_again(memory, derived)


def first_hash_says_reused(memory: DeviceMemory, wire: str, first_hash: str) -> str | None:
    """Compare a message with seq 1 with the first that this boot had. Returns the new inside name (`BOOT~2`) if the
    device started again under a name that it had used; None for a first message or the same one again."""
    record = memory.record
    inside = record.used_again.get(wire, wire)
    boot = record.boots.get(inside)
    if boot is None or (boot.first_hash is None and 1 not in memory.seen[inside]):
        _name, boot = memory.boot(wire)
        boot.first_hash = first_hash
        return None
    if boot.first_hash is None or boot.first_hash == first_hash:
        return None
    if any(other.first_hash == first_hash for other in record.boots.values() if other.wire == wire):
        return None
    again = 2
    while f"{wire}~{again}" in record.boots:
        again += 1
    boot.ended = True
    record.used_again[wire] = f"{wire}~{again}"
    name, new = memory.boot(wire)
    new.first_hash = first_hash
    return name


def _note_kept(boot: BootRecord, kept: KeptBoot, seen: Ranges, *, final: bool) -> None:
    boot.last_seq = max(boot.last_seq, kept.last_seq)
    boot.final = boot.final or final
    dropped = Ranges([*boot.dropped, *kept.dropped_ranges])
    if len(list(dropped)) > MOST_DROPPED_RANGES:
        for lo, hi in seen:
            dropped.add_range(lo, hi)  # what came is no hole: said to be dropped, it joins its neighbours
    boot.dropped = list(dropped)[-MOST_DROPPED_RANGES:]


def _move(memory: DeviceMemory, boot: str, place: int) -> bool:
    """Put a boot elsewhere in the order; True if that touches what was derived already."""
    record = memory.record
    derived_to = memory.place(record.at_boot) if record.at_boot is not None else -1
    was = memory.place(boot)
    record.order.remove(boot)
    record.order.insert(min(place, len(record.order)), boot)
    return min(was, place) <= derived_to and bool(memory.seen[boot])


def _derive_again(memory: DeviceMemory, derived: list[str]) -> None:
    record = memory.record
    last = max(derived, key=memory.place)
    if last != record.at_boot:
        record.at_boot, record.next_seq = last, memory.seen[last].highest + 1
    record.mend_from = (record.order[0], 0)
    memory.waiting.clear()
    memory.unfilled = True
