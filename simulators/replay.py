"""Floor 1 · All piles of a sessions file, living it together in virtual time, each as a device that loses nothing.

Where message time drives service time, service time is that of the pile which is furthest behind. So the piles advance
together: each says the next window of its story once no pile has anything of the window before last unacknowledged.
A pile appears with its first session. When its last is over it goes on reporting intervals until the last pile is done,
because one that fell silent would hold service time back for all the others; a report more for each plug and quarter of
an hour is the whole price.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from functools import lru_cache
from random import Random

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import rfc3339
from simulators.device import ARRAY_MESSAGES, NoLossDevice
from simulators.plugs import FileSession
from simulators.session_map import SessionMap
from simulators.sessions_csv import SessionsFile
from simulators.story import INTERVAL_MS, INTERVAL_S, Plug, Story

_text_of = lru_cache(maxsize=1024)(rfc3339)


def device_ids(file: SessionsFile) -> dict[str, str]:
    """A device id for each station of the file that has a session, made of its name."""
    ids: dict[str, str] = {}
    for station in sorted({session.station for session in file.sessions}):
        ascii_name = unicodedata.normalize("NFKD", station).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", ascii_name).strip("-")[:28].strip("-") or "pile"
        taken, device, number = set(ids.values()), plain, 1
        while device in taken:
            number += 1
            device = f"{plain}-{number}"
        ids[station] = device
    return ids


def inventory_of(file: SessionsFile, how: SessionMap) -> Inventory:
    """The installation at which the file was lived: one site, a pile for each station."""
    site = Site(id=how.site.id, name=_name(how), lat=how.site.lat, lon=how.site.lon)
    connectors = tuple(ConnectorSpec(number, max_kw=how.plugs.max_kw) for number in range(1, how.plugs.per_station + 1))
    piles = [Device(site=site.id, id=one, kind="pile", connectors=connectors) for one in device_ids(file).values()]
    return Inventory(sites={site.id: site}, devices={pile.name: pile for pile in piles})


def _name(how: SessionMap) -> Name:
    name = how.site.name or how.site.id
    return Name(name, name)


class Replay:
    """The whole replay without its connection. `devices` are the piles that have appeared so far, by `SITE/DEVICE`."""

    def __init__(self, file: SessionsFile, how: SessionMap, rng: Random) -> None:
        """`file` has at least one session."""
        self.devices: dict[str, NoLossDevice] = {}
        by_station: defaultdict[str, list[FileSession]] = defaultdict(list)
        for session in file.sessions:
            by_station[session.station].append(session)
        plugs = [Plug(number, how.plugs.voltage_v) for number in range(1, how.plugs.per_station + 1)]
        self._stories = {
            f"{how.site.id}/{device}": Story(by_station[station], plugs) for station, device in device_ids(file).items()
        }
        self.begin_ms = min(story.begin_ms for story in self._stories.values())
        self.end_ms = max(session.end_ms for session in file.sessions) + INTERVAL_MS
        self.now_ms = self.begin_ms
        self._window_ms = INTERVAL_MS * max(1, (ARRAY_MESSAGES - 50) // len(plugs))
        self._rng = rng
        self._said_last: dict[str, int] = {}

    @property
    def told(self) -> bool:
        """Everything has been said, if not yet acknowledged."""
        return self.now_ms >= self.end_ms

    @property
    def done(self) -> bool:
        return self.told and not any(device.kept for device in self.devices.values())

    def advance(self, until_ms: int | None = None) -> bool:
        """Say the next window, not beyond `until_ms`. False if the slowest pile, or time, must be waited for."""
        until_ms = min(self.now_ms + self._window_ms, self.end_ms, self.end_ms if until_ms is None else until_ms)
        if until_ms <= self.now_ms or any(self.devices[name].kept > said for name, said in self._said_last.items()):
            return False
        self.now_ms = until_ms
        for name, story in self._stories.items():
            if story.begin_ms <= until_ms:
                self._said_last[name] = self._tell(self._appeared(name), story)
        return True

    def _appeared(self, name: str) -> NoLossDevice:
        if name not in self.devices:
            boot = f"{self._rng.getrandbits(64):016x}"
            device = NoLossDevice(
                name, boot, interval_s=INTERVAL_S, rng=self._rng, capacity=1_000_000, arrays=True, model="replay"
            )
            self.devices[name] = device
        return self.devices[name]

    def _tell(self, device: NoLossDevice, story: Story) -> int:
        before = device.counters.said
        for at_ms, body in story.tell(self.now_ms):
            device.say_encoded(body, _text_of(at_ms))
        return device.counters.said - before
