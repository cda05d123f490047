"""`lunchong serve` gives turns: a wish that another process kept is planned, offered, told to the pile, and kept."""

from __future__ import annotations

import json
import secrets
import signal
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from ingest.clock import rfc3339, to_ms
from ingest.inventory import load
from ingest.workdays import is_workday
from lunchong.turns_side import Drawn, open_ledger
from scheduler.accounts import Account
from scheduler.boards import code_hash
from scheduler.buckets import BUCKET_MS, Place, bucket_at
from scheduler.desk import Desk, Wish
from scheduler.ledger import Household
from tests.brokers import until
from tests.desks import SitesOf
from tests.processes import Server
from tests.smtp import mail_box
from tests.talking import PILE, TELEMETRY, Beside, a_place, as_device, let_in, message, own_mosquitto, status

TURNS = f"lunchong/v1/{PILE}/turns"
ONE, TWO = f"{PILE}/1", f"{PILE}/2"


@pytest.fixture
def place(tmp_path):
    """The example with a street where anybody may ask, at any hour."""
    data = a_place(tmp_path / "data")
    inventory = data / "inventory.toml"
    rules = 'initial_rules = { guests = 2, quiet = "none", opening = ["00:00-24:00"] }'
    inventory.write_text(inventory.read_text().replace("limit_kw = 20.0", f"limit_kw = 20.0\n{rules}", 1))
    return data


@contextmanager
def desk_of(data, url=None):
    """A desk of another process, over the same ledger."""
    with closing(open_ledger(url or f"sqlite:///{data / 'ledger.db'}")) as ledger:
        ledger.register(Household(id="h1", compound="k-elsewhere", dwelling="1-101"))
        sites = SitesOf(load((data / "inventory.toml").read_text()))
        yield Desk(ledger, sites, Drawn(), is_workday)


def now_ms() -> int:
    return to_ms(datetime.now(UTC))


def says(device, boot, seq, *states):
    """The pile is there, and its connectors are in these states."""
    device.publish(f"lunchong/v1/{PILE}/status", status(boot, seq + len(states)), retain=True)
    for number, state in enumerate(states, 1):
        device.publish(TELEMETRY, message(seq + number, boot, kind="connector", connector=number, state=state))


def wish(kwh=3.5):
    at_ms = now_ms()
    return Wish(
        site="gate-01", household="h1", vehicle="car-1", energy_kwh=kwh, max_w=7_000, earliest_ms=at_ms,
        depart_by_ms=at_ms + 6 * 3_600_000,
    )  # fmt: skip


def test_a_wish_is_offered_told_to_the_pile_and_stays_promised_over_a_kill(place):
    boot = secrets.token_hex(8)
    with Server(place) as server, as_device(server) as device:
        device.subscribe(TURNS)
        says(device, boot, 0, "available", "available")
        with desk_of(place) as desk:
            later = replace(wish(), earliest_ms=now_ms() + BUCKET_MS)
            turn = desk.ask(later, now_ms()).id
            offered = until(lambda: (t := desk.turn(turn)).state == "offered" and t)
            assert 0 < offered.place.start_ms - now_ms() <= 2 * BUCKET_MS
            desk.accept(turn, now_ms())

            def told():
                last = json.loads(device.payloads(1)[-1])
                boards = {at["connector"]: at for at in last["connectors"]}
                return last if boards[int(offered.place.connector[-1])]["next"] else None

            last = until(told)
            [following] = [one for at in last["connectors"] for one in at["next"]]
            assert following == {"call": offered.call, "from": rfc3339(offered.place.start_ms)}
            assert last["epoch"] == 1
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            before = desk.turn(turn)
            with Server(place) as again, as_device(again) as same:
                same.subscribe(TURNS)

                def led():
                    said = [json.loads(payload) for payload in same.payloads(1)]
                    return any(one["epoch"] == 2 for one in said)

                until(led, 30)
                assert desk.turn(turn) == before
                assert (before.state, before.place) == ("reserved", offered.place)


def test_an_offer_goes_by_mail_to_who_gave_an_address(place):
    with mail_box() as box, Server(place, env={"LUNCHONG_MAIL_URL": box.url}) as server, as_device(server) as device:
        says(device, secrets.token_hex(8), 0, "available", "available")
        with desk_of(place) as desk:
            wang = Account(name="wang", role="resident", household="h1", password="x", mail="wang@example.org")
            desk.ledger.accounts.add(wang)
            desk.ask(wish(), now_ms())
            [(to, _)] = until(lambda: box.came)
            assert to == "wang@example.org"
            until(lambda: len(desk.ledger.outgoing(["sent"], 10, "mail")) == 1)


def test_a_car_that_comes_without_a_turn_is_seen_and_let_go(place):
    boot = secrets.token_hex(8)
    with Server(place) as server, as_device(server) as device, desk_of(place) as desk:
        ledger = desk.ledger
        says(device, boot, 0, "charging", "available")
        [walk_in] = until(lambda: ledger.turns(states=["active"]))
        assert (walk_in.kind, walk_in.place.connector, code_hash(walk_in)) == ("walk_in", ONE, "-")
        says(device, boot, 2, "available", "available")
        until(lambda: not ledger.turns(states=["active"]))
        assert ledger.turn(walk_in.id).state == "done"
        assert not ledger.imbalance()


def test_a_code_that_is_typed_at_the_pile_begins_its_turn_and_is_told_to_nobody_else(place):
    boot = secrets.token_hex(8)
    with Server(place) as server, as_device(server) as device, desk_of(place) as desk:
        device.subscribe("lunchong/v1/#")
        says(device, boot, 0, "available", "available")
        turn = desk.ask(wish(), now_ms()).id
        offered = until(lambda: (t := desk.turn(turn)).state == "offered" and t)
        first = bucket_at(now_ms())  # it begins in a few minutes, and nobody waits for that here
        desk.ledger.commit([desk.change(offered, replace(offered, place=Place(ONE, first, (7_000,) * 8)))], now_ms())
        desk.accept(turn, now_ms())
        state = {"kind": "connector", "connector": 1, "state": "preparing", "token": offered.code}
        device.publish(TELEMETRY, message(3, boot, **state))
        until(lambda: desk.turn(turn).state == "active")
        assert not [one for one in device.heard if one.topic.endswith("/token")]


# --- two schedulers --------------------------------------------------------------------------------------------------

TAKEN_OVER_WITHIN_S = 15.0
"""10 s are promised; here schedulers, database and broker share the machine with all that the tests measure."""


class Two:
    """Two `lunchong scheduler` on mosquitto and a ledger in PostgreSQL, and what the pile was told until now."""

    def __init__(self, data, env, device):
        self.data, self.env, self.device = data, env, device
        self.first, self.second = self.start(), self.start()

    def start(self):
        return Server(self.data, env=self.env, command=("scheduler",), ready="ready-scheduler.json")

    def told(self):
        return [json.loads(one.payload) for one in self.device.heard if one.topic == TURNS]

    def tells(self, epoch, *calls):
        """Whether the last that the pile was told is under that epoch, and that these come next."""
        said = self.told()[-1:]
        comes = [one["call"] for board in said for at in board["connectors"] for one in at["next"]]
        return bool(said) and (said[0]["epoch"], comes) == (epoch, [*calls])


@pytest.fixture
def two(tmp_path, postgres_url):
    """The example's site, whose pile has not spoken: what is promised there is for tests to say."""
    data = a_place(tmp_path / "data")
    env = {
        "LUNCHONG_STORE": "influxdb", "LUNCHONG_INFLUX_URL": "http://127.0.0.1:9", "LUNCHONG_INFLUX_TOKEN": "none",
        "LUNCHONG_LEDGER_URL": postgres_url,
    }  # fmt: skip
    with own_mosquitto(tmp_path / "broker", data) as broker, let_in(Beside(data, broker.env), broker) as device:
        device.subscribe(TURNS)
        both = Two(data, {**env, **broker.env}, device)
        try:
            yield both
        finally:
            for one in (both.first, both.second):
                with suppress(ProcessLookupError):
                    one.process.send_signal(signal.SIGCONT)
                with one:
                    pass


def test_of_two_schedulers_one_leads_and_the_other_goes_on_where_it_ended(two, postgres_url):
    until(lambda: two.tells(1))
    with desk_of(two.data, postgres_url) as desk:
        ledger = desk.ledger
        _site, rules, version = desk.rules("gate-01")
        ledger.adopt(replace(rules, guests=2, opening=()), after=version, by="test", now_ms=now_ms())
        turn = desk.ask(wish(), now_ms())
        place = Place(ONE, bucket_at(now_ms()) + 2, (7_000,) * 2)
        desk.plan(turn.id, place, now_ms())
        desk.offer(turn.id, place, now_ms())
        desk.accept(turn.id, now_ms())
        until(lambda: two.tells(1, turn.call))

        two.first.process.send_signal(signal.SIGSTOP)
        until(lambda: two.tells(2, turn.call), TAKEN_OVER_WITHIN_S)
        two.first.process.send_signal(signal.SIGCONT)
        desk.cancel(turn.id, now_ms())
        until(lambda: two.tells(2))
        assert [board["epoch"] for board in two.told()] == sorted(board["epoch"] for board in two.told())

        two.second.process.send_signal(signal.SIGKILL)
        until(lambda: two.tells(3), TAKEN_OVER_WITHIN_S)
        assert not ledger.imbalance()
