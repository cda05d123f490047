"""Floor 0 · What a status changes in the memory of its device."""

from __future__ import annotations

from ingest.boots import note_status
from ingest.clock import Now, to_ms
from ingest.facts import SkewMark
from ingest.memory import DeviceMemory
from ingest.messages import Status
from ingest.skew import judge_status


def take_status(
    memory: DeviceMemory, status: Status, now: Now, *, live: bool, queued: bool, judge_skew: bool
) -> SkewMark | None:
    """Take one status in; a will is one with `online: false`. Returns the messages already stored whose clock is now
    found wrong, if any: they keep their time, flagged. `live` and `queued` as in `Pipeline.take`."""
    record = memory.record
    if not status.online:
        if record.status_boot in (None, record.used_again.get(status.boot, status.boot)):
            record.online = False
        return None
    note_status(memory, status, live=live)
    boot, _known = memory.boot(status.boot)
    if live or record.status_boot is None or memory.place(boot) >= memory.place(record.status_boot):
        record.status_boot, record.online = boot, True
        record.interval_s = status.interval_s or record.interval_s
        record.model, record.firmware = status.model, status.firmware
    if not live:
        return None
    memory.hear(now)
    return _judge_clock(memory, boot, status, now, queued) if judge_skew else None


def _judge_clock(memory: DeviceMemory, boot: str, status: Status, now: Now, queued: bool) -> SkewMark | None:
    if status.ts is None:
        return None
    known, stored_to = memory.record.boots[boot], memory.seen[boot].highest
    last_seq = stored_to if status.last_seq is None else status.last_seq
    before = known.clock.offsets
    known.clock = judge_status(known.clock, to_ms(status.ts), last_seq, now.service_ms, queued=queued)
    if known.clock.offsets == before or not stored_to or not known.clock.offset_at(stored_to):
        return None
    first = known.clock.offsets[-1].from_seq
    return SkewMark(memory.record.site, memory.record.device, boot, first, stored_to) if first <= stored_to else None
