"""A site with piles that speak, and everything of a scheduler that leads, in a line."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from ingest.assets import Compound, ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import rfc3339
from ingest.messages import Condition, ConnectorState, DeviceState, SessionNow, Severity
from ingest.workdays import is_workday
from scheduler.arrivals import Arrivals
from scheduler.desk import Desk, Wish
from scheduler.explain import Decision
from scheduler.ground import Ground, Heard
from scheduler.ledger import Household, Ledger
from scheduler.ledger_memory import MemoryLedger
from scheduler.plan_greedy import greedy
from scheduler.planning import Planning
from scheduler.post import Post
from scheduler.rounds import Rounds
from scheduler.rules import RuleSet
from scheduler.turns import Turn
from scheduler.watch import Watch
from tests.desks import Names
from tests.ledgers import NO_QUIET
from tests.stores import NINE_MS

SITE = "jn-01"
ONE, TWO = f"{SITE}/pile-01/1", f"{SITE}/pile-02/1"
HOUR_MS = 3_600_000
QUARTER_MS = 900_000
INTERVAL_S = 60


class Neighbourhood:
    """A clock, `piles` piles of 7 kW with one connector each, and what they said last."""

    def __init__(self, piles: int = 2, limit_kw: float | None = None, ledger: Ledger | None = None) -> None:
        name = Name("近邻", "Neighbours")
        compounds = {one: Compound(one, name, "s", 31.22, 121.45) for one in ("k-01", "k-02")}
        there = {"lat": 31.22, "lon": 121.45, "limit_kw": limit_kw, "compounds": (*compounds,)}
        site = Site(id=SITE, name=name, mode="in_turn", **there)
        devices = [
            Device(site=SITE, id=f"pile-{no:02d}", kind="pile", connectors=(ConnectorSpec(1),))
            for no in range(1, piles + 1)
        ]
        self.inventory = Inventory(compounds=compounds, sites={SITE: site}, devices={one.name: one for one in devices})
        self.now_ms, self.mono_s, self.believed = NINE_MS, 0.0, True
        self.said: dict[str, DeviceState] = {}
        self.tokens: dict[str, str] = {}
        self.sessions: dict[str, int] = {}
        """By connector when the session there began, as it was said first."""
        self.names = Names()
        self.ledger = ledger or MemoryLedger(lambda: 0)
        self.rules = RuleSet(site=SITE, compounds=(*compounds,), quiet=NO_QUIET)
        self.ledger.adopt(self.rules, after=0, by="init", now_ms=self.now_ms)
        self.ledger.lead("one", 1e6)
        for no in range(1, 7):
            self.ledger.register(Household(id=f"h{no}", compound=f"k-0{1 + no % 2}", dwelling=str(no)))
        self.lead()
        for device in self.inventory.devices:
            self.says(f"{device}/1", "available")

    def lead(self) -> None:
        """Another process leads from now on, and knows what the ledger knows."""
        heard = Heard(self.said.get, lambda: self.believed, lambda: 1.0, self.tokens.get)
        self.ground = Ground(lambda: self.inventory, heard)
        self.desk = Desk(self.ledger, self.ground, self.names, is_workday)
        self.arrivals = Arrivals(self.desk, self.ground)
        self.planning = Planning(self.desk, self.ground, greedy, is_workday)
        self.post = Post(self.desk)
        self.rounds = Rounds(self.desk, self.ground, Watch(self.desk, self.ground), self.arrivals, self.planning)

    def says(
        self,
        connector: str,
        state: str,
        kwh: float | None = None,
        since_ms: int | None = None,
        session_id: str | None = None,
        **more,
    ) -> None:
        """What a connector says from now on; with `kwh`, of a session that began then (within a minute: the same)."""
        device, _, number = connector.rpartition("/")
        session = None
        before = self.sessions.pop(connector, None)
        if kwh is not None:
            began_ms = self.now_ms if since_ms is None else since_ms
            is_same = before is not None and since_ms is not None and abs(before - since_ms) <= 60_000
            self.sessions[connector] = before if is_same and before is not None else began_ms
            session = SessionNow(
                id=session_id or f"s{self.sessions[connector]}", started_at=rfc3339(began_ms), energy_kwh=kwh
            )
        said = ConnectorState(
            connector=int(number), state=state, observed_at=rfc3339(self.now_ms), session=session, **more
        )
        self.said[device] = DeviceState(
            rev=1, site=SITE, device=device.rpartition("/")[2], kind="pile", ts=rfc3339(self.now_ms),
            observed_at=rfc3339(self.now_ms), online=True, interval_s=INTERVAL_S, connectors=[said],
        )  # fmt: skip

    def alarm(self, connector: str, code: str | None, severity: Severity = "critical") -> None:
        """What its device reports of smoke or heat from now on; `later` repeats it, and `says` ends it."""
        device = connector.rpartition("/")[0]
        evidence = "smoke alarm" if code == "smoke" else "too hot"
        held = [Condition(code=code, since=rfc3339(self.now_ms), severity=severity, evidence=evidence)] if code else []
        self.said[device] = replace(self.said[device], conditions=held)

    def comes(self, turn_id: str, state: str = "charging", kwh: float = 0.0, **more) -> None:
        """The car of a turn is plugged in at its place, and its household checks in."""
        place = self.turn(turn_id).place
        assert place is not None
        self.desk.check_in(turn_id, self.now_ms)
        self.says(place.connector, state, kwh, **more)

    def repeat(self, *but: str) -> None:
        """Each pile says again what it said, but those that fell silent."""
        for device, state in self.said.items():
            if device not in but:
                self.said[device] = _again(state, rfc3339(self.now_ms))

    def later(self, minutes: float, *silent: str) -> None:
        """The rounds of so many minutes, one each minute, while all piles but the silent go on reporting."""
        until_ms = self.now_ms + round(minutes * 60_000)
        while self.now_ms < until_ms:
            self.now_ms = min(until_ms, self.now_ms + 60_000)
            self.repeat(*silent)
            for _ in range(2):  # what the first finds changed, the second plans
                self.mono_s += 3.0
                self.rounds.round(self.now_ms, self.mono_s)
                self.post.turn(1, self.now_ms)

    def asks(self, household: str = "h1", kwh: float = 7.0, hours: float = 6, **said: object) -> str:
        usual = {
            "site": SITE, "household": household, "vehicle": f"car of {household}", "energy_kwh": kwh, "max_w": 7_000,
            "earliest_ms": self.now_ms, "depart_by_ms": self.now_ms + round(hours * 3_600_000),
        }  # fmt: skip
        return self.desk.ask(Wish(**{**usual, **said}), self.now_ms).id

    def decision(self, turn_id: str) -> Decision:
        return self.ledger.decisions([turn_id])[turn_id]

    def turn(self, turn_id: str) -> Turn:
        return self.desk.turn(turn_id)


def _again(state: DeviceState, at: str) -> DeviceState:
    assert state.connectors is not UNSET
    return replace(state, observed_at=at, connectors=[replace(one, observed_at=at) for one in state.connectors])


def said_to(street, turn):
    return [item.id.rpartition(":")[2] for item in street.ledger.outgoing(["pending", "sent"]) if item.turn == turn]


def given(street, household, place, **more):
    """The id of a household's turn that was promised that place, whatever a plan would give it."""
    turn = street.asks(household, kwh=place.energy_kwh, **more)
    for step in (street.desk.plan, street.desk.offer):
        step(turn, place, street.now_ms)
    street.desk.accept(turn, street.now_ms)
    return turn


def promised(street, *said, **more):
    """The id of a turn from the next quarter of an hour on that was asked for, offered and accepted."""
    turn = street.asks(*said, **{"earliest_ms": street.now_ms + QUARTER_MS, **more})
    street.later(1)
    street.desk.accept(turn, street.now_ms)
    return turn
