"""The scheduler of row 15: lives one story of promises at a site of its own, and is killed where it is told to be.

`python -m tools.faults.promising URL` reads a line of JSON for each life and forks for it, so that a life costs
no start: {"site", "kill_at", "acked", "delivered"}. It answers each with the number of points at which it could be
killed, or null where it was. `kill_at` counts them: before and after each statement, and before each commit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, convert
from sqlalchemy import event
from sqlalchemy.engine import Engine

from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.calls import call_name
from scheduler.desk import Desk, Wish
from scheduler.elsewhere import Seen
from scheduler.explain import Said
from scheduler.ledger import Household, Outgoing, Superseded
from scheduler.ledger_engine import engine_of
from scheduler.ledger_sql import SqlLedger
from scheduler.post import Post
from scheduler.quiet import QuietHours
from scheduler.rules import RuleSet
from scheduler.site_facts import Connector, SiteFacts
from scheduler.turns import NotNow, Turn
from scheduler.watch import Watch

NINE_MS = 1_795_338_000_000
HOUR_MS, QUARTER_MS = 3_600_000, BUCKET_MS
WATTS = 7_000


class Life(Struct):
    """`kill_at` 0 lets it live. What the scheduler said to others goes to files: `turn rev state`, and notice ids."""

    site: str
    kill_at: int
    acked: str
    delivered: str


class Ground:
    """Two plugs of one site, and who is at them."""

    def __init__(self, site: str) -> None:
        self.plugs = (f"{site}/pile-01/1", f"{site}/pile-01/2")
        self._facts = SiteFacts(
            id=site, mode="in_turn", connectors=tuple(Connector(plug, WATTS) for plug in self.plugs), limit_w=2 * WATTS
        )
        self.taken: set[str] = set()
        self._numbers = iter(range(1, 1_000))

    def site(self, site: str) -> SiteFacts | None:
        return self._facts if site == self._facts.id else None

    def seen(self, connector: str) -> Seen:
        return "taken" if connector in self.taken else "free"

    def turn_id(self) -> str:
        return f"{self._facts.id}-{os.urandom(4).hex()}"

    def call(self) -> str:
        return call_name(next(self._numbers))

    def code(self) -> str:
        return "000000"


class Story:
    """Each step asks for what is not yet so; so a life may begin again wherever the one before was ended."""

    def __init__(self, ledger: SqlLedger, life: Life) -> None:
        self._ground, self._life, self._ledger = Ground(life.site), life, ledger
        self._desk = Desk(ledger, self._ground, self._ground, lambda _day: True)
        self._watch = Watch(self._desk, self._ground, HOUR_MS)  # it looks each half hour, and is awake in between
        self._post = Post(self._desk, self._deliver)

    def live(self) -> None:
        one, two = self._ground.plugs
        with suppress(Superseded):
            rules = RuleSet(site=self._life.site, compounds=("k-01",), quiet=QuietHours(0, 0))
            self._ledger.adopt(rules, after=0, by="init", now_ms=NINE_MS)
        first = self._promised("first", Place(one, bucket_at(NINE_MS), (WATTS,) * 2))
        waits = self._promised("waits", Place(one, bucket_at(NINE_MS) + 2, (WATTS,) * 2))
        goes = self._promised("goes", Place(two, bucket_at(NINE_MS) + 8, (WATTS,) * 2))
        self._do(lambda: self._desk.plug_in(first, NINE_MS))
        self._ground.taken.add(one)
        self._do(lambda: self._desk.cancel(goes, NINE_MS))
        self._tick(2 * QUARTER_MS)  # the first car stays, and who waits is moved
        self._do(lambda: self._desk.unplug(first, NINE_MS + 2 * QUARTER_MS + 1, energy_kwh=3.0))
        self._ground.taken.discard(one)
        self._do(lambda: self._desk.walk_in(one, self._life.site, NINE_MS + 2 * QUARTER_MS + 2))
        self._tick(4 * QUARTER_MS)  # nobody came
        self._tick(30 * HOUR_MS)  # and the car that walked in was not heard of for a day
        self._say(self._desk.turn(waits))

    def _promised(self, name: str, place: Place) -> str:
        household = f"{self._life.site}-{name}"
        self._ledger.register(Household(id=household, compound="k-01", dwelling=household))
        wish = Wish(
            site=self._life.site, household=household, vehicle=household, energy_kwh=place.energy_kwh, max_w=WATTS,
            earliest_ms=NINE_MS, depart_by_ms=NINE_MS + 5 * HOUR_MS,
        )  # fmt: skip
        turn = self._desk.ask(wish, NINE_MS, key=name)
        self._say(turn)
        self._do(lambda: self._desk.plan(turn.id, place, NINE_MS))
        self._do(lambda: self._desk.offer(turn.id, place, NINE_MS))
        self._send(NINE_MS)
        self._do(lambda: self._desk.accept(turn.id, NINE_MS))
        return turn.id

    def _tick(self, after_ms: int) -> None:
        self._watch.tick(NINE_MS + after_ms)
        self._send(NINE_MS + after_ms)

    def _send(self, now_ms: int) -> None:
        self._post.turn(self._ledger.lead(f"{os.getpid()}", 0.0 if self._life.kill_at else 60.0).epoch, now_ms)

    def _do(self, step: Callable[[], Turn | None]) -> None:
        with suppress(NotNow):
            self._say(step())

    def _say(self, turn: Turn | None) -> None:
        """Somebody was told: from now on it must be so."""
        if turn is not None:
            self._keep(self._life.acked, f"{turn.id} {turn.rev} {turn.state}\n")

    def _deliver(self, item: Outgoing, _said: Said, _turn: Turn | None) -> None:
        self._keep(self._life.delivered, f"{item.id}\n")

    @staticmethod
    def _keep(path: str, line: str) -> None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def kill_at(engine: Engine, number: int) -> list[int]:
    """Let the process be killed at that point; the list's one number is how many there were."""
    passed = [0]

    def point(*_what: object) -> None:
        passed[0] += 1
        if passed[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, name, point)
    return passed


def main() -> int:
    url = sys.argv[1]
    for line in sys.stdin:
        life = convert(json.loads(line), Life)
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            engine = engine_of(url, connections=2)
            passed = kill_at(engine, life.kill_at)
            Story(SqlLedger(engine), life).live()
            os.write(writes, str(passed[0]).encode())
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads) as said:
            points = said.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": killed, "points": int(points) if points else None}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
