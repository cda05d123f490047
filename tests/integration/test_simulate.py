"""`lunchong simulate` as a user runs it, against a server that runs beside it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import msgspec
import pytest

from ingest.enrolments import Enrolments
from ingest.inventory import dump
from ingest.ranges import Ranges
from ingest.store_duckdb import DuckStore
from lunchong.crowd_life import Asked, Life
from lunchong.errors import UsageError
from lunchong.simulate import cast
from lunchong.simulate import simulate as live
from simulators.publish import Credential
from simulators.scenarios.neighbourhood import neighbourhood
from tests.brokers import until
from tests.processes import COMMAND, Server, environment, lunchong

PLACE = neighbourhood(piles=12, stations=2)


def furnish(folder, sites):
    """An inventory, and a gateway's credential for each of these sites."""
    (folder / "inventory.toml").write_text(dump(PLACE))
    enrolments = Enrolments(folder / "credentials.json")
    logins = [enrolments.enroll_gateway(site) for site in sorted(sites)]
    (folder / "logins").write_text(json.dumps([{"username": who, "password": word} for who, word in logins]))


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A server of a small place, and the credentials of its gateways."""
    folder = tmp_path_factory.mktemp("town")
    furnish(folder, {device.site for device in PLACE.devices.values()})
    with Server(folder) as server:
        yield server


def simulate(town, folder, *more):
    """Run it to its end; its JSON lines."""
    done = lunchong("simulate", *arguments(town, folder), *more)
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def arguments(town, folder):
    files = [word for name in ("acked", "sent", "dropped") for word in (f"--{name}", folder / name)]
    return ["--mqtt", town.mqtt, "--inventory", town.data / "inventory.toml", "--credentials", town.data / "logins",
            *files, "--json"]  # fmt: skip


def dead_letters(town):
    listed = lunchong("dead-letters", "list", "--limit", "10000", "--json", "--data", town.data).stdout
    return {letter["id"] for letter in json.loads(listed)}


def ranges(path):
    found: defaultdict[tuple[str, ...], Ranges] = defaultdict(Ranges)
    for line in path.read_text().splitlines():
        *key, lo, hi = line.split(",")
        found[tuple(key)].add_range(int(lo), int(hi))
    return found


def count(found) -> int:
    return sum(hi - lo + 1 for of in found.values() for lo, hi in of)


def test_a_street_with_every_fault_loses_nothing(town, tmp_path):
    faults = "duplicate=0.1,reorder=0.1,garbage=0.05,skew=0.2,silence=0.2,reboot=0.3"
    last = simulate(town, tmp_path, "--faults", faults, "--interval", "1", "--for", "5")[-1]
    assert last["sent"] == last["acked"] > 100
    assert last["garbage"] > 0
    assert ranges(tmp_path / "acked") == ranges(tmp_path / "sent")


def test_a_load_is_acknowledged_whole_and_each_piece_of_garbage_is_one_dead_letter(town, tmp_path):
    before = dead_letters(town)
    *progress, last = simulate(town, tmp_path, "--rate", "400", "--for", "5", "--faults", "garbage=0.1")
    assert last["sent"] == last["acked"] > 300
    assert (last["dropped"], last["devices"]) == (0, 14)
    assert all(line["progress"]["sent"] <= last["sent"] for line in progress)
    assert count(ranges(tmp_path / "acked")) == count(ranges(tmp_path / "sent")) == last["acked"]
    assert (tmp_path / "dropped").read_text() == ""
    assert last["garbage"] > 20
    until(lambda: len(dead_letters(town) - before) == last["garbage"], 20)


def test_a_thin_load_promises_no_report_sooner_than_it_comes():
    who = {name: Credential(None, None, "mqtt://127.0.0.1:1") for name in PLACE.devices}
    connectors = sum(max(1, len(device.connectors)) for device in PLACE.devices.values())

    def announced(**asked) -> set[int]:
        life = Life(PLACE, who, Asked(mqtt="mqtt://127.0.0.1:1", **asked), None)
        life.on_notice(b'{"v":1,"online":true,"clock":%b}' % msgspec.json.encode(
            {"wall0": "2026-11-22T04:00:00.000Z", "service0": "2026-11-22T04:00:00.000Z", "speed": 2.0}))  # fmt: skip
        life.step()
        life.close()
        return {json.loads(device.status(0))["interval_s"] for device in life.devices.values()}

    assert announced(rate_per_s=0.1) == {connectors * 20}
    assert announced(rate_per_s=1000.0) == announced() == {60}


def test_a_signal_ends_it_after_the_last_acks(town, tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "simulate", *map(str, arguments(town, tmp_path)), "--rate", "100"],
        stdout=subprocess.PIPE, env=environment(), text=True,
    )  # fmt: skip
    assert process.stdout
    with process.stdout as lines:
        next(line for line in lines if json.loads(line)["progress"]["acked"] > 0)
        process.send_signal(signal.SIGTERM)
        last = json.loads(list(lines)[-1])
    assert process.wait(10) == 0
    assert last["sent"] == last["acked"] > 0


def test_a_disk_that_is_full_for_acknowledged_ranges_is_one_line(town):
    three = [*arguments(town, town.data)[:6], "--devices", "3"]
    done = lunchong("simulate", *three, "--for", "20", "--acked", "/dev/full")
    assert done.returncode == 1
    assert done.stderr == "lunchong: cannot write /dev/full: No space left on device\n"


def test_a_run_in_which_no_device_could_log_in_has_failed(town, tmp_path):
    (tmp_path / "logins").write_text(json.dumps([{"username": f"{min(PLACE.sites)}/+", "password": "wrong"}]))
    for user in (["--credentials", tmp_path / "logins"], ["--devices", "2"]):
        done = lunchong("simulate", "--mqtt", town.mqtt, *user, "--for", "1.5", "--json")
        last = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode, last["connected"], last["sent"]) == (1, 0, 0)
        assert done.stderr.splitlines()[-1].startswith("lunchong: no device was ever connected: the broker refused")


def test_a_run_is_no_failure_where_some_log_in_or_the_broker_is_gone_at_the_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lunchong.simulate.LAST_ACKS_S", 0.1)
    folder = tmp_path / "data"
    folder.mkdir()
    site = min(PLACE.sites)
    furnish(folder, {site})
    with Server(folder) as server:
        [mine] = json.loads((folder / "logins").read_text())
        wrong = [{"username": name, "password": "wrong"} for name in PLACE.devices if not name.startswith(f"{site}/")]
        (folder / "logins").write_text(json.dumps([mine, *wrong]))
        acked, stop = tmp_path / "acked", Event()
        asked = Asked(
            mqtt=server.mqtt, inventory=folder / "inventory.toml", credentials=folder / "logins", acked=acked, json=True
        )  # fmt: skip
        with ThreadPoolExecutor() as pool:
            run = pool.submit(live, asked, stop)
            until(lambda: run.done() or (acked.exists() and acked.stat().st_size))
            server.kill()
            capsys.readouterr()
            until(lambda: '"connected":0,' in capsys.readouterr().out)
            stop.set()
            figures, in_vain = run.result()
    assert figures.sent > 0
    assert (figures.connected, in_vain) == (0, "")


def test_what_was_acknowledged_is_in_the_store_once(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    furnish(folder, {name.split("/")[0] for name in sorted(PLACE.devices)[:3]})
    with Server(folder, "--speed", "600") as server:
        last = simulate(server, tmp_path, "--devices", "3", "--for", "3")[-1]
    assert last["acked"] == last["sent"] > 50
    stored: defaultdict[tuple[str, ...], Ranges] = defaultdict(Ranges)
    rows = 0
    store = DuckStore(folder / "facts.duckdb", "Asia/Shanghai")
    for site, device, boot, lo, hi, many in store.stored():
        stored[site, device, boot].add_range(lo, hi)
        rows += many
    store.close()
    assert stored == ranges(tmp_path / "acked")
    assert rows == last["acked"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--mqtt", "http://here"], "is no address of a broker"),
        (["--faults", "gremlins=1"], "'gremlins' is no fault"),
        (["--weather", "1999-01-01"], "give a date from 2013-01-30 to 2015-12-31"),
        (["--weather", "soon"], "the weather's date must be like 2013-08-06, not 'soon'"),
        (["--for", "0"], "Invalid value for '--for': must be greater than or equal to 0.1"),
        (["--credentials", "/no/such/file"], "cannot read the credentials"),
        (["--inventory", "/no/such/file"], "there is no inventory"),
        (["--acked", "/no/such/folder/file"], "cannot write /no/such/folder/file"),
        (["--sent", "/no/such/folder/file"], "cannot write /no/such/folder/file"),
        (["--dropped", "/no/such/folder/file"], "cannot write /no/such/folder/file"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(wrong, says):
    done = lunchong("simulate", "--mqtt", "mqtt://127.0.0.1:1", *wrong)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("named", "told", "connects_to"),
    [
        ("mqtt://here:1", "mqtt://there:2", "mqtt://here:1"),
        (None, "mqtt://there:2", "mqtt://there:2"),
        ("mqtt://here:1", None, "mqtt://here:1"),
    ],
)
def test_devices_connect_where_the_option_says_else_where_the_credentials_say(tmp_path, named, told, connects_to):
    login = {"username": "load/+", "password": "x", **({"url": told} if told else {})}
    (tmp_path / "logins").write_text(json.dumps(login))
    _, who = cast(Asked(mqtt=named, credentials=tmp_path / "logins", devices=2))
    assert [one.url for one in who.values()] == [connects_to] * 2


def test_without_any_address_it_asks_for_one(tmp_path):
    (tmp_path / "logins").write_text('{"username":"load/+","password":"x"}')
    for asked in (Asked(), Asked(credentials=tmp_path / "logins")):
        with pytest.raises(UsageError, match="name the broker with --mqtt"):
            cast(asked)


@pytest.mark.parametrize("url", ["http://here", "mqtt://here:0", "mqtt://ann:secret@here:99999", "ann:secret@here"])
def test_an_address_that_no_broker_has_is_refused_wherever_it_stands(tmp_path, url):
    (tmp_path / "logins").write_text(json.dumps({"username": "load/+", "password": "x", "url": url}))
    for asked in (Asked(mqtt=url), Asked(credentials=tmp_path / "logins")):
        with pytest.raises(UsageError, match=r"here.*' is no address of a broker: write mqtt://HOST:1883") as said:
            cast(asked)
        assert "secret" not in str(said.value)


def test_a_device_without_a_credential_is_named(tmp_path):
    (tmp_path / "inventory.toml").write_text(dump(PLACE))
    (tmp_path / "logins").write_text('[{"username":"elsewhere/+","password":"x"}]')
    done = lunchong("simulate", "--mqtt", "mqtt://127.0.0.1:1", "--inventory", tmp_path / "inventory.toml",
                    "--credentials", tmp_path / "logins")  # fmt: skip
    assert done.returncode == 2
    assert f"no credential for {min(PLACE.devices)}" in done.stderr
