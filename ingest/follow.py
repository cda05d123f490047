"""Floor 0 · A pile's messages in the order it said them, whatever order they came in; from there to sessions.

Derivation stands at one place of a device, (boot, seq). What comes further on waits for the hole before it: until the
hole is filled, explained as dropped, of an ended boot, or `HOLE_MS` of service time passed without progress. Then the
hole is passed, and the sessions around it are incomplete. What fills a passed hole is noted for `ingest.mending`.
"""

from __future__ import annotations

from ingest.clock import Now
from ingest.facts import Reading, Session
from ingest.memory import DeviceMemory
from ingest.ranges import Ranges
from ingest.sessions import Life, advance

HOLE_MS = 2 * 60_000
HOLE_MIN_WALL_S = 2.0
"""On a fast clock two minutes are nothing: a device must have had time to send again."""


def arrive(memory: DeviceMemory, boot: str, seq: int, said: Reading | None) -> list[Session]:
    """One message, new to us. Returns the sessions that changed by what could be derived at once."""
    record = memory.record
    if record.at_boot is None:
        record.at_boot, record.next_seq = record.order[0], 1
    if boot == record.at_boot and seq == record.next_seq:
        record.next_seq += 1
        changed = _live(memory, said) if said is not None else []
        if memory.behind:
            memory.stuck_ms = None
            changed += _drain(memory)
        return changed
    here = (memory.place(record.at_boot), record.next_seq)
    there = (memory.place(boot), seq)
    if there < here:
        _mend_from(memory, boot, seq)
    else:
        memory.waiting.setdefault(boot, {})[seq] = said
    return []


def settle(memory: DeviceMemory, now: Now) -> list[Session]:
    """Pass the holes that need not be awaited any longer. Returns the sessions that changed."""
    record = memory.record
    changed: list[Session] = []
    while record.at_boot is not None and not memory.unfilled:
        changed += _drain(memory)
        if not memory.waiting:
            break
        hole = _hole_before_next(memory)
        if hole is None:
            _next_boot(memory)
        elif _explained(memory, hole) or _overdue(memory, now):
            changed += _pass(memory, hole)
        else:
            return changed
        memory.stuck_ms = None
    memory.stuck_ms = None
    return changed


def _drain(memory: DeviceMemory) -> list[Session]:
    record = memory.record
    changed: list[Session] = []
    queue = memory.waiting.get(record.at_boot or "")
    if queue and record.next_seq in queue:
        memory.stuck_ms = None
        while record.next_seq in queue:
            said = queue.pop(record.next_seq)
            record.next_seq += 1
            if said is not None:
                changed += _live(memory, said)
    if queue is not None and not queue:
        del memory.waiting[record.at_boot or ""]
    return changed


def _hole_before_next(memory: DeviceMemory) -> tuple[int, int] | None:
    """What is missing at the place of derivation; None if the boot is at its end and the next may begin."""
    record = memory.record
    assert record.at_boot is not None
    queue = memory.waiting.get(record.at_boot)
    if queue:
        return record.next_seq, min(queue) - 1
    last = memory.known_to(record.at_boot)
    if record.next_seq <= last:
        return record.next_seq, last
    boot = record.boots.get(record.at_boot)
    said_its_end = boot is None or boot.ended or boot.final
    return None if said_its_end else (record.next_seq, record.next_seq - 1)


def _explained(memory: DeviceMemory, hole: tuple[int, int]) -> bool:
    boot = memory.record.boots.get(memory.record.at_boot or "")
    return boot is None or boot.ended or (hole[0] <= hole[1] and Ranges(boot.dropped).covers(*hole))


def _overdue(memory: DeviceMemory, now: Now) -> bool:
    if memory.stuck_ms is None:
        memory.stuck_ms, memory.stuck_mono_s = now.service_ms, now.mono_s
        return False
    return now.service_ms - memory.stuck_ms >= HOLE_MS and now.mono_s - memory.stuck_mono_s >= HOLE_MIN_WALL_S


def _pass(memory: DeviceMemory, hole: tuple[int, int]) -> list[Session]:
    lo, hi = hole
    memory.record.next_seq = hi + 1
    if hi < lo:
        _next_boot(memory)
        return []
    return [session for life in memory.record.lives.values() if (session := life.gap()) is not None]


def _next_boot(memory: DeviceMemory) -> None:
    """Go on with the next boot of the order of which anything is known to exist, or is waiting."""
    record = memory.record
    for name in record.order[memory.place(record.at_boot or "") + 1 :]:
        if name in memory.waiting or memory.known_to(name) > 0:
            record.at_boot, record.next_seq = name, 1
            return
    memory.waiting.clear()


def _live(memory: DeviceMemory, said: Reading) -> list[Session]:
    record = memory.record
    life = record.lives.get(said.connector)
    if life is None:
        life = record.lives[said.connector] = Life()
    changed = advance(life, record.site, record.device, said)
    return [] if changed is None else [changed]


def _mend_from(memory: DeviceMemory, boot: str, seq: int) -> None:
    before = memory.record.mend_from
    if before is None or (memory.place(boot), seq) < (memory.place(before[0]), before[1]):
        memory.record.mend_from = (boot, seq)
