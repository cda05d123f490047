"""Row 16: two schedulers, of which the one that leads is paused past its lease, and then goes on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ingest.assets import Inventory
from ingest.clock import rfc3339
from ingest.enrolments import Enrolments
from ingest.inventory import load
from ingest.messages import ConnectorState, DeviceState, ServiceNotice, SessionNow
from ingest.workdays import is_workday
from lunchong.live_clock import wall_ms
from lunchong.turns_side import Drawn, open_ledger
from scheduler.desk import Desk, Wish
from scheduler.ground import sites_of
from scheduler.ledger import Household, Ledger, LedgerUnavailable, Moved
from scheduler.site_facts import SiteFacts
from scheduler.turns import NotNow
from simulators.orders import Orders
from tests.brokers import Client, until
from tests.postgres import Postgres
from tests.processes import Server
from tests.talking import PILE, Beside, OwnMosquitto, a_place, let_in, own_mosquitto
from tools.faults.outcome import Asked, Outcome

PAUSES, PAUSES_SHORT = 5, 1
AFTER_S = 4.0
"""So long both run again after each pause."""
TAKEN_OVER_WITHIN_S, WAITED_S = 10.0, 20.0
"""Allowed; and waited for in each of the two, of which one stands by."""
EVERY_S = 0.1
HOUSEHOLDS = 4
RULES = 'initial_rules = { guests = 50, quiet = "none", opening = ["00:00-24:00"] }'


class Pile:
    """Takes `turns` and `cmd` as a device does, and counts what it accepted of an epoch older than one that it saw."""

    def __init__(self, device: Client) -> None:
        self._device, self._read = device, 0
        self.orders = Orders()
        self.answers: Counter[str] = Counter()
        self.accepted_from_old = 0
        for leaf in ("turns", "cmd"):
            device.subscribe(f"lunchong/v1/{PILE}/{leaf}")

    def live(self, ending: threading.Event) -> None:
        """In a thread of its own: whoever asks may have to wait for the ledger."""
        while not ending.wait(EVERY_S):
            self._obey()

    def _obey(self) -> None:
        for message in self._device.heard[self._read :]:
            self._read += 1
            payload = message.payload.encode()
            if message.topic.endswith("/turns"):
                self.orders.on_turns(payload)
                continue
            newest = self.orders.epoch
            answer = self.orders.take(payload, lambda _command: None)
            if answer is None:
                continue
            self.answers[answer.reason or answer.result] += 1
            self.accepted_from_old += answer.result == "accepted" and json.loads(payload)["epoch"] < newest
            self._device.publish(f"lunchong/v1/{PILE}/cmd/result", msgspec.json.encode(answer).decode())


class Street:
    """Plays ingest, the pile and the residents: who asks, accepts, gives up, and a car that comes and goes."""

    def __init__(self, ingest: Client, pile: Pile, ledger: Ledger, inventory: Inventory) -> None:
        self._ingest, self.pile, self._ledger, self._sites = ingest, pile, ledger, sites_of(inventory)
        self._desk = Desk(ledger, self, Drawn(), is_workday)
        self._revs, self._rounds = count(1), count(1)
        for number in range(HOUSEHOLDS):
            ledger.register(Household(id=f"h-{number}", compound="elsewhere", dwelling=str(number)))
        notice = msgspec.json.encode(ServiceNotice(v=1, online=True)).decode()
        ingest.publish("lunchong/v1/service/ingest", notice, retain=True)

    def site(self, site: str) -> SiteFacts | None:
        return self._sites.get(site)

    def live(self, ending: threading.Event) -> None:
        while not ending.wait(EVERY_S):
            now_ms = wall_ms()
            self._say(now_ms, is_there=next(self._rounds) // 15 % 2 == 1)
            with suppress(LedgerUnavailable):  # who is paused may hold what is asked for
                self._ask(now_ms)

    def _say(self, now_ms: int, *, is_there: bool) -> None:
        """A car stands at the second connector for three seconds of every six."""
        at = rfc3339(now_ms)
        session = SessionNow(id="s", started_at=rfc3339(now_ms - 1_000), energy_kwh=0.1) if is_there else None
        connectors = [
            ConnectorState(connector=1, state="available", observed_at=at),
            ConnectorState(connector=2, state="charging" if is_there else "available", observed_at=at, session=session),
        ]
        site, _, device = PILE.partition("/")
        state = DeviceState(
            rev=next(self._revs), site=site, device=device, kind="pile", ts=at, observed_at=at, online=True,
            interval_s=60, connectors=connectors,
        )  # fmt: skip
        self._ingest.publish(f"lunchong/v1/{PILE}/state", msgspec.json.encode(state).decode(), retain=True)

    def _ask(self, now_ms: int) -> None:
        live = {
            turn.household: turn for turn in self._ledger.turns(states=["requested", "queued", "offered", "reserved"])
        }
        for number in range(HOUSEHOLDS):
            turn = live.get(f"h-{number}")
            if turn is None:
                wish = Wish(
                    site="gate-01", household=f"h-{number}", vehicle=f"car-{number}", energy_kwh=1.75, max_w=7_000,
                    earliest_ms=now_ms, depart_by_ms=now_ms + 8 * 3_600_000,
                )  # fmt: skip
                self._desk.ask(wish, now_ms)
            elif turn.state in ("offered", "reserved"):
                try:
                    (self._desk.accept if turn.state == "offered" else self._desk.cancel)(turn, now_ms)
                except (NotNow, Moved):
                    continue


class Recorder:
    """A webhook that keeps the ids of what it was sent."""

    def __init__(self, ending: ExitStack) -> None:
        self.ids: list[str] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                recorder.ids.append(said["id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_said: object) -> None:
                """Nothing is logged."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ending.callback(server.server_close)
        ending.callback(thread.join)
        ending.callback(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}/notices"


def two_leaders(asked: Asked) -> Outcome:
    """Pause whoever leads until the other does, let it go on, and again; then count what was done under old epochs."""
    outcome = Outcome()
    with ExitStack() as ending:
        folder = Path(ending.enter_context(TemporaryDirectory(prefix="lunchong-faults-")))
        postgres = Postgres()
        ending.callback(postgres.stop)
        url = ending.enter_context(postgres.database())
        recorder = Recorder(ending)
        data = a_place(folder / "data")
        inventory = data / "inventory.toml"
        inventory.write_text(inventory.read_text().replace("limit_kw = 20.0", f"limit_kw = 20.0\n{RULES}", 1))
        broker = ending.enter_context(own_mosquitto(folder / "broker", data))
        env = {
            "LUNCHONG_STORE": "influxdb", "LUNCHONG_INFLUX_URL": "http://127.0.0.1:9", "LUNCHONG_INFLUX_TOKEN": "none",
            "LUNCHONG_LEDGER_URL": url, "LUNCHONG_WEBHOOK_URL": recorder.url, **broker.env,
        }  # fmt: skip
        ledger = ending.enter_context(closing(open_ledger(url)))
        street = _street(ending, data, env, broker, ledger)
        schedulers = [ending.enter_context(_scheduler(data, env)) for _ in range(2)]
        stopping = threading.Event()
        living = [threading.Thread(target=lives, args=(stopping,)) for lives in (street.live, street.pile.live)]
        for one in living:
            one.start()
            ending.callback(one.join)
        ending.callback(stopping.set)
        until(lambda: street.pile.answers["accepted"] and recorder.ids, 60.0)
        for _ in range(int(asked.pick(PAUSES, PAUSES_SHORT))):
            outcome.recovered(_pause_who_leads(schedulers, street.pile), TAKEN_OVER_WITHIN_S)
            time.sleep(AFTER_S)
        stopping.set()
        for one in living:
            one.join()
        told, unknown = len(recorder.ids), len(ledger.outgoing(["unknown"], 10_000))
        outcome.figures |= {
            "epochs": street.pile.orders.epoch, "commands": dict(street.pile.answers),
            "accepted_from_old_epoch": street.pile.accepted_from_old, "notices": told,
            "equal_notice_ids": told - len(set(recorder.ids)), "notices_unknown": unknown,
        }  # fmt: skip
        outcome.must(street.pile.accepted_from_old == 0, "a device took a command of an epoch that was over")
        outcome.must(told == len(set(recorder.ids)), "a notice was sent twice")
        outcome.must(not ledger.imbalance(), "the ledger's books do not follow from its turns")
    return outcome


def _street(ending: ExitStack, data: Path, env: dict[str, str], broker: OwnMosquitto, ledger: Ledger) -> Street:
    device = ending.enter_context(let_in(Beside(data, env), broker))
    key = Enrolments(data / "credentials.json").held("ingest")
    assert key is not None
    ingest = ending.enter_context(Client(broker.url, key.username, password=key.password, client_id=key.client_id))
    return Street(ingest, Pile(device), ledger, load((data / "inventory.toml").read_text()))


def _scheduler(data: Path, env: dict[str, str]) -> Server:
    return Server(data, env=env, command=("scheduler",), ready="ready-scheduler.json")


def _pause_who_leads(schedulers: list[Server], pile: Pile) -> float:
    """Stop one until the device hears a new epoch, or the other where that one led. Seconds until then."""
    for one in schedulers:
        before, began_s = pile.orders.epoch, time.monotonic()
        one.process.send_signal(signal.SIGSTOP)
        while pile.orders.epoch == before and time.monotonic() < began_s + WAITED_S:
            time.sleep(0.01)
        one.process.send_signal(signal.SIGCONT)
        if pile.orders.epoch > before:
            return time.monotonic() - began_s
    raise AssertionError("neither of the two led")
