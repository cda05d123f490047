"""What a simulated crowd does from tick to tick: a street or a load says things, devices carry them, faults happen."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from math import ceil
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from ingest.assets import Inventory
from ingest.clock import ServiceClock, parse_rfc3339
from ingest.messages import ServiceNotice
from lunchong.errors import UsageError
from lunchong.live_clock import wall_ms
from lunchong.range_files import SeqRange, SyncedRanges
from simulators import weather
from simulators.device import NoLossDevice
from simulators.kept import Acked
from simulators.load import Load
from simulators.mischief import AGAIN_MS, SILENT_INTERVALS, Mischief, Shares
from simulators.publish import Credential, Crowd
from simulators.street import Street

CLOCK_WITHIN_S = 3.0
"""How long after the first connection the service's clock is awaited."""
LONGEST_INTERVAL_S = 900
SYNC_EVERY_S = 0.1
CAPACITY, LOAD_CAPACITY = 20_000, 200_000
REBOOT_S = (1.5, 4.0)
LEAST_SILENCE_WALL_S = 2.0
FIRST_FAULTS_WALL_S = 2.0
"""Long enough for most devices to have said something."""

NO_FAULTS = Shares()

_notice = msgspec.json.Decoder(ServiceNotice)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command."""

    mqtt: str | None = None
    inventory: Path | None = None
    credentials: Path | None = None
    devices: int | None = None
    speed: float = 1.0
    weather: date | None = None
    faults: Shares = NO_FAULTS
    rate_per_s: float | None = None
    for_s: float | None = None
    seed: int = 1
    interval_s: int = 60
    ca_file: Path | None = None
    acked: Path | None = None
    sent: Path | None = None
    dropped: Path | None = None
    json: bool = False


class Life:
    """All devices with what happens to them. `step` is one tick; in the end `rests`, until all is acknowledged."""

    def __init__(self, place: Inventory, who: dict[str, Credential], asked: Asked, acked: SyncedRanges | None) -> None:
        self._place, self._asked, self._acked = place, asked, acked
        capacity = LOAD_CAPACITY if asked.rate_per_s else CAPACITY
        self.devices = {
            name: NoLossDevice(
                name, secrets.token_hex(8), interval_s=asked.interval_s, capacity=capacity,
                rng=Random(f"{asked.seed}/{name}/line"), model="simulated", firmware="1",
            )
            for name in place.devices
        }  # fmt: skip
        self.mischief = Mischief(asked.faults, Random(f"{asked.seed}/mischief/{secrets.token_hex(8)}"))
        self.crowd = Crowd(
            [(device, who[name]) for name, device in self.devices.items()], self,
            rng=Random(secrets.token_hex(8)), mono_s=time.monotonic, stamp_ms=self._stamp_ms, ca_file=asked.ca_file,
        )  # fmt: skip
        self._clock: ServiceClock | None = None
        self._last_notice = b""
        self._clock_until_s = float("inf")
        self._street: Street | None = None
        self._load: Load | None = None
        self._greeted: set[str] = set()
        self._skew_ms: dict[str, int] = {}
        self._silent_until_ms: dict[str, int] = {}
        self._faults_at_ms = 0
        self._synced_s = 0.0
        self._weather = weather.constant() if asked.rate_per_s else _read_weather(asked.weather)

    def total(self, what: Literal["sent", "acked", "resent", "dropped"]) -> int:
        return sum(getattr(device.counters, what) for device in self.devices.values())

    def ranges(self, what: str) -> Iterator[SeqRange]:
        """All ranges of seqs that were `sent` or `dropped`."""
        for name, device in self.devices.items():
            for boot in device.lived:
                for lo, hi in boot.dropped if what == "dropped" else boot.sent:
                    yield name, boot.name, lo, hi

    def step(self) -> None:
        """Live up to now."""
        self.crowd.step(0)
        if self._begun():
            now_ms = self._service_ms()
            self._misbehave(now_ms)
            if self._street:
                for name, report in self._street.advance(now_ms):
                    self._say(name, report.fields, report.ts_ms)
            if self._load:
                for name, fields in self._load.due(time.monotonic()):
                    self._say(name, fields, now_ms)
            self.crowd.step(0)
        self._sync()

    def rests(self) -> bool:
        """Nothing new is said any more; carry on until all is acknowledged. Whether it is."""
        for name, payload in self.mischief.end():
            self.crowd.publish(name, "telemetry", payload)
        self.crowd.muted.clear()
        self.crowd.step(0)
        self._sync(now=True)
        return not any(device.kept for device in self.devices.values())

    def close(self) -> None:
        self.crowd.close()
        if self._acked:
            self._acked.close()

    def on_notice(self, payload: bytes) -> None:
        if payload == self._last_notice:
            return
        self._last_notice = payload
        try:
            clock = _notice.decode(payload).clock
            if isinstance(clock, msgspec.UnsetType):  # offline: there is a service, and it will say what time it is
                self._clock_until_s = float("inf") if self._clock is None else 0.0
                return
            self._clock = ServiceClock(parse_rfc3339(clock.wall0), parse_rfc3339(clock.service0), clock.speed)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            self._last_notice = b""

    def on_connected(self, device: NoLossDevice) -> None:
        if self._clock_until_s == float("inf") and not self._last_notice:
            self._clock_until_s = time.monotonic() + CLOCK_WITHIN_S
        if self._street and device.name not in self._greeted:
            self._greeted.add(device.name)
            self._street.report_all(device.name, self._service_ms())

    def on_acked(self, device: NoLossDevice, acked: list[Acked]) -> None:
        if self._acked:
            for of in acked:
                self._acked.add((device.name, of.boot, of.lo, of.hi))
        if self._street:
            self._street.heard(device.name, self._service_ms())

    def on_said(self, device: NoLossDevice, leaf: str, payload: bytes) -> None:
        if not self._street or not payload:
            return
        if leaf == "turns":
            self._street.on_turns(device.name, payload, self._service_ms())
        elif leaf == "cmd" and (answer := self._street.obey(device.name, payload, self._service_ms())):
            self.crowd.publish(device.name, "cmd/result", msgspec.json.encode(answer))

    def to_publish(self, device: NoLossDevice, payloads: list[bytes]) -> list[bytes]:
        return self.mischief.publish(device.name, payloads)

    def _begun(self) -> bool:
        """The street begins when it is known what time it is."""
        if self.crowd.speaking:
            return True
        if self._clock is None and time.monotonic() < self._clock_until_s:
            return False
        self._clock = self._clock or ServiceClock(wall_ms(), wall_ms(), self._asked.speed)
        now_ms, speed = self._service_ms(), self._clock.speed
        for device in self.devices.values():
            device.arrays = speed > 1
            device.interval_s = self._announced_s(speed)
        for name in self.mischief.chosen(self.devices, self._asked.faults.skew):
            self._skew_ms[name] = self.mischief.skew_ms()
        self._faults_at_ms = now_ms + round(FIRST_FAULTS_WALL_S * 1_000 * speed)
        if self._asked.rate_per_s:
            self._load = Load(self._place.devices.values(), self._asked.rate_per_s, time.monotonic())
        else:
            silence_s = max(2 * self._asked.interval_s, LEAST_SILENCE_WALL_S * speed)
            self._street = Street(
                self._place, seed=self._asked.seed, start_ms=now_ms, interval_s=self._asked.interval_s,
                outdoor=self._weather.mapped(self._asked.weather, now_ms).at, silence_ms=silence_s * 1_000,
            )  # fmt: skip
            for device in self.devices.values():
                if device.connected:
                    self.on_connected(device)
        self.crowd.speaking = True
        return True

    def _announced_s(self, speed: float) -> int:
        """A load reports each connector in turn; a thin one takes longer than the interval that was asked for."""
        asked = self._asked
        instruments = sum(max(1, len(device.connectors)) for device in self._place.devices.values())
        round_s = ceil(instruments * speed / asked.rate_per_s) if asked.rate_per_s else 0
        return min(LONGEST_INTERVAL_S, max(asked.interval_s, round_s))

    def _say(self, name: str, fields: dict[str, object], ts_ms: int) -> None:
        self.devices[name].say(fields, ts_ms + self._skew_ms.get(name, 0))
        self.crowd.touch(name)

    def _misbehave(self, now_ms: int) -> None:
        for name, until_ms in list(self._silent_until_ms.items()):
            if now_ms >= until_ms:
                del self._silent_until_ms[name]
                self.crowd.muted.discard(name)
        if now_ms < self._faults_at_ms:
            return
        self._faults_at_ms = now_ms + AGAIN_MS
        for name in self.mischief.chosen(self.devices, self._asked.faults.silence):
            self._silent_until_ms[name] = now_ms + SILENT_INTERVALS * self._asked.interval_s * 1_000
            self.crowd.muted.add(name)
        for name in self.mischief.chosen(self.devices, self._asked.faults.reboot):
            self.crowd.hang_up(name, self.mischief.between(*REBOOT_S))
            self.devices[name].reboot(secrets.token_hex(8))
            if self._street:
                self._street.restart(name, now_ms)

    def _sync(self, *, now: bool = False) -> None:
        if self._acked and (now or time.monotonic() - self._synced_s >= SYNC_EVERY_S):
            self._acked.sync()
            self._synced_s = time.monotonic()

    def _service_ms(self) -> int:
        assert self._clock
        return self._clock.at(wall_ms())

    def _stamp_ms(self, device: NoLossDevice) -> int:
        return self._service_ms() + self._skew_ms.get(device.name, 0)


def _read_weather(day: date | None) -> weather.Weather:
    """The weather file, once it is known that it has that day. Raises UsageError."""
    read = weather.read((files("simulators") / "data" / "shanghai-weather.csv").read_text(encoding="utf-8"))
    try:
        read.mapped(day, wall_ms())
    except ValueError as error:
        raise UsageError(str(error)) from None
    return read
