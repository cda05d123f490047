"""Floor 2 · From messages as they came to one commit: decoded, checked, remembered, put in order, derived.

`take` and `settle` change the memory and gather what must become durable; `draw` hands it over as one commit. Only
after that commit is synced may its acks be sent and its states be published. Nothing here reads a clock or writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from hashlib import sha256

from msgspec import json, msgpack

from ingest.assets import Device, Inventory
from ingest.boots import first_hash_says_reused
from ingest.clock import Now, to_ms
from ingest.codec import BadPayload, Refused, decode_status, decode_telemetry, decode_together
from ingest.conditions import count_again
from ingest.draft import DAY_MS, Draft, Drawn
from ingest.facts import DeadLetter, Session
from ingest.follow import arrive, settle
from ingest.memory import DeviceMemory, DeviceRecord
from ingest.mending import Mended
from ingest.messages import Telemetry
from ingest.packets import MOST_TOPICS, Publish
from ingest.ranges import Ranges
from ingest.rows import instrument, reading, row, shift_of
from ingest.runs import Speaker, speaker, take_run, unfit
from ingest.sessions import Life, measured
from ingest.skew import LATEST_MS, judge_message
from ingest.spooling import DeadSeen, Kept
from ingest.statuses import take_status
from ingest.topics import device_topic, split_topic

log = logging.getLogger(__name__)

INTERNAL_ERROR = "internal_error"
STORE_REFUSED = "store_refused"
"""What the store refuses was received before: it counts once."""


class Pipeline:
    """The memory of every device, and the draft of the next commit. Used by one thread at a time."""

    def __init__(
        self,
        inventory: Inventory,
        kept: Kept,
        *,
        judge_skew: bool = True,
        heard: Callable[[str, int], None] | None = None,
        careful: bool = False,
    ) -> None:
        """`heard` is called with a device's name and the newest time it said, for a clock that follows messages.
        `careful` takes each message by itself, so that one that makes us fail is known by name."""
        self._heard, self.careful = heard, careful
        self.devices: dict[str, DeviceMemory] = {}
        self._inventory = inventory
        self._judge_skew = judge_skew
        self._speakers: dict[str, Speaker] = {}
        self._topics: dict[str, tuple[str, str]] = {}
        self._waiting: set[str] = set()
        self._unreviewed: set[str] = set()
        self._open: dict[str, Session] = {}
        self._dead_seen: dict[bytes, DeadSeen] = {dead.digest: dead for dead in kept.dead_seen}
        self._restore(kept)
        self._draft = Draft(self._open, self._dead_seen)

    def _restore(self, kept: Kept) -> None:
        for record in kept.records:
            memory = self.devices[f"{record.site}/{record.device}"] = DeviceMemory(record)
            for session in map(measured, record.lives.values()):
                if session is not None:
                    self._open[session.id] = session
        for name, boot, lo, hi in kept.seen:
            self._memory(name).seen.setdefault(boot, Ranges()).add_range(lo, hi)
        for memory in self.devices.values():
            for boot in memory.record.order:
                memory.seen.setdefault(boot, Ranges())
            memory.unfilled = memory.underived()
            if memory.unfilled:
                self._waiting.add(memory.name)

    @property
    def empty(self) -> bool:
        """Nothing waits to be drawn."""
        return self._draft.empty

    def draw(self) -> Drawn:
        """All that was gathered since the last draw, as one commit."""
        draft, self._draft = self._draft, Draft(self._open, self._dead_seen)
        drawn = draft.drawn()
        self._unreviewed |= drawn.changed.keys()
        return drawn

    def not_in_inventory(self) -> list[str]:
        """Devices remembered that the inventory does not have."""
        return [name for name in self.devices if name not in self._inventory.devices]

    def forget_old(self, before_ms: int) -> None:
        """Forget the seqs of boots that ended before raw data of that time was let go."""
        for memory in self.devices.values():
            boots = memory.record.boots
            for name in [n for n, boot in boots.items() if boot.ended and boot.came_ms < before_ms]:
                if name != memory.record.at_boot and memory.record.used_again.get(boots[name].wire) != name:
                    del boots[name], memory.seen[name]
                    memory.record.order.remove(name)
                    self._draft.rewrite_seen(memory, name)
            for name in memory.forgotten(before_ms):
                del memory.record.past[name]
                memory.seen.pop(name, None)
                self._draft.rewrite_seen(memory, name)

    def use(self, inventory: Inventory) -> list[str]:
        """Go on with another inventory. Returns the names of the devices that left it."""
        left = [name for name in self._inventory.devices if name not in inventory.devices]
        self._inventory = inventory
        self._speakers.clear()
        return left

    def device(self, name: str) -> Device | None:
        return self._inventory.devices.get(name)

    def take(self, publishes: Iterable[Publish], now: Now, *, queued: bool = False) -> None:
        """Take in what came, device by device: between devices there is no order.

        A retained delivery is no live word. `queued` says that the broker may have kept these while we were away.
        """
        said: dict[str, list[Publish]] = {}
        for publish in publishes:
            name = (self._topics.get(publish[0]) or self._topic(publish[0]))[0]
            said.setdefault(name, []).append(publish)
        for name, mine in said.items():
            together: list[bytes] = []
            for topic, payload, retained in mine:
                leaf = self._topic(topic)[1]
                if leaf == "telemetry":
                    together.append(payload)
                elif leaf == "status" and payload:
                    self._take_telemetry(name, together, now)
                    together = []
                    self._take_status(name, topic, payload, now, live=not retained, queued=queued)
            self._take_telemetry(name, together, now)

    def _topic(self, topic: str) -> tuple[str, str]:
        """(`SITE/DEVICE`, leaf) of a topic, empty where it is no device's."""
        known = self._topics.get(topic)
        if known is None:
            if len(self._topics) >= MOST_TOPICS:
                self._topics.clear()
            known = self._topics[topic] = split_topic(topic) or ("", "")
        return known

    def drop_letter(self, letter: DeadLetter) -> None:
        """Another letter of the same message was taken: this one goes."""
        self._draft.revive(letter.id)

    def note_refused(self, letter: DeadLetter) -> None:
        """The store refused a message for good, after it was committed: its letter stands in the store."""
        memory = self.devices.get((split_topic(letter.topic) or ("",))[0])
        if memory is not None:
            memory.record.dead += 1
            self._draft.touch(memory)

    def forget_dead(self, now: Now) -> int:
        """Forget which bytes went to the dead letters over a day ago; returns the service time before which."""
        before_ms = now.service_ms - DAY_MS
        for digest in [digest for digest, dead in self._dead_seen.items() if dead.first_ms < before_ms]:
            del self._dead_seen[digest]
        return before_ms

    def revive(self, letter: DeadLetter, now: Now) -> bool:
        """Try a dead letter again, say after the inventory was mended. True if it could be taken now."""
        name, _leaf = split_topic(letter.topic) or ("", "")
        messages, _refused = decode_telemetry(letter.payload)
        speaks = self._speaker(name)
        if speaks is None or len(messages) != 1 or unfit(messages[0], speaks) is not None:
            return False
        memory = self._memory_with_lives(name, speaks.device)
        accounted = letter.seq is not None and letter.reason != "unknown_device"
        self._take_message(
            memory,
            messages[0],
            to_ms(messages[0].ts),
            speaks.device,
            now,
            buried=accounted,
            counted=letter.reason == STORE_REFUSED,
        )
        self._draft.revive(letter.id)
        self._draft.touch(memory, urgent=True)
        return True

    def settle(self, now: Now) -> None:
        """Pass the holes that were awaited long enough."""
        for name in list(self._waiting):
            memory = self.devices[name]
            before = (memory.record.at_boot, memory.record.next_seq)
            self._draft.keep_sessions(settle(memory, now), urgent=memory)
            if before != (memory.record.at_boot, memory.record.next_seq):
                self._draft.touch(memory)
            if not memory.behind:
                self._waiting.discard(name)

    def to_mend(self) -> list[DeviceMemory]:
        """Devices whose sessions must be derived again from what is stored. None while anything is uncommitted: what
        is in the draft could not be read back."""
        if not self._draft.empty:
            return []
        return [memory for memory in self.devices.values() if memory.record.mend_from or memory.unfilled]

    def mended(self, memory: DeviceMemory, found: list[Mended]) -> None:
        """Take what `ingest.mending` found."""
        for mended in found:
            for session in mended.withdrawn:
                self._draft.withdraw(session)
            self._draft.keep_sessions(mended.changed)
        memory.record.mend_from = None
        if memory.behind:
            self._waiting.add(memory.name)
        self._draft.touch(memory, urgent=True)

    def relearn(self, name: str, boot: str, lo: int, hi: int) -> None:
        """Seqs of a boot (its inside name) that the store has and this memory lost."""
        memory = self._memory(name)
        if boot not in memory.record.boots:
            wire, again, _number = boot.partition("~")
            memory.add_boot(boot, wire, len(memory.record.order))
            if again:
                memory.record.used_again[wire] = boot
            memory.record.boots[boot].reach(0, LATEST_MS)  # where its points stand was forgotten: anywhere
        self._draft.relearn(memory, boot, lo, hi)

    def review(self, now: Now) -> None:
        """Hold or drop the conditions that follow from counting: lost and dropped messages, wrong clocks, silence."""
        changed, self._unreviewed = self._unreviewed, set()
        for name in changed:
            if count_again(self.devices[name], now):
                self._draft.touch(self.devices[name])
        for memory in self.devices.values():
            if memory.hold("silent", now, memory.silence(now)):
                self._draft.touch(memory)

    def _memory(self, name: str) -> DeviceMemory:
        memory = self.devices.get(name)
        if memory is None:
            site, _, device = name.partition("/")
            memory = self.devices[name] = DeviceMemory(DeviceRecord(site, device))
        return memory

    def _memory_with_lives(self, name: str, device: Device) -> DeviceMemory:
        memory = self._memory(name)
        lives = memory.record.lives
        for spec in device.connectors:
            if spec.id not in lives:
                lives[spec.id] = Life()
        return memory

    def _take_telemetry(self, name: str, payloads: list[bytes], now: Now) -> None:
        if not payloads:
            return
        messages, times_ms, refused = decode_together(payloads)
        speaks = self._speaker(name)
        topic = device_topic(name, "telemetry")
        if speaks is None:
            refused += [_refusal("unknown_device", message) for message in messages]
            for bad in refused:
                self._draft.bury(topic, bad, now)
                if bad.boot is not None and bad.seq is not None:
                    self._draft.ack(name, bad.boot, bad.seq, bad.seq)
            return
        memory = self._memory_with_lives(name, speaks.device)
        urgent = self._take_messages(memory, speaks, messages, times_ms, refused, now)
        for bad in refused:
            self._bury(memory, topic, bad, now)
        if self._heard is not None and messages:
            self._heard(name, max(times_ms))
        memory.hear(now)
        self._draft.touch(memory, urgent=urgent)
        if memory.behind:
            self._waiting.add(name)

    def _take_messages(
        self,
        memory: DeviceMemory,
        speaks: Speaker,
        messages: list[Telemetry],
        times_ms: list[int],
        refused: list[Refused],
        now: Now,
    ) -> bool:
        """Runs where all is as usual, one by one where it is not. True if a state changed that people wait for."""
        urgent, at = False, 0
        while at < len(messages):
            run = None
            if not self.careful:
                run = take_run(
                    memory, speaks, messages, times_ms, at, now, self._draft.rows, judge_skew=self._judge_skew
                )
            if run is not None:
                self._draft.remember_run(memory, run)
                self._draft.keep_sessions(run.changed)
                urgent |= run.urgent
                at = run.end
                continue
            message = messages[at]
            reason = unfit(message, speaks)
            if reason is None:
                try:
                    urgent |= self._take_message(memory, message, times_ms[at], speaks.device, now)
                except Exception:
                    log.exception("a message of %s could not be taken; it goes to the dead letters", memory.name)
                    reason = INTERNAL_ERROR
            if reason is not None:
                refused.append(_refusal(reason, message))
            at += 1
        return urgent

    def _speaker(self, name: str) -> Speaker | None:
        speaks = self._speakers.get(name)
        if speaks is None and (device := self._inventory.devices.get(name)) is not None:
            speaks = self._speakers[name] = speaker(device)
        return speaks

    def _take_message(
        self,
        memory: DeviceMemory,
        message: Telemetry,
        ts_ms: int,
        device: Device,
        now: Now,
        *,
        buried: bool = False,
        counted: bool = False,
    ) -> bool:
        record = memory.record
        if message.seq == 1:
            self._check_first(memory, message, now)
        boot, known = memory.boot(message.boot)
        if not self._draft.remember(memory, device.name, boot, message.boot, message.seq) and not buried:
            record.duplicates += 1
            return False
        record.received += not counted
        known.came_ms = now.service_ms
        effective_ms = ts_ms
        if self._judge_skew:
            known.clock, effective_ms = judge_message(known.clock, message.seq, ts_ms, now.service_ms)
        skewed = effective_ms != ts_ms
        record.skewed += skewed
        if not memory.apart(boot, effective_ms, effective_ms):
            known.shift = shift_of(boot)
        known.reach(effective_ms, effective_ms)
        measurement, cells = row(message, record.site, record.device, boot, ts_ms, effective_ms, skewed, known.shift)
        if device.kind == "pile":
            changed = arrive(memory, boot, message.seq, reading(message, boot, effective_ms))
            self._draft.keep_sessions(changed)
        urgent = memory.keep_latest(instrument(message), boot, effective_ms, message)
        self._draft.rows[measurement].append(cells)  # last: what made us fail before is not stored, and not read again
        return urgent

    def _bury(self, memory: DeviceMemory, topic: str, bad: Refused, now: Now) -> None:
        """A dead letter of a known device: where its seq can be read, it is accounted for and leaves no hole."""
        self._draft.bury(topic, bad, now)
        if bad.boot is None or bad.seq is None:
            memory.record.dead += 1
            return
        boot, _known = memory.boot(bad.boot)
        new = self._draft.remember(memory, memory.name, boot, bad.boot, bad.seq)
        if new or bad.reason == INTERNAL_ERROR:
            memory.record.dead += 1
        else:
            memory.record.duplicates += 1
        if memory.record.lives and (new or bad.reason == INTERNAL_ERROR):
            self._draft.keep_sessions(arrive(memory, boot, bad.seq, None))

    def _check_first(self, memory: DeviceMemory, message: Telemetry, now: Now) -> None:
        reused = first_hash_says_reused(memory, message.boot, sha256(msgpack.encode(message)).hexdigest()[:16])
        if reused is not None:
            memory.hold("boot_reuse", now, f"started again under boot {message.boot}; kept apart as {reused}")

    def _take_status(self, name: str, topic: str, payload: bytes, now: Now, *, live: bool, queued: bool) -> None:
        device = self._inventory.devices.get(name)
        try:
            status = decode_status(payload)
        except BadPayload:
            self._draft.bury(topic, Refused("bad_status", payload), now)
            if device is not None and live:
                memory = self._memory_with_lives(name, device)
                memory.record.dead += 1
                self._draft.touch(memory)
            return
        if device is None:
            return
        memory = self._memory_with_lives(name, device)
        judge_skew = self._judge_skew
        mark = take_status(memory, status, now, live=live, queued=queued, judge_skew=judge_skew)
        if mark is not None:
            self._draft.skewed.append(mark)
        self._draft.touch(memory, urgent=True)
        if memory.behind:
            self._waiting.add(name)


def _refusal(reason: str, message: Telemetry) -> Refused:
    return Refused(reason, json.encode(message), message.boot, message.seq)
