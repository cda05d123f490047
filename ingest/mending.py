"""Floor 0 · Sessions derived again from what is stored, after a passed hole was filled or a restart.

The same readings in the same order give the same sessions as the undisturbed run: what did not happen so is withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import Struct

from ingest.facts import Reading, Session
from ingest.memory import DeviceMemory
from ingest.sessions import Life, advance, measured


class Mended(Struct, frozen=True):
    """Sessions that came out otherwise than they are kept, and those that did not happen."""

    changed: list[Session]
    withdrawn: list[Session]


def order_boots(memory: DeviceMemory, readings: Iterable[Reading]) -> None:
    """Of a device whose record was lost with its spool: its boots by the time of their first reading."""
    first: dict[str, int] = {}
    for reading in readings:
        first[reading.boot] = min(first.get(reading.boot, reading.at_ms), reading.at_ms)
    memory.record.order.sort(key=lambda boot: first.get(boot, 0))


def mend(memory: DeviceMemory, connector: int, readings: Iterable[Reading], known: Collection[Session]) -> Mended:
    """Derive one connector again, from the last session closed before `record.mend_from` to the place of derivation.

    `readings` and `known` are what is stored of the connector, in no order. The connector's life is replaced. A session
    whose opening is no longer among the readings is kept as it is.
    """
    record = memory.record
    assert record.mend_from is not None
    assert record.at_boot is not None
    fill = (memory.place(record.mend_from[0]), record.mend_from[1])
    here = (memory.place(record.at_boot), record.next_seq)
    said = [(memory.place(r.boot), r.seq, r) for r in readings]
    have = {(place, seq) for place, seq, _reading in said}
    start = (-1, 0)
    for session in known:
        closed = _closed_at(memory, session)
        if closed is not None and (closed < fill or _opened_at(memory, session) not in have):
            start = max(start, closed)

    before = [item for item in said if item[0] >= 0 and item[:2] <= start]
    after: list[tuple[int, int, Reading | None]] = [item for item in said if start < item[:2] < here]
    after += [gap for gap in _gaps(memory) if start < gap[:2] < here]

    life = Life(state="available" if before else None)
    life.meter_kwh = _last_meter(before)
    found: dict[str, Session] = {}
    for _place, _seq, reading in sorted(after, key=lambda item: item[:2]):
        changed = life.gap() if reading is None else advance(life, record.site, record.device, reading)
        if changed is not None:
            found[changed.id] = changed
    if (open_now := measured(life)) is not None:
        found[open_now.id] = open_now
    record.lives[connector] = life

    stale = {session.id: session for session in known if start < _opened_at(memory, session) in have}
    return Mended(
        [session for session in found.values() if stale.get(session.id) != session],
        [session for session in stale.values() if session.id not in found],
    )


def refill(memory: DeviceMemory, readings: Iterable[Reading]) -> None:
    """Find again what waits beyond the place of derivation: seen, and not derived yet."""
    record = memory.record
    said = {(reading.boot, reading.seq): reading for reading in readings}
    for boot in record.order[memory.place(record.at_boot or "") :]:
        first = record.next_seq if boot == record.at_boot else 1
        seqs = [seq for lo, hi in memory.seen[boot] for seq in range(max(lo, first), hi + 1)]
        if seqs:
            held = memory.waiting.get(boot, {})
            memory.waiting[boot] = {seq: said.get((boot, seq)) for seq in seqs} | held
    memory.unfilled = False


def _gaps(memory: DeviceMemory) -> list[tuple[int, int, None]]:
    """Where messages are missing before the place of derivation, dropped ones too: a session there is incomplete."""
    record = memory.record
    found: list[tuple[int, int, None]] = []
    for place, boot in enumerate(record.order[: memory.place(record.at_boot or "") + 1]):
        top = record.next_seq - 1 if boot == record.at_boot else memory.known_to(boot)
        found += [(place, lo, None) for lo, _hi in memory.seen[boot].holes(1, top)]
    return found


def _closed_at(memory: DeviceMemory, session: Session) -> tuple[int, int] | None:
    if session.close_boot is None or session.close_seq is None:
        return None
    return memory.place(session.close_boot), session.close_seq


def _opened_at(memory: DeviceMemory, session: Session) -> tuple[int, int]:
    return memory.place(session.open_boot), session.open_seq


def _last_meter(said: list[tuple[int, int, Reading]]) -> float | None:
    meters = [(place, seq, r.energy_kwh) for place, seq, r in said if r.energy_kwh is not None]
    return max(meters)[2] if meters else None
