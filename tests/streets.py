"""A neighbourhood with cars in it: what is at each plug, what of it is said, and what was said last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from ingest.clock import rfc3339
from ingest.freshness import stale_after_ms
from ingest.messages import Condition
from scheduler.ledger_memory import MemoryLedger
from scheduler.post import NotDelivered, Post, Unsure
from tests.rounds import INTERVAL_S, SITE, Neighbourhood

PLUGS = tuple(f"{SITE}/pile-{no:02d}/1" for no in (1, 2, 3))
LIMIT_W = 14_000
MINUTE_MS = 60_000
STALE_MS = stale_after_ms(INTERVAL_S, 1.0)

Known = Literal["free", "bay", "car", "broken", "unheard"]
Fate = Literal["away", "unsure", "ended before", "ended after"]
"""What becomes of a notice that is handed on, where it is not just taken."""


class Ended(Exception):
    """The process that leads ends in the middle of what it does."""


@dataclass
class Car:
    """`of` is the turn whose car it is, None of a stranger's; `typed` the code that was typed as it was plugged in."""

    of: str | None
    typed: str | None
    since_ms: int
    state: str = "preparing"
    kwh: float = 0.0
    is_metered: bool = True
    """Whether its session is known; after it was seen once it is."""
    seen_ms: int | None = None
    """When a look found it first."""
    session_id: str = ""


class Street(Neighbourhood):
    """Three piles of 7 kW that may draw 14 together. What is at them is said at each look, unless they are silent."""

    def __init__(self, is_handed_on: bool = True) -> None:
        self.wall_ms, self.process, self.epoch = 0, 0, 0
        self.is_handed_on = is_handed_on
        self.cars: dict[str, Car] = {}
        self.came = 0
        self.bays: set[str] = set()
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.burning: set[str] = set()
        self.smoking: set[str] = set()
        """Plugs that reported smoke when they spoke last."""
        self.left_ms: dict[str, int] = {}
        self.heard: dict[str, tuple[int, Known, Car | None]] = {}
        """Of each plug when it spoke last, and what was there."""
        self.fates: list[Fate] = []
        self.handed_on: list[str] = []
        super().__init__(piles=len(PLUGS), limit_kw=LIMIT_W / 1_000, ledger=MemoryLedger(lambda: self.wall_ms))
        self.look()

    def lead(self) -> None:
        super().lead()
        self.wall_ms += 10**10
        self.process += 1
        self.epoch = self.ledger.lead(f"process {self.process}", 1e6).epoch
        self.post = Post(self.desk, self._hand_on if self.is_handed_on else None)

    def known(self, plug: str) -> Known:
        """What may be known of a plug now."""
        at_ms, there, _ = self.heard[plug]
        return there if self.believed and self.now_ms <= at_ms + STALE_MS else "unheard"

    def car_known(self, plug: str) -> Car | None:
        return self.heard[plug][2] if self.known(plug) == "car" else None

    def comes_to(self, plug: str, car: Car) -> None:
        self.bays.discard(plug)
        self.came += 1
        car.session_id = f"s{self.came}"
        self.cars[plug] = car

    def leaves(self, plug: str) -> None:
        self.cars.pop(plug, None)
        self.bays.discard(plug)
        self.left_ms[plug] = self.now_ms

    def look(self) -> None:
        """One look of who leads; where it ends in the middle of that, of who takes over."""
        for plug in PLUGS:
            if plug not in self.silent:
                self._speaks(plug)
        self.mono_s += 3.0
        try:
            self.rounds.round(self.now_ms, self.mono_s)
            self.post.turn(self.epoch, self.now_ms)
        except Ended:
            self.lead()

    def pass_by(self, minutes: int) -> None:
        """Looks every minute of a quarter of an hour, every three minutes of an hour, and of what is longer only at
        its end. The last one is followed by another: what it found changed is planned.
        """
        until_ms = self.now_ms + minutes * MINUTE_MS
        if minutes > 60:
            self.now_ms = until_ms - 3 * MINUTE_MS
        every_ms = (3 if 15 < minutes <= 60 else 1) * MINUTE_MS
        while self.now_ms < until_ms:
            self.now_ms = min(until_ms, self.now_ms + every_ms)
            self.look()
        self.look()

    def _speaks(self, plug: str) -> None:
        car = self.cars.get(plug)
        self.tokens.pop(plug, None)
        there: Known = "broken" if plug in self.broken else "car" if car else "bay" if plug in self.bays else "free"
        if there == "broken":
            self.says(plug, "faulted")
        elif car is None:
            since = {"since": rfc3339(self.left_ms[plug])} if plug in self.left_ms else {}
            self.says(plug, "available", bay_occupied=there == "bay", **since)
        else:
            car.seen_ms = self.now_ms if car.seen_ms is None else car.seen_ms
            state, _, by = car.state.partition(" by ")
            paused = {"suspended_by": by} if by else {}
            kwh = car.kwh if car.is_metered else None
            self.says(plug, state, kwh, since_ms=car.since_ms, session_id=car.session_id, **paused)
            car.is_metered = True
            if car.typed is not None:
                self.tokens[plug] = car.typed
        self.smoking.discard(plug)
        if plug in self.burning:
            self.smoking.add(plug)
            device = plug.rpartition("/")[0]
            smoke = Condition(code="smoke", since=rfc3339(self.now_ms), severity="critical", evidence="smoke alarm")
            self.said[device] = replace(self.said[device], conditions=[smoke])
        self.heard[plug] = self.now_ms, there, car

    def _hand_on(self, item, _said, _turn) -> None:
        fate = self.fates.pop() if self.fates else None
        if fate == "away":
            raise NotDelivered("nobody takes it")
        if fate == "ended before":
            raise Ended
        assert item.id not in self.handed_on, "it left twice"
        self.handed_on.append(item.id)
        if fate == "unsure":
            raise Unsure
        if fate == "ended after":
            raise Ended
