"""`lunchong ingest` and `lunchong api` as processes of their own, over mosquitto and InfluxDB."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from urllib.error import HTTPError

import pytest
from ruamel.yaml import YAML

from tests import influx
from tests.brokers import Client, Refused, until
from tests.processes import ROOT, Server, environment, lunchong, lunchong_here
from tests.talking import PILE, TELEMETRY, beside, doctor, enrolled, let_in, message, own_mosquitto, ready, say, status

PILE_URL = f"/api/v1/devices/{PILE}"


class Pair:
    """An installation of two processes. `ingest` and `api` are what runs now."""

    def __init__(self, data, env, broker):
        self.data, self.env, self.broker = data, env, broker
        self.start_ingest()
        self.start_api()

    def start_ingest(self):
        self.ingest = Server(self.data, env=self.env, command=("ingest",), ready="ready-ingest.json")

    def start_api(self):
        self.api = Server(self.data, env=self.env, command=("api",), ready="ready-api.json")

    def stop(self):
        for server in (self.api, self.ingest):
            with server:
                pass

    def shows(self, state, *, stale=False):
        """Whether that is what the public sees of the first connector, whatever the hour."""
        [site] = self.api.get("/api/v1/availability")["sites"]
        connector = site["connectors"][0]
        return (connector["state"], connector["stale"]) == (state, stale)

    def messages(self):
        return self.api.get(PILE_URL)["messages"]

    def ready(self):
        return ready(self.api)

    def counted(self):
        """The same as the doctor has it."""
        said = json.loads(lunchong_here("doctor", "--json", "--data", self.data, env=self.env).stdout)
        assert said["spool"].keys() == {"rows", "bytes", "age_s"}
        return {device["device"]: device for device in said["devices"]}["pile-0001"]

    def metric(self, name):
        with urllib.request.urlopen(f"{self.api.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return [float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]


@contextmanager
def installed(folder, server, prefix):
    env = {
        "LUNCHONG_STORE": "influxdb",
        "LUNCHONG_INFLUX_URL": server.url,
        "LUNCHONG_INFLUX_TOKEN": server.token,
        "LUNCHONG_INFLUX_ORG": server.org,
        "LUNCHONG_INFLUX_BUCKET": prefix,
    }
    with own_mosquitto(folder / "broker", folder / "data", env) as broker:
        pair = Pair(folder / "data", {**env, **broker.env}, broker)
        try:
            yield pair
        finally:
            pair.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory, influx_server):
    """Two processes that every test of this file leaves running."""
    with (
        influx.fresh_buckets(influx_server, 90) as prefix,
        installed(tmp_path_factory.mktemp("apart"), influx_server, prefix) as pair,
    ):
        yield pair


def test_what_a_device_says_to_ingest_is_shown_by_the_api(pair):
    with let_in(pair.ingest, pair.broker) as device:
        device.publish(f"lunchong/v1/{PILE}/status", status("boot-one", 2), retain=True)
        say(device, message(1, "boot-one", power_kw=6.5), message(2, "boot-one", kind="connector", state="available"))
        until(lambda: pair.shows("available"))
        until(lambda: pair.messages() and pair.messages()["received"] == 2)
        until(lambda: [point["values"]["power_kw"] for point in pair.api.get(f"{PILE_URL}/history")["points"]] == [6.5])
        assert pair.api.get("/api/v1/sessions")["complete_until"] is not None
        assert pair.api.get(PILE_URL)["spool"].keys() == {"rows", "bytes", "age_s"}
        assert pair.metric("lunchong_ingest_accepting") == [1]
        assert pair.ready()


def test_the_api_is_not_ready_while_influxdb_is_away(tmp_path):
    with influx.running(tmp_path / "influxd") as influxd:
        prefix = "ready"
        influx.prepare(influxd.url, influxd.token, org=influx.ORG, prefix=prefix, retention_days=0)
        with installed(tmp_path, influxd.server, prefix) as pair:
            until(pair.ready)
            influxd.stop()
            until(lambda: not pair.ready())
            with pytest.raises(HTTPError, match="503"):
                pair.api.get("/api/v1/sessions")
            influxd.start()
            until(pair.ready)


def test_commands_beside_ingest_ask_it(pair):
    assert enrolled(pair.ingest, "client", "enroll", "screen")["url"] == pair.broker.url
    assert "gate-01" in beside(pair.ingest, "inventory", "export")
    with let_in(pair.ingest, pair.broker) as device:
        device.publish(TELEMETRY, "{never closed")
        letters = until(lambda: json.loads(beside(pair.ingest, "dead-letters", "list", "--json")))
        assert [letter["payload"] for letter in letters] == ["{never closed"]
        assert beside(pair.ingest, "dead-letters", "retry", "--all") == "0 taken, 1 still dead\n"
        assert beside(pair.ingest, "dead-letters", "purge", "--all") == "1 deleted\n"
    said = doctor(pair.ingest)
    assert said["server"].endswith(f"ingest alone, devices at {pair.broker.url}")
    assert said["api"] == "runs on this data folder"
    assert said["influxdb"].endswith("the first keeps its rows for 90 days")
    assert said["device"].startswith(f"{PILE}: ")
    assert "1 dead" in said["device"]


def test_the_doctor_counts_each_device_s_messages(pair):
    with let_in(pair.ingest, pair.broker) as device:
        first = message(1, "boot-counted")
        say(device, first, first, message(4, "boot-counted"))
    counted = pair.counted()
    assert counted.keys() - {"site", "device"} == pair.messages().keys()
    assert (counted["hole"], counted["duplicate"] >= 1) == (2, True)
    table = beside(pair.ingest, "doctor", "--devices")
    assert f"{PILE} " in table
    assert f"{pair.api.http}/devices," in table


def test_each_process_says_on_the_bus_that_it_is_there_and_that_it_is_gone(pair):
    key = enrolled(pair.ingest, "client", "enroll", "watcher")
    pair.broker.read_again()

    def heard():
        with Client(key["url"], key["username"], password=key["password"]) as client:
            client.subscribe("lunchong/v1/service/+")
            client.payloads(2, 5)
            return {one.topic.rpartition("/")[2]: json.loads(one.payload) for one in client.heard}

    there = heard()
    assert there.keys() == {"ingest", "api"}
    assert there["api"]["online"] is True
    assert there["api"]["clock"]["speed"] == 1.0
    pair.api.kill()
    until(lambda: heard()["api"] == {"v": 1, "online": False})
    pair.start_api()
    until(lambda: heard()["api"]["online"])


def test_the_api_is_honest_while_ingest_is_away_and_ingest_goes_on_where_it_was(pair):
    first = message(1, "boot-away", kind="connector", state="available")
    with let_in(pair.ingest, pair.broker) as device:
        device.publish(f"lunchong/v1/{PILE}/status", status("boot-away", 1), retain=True)
        say(device, first)
        until(lambda: pair.shows("available"))
        before = pair.counted()
        pair.ingest.kill()
        until(lambda: pair.shows("available", stale=True))
        until(lambda: pair.messages() is None)
        assert pair.api.get(PILE_URL)["spool"] is None
        assert pair.api.get("/api/v1/sessions")["complete_until"] is None
        assert pair.metric("lunchong_ingest_accepting") == [0]
        assert pair.metric("lunchong_device_messages_total") == []
        pair.start_ingest()
        say(device, first, message(2, "boot-away"))
        until(lambda: pair.shows("available"))
        now = pair.counted()
        assert (now["received"], now["lost"]) == (before["received"] + 1, before["lost"])
        assert now["duplicate"] > before["duplicate"]


def test_the_healthcheck_of_the_compose_file_asks_the_process(pair):
    services = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    kind, program, *asks = services["ingest"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "python")
    asks = [argument.replace("'/data'", repr(str(pair.data))) for argument in asks]

    def well():
        return subprocess.run([sys.executable, *asks], env=environment(), capture_output=True, check=False).returncode

    assert well() == 0
    pair.ingest.kill()
    assert well() != 0
    pair.start_ingest()
    assert well() == 0


def test_the_doctor_says_that_ingest_does_not_run_though_the_api_does(pair):
    pair.ingest.kill()
    run = lunchong_here("doctor", "--data", pair.data, env=pair.env)
    pair.start_ingest()
    assert run.returncode == 1
    [line] = [line for line in run.stdout.splitlines() if line.startswith("bad")]
    assert line == f"bad   ingest       none runs, and `api` serves {pair.api.http} without it: start `lunchong ingest`"


def test_an_ingest_that_is_stopped_keeps_nobody_waiting(pair):
    os.kill(pair.ingest.pid, signal.SIGSTOP)
    try:
        until(lambda: pair.messages() is None)
        began_s = time.monotonic()
        for _ in range(5):
            assert pair.messages() is None
        assert time.monotonic() - began_s < 5
    finally:
        os.kill(pair.ingest.pid, signal.SIGCONT)
    until(lambda: pair.messages() is not None)


def test_ingest_does_not_need_the_api(pair):
    pair.api.kill()
    with let_in(pair.ingest, pair.broker) as device:
        say(device, message(1, "boot-alone"))
    assert doctor(pair.ingest)["api"] == "none runs here"
    pair.start_api()
    assert pair.messages()["received"] > 0


def test_one_of_each_and_no_more_works_on_a_data_folder(pair):
    for command, holder in (("ingest", pair.ingest), ("api", pair.api), ("serve", pair.ingest)):
        run = lunchong(command, "--data", pair.data, env={**pair.env, "LUNCHONG_HTTP_PORT": "0"})
        assert run.returncode == 1
        assert f"is in use by process {holder.pid}" in run.stderr


def test_asked_to_end_both_end_in_order_and_say_so_on_the_bus(tmp_path, influx_server, influx_prefix):
    with installed(tmp_path, influx_server, influx_prefix) as pair:
        key = enrolled(pair.ingest, "client", "enroll", "watcher")
        pair.broker.read_again()
        for server in (pair.api, pair.ingest):
            assert server.stop() == 0
            assert "Traceback" not in server.errors
        assert not list(pair.data.glob("ready-*.json"))
        with Client(key["url"], key["username"], password=key["password"]) as client:
            client.subscribe("lunchong/v1/service/+")
            assert {json.loads(payload)["online"] for payload in client.payloads(2)} == {False}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "needs a broker that others reach too: set LUNCHONG_MQTT_URL"),
        ({"LUNCHONG_STORE": "duckdb"}, "DuckDB is for the all-in-one process alone"),
        ({"LUNCHONG_INFLUX_TOKEN": ""}, "LUNCHONG_STORE is influxdb: set LUNCHONG_INFLUX_TOKEN too"),
    ],
)
@pytest.mark.parametrize("command", ["ingest", "api"])
def test_what_a_process_of_its_own_needs_is_said_in_one_line(tmp_path, command, env, said):
    given = {"LUNCHONG_STORE": "influxdb", "LUNCHONG_INFLUX_URL": "http://127.0.0.1:1", "LUNCHONG_INFLUX_TOKEN": "t"}
    run = lunchong(command, "--data", tmp_path, env={**given, **env})
    assert run.returncode == 2
    [line] = run.stderr.splitlines()
    assert said in line


def test_an_api_that_nobody_made_an_account_for_says_what_to_run(tmp_path, influx_server, influx_prefix):
    env = {
        "LUNCHONG_STORE": "influxdb",
        "LUNCHONG_INFLUX_URL": influx_server.url,
        "LUNCHONG_INFLUX_TOKEN": influx_server.token,
        "LUNCHONG_MQTT_URL": "mqtt://127.0.0.1:1",
        "LUNCHONG_HTTP_PORT": "0",
    }
    (tmp_path / "inventory.toml").write_text("")
    run = lunchong("api", "--data", tmp_path, env=env)
    assert run.returncode == 1
    assert run.stderr.endswith("holds no account for the API: run `lunchong init` or start `ingest` first\n")


def test_the_mosquitto_of_the_compose_file_lets_in_whoever_is_enrolled(pair):
    pair.broker.stop()
    pair.broker.start_watched()
    until(pair.ready, 40)
    key = enrolled(pair.ingest)

    def knows_it_untold():
        with suppress(Refused), Client(key["url"], key["username"], password=key["password"]):
            return True

    until(knows_it_untold)
    with Client(key["url"], key["username"], password=key["password"]) as device:
        say(device, message(1, "boot-composed"))
    pair.broker.stop()
    pair.broker.start()
    until(pair.ready, 40)


RULES = 'limit_kw = 20.0\ninitial_rules = { guests = 2, quiet = "none", opening = ["00:00-24:00"] }'


def asks(server, method, path, body=None):
    """The status and the body of the answer to a staff member's request."""
    token = (server.data / "admin-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(f"{server.http}/api/v1{path}", sent, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


def in_hours(hours):
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def asks_for_a_turn(server, **said):
    wish = {"site": "gate-01", "on_behalf_of": "h1", "vehicle": "car", "energy_kwh": 3, "depart_by": in_hours(6)}
    return asks(server, "POST", "/turns", wish | said)


def test_turns_are_asked_for_at_the_api_and_planned_and_explained_by_a_scheduler(tmp_path, influx_server):
    with (
        influx.fresh_buckets(influx_server, 90) as prefix,
        installed(tmp_path, influx_server, prefix) as pair,
        let_in(pair.ingest, pair.broker) as device,
    ):
        inventory = pair.data / "inventory.toml"
        inventory.write_text(inventory.read_text().replace("limit_kw = 20.0", RULES, 1))
        device.publish(f"lunchong/v1/{PILE}/status", status("boot-one", 2), retain=True)
        for number in (1, 2):
            say(device, message(number, "boot-one", kind="connector", connector=number, state="available"))
        home = {"compound": "elsewhere", "dwelling": "1-101"}
        with Server(pair.data, env=pair.env, command=("scheduler",), ready="ready-scheduler.json") as scheduler:
            assert asks(pair.api, "PUT", "/households/h1", home)[0] == 200
            turn = until(lambda: (asked := asks_for_a_turn(pair.api))[0] == 201 and asked[1]["id"])
            offered = until(lambda: (it := pair.api.get(f"/api/v1/turns/{turn}"))["state"] == "offered" and it)
            assert [one["code"] for one in offered["reasons"]][:2] == ["standing_equal", "ahead_none"]
            assert asks(pair.api, "POST", f"/turns/{turn}/accept")[1]["state"] == "reserved"
            asked = asks_for_a_turn(pair.api, vehicle="another", earliest=in_hours(4))[1]["id"]
            assert asks(pair.api, "GET", f"/turns/{asked}/alternatives") == (200, {"items": []}), "no site is near"
            scheduler.kill()
        kept = pair.api.get(f"/api/v1/turns/{turn}")
        assert [one["code"] for one in kept["reasons"]] == ["standing_equal", "starts_at"]


def test_the_api_shows_facts_while_the_ledger_is_away_and_gives_turns_when_it_is_there(tmp_path, influx_server):
    with influx.fresh_buckets(influx_server, 90) as prefix, installed(tmp_path, influx_server, prefix) as pair:
        ledger = pair.data / "elsewhere" / "ledger.db"
        pair.api.stop()
        pair.env["LUNCHONG_LEDGER_URL"] = f"sqlite:///{ledger}"
        pair.start_api()
        assert [site["site"] for site in pair.api.get("/api/v1/availability")["sites"]] == ["gate-01"]
        status_, said = asks(pair.api, "GET", "/turns")
        assert (status_, said["detail"]) == (503, "The ledger of turns is away.")
        ledger.parent.mkdir()
        until(lambda: asks(pair.api, "GET", "/turns") == (200, {"items": []}), 15)
