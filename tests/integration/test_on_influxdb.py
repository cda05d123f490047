"""`serve`, `demo`, `init`, `doctor` and replays on a real InfluxDB, named by three settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lunchong.errors import UsageError
from lunchong.replay import Asked, run
from tests import influx
from tests.brokers import free_port, until
from tests.processes import FREE_PORTS, ROOT, Server, environment, lunchong, lunchong_here
from tests.talking import PILE, a_place, as_device, doctor, message, say

BERLIN = (ROOT / "tests/sessions/berlin.csv", ROOT / "tests/sessions/berlin.toml")
BUCKETS = ("lunchong", "lunchong_facts", "lunchong_rollups")


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    """A server of this file's own, which may be stopped and holds no bucket of ours."""
    with influx.running(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture
def three(influxd):
    """The three settings that make an installation one on InfluxDB; what they made goes afterwards."""
    yield {
        "LUNCHONG_STORE": "influxdb",
        "LUNCHONG_INFLUX_URL": influxd.url,
        "LUNCHONG_INFLUX_TOKEN": influxd.token,
    }
    for name in BUCKETS:
        influxd.server.drop_bucket(name)


def kept_days(influxd):
    """How long each of our buckets keeps its rows, in days."""
    found = influxd.server.ask("GET", f"buckets?org={influxd.server.org}")["buckets"]
    return {
        bucket["name"]: sum(rule["everySeconds"] for rule in bucket["retentionRules"]) / 86_400
        for bucket in found
        if bucket["name"] in BUCKETS
    }


def refusal(run_, code):
    assert run_.returncode == code, run_
    [line] = run_.stderr.splitlines()
    return line


def test_the_demo_runs_on_three_settings_and_nothing_of_it_is_lost_or_twice(tmp_path, influxd, three):
    small = ("demo", "--piles", "12", "--stations", "2", "--for", 8, "--speed", 600, "--json", "--data", tmp_path)
    run_ = lunchong(*small, env={**FREE_PORTS, **three})
    assert run_.returncode == 0, run_.stderr
    tally = json.loads(run_.stdout)
    assert (tally["lost"], tally["duplicates"], tally["dead"]) == (0, 0, 0)
    assert tally["sent"] == tally["acked"] == tally["stored"] > 500
    assert kept_days(influxd) == dict.fromkeys(BUCKETS, 0)
    assert not (tmp_path / "facts.duckdb").exists()


def test_the_demo_leaves_buckets_as_they_are(tmp_path, influxd, three):
    init = lunchong_here("init", "--data", tmp_path / "other", env={**three, "LUNCHONG_RETENTION_DAYS": "7"})
    assert init.returncode == 0, init
    small = ("demo", "--piles", "2", "--stations", "0", "--for", 1, "--json", "--data", tmp_path / "demo")
    assert lunchong(*small, env={**FREE_PORTS, **three}).returncode == 0
    assert kept_days(influxd) == {"lunchong": 7, "lunchong_facts": 0, "lunchong_rollups": 0}


def test_init_makes_the_buckets_once_and_sets_how_long_raw_facts_are_kept(tmp_path, influxd, three):
    said = lunchong_here("init", "--data", tmp_path, env=three).stdout
    assert [line for line in said.splitlines() if line.startswith("influxdb")] == [
        "influxdb     made bucket lunchong, which keeps its rows for 90 days",
        "influxdb     made bucket lunchong_facts, which keeps its rows for ever",
        "influxdb     made bucket lunchong_rollups, which keeps its rows for ever",
    ]
    assert "influxdb" not in lunchong_here("init", "--data", tmp_path, env=three).stdout
    shorter = lunchong_here("init", "--data", tmp_path, env={**three, "LUNCHONG_RETENTION_DAYS": "30"}).stdout
    assert "bucket lunchong keeps its rows for 30 days now, instead of for 90 days" in shorter
    assert kept_days(influxd)["lunchong"] == 30


def test_a_token_for_the_buckets_alone_is_enough_once_they_are_there(tmp_path, influxd, three):
    assert lunchong_here("init", "--data", tmp_path, env=three).returncode == 0
    org_id = influxd.server.org_id()
    found = influxd.server.ask("GET", f"buckets?org={influxd.server.org}")["buckets"]
    rights = [
        {"action": action, "resource": {"type": "buckets", "id": bucket["id"], "orgID": org_id}}
        for bucket in found
        if bucket["name"] in BUCKETS
        for action in ("read", "write")
    ]
    made = influxd.server.ask("POST", "authorizations", {"orgID": org_id, "permissions": rights})
    narrow = {**three, "LUNCHONG_INFLUX_TOKEN": made["token"]}
    for command in (["init"], ["doctor"]):
        assert lunchong_here(*command, "--data", tmp_path, env=narrow).returncode == 0
    with Server(tmp_path, env=narrow) as server, as_device(server) as device:
        say(device, message(1, "boot-one"))
        until(lambda: server.get(f"/api/v1/devices/{PILE}/history")["points"])


def test_without_buckets_a_server_says_what_to_run(tmp_path, three):
    line = refusal(lunchong("serve", "--data", a_place(tmp_path), env={**FREE_PORTS, **three}), 1)
    assert "has no bucket lunchong, lunchong_facts, lunchong_rollups: run `lunchong init`" in line


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LUNCHONG_INFLUX_TOKEN": "another"}, "refuses the token (401)"),
        ({"LUNCHONG_INFLUX_ORG": "nobody"}, "has no organisation 'nobody' for our token"),
        ({"LUNCHONG_INFLUX_URL": "http://127.0.0.1:9"}, "InfluxDB does not answer at http://127.0.0.1:9"),
    ],
)
def test_what_is_wrong_with_influxdb_is_one_line_to_init_and_a_finding_to_the_doctor(tmp_path, three, wrong, said):
    assert said in refusal(lunchong_here("init", "--data", tmp_path, env={**three, **wrong}), 1)
    run_ = lunchong_here("doctor", "--data", tmp_path, env={**three, **wrong})
    assert run_.returncode == 1
    [finding] = [line for line in run_.stdout.splitlines() if "influxdb " in line]
    assert finding.startswith("bad")
    assert said in finding


HTML = b"<!doctype html><html><body>A dashboard, and no bucket at all</body></html>"


@pytest.fixture(params=[200, 404])
def no_influxdb(request):
    """The address of something that answers each request with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(request.param)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(HTML)))
            self.end_headers()
            self.wfile.write(HTML)

        def log_message(self, *_args):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/foo"
        server.shutdown()


def test_what_is_no_influxdb_is_said_to_be_none(tmp_path, no_influxdb):
    env = {
        "LUNCHONG_STORE": "influxdb",
        "LUNCHONG_INFLUX_URL": no_influxdb,
        "LUNCHONG_INFLUX_TOKEN": "token",
        "LUNCHONG_MQTT_LISTEN": "127.0.0.1:0",
        "LUNCHONG_HTTP_PORT": "0",
    }
    said = f"what answers at {no_influxdb} is no InfluxDB 2: look at LUNCHONG_INFLUX_URL"
    assert said in refusal(lunchong_here("init", "--data", a_place(tmp_path), env=env), 2)
    assert f"bad   influxdb     {said}\n" in lunchong_here("doctor", "--data", tmp_path, env=env).stdout
    assert said in refusal(lunchong("serve", "--data", tmp_path, env=env), 2)


def test_an_address_with_tls_that_has_none_is_asked_about(tmp_path, influxd, three):
    wrong = {**three, "LUNCHONG_INFLUX_URL": influxd.url.replace("http:", "https:")}
    line = refusal(lunchong_here("init", "--data", tmp_path, env=wrong), 1)
    assert line.endswith(": does the address begin with http:// ?")


def test_a_path_that_influxdb_does_not_have_is_no_influxdb(tmp_path, influxd, three):
    wrong = {**three, "LUNCHONG_INFLUX_URL": f"{influxd.url}/foo"}
    assert "/foo is no InfluxDB 2" in refusal(lunchong_here("init", "--data", tmp_path, env=wrong), 2)


def test_the_doctor_compares_the_buckets_with_the_settings(tmp_path, three):
    def finding(**settings):
        run_ = lunchong_here("doctor", "--data", tmp_path, env={**three, **settings})
        [line] = [line for line in run_.stdout.splitlines() if "influxdb " in line]
        return line

    assert "has no bucket lunchong, lunchong_facts, lunchong_rollups: run `lunchong init`" in finding()
    assert lunchong_here("init", "--data", tmp_path, env=three).returncode == 0
    assert finding().startswith("good")
    assert "keeps its rows for 90 days and 365 are set: run `lunchong init`" in finding(LUNCHONG_RETENTION_DAYS="365")
    assert "they shall be kept for ever" in finding(LUNCHONG_RETENTION_DAYS="0")


def test_a_server_that_starts_without_its_influxdb_takes_readings_and_stores_them_when_it_comes(
    tmp_path, influxd, three
):
    assert lunchong_here("init", "--data", tmp_path, env=three).returncode == 0
    influxd.stop()
    with Server(tmp_path, env=three) as server:
        with as_device(server) as device:
            say(device, message(1, "boot-one", power_kw=6.5), message(2, "boot-one", power_kw=6.5))
        until(lambda: "store_unavailable" in doctor(server)["condition"])
        assert server.get(f"/api/v1/devices/{PILE}")["spool"]["rows"] == 2
        assert doctor(server)["dead letters"] == "cannot be counted while the store is away"
        influxd.start()
        until(lambda: server.get(f"/api/v1/devices/{PILE}")["spool"]["rows"] == 0, 40)
        until(lambda: server.get(f"/api/v1/devices/{PILE}/history")["points"])
        assert "condition" not in doctor(server)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"LUNCHONG_INFLUX_TOKEN": "another"}, "refuses our token (401): give it its rights back"),
        ({"LUNCHONG_INFLUX_ORG": "nobody"}, "has no organisation 'nobody' for our token: make it, or name another"),
    ],
)
def test_a_token_or_a_name_that_is_refused_is_an_alarm_and_no_end(tmp_path, three, wrong, said):
    assert lunchong_here("init", "--data", tmp_path, env=three).returncode == 0
    with Server(tmp_path, env={**three, **wrong}) as server:
        with as_device(server) as device:
            say(device, message(1, "boot-one"))
        assert said in until(lambda: doctor(server).get("condition"))


def condition(server, code):
    """What the doctor says of it, if it holds; a job of the store's may be the first to be refused."""
    said = doctor(server).get("condition", "")
    return said if said.startswith(code) else ""


def test_a_bucket_that_would_forget_facts_is_an_alarm_until_init_has_set_it_right(tmp_path, influxd, three):
    def init():
        return lunchong_here("init", "--data", tmp_path, env=three)

    assert init().returncode == 0
    with Server(tmp_path, env=three) as server:
        days_30 = {"retentionRules": [{"type": "expire", "everySeconds": 30 * 86_400}]}
        for name in BUCKETS[1:]:
            influxd.server.ask("PATCH", f"buckets/{influxd.server.bucket_id(name)}", days_30)
        with as_device(server) as device:
            say(device, message(1, "boot-one"))
        said = until(lambda: condition(server, "store_unavailable"))
        assert "Retention Policy" in said
        assert "`lunchong init`" in said
        short = "bucket lunchong_facts keeps its rows for 30 days and must keep them for ever"
        beside_it = "stop `ingest` (or `serve`), run `lunchong init`, start it again"
        assert doctor(server)["influxdb"] == f"{short}: {beside_it}"
        assert f"{short}: run `lunchong init`" in refusal(
            lunchong("serve", "--data", a_place(tmp_path / "another"), env={**FREE_PORTS, **three}), 1
        )
    assert init().stdout.count("keeps its rows for ever now, instead of for 30 days") == 2
    with Server(tmp_path, env=three) as server:
        until(lambda: server.get(f"/api/v1/devices/{PILE}")["spool"]["rows"] == 0, 40)
        assert "condition" not in doctor(server)


def test_the_doctor_says_to_stop_a_server_whose_bucket_is_gone_before_init(tmp_path, influxd, three):
    assert lunchong_here("init", "--data", tmp_path, env=three).returncode == 0
    with Server(tmp_path, env=three) as server:
        influxd.server.drop_bucket(BUCKETS[0])
        with as_device(server) as device:
            say(device, message(1, "boot-one"))
        said = until(lambda: condition(server, "store_unavailable"))
        for what in (said, doctor(server)["influxdb"]):
            assert what.endswith(": stop `ingest` (or `serve`), run `lunchong init`, start it again")


@pytest.fixture
def in_our_environment(monkeypatch, three):
    for variable in [variable for variable in os.environ if variable.startswith("LUNCHONG_")]:
        monkeypatch.delenv(variable)
    for variable, value in three.items():
        monkeypatch.setenv(variable, value)


@pytest.mark.usefixtures("in_our_environment")
def test_a_replay_of_old_times_says_that_they_would_not_be_kept_before_it_sends(tmp_path, three):
    assert lunchong_here("init", "--data", tmp_path / "other", env=three).returncode == 0
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    for asked in (Asked(*BERLIN, data=tmp_path / "own"), Asked(*BERLIN, data=tmp_path / "own", mqtt=nobody)):
        with pytest.raises(UsageError, match=r"keeps its rows for 90 days.*set LUNCHONG_RETENTION_DAYS=0 and run"):
            run(asked, threading.Event())


@pytest.mark.usefixtures("in_our_environment")
def test_a_file_is_lived_again_on_influxdb_once(capsys, tmp_path, influxd):
    asked = Asked(*BERLIN, as_fast_as_acked=True, data=tmp_path / "data", json=True)
    assert run(asked, threading.Event()) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["sessions_derived"] == 12
    assert kept_days(influxd)["lunchong"] == 0
    again = Asked(*BERLIN, as_fast_as_acked=True, data=tmp_path / "fresh", json=True)
    with pytest.raises(UsageError, match="bucket lunchong belongs to another installation"):
        run(again, threading.Event())


def test_a_server_for_the_tests_that_is_named_without_a_token_is_told_at_once():
    env = environment({"INFLUX_URL": "http://127.0.0.1:1", "INFLUX_TOKEN": ""})
    command = [sys.executable, "-m", "pytest", "--collect-only", "tests/unit/test_settings.py"]
    run_ = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"ERROR: {influx.NO_TOKEN}" in run_.stderr.splitlines()
    assert run_.returncode == pytest.ExitCode.USAGE_ERROR
