"""Floor 0 · What ingest remembers of one device: its boots, what was received, where derivation stands, the latest.

`DeviceRecord` is kept in the spool, changed in the same commit as the batch that changed it. The seqs that were seen
are kept beside it in a table of their own, and what waits for a hole is found again from both after a restart.
"""

from __future__ import annotations

from msgspec import Struct, field

from ingest.assets import DEFAULT_INTERVAL_S
from ingest.clock import Now, rfc3339
from ingest.facts import Reading
from ingest.messages import Amenity, Connector, Fault, Smoke, Telemetry
from ingest.ranges import Ranges
from ingest.sessions import Life
from ingest.skew import BootClock

MOST_INSTRUMENTS = 200
SILENT_INTERVALS = 3
SILENT_MIN_WALL_S = 2.0
MOST_BOOTS = 64
"""Boots remembered by name; of older ones only the seqs that were seen."""
MOST_PAST = 1_000


class BootRecord(Struct):
    """One start of a device. `wire` is the name that the device uses for it."""

    wire: str
    clock: BootClock = BootClock()
    first_hash: str | None = None
    last_seq: int = 0
    """The highest seq that the device said it has used; 0 if it did not say."""
    final: bool = False
    """`last_seq` is the boot's last: a newer boot said so."""
    dropped: list[tuple[int, int]] = []
    came_ms: int = 0
    """Service time of the newest message of this boot."""
    ended: bool = False
    """A newer boot has a live status that no longer lists this one: nothing more will come of it."""
    first_ms: int = 0
    last_ms: int = -1
    """Effective time of its earliest and its latest message; the latest before the earliest while it has none."""
    shift: int = 0
    """Added to seqs in the times of points, since this boot's times run into another's (see `apart`)."""

    def reach(self, earliest_ms: int, latest_ms: int) -> None:
        """It has messages at these times."""
        none_yet = self.last_ms < self.first_ms
        self.first_ms = earliest_ms if none_yet else min(self.first_ms, earliest_ms)
        self.last_ms = max(self.last_ms, latest_ms)


class Latest(Struct, frozen=True):
    """The newest message of one instrument, by boot and seq. `since_ms`: since when a connector, an alarm,
    a fault or an amenity says the same."""

    boot: str
    seq: int
    at_ms: int
    since_ms: int
    message: Telemetry


class Noted(Struct, frozen=True):
    """A condition that holds, and what shows it."""

    since_ms: int
    evidence: str


class DeviceRecord(Struct):
    """What is kept of a device over restarts. Counts are of all its boots."""

    site: str
    device: str
    order: list[str] = []
    """Inside names of boots, oldest first."""
    boots: dict[str, BootRecord] = {}
    past: dict[str, int] = {}
    """Boots no longer known by name, of which the seqs are still kept: when the newest message of each came."""
    used_again: dict[str, str] = {}
    """From a boot's name on the wire to the inside name that it has now (`BOOT~2`)."""
    at_boot: str | None = None
    next_seq: int = 1
    """The next message to derive from. What stands before is derived, or was passed as a hole."""
    lives: dict[int, Life] = {}
    mend_from: tuple[str, int] | None = None
    """A passed hole was filled here: derive again from the last session closed before it."""
    latest: dict[str, Latest] = {}
    status_boot: str | None = None
    online: bool = False
    interval_s: int = DEFAULT_INTERVAL_S
    model: str | None = None
    firmware: str | None = None
    heard_ms: int | None = None
    """Service time at which the device was last heard, telemetry or live status."""
    received: int = 0
    duplicates: int = 0
    skewed: int = 0
    dead: int = 0
    noted: dict[str, Noted] = {}


class DeviceMemory(Struct):
    """A device's record with what is at hand only while the process runs."""

    record: DeviceRecord
    seen: dict[str, Ranges] = field(default_factory=dict)
    waiting: dict[str, dict[int, Reading | None]] = field(default_factory=dict)
    """By boot and seq: messages beyond a hole. None stands for one that says nothing of a connector."""
    unfilled: bool = False
    """After a restart: what waits must first be read again from the store."""
    heard_mono_s: float | None = None
    listens_since_ms: int = 0
    """Silence counts from here: before, it was we who did not listen."""
    stuck_ms: int | None = None
    stuck_mono_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.record.site}/{self.record.device}"

    @property
    def behind(self) -> bool:
        """Messages wait for a hole before them."""
        return self.unfilled or bool(self.waiting)

    def underived(self) -> bool:
        """Whether anything was received beyond the place of derivation."""
        at_boot = self.record.at_boot
        if at_boot is None:
            return False
        later = self.record.order[self.place(at_boot) + 1 :]
        return self.seen[at_boot].highest >= self.record.next_seq or any(self.seen[boot] for boot in later)

    def hold(self, code: str, now: Now, evidence: str | None) -> bool:
        """Hold a condition, or drop it where there is no evidence; True if that changed anything."""
        before = self.record.noted.get(code)
        if evidence is None:
            return self.record.noted.pop(code, None) is not None
        if before is not None and before.evidence == evidence:
            return False
        self.record.noted[code] = Noted(before.since_ms if before else now.service_ms, evidence)
        return True

    def hear(self, now: Now) -> None:
        """The device spoke just now."""
        self.record.heard_ms, self.heard_mono_s = now.service_ms, now.mono_s

    def silence(self, now: Now) -> str | None:
        """Since when a device that calls itself online said nothing, if that is longer than it may be."""
        record = self.record
        if self.heard_mono_s is None:
            self.heard_mono_s, self.listens_since_ms = now.mono_s, now.service_ms
        if record.heard_ms is None or not record.online:
            return None
        silent_ms = now.service_ms - max(record.heard_ms, self.listens_since_ms)
        silent_s = now.mono_s - self.heard_mono_s
        if silent_ms <= SILENT_INTERVALS * record.interval_s * 1000 or silent_s <= SILENT_MIN_WALL_S:
            return None
        return f"not heard since {rfc3339(record.heard_ms)}"

    def place(self, boot: str) -> int:
        """Where a boot stands in the device's order; one no longer known by name stands before all."""
        order = self.record.order
        if order and order[-1] == boot:
            return len(order) - 1
        return order.index(boot) if boot in order else -1

    def boot(self, wire: str) -> tuple[str, BootRecord]:
        """The inside name and the record of a boot, made new at the end of the order when it is first heard of."""
        name = self.record.used_again.get(wire, wire)
        record = self.record.boots.get(name)
        if record is None:
            forgotten = name in self.seen
            record = self.add_boot(name, wire, 0 if forgotten else len(self.record.order))
        return name, record

    def apart(self, name: str, earliest_ms: int, latest_ms: int) -> bool:
        """Whether points of these times of a boot stand apart from those of every other boot. A clock that begins
        anew at each start can give two boots the same seq at the same millisecond."""
        boots = self.record.boots
        return boots[name].shift > 0 or not any(
            boot.first_ms <= latest_ms and earliest_ms <= boot.last_ms for other, boot in boots.items() if other != name
        )

    def add_boot(self, name: str, wire: str, place: int) -> BootRecord:
        record = self.record.boots[name] = BootRecord(wire)
        at_start = self.record.at_boot is not None and self.record.next_seq == 1
        if at_start and place == self.place(self.record.at_boot or ""):
            self.record.at_boot = name
        self.record.order.insert(place, name)
        self.seen.setdefault(name, Ranges())
        if len(self.record.order) > MOST_BOOTS:
            oldest = next(boot for boot in self.record.order if boot not in (name, self.record.at_boot))
            self.record.order.remove(oldest)
            if (gone := self.record.boots.pop(oldest, None)) is not None:
                self.record.past[oldest] = gone.came_ms
        return record

    def forgotten(self, before_ms: int) -> list[str]:
        """Boots no longer known by name of which the seqs may go, too: old ones, and all but the newest of too many."""
        past = sorted(self.record.past, key=self.record.past.__getitem__)
        return [name for name in past if self.record.past[name] < before_ms or name in past[:-MOST_PAST]]

    def keep_latest(self, key: str, boot: str, at_ms: int, message: Telemetry) -> bool:
        """Take a message as the newest of its instrument unless a newer one is known. True if a state changed by it."""
        before = self.record.latest.get(key)
        since_ms, changed = at_ms, False
        if before is not None:
            if before.boot == boot:
                if message.seq <= before.seq:
                    return False
            elif self.place(boot) < self.place(before.boot):
                return False
        says = _says(message)
        if says is not None:
            changed = before is None or _says(before.message) != says
            if before is not None and not changed:
                since_ms = before.since_ms
        self.record.latest[key] = Latest(boot, message.seq, at_ms, since_ms, message)
        if len(self.record.latest) > MOST_INSTRUMENTS:
            self._forget_an_old_name()
        return changed

    def _forget_an_old_name(self) -> None:
        """Fault codes and amenity names are a device's own; one that makes them up must not fill our memory."""
        made_up = [key for key in self.record.latest if key.startswith(("fault/", "amenity/"))]
        if made_up:
            del self.record.latest[min(made_up, key=lambda key: self.record.latest[key].at_ms)]

    def known_to(self, boot: str) -> int:
        """The highest seq of a boot that is known to exist."""
        record = self.record.boots.get(boot)
        seen = self.seen.get(boot)
        return max(record.last_seq if record else 0, seen.highest if seen else 0)

    def holes(self, boot: str) -> list[tuple[int, int]]:
        """Seqs known to exist, not received, and not said to be dropped."""
        record = self.record.boots.get(boot)
        seen = self.seen.get(boot) or Ranges()
        if seen.covers(1, self.known_to(boot)):
            return []
        missing = Ranges(seen.holes(1, self.known_to(boot)))
        return list(missing.without(Ranges(record.dropped if record else ())))

    def lost(self) -> int:
        """Messages of ended boots that nothing explains."""
        return sum(hi - lo + 1 for name, boot in self.record.boots.items() if boot.ended for lo, hi in self.holes(name))

    def missing(self) -> int:
        """Messages of boots not ended that have not come, or not yet."""
        return sum(
            hi - lo + 1 for name, boot in self.record.boots.items() if not boot.ended for lo, hi in self.holes(name)
        )

    def dropped(self) -> int:
        """Messages that the device said it dropped, and that did not come after all."""
        boots = [(name, boot) for name, boot in self.record.boots.items() if boot.dropped]
        return sum(Ranges(boot.dropped).without(self.seen.get(name) or Ranges()).count for name, boot in boots)


def _says(message: Telemetry) -> tuple[object, ...] | None:
    """What of a message is a state that people wait for; None of a mere measurement."""
    match message:
        case Connector():
            return message.state, message.suspended_by
        case Smoke():
            return (message.alarm,)
        case Fault():
            return message.severity, message.cleared
        case Amenity():
            return (message.ok,)
        case _:
            return None
