"""Floor 0 · The usual case, many messages at a time: a device goes on where it was, each message the next of its boot.

What `ingest.singly` does for one message at a time with every doubt, this does for a run of them without: one range
of seqs, one look at the clock, the newest of each instrument. Where anything is unusual the run ends before it.
"""

from __future__ import annotations

from typing import cast

from msgspec import Struct

from ingest.assets import Device
from ingest.clock import Now
from ingest.facts import Row, Session
from ingest.memory import DeviceMemory
from ingest.messages import PILE_KINDS, STATION_KINDS, Connector, Meter, Telemetry
from ingest.rows import NANOS, Measurement, instrument, reading, row
from ingest.sessions import advance, advance_by_meter
from ingest.skew import AHEAD_MS, JUMP_MS, LATEST_MS, Heard


class Speaker(Struct, frozen=True):
    """Of what a device may speak."""

    device: Device
    connectors: frozenset[int]
    kinds: frozenset[str]


class Run(Struct):
    """What a run came to. `end` is the index of the first message that is not in it."""

    boot: str
    wire: str
    lo: int
    hi: int
    end: int
    urgent: bool = False
    """A state changed that people wait for."""
    changed: list[Session] = []


def speaker(device: Device) -> Speaker:
    kinds = PILE_KINDS if device.kind == "pile" else STATION_KINDS
    return Speaker(device, frozenset(spec.id for spec in device.connectors), kinds)


def unfit(message: Telemetry, speaks: Speaker) -> str | None:
    """Why this device cannot say that; None if it can."""
    if isinstance(message, Meter | Connector):
        return None if message.connector in speaks.connectors else "unknown_connector"
    kind = str(message.__struct_config__.tag)
    return None if kind in speaks.kinds else f"unknown_kind:{kind}"


def take_run(
    memory: DeviceMemory,
    speaks: Speaker,
    messages: list[Telemetry],
    times_ms: list[int],
    start: int,
    now: Now,
    rows: dict[Measurement, list[Row]],
    *,
    judge_skew: bool,
) -> Run | None:
    """Take messages from `start` on for as long as nothing about them is unusual; None if already the first is.

    The seqs of the run are not yet in `memory.seen`. `judge_skew` as in the pipeline.
    """
    record = memory.record
    wire, lo = messages[start].boot, messages[start].seq
    boot = record.used_again.get(wire, wire)
    known = record.boots.get(boot)
    derives = speaks.device.kind == "pile"
    if known is None or not _goes_on(memory, boot, lo, derives=derives):
        return None
    said_ms, latest_ms = 0, LATEST_MS
    if judge_skew:
        newest = known.clock.newest
        if newest is None or known.clock.offsets:
            return None
        said_ms, latest_ms = newest.ts_ms, now.service_ms + AHEAD_MS
    usual = start == 0 and _all_as_usual(speaks, messages, times_ms, said_ms, latest_ms)
    end = len(messages) if usual else _end(speaks, messages, times_ms, start, said_ms, latest_ms)
    taken_ms = times_ms[start:end]
    if not taken_ms or not memory.apart(boot, min(taken_ms), max(taken_ms)):
        return None
    known.reach(min(taken_ms), max(taken_ms))
    run = Run(boot, wire, lo, messages[end - 1].seq, end)
    if usual:
        _take_meters(memory, run, cast(list[Meter], messages), taken_ms, rows["pile"], known.shift)
    else:
        _take(memory, run, messages[start:end], taken_ms, rows, known.shift, derives=derives)
    if derives:
        record.next_seq = run.hi + 1
    if judge_skew:
        last_ms = taken_ms[-1]
        known.clock = known.clock.on_to(Heard(run.hi, last_ms, now.service_ms, last_ms), max(taken_ms))
    known.came_ms = now.service_ms
    record.received += end - start
    return run


def _goes_on(memory: DeviceMemory, boot: str, seq: int, *, derives: bool) -> bool:
    """Whether this is the next message of the boot, and derivation stands at it."""
    if seq == 1 or memory.seen[boot].highest != seq - 1:
        return False
    return not derives or (memory.record.next_seq == seq and memory.record.at_boot == boot and not memory.behind)


def _end(
    speaks: Speaker, messages: list[Telemetry], times_ms: list[int], start: int, said_ms: int, latest_ms: int
) -> int:
    """Where it ends that each is the next of the same boot, fits the device, and its clock goes on."""
    wire, seq = messages[start].boot, messages[start].seq
    for at in range(start, len(messages)):
        message, at_ms = messages[at], times_ms[at]
        if message.seq != seq or message.boot != wire or at_ms > latest_ms or at_ms < said_ms - JUMP_MS:
            return at
        if unfit(message, speaks) is not None:
            return at
        said_ms = at_ms
        seq += 1
    return len(messages)


def _all_as_usual(
    speaks: Speaker, messages: list[Telemetry], times_ms: list[int], said_ms: int, latest_ms: int
) -> bool:
    """Whether all are readings of meters and the run has no end before theirs: `_end`, for many at once."""
    first = messages[0].seq
    return (
        {type(message) for message in messages} == {Meter}
        and [message.seq for message in messages] == list(range(first, first + len(messages)))
        and len({message.boot for message in messages}) == 1
        and {message.connector for message in messages} <= speaks.connectors  # type: ignore[union-attr]
        and times_ms == sorted(times_ms)
        and times_ms[0] >= said_ms - JUMP_MS
        and times_ms[-1] <= latest_ms
    )


def _take_meters(
    memory: DeviceMemory, run: Run, messages: list[Meter], times_ms: list[int], pile: list[Row], shift: int
) -> None:
    record, boot = memory.record, run.boot
    site, device, lives = record.site, record.device, record.lives
    pile += [
        (
            at_ms * NANOS + (message.seq + shift) % NANOS, site, device, "meter", boot, message.seq, at_ms, False,
            message.connector, message.power_kw, message.energy_kwh, message.current_a, message.voltage_v,
            message.temp_c, message.soc_pct, None, None, None, None, None,
        )
        for message, at_ms in zip(messages, times_ms, strict=True)
    ]  # fmt: skip
    newest = {message.connector: (message, at_ms) for message, at_ms in zip(messages, times_ms, strict=True)}
    if any(lives[number].session is not None for number in newest):
        for message, at_ms in zip(messages, times_ms, strict=True):
            life = lives[message.connector]
            session = advance_by_meter(life, message.power_kw, message.energy_kwh, at_ms)
            if session is not None:
                run.changed.append(session)
    for number, (message, at_ms) in newest.items():
        lives[number].meter_kwh = message.energy_kwh
        memory.keep_latest(f"meter/{number}", boot, at_ms, message)


def _take(
    memory: DeviceMemory,
    run: Run,
    messages: list[Telemetry],
    times_ms: list[int],
    rows: dict[Measurement, list[Row]],
    shift: int,
    *,
    derives: bool,
) -> None:
    record, boot = memory.record, run.boot
    for message, at_ms in zip(messages, times_ms, strict=True):
        if type(message) is Meter:
            _take_meters(memory, run, [message], [at_ms], rows["pile"], shift)
            continue
        measurement, cells = row(message, record.site, record.device, boot, at_ms, at_ms, False, shift)
        rows[measurement].append(cells)
        run.urgent |= memory.keep_latest(instrument(message), boot, at_ms, message)
        if derives and (said := reading(message, boot, at_ms)) is not None:
            session = advance(record.lives[said.connector], record.site, record.device, said)
            run.changed += [session] if session is not None else []
