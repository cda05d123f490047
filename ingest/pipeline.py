"""Floor 2 · From messages as they came to one commit: decoded, checked, remembered, put in order, derived.

`take` and `settle` change the memory and gather what must become durable; `draw` hands it over as one commit. Only
after that commit is synced may its acks be sent and its states be published. Nothing here reads a clock or writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ingest.assets import Device, Inventory
from ingest.clock import DAY_MS, Now, to_ms
from ingest.codec import BadPayload, Refused, decode_status, decode_telemetry, decode_together
from ingest.conditions import count_again
from ingest.draft import Draft, Drawn
from ingest.facts import DeadLetter
from ingest.follow import settle
from ingest.memory import DeviceMemory
from ingest.mending import Mended
from ingest.messages import Telemetry
from ingest.packets import MOST_TOPICS, Publish
from ingest.remembering import forget_boots, learn_boot, memory_of, memory_with_lives, restored
from ingest.runs import Speaker, speaker, take_run, unfit
from ingest.sessions import measured
from ingest.singly import INTERNAL_ERROR, bury, refusal, take_message
from ingest.spooling import DeadSeen, Kept
from ingest.statuses import take_status
from ingest.topics import device_topic, split_topic

log = logging.getLogger(__name__)

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
        self.devices = restored(kept)
        self._waiting = {name for name, memory in self.devices.items() if memory.unfilled}
        self._inventory = inventory
        self._judge_skew = judge_skew
        self._speakers: dict[str, Speaker] = {}
        self._topics: dict[str, tuple[str, str]] = {}
        self._unreviewed: set[str] = set()
        self._dead_seen: dict[bytes, DeadSeen] = {dead.digest: dead for dead in kept.dead_seen}
        lives = [life for memory in self.devices.values() for life in memory.record.lives.values()]
        self._open = {session.id: session for session in map(measured, lives) if session is not None}
        self._draft = Draft(self._open, self._dead_seen)

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
            for boot in forget_boots(memory, before_ms):
                self._draft.rewrite_seen(memory, boot)

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
        take = self._take_carefully if self.careful else self._take_of
        for name, mine in said.items():
            take(name, mine, now, queued)

    def _take_of(self, name: str, mine: list[Publish], now: Now, queued: bool) -> None:
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

    def _take_carefully(self, name: str, mine: list[Publish], now: Now, queued: bool) -> None:
        """Each publish by itself: one that makes us fail is buried, whatever of us it was that failed."""
        for publish in mine:
            try:
                self._take_of(name, [publish], now, queued)
            except Exception:
                log.exception("what came on %s could not be taken; it goes to the dead letters", publish[0])
                self._draft.bury(publish[0], Refused(INTERNAL_ERROR, publish[1]), now)
                if (memory := self.devices.get(name)) is not None:
                    memory.record.dead += 1
                    self._draft.touch(memory)

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
        memory = memory_with_lives(self.devices, name, speaks.device)
        accounted = letter.seq is not None and letter.reason != "unknown_device"
        take_message(
            self._draft, memory, messages[0], to_ms(messages[0].ts), speaks.device, now,
            judge_skew=self._judge_skew, buried=accounted, counted=letter.reason == STORE_REFUSED,
        )  # fmt: skip
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
        memory = memory_of(self.devices, name)
        learn_boot(memory, boot)
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

    def _take_telemetry(self, name: str, payloads: list[bytes], now: Now) -> None:
        if not payloads:
            return
        messages, times_ms, refused = decode_together(payloads)
        speaks = self._speaker(name)
        topic = device_topic(name, "telemetry")
        if speaks is None:
            refused += [refusal("unknown_device", message) for message in messages]
            for bad in refused:
                self._draft.bury(topic, bad, now)
                if bad.boot is not None and bad.seq is not None:
                    self._draft.ack(name, bad.boot, bad.seq, bad.seq)
            return
        memory = memory_with_lives(self.devices, name, speaks.device)
        urgent = self._take_messages(memory, speaks, messages, times_ms, refused, now)
        for bad in refused:
            bury(self._draft, memory, topic, bad, now)
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
            try:
                reason = unfit(message, speaks)
                if reason is None:
                    urgent |= take_message(
                        self._draft, memory, message, times_ms[at], speaks.device, now, judge_skew=self._judge_skew
                    )
            except Exception:
                log.exception("a message of %s could not be taken; it goes to the dead letters", memory.name)
                reason = INTERNAL_ERROR
            if reason is not None:
                refused.append(refusal(reason, message))
            at += 1
        return urgent

    def _speaker(self, name: str) -> Speaker | None:
        speaks = self._speakers.get(name)
        if speaks is None and (device := self._inventory.devices.get(name)) is not None:
            speaks = self._speakers[name] = speaker(device)
        return speaks

    def _take_status(self, name: str, topic: str, payload: bytes, now: Now, *, live: bool, queued: bool) -> None:
        device = self._inventory.devices.get(name)
        try:
            status = decode_status(payload)
        except BadPayload:
            self._draft.bury(topic, Refused("bad_status", payload), now)
            if device is not None and live:
                memory = memory_with_lives(self.devices, name, device)
                memory.record.dead += 1
                self._draft.touch(memory)
            return
        if device is None:
            return
        memory = memory_with_lives(self.devices, name, device)
        judge_skew = self._judge_skew
        mark = take_status(memory, status, now, live=live, queued=queued, judge_skew=judge_skew)
        if mark is not None:
            self._draft.skewed.append(mark)
        self._draft.touch(memory, urgent=True)
        if memory.behind:
            self._waiting.add(name)
