"""Floor 2 · What is told after a commit, and when: acks merged, states as often as is useful, sessions at once."""

from __future__ import annotations

from collections.abc import Callable

from ingest.assets import Device
from ingest.codec import encode
from ingest.draft import Drawn
from ingest.memory import DeviceMemory
from ingest.messages import Ack, Tokens
from ingest.ranges import Ranges
from ingest.states import device_state, tokens
from ingest.topics import device_topic

ACK_EVERY_S = 0.02
"""Merged for at most 100 ms by contract, with the wait for a commit in it."""
URGENT_EVERY_S = 0.04
"""With the wait for a commit and for a turn, a connector's change is told within 100 ms."""
STATE_EVERY_S = 1.0
FAST_CLOCK = 60.0
"""Above this speed states go out at most twice a wall second, whatever changed."""
FAST_STATE_EVERY_S = 0.5
MOST_RANGES = 200

Publish = Callable[[str, bytes, int, bool], None]
"""(topic, payload, qos, retain)"""


class Teller:
    """Publishes for ingest. Times are wall seconds of a steady clock, except where a name says service time."""

    def __init__(self, publish: Publish, *, speed: float, first_rev: int) -> None:
        self._publish = publish
        self._speed = speed
        self._rev = first_rev
        self._acks: dict[tuple[str, str], Ranges] = {}
        self._acks_due_s = 0.0
        self._changed: dict[str, bool] = {}
        self._told_s: dict[str, float] = {}
        self._tokens: dict[str, dict[str, str]] = {}

    def after(self, drawn: Drawn) -> None:
        """The commit of `drawn` is synced."""
        for key, ranges in drawn.acks.items():
            held = self._acks.get(key)
            if held is None:
                self._acks[key] = ranges
            else:
                for lo, hi in ranges:
                    held.add_range(lo, hi)
        for name, urgent in drawn.changed.items():
            self._changed[name] = urgent or self._changed.get(name, False)
        for notice in drawn.notices:
            self._publish(device_topic(f"{notice.site}/{notice.device}", "session"), encode(notice), 1, False)

    def tell_all(self, names: list[str]) -> None:
        """After a (re)connect: every state again, at the next turn."""
        self._told_s.clear()
        self._tokens.clear()
        self._changed.update(dict.fromkeys(names, True))

    def forget(self, name: str) -> None:
        """The device left the inventory: its retained topics are cleared."""
        self._changed.pop(name, None)
        self._tokens.pop(name, None)
        for leaf in ("state", "status", "turns", "token"):
            self._publish(device_topic(name, leaf), b"", 1, True)

    def turn(
        self, devices: dict[str, DeviceMemory], inventory: Callable[[str], Device | None], mono_s: float, now_ms: int
    ) -> None:
        """Send what is due by now."""
        if self._acks and mono_s >= self._acks_due_s:
            self._acks_due_s = mono_s + ACK_EVERY_S
            self._send_acks()
        for name, urgent in list(self._changed.items()):
            memory, device = devices.get(name), inventory(name)
            if memory is None or device is None:
                del self._changed[name]
            elif mono_s - self._told_s.get(name, -1e9) >= self._every_s(memory, urgent):
                del self._changed[name]
                self._told_s[name] = mono_s
                self._rev += 1
                state = device_state(memory, device, self._rev, now_ms)
                self._tell_tokens(name, memory)  # first: whoever hears of a car knows whose code was typed
                self._publish(device_topic(name, "state"), encode(state), 1, True)

    def _tell_tokens(self, name: str, memory: DeviceMemory) -> None:
        typed = tokens(memory)
        if typed != self._tokens.get(name, {}):
            self._publish(device_topic(name, "token"), encode(Tokens(tokens=typed)) if typed else b"", 1, True)
            self._tokens[name] = typed

    def _every_s(self, memory: DeviceMemory, urgent: bool) -> float:
        if self._speed > FAST_CLOCK:
            return FAST_STATE_EVERY_S
        if urgent:
            return URGENT_EVERY_S
        return min(STATE_EVERY_S, memory.record.interval_s / self._speed / 2)

    def _send_acks(self) -> None:
        acks, self._acks = self._acks, {}
        for (name, boot), ranges in acks.items():
            pairs = list(ranges)
            for start in range(0, len(pairs), MOST_RANGES):
                ack = Ack(boot, pairs[start : start + MOST_RANGES])
                self._publish(device_topic(name, "ack"), encode(ack), 0, False)
