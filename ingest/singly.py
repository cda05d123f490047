"""Floor 2 · One message at a time with every doubt: a boot used twice, a seq seen before, a clock that is wrong.

`ingest.runs` takes the usual case, many at a time; what becomes of a message is the same.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec import json, msgpack

from ingest.assets import Device
from ingest.boots import first_hash_says_reused
from ingest.clock import Now
from ingest.codec import Refused
from ingest.draft import Draft
from ingest.follow import arrive
from ingest.memory import DeviceMemory
from ingest.messages import Telemetry
from ingest.rows import instrument, reading, row, shift_of
from ingest.skew import judge_message

INTERNAL_ERROR = "internal_error"


def take_message(
    draft: Draft,
    memory: DeviceMemory,
    message: Telemetry,
    ts_ms: int,
    device: Device,
    now: Now,
    *,
    judge_skew: bool,
    buried: bool = False,
    counted: bool = False,
) -> bool:
    """Take one message in. True if a state changed that people wait for.

    One that was `buried` as a dead letter is taken though its seq was seen; one `counted` counts as received already.
    """
    record = memory.record
    if message.seq == 1:
        _check_first(memory, message, now)
    boot, known = memory.boot(message.boot)
    if not draft.remember(memory, device.name, boot, message.boot, message.seq) and not buried:
        record.duplicates += 1
        return False
    record.received += not counted
    known.came_ms = now.service_ms
    effective_ms = ts_ms
    if judge_skew:
        known.clock, effective_ms = judge_message(known.clock, message.seq, ts_ms, now.service_ms)
    skewed = effective_ms != ts_ms
    record.skewed += skewed
    if not memory.apart(boot, effective_ms, effective_ms):
        known.shift = shift_of(boot)
    known.reach(effective_ms, effective_ms)
    measurement, cells = row(message, record.site, record.device, boot, ts_ms, effective_ms, skewed, known.shift)
    if device.kind == "pile":
        changed = arrive(memory, boot, message.seq, reading(message, boot, effective_ms))
        draft.keep_sessions(changed)
    urgent = memory.keep_latest(instrument(message), boot, effective_ms, message)
    draft.rows[measurement].append(cells)  # last: what made us fail before is not stored, and not read again
    return urgent


def refusal(reason: str, message: Telemetry) -> Refused:
    """Of a message that could be read, and still not be taken."""
    return Refused(reason, json.encode(message), message.boot, message.seq)


def bury(draft: Draft, memory: DeviceMemory, topic: str, bad: Refused, now: Now) -> None:
    """A dead letter of a known device: where its seq can be read, it is accounted for and leaves no hole."""
    draft.bury(topic, bad, now)
    if bad.boot is None or bad.seq is None:
        memory.record.dead += 1
        return
    boot, _known = memory.boot(bad.boot)
    new = draft.remember(memory, memory.name, boot, bad.boot, bad.seq)
    if new or bad.reason == INTERNAL_ERROR:
        memory.record.dead += 1
    else:
        memory.record.duplicates += 1
    if memory.record.lives and (new or bad.reason == INTERNAL_ERROR):
        draft.keep_sessions(arrive(memory, boot, bad.seq, None))


def _check_first(memory: DeviceMemory, message: Telemetry, now: Now) -> None:
    reused = first_hash_says_reused(memory, message.boot, sha256(msgpack.encode(message)).hexdigest()[:16])
    if reused is not None:
        memory.hold("boot_reuse", now, f"started again under boot {message.boot}; kept apart as {reused}")
