"""Floor 1 · The memory of all devices: as the spool kept it, made when first wanted, learned anew, let go when old."""

from __future__ import annotations

from ingest.assets import Device
from ingest.memory import DeviceMemory, DeviceRecord
from ingest.ranges import Ranges
from ingest.sessions import Life
from ingest.skew import LATEST_MS
from ingest.spooling import Kept


def restored(kept: Kept) -> dict[str, DeviceMemory]:
    """By `SITE/DEVICE`, as it was when the last commit was synced."""
    devices: dict[str, DeviceMemory] = {}
    for record in kept.records:
        devices[f"{record.site}/{record.device}"] = DeviceMemory(record)
    for name, boot, lo, hi in kept.seen:
        memory_of(devices, name).seen.setdefault(boot, Ranges()).add_range(lo, hi)
    for memory in devices.values():
        for boot in memory.record.order:
            memory.seen.setdefault(boot, Ranges())
        memory.unfilled = memory.underived()
    return devices


def memory_of(devices: dict[str, DeviceMemory], name: str) -> DeviceMemory:
    """Of one device, new where it is first heard of."""
    memory = devices.get(name)
    if memory is None:
        site, _, device = name.partition("/")
        memory = devices[name] = DeviceMemory(DeviceRecord(site, device))
    return memory


def memory_with_lives(devices: dict[str, DeviceMemory], name: str, device: Device) -> DeviceMemory:
    """The same, with a life for each of its connectors."""
    memory = memory_of(devices, name)
    lives = memory.record.lives
    for spec in device.connectors:
        if spec.id not in lives:
            lives[spec.id] = Life()
    return memory


def learn_boot(memory: DeviceMemory, boot: str) -> None:
    """Of a boot (its inside name) that the store has, where this memory lost it."""
    if boot in memory.record.boots:
        return
    wire, again, _number = boot.partition("~")
    memory.add_boot(boot, wire, len(memory.record.order))
    if again:
        memory.record.used_again[wire] = boot
    memory.record.boots[boot].reach(0, LATEST_MS)  # where its points stand was forgotten: anywhere


def forget_boots(memory: DeviceMemory, before_ms: int) -> list[str]:
    """Forget the boots that ended before this service time. Returns those whose seqs are no longer known."""
    record = memory.record
    gone = [
        name
        for name, boot in record.boots.items()
        if boot.ended and boot.came_ms < before_ms
        if name != record.at_boot and record.used_again.get(boot.wire) != name
    ]
    for name in gone:
        del record.boots[name], memory.seen[name]
        record.order.remove(name)
    past = memory.forgotten(before_ms)
    for name in past:
        del record.past[name]
        memory.seen.pop(name, None)
    return gone + past
