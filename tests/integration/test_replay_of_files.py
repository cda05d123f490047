"""Sessions files lived through broker, ingest and store of a real installation."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ingest.inventory import dump
from lunchong.errors import UsageError, UserError
from lunchong.replay import Asked, all_sessions, main, read, run
from lunchong.serve import Installation
from lunchong.settings import read as read_settings
from lunchong.timing import Timing
from simulators.replay import inventory_of
from simulators.replay_report import compare
from tests.brokers import until
from tests.processes import lunchong

ROOT = Path(__file__).parents[2]
BOULDER = ROOT / "simulators/data/boulder.toml"
BERLIN = ROOT / "tests/sessions/berlin.csv", ROOT / "tests/sessions/berlin.toml"


@pytest.fixture
def slice_of_the_real_file(tmp_path):
    lines = (ROOT / "simulators/data/sessions.csv").read_text().splitlines(keepends=True)
    broken = next(line for line in lines if "1970/01/01" in line)
    path = tmp_path / "slice.csv"
    path.write_text("".join([*lines[:300], broken]))
    return path


def lived(capsys, asked):
    code = run(asked, threading.Event())
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_real_sessions_come_out_as_they_went_in(capsys, tmp_path, slice_of_the_real_file):
    asked = Asked(slice_of_the_real_file, BOULDER, as_fast_as_acked=True, data=tmp_path / "data", json=True)
    code, report = lived(capsys, asked)
    assert code == 0, report
    assert report["rows"] == 300
    assert report["not_livable"] == ["line 301: ends before it starts (1970-01-01 00:00:00 UTC)"]
    assert report["sessions_derived"] == report["sessions_file"] == 299
    assert report["energy_diff_pct"] == pytest.approx(0, abs=0.01)
    assert report["occupied_median_ratio"] == pytest.approx(1, abs=0.02)
    assert report["charging_median_ratio"] == pytest.approx(1, abs=0.02)
    assert report["messages"] > 2_000


def test_another_file_needs_a_map_and_no_code(capsys, tmp_path):
    code, report = lived(capsys, Asked(*BERLIN, as_fast_as_acked=True, data=tmp_path / "data", json=True))
    assert code == 0, report
    assert report["sessions_derived"] == 12
    assert len(report["not_livable"]) == 4


def test_a_report_may_be_read_by_people(capsys, tmp_path):
    assert run(Asked(*BERLIN, as_fast_as_acked=True, data=tmp_path / "data"), threading.Event()) == 0
    said = capsys.readouterr().out
    assert "line 13: plug '3' is not one of 1 to 2" in said
    assert "sessions derived" in said


def test_a_folder_in_which_something_was_lived_is_not_lived_in_again(capsys, tmp_path):
    asked = Asked(*BERLIN, as_fast_as_acked=True, data=tmp_path / "data", json=True)
    lived(capsys, asked)
    with pytest.raises(UsageError, match="belongs to another installation: name a fresh folder with --data"):
        run(asked, threading.Event())


def an_installation(folder, timing, files=BERLIN):
    """An installation with the piles of a file that was started by somebody else."""
    inventory = inventory_of(*read(*files))
    folder.mkdir()
    path = folder / "inventory.toml"
    path.write_text(dump(inventory))
    options = {"inventory": path, "http_port": 0, "mqtt_listen": "127.0.0.1:0", "retention_days": 0}
    return Installation(read_settings(data_dir=folder, options=options), timing)


def credentials_at(installation):
    """The credentials of its piles, in a file."""
    logins = [
        installation.enrolments.enroll_device(pile.site, pile.id) for pile in installation.inventory.devices.values()
    ]
    installation.admit()
    path = installation.settings.data_dir / "piles.json"
    path.write_text("\n".join(json.dumps({"username": name, "password": secret}) for name, secret in logins))
    return path


def test_a_file_is_lived_at_an_installation_that_runs_elsewhere_with_each_piles_own_credential(capsys, tmp_path):
    with an_installation(tmp_path / "data", Timing(messages=True)) as elsewhere:
        asked = Asked(
            *BERLIN, as_fast_as_acked=True, mqtt=elsewhere.mqtt_url, credentials=credentials_at(elsewhere), json=True
        )
        code, report = lived(capsys, asked)
        assert elsewhere.worker.wait_drained(10)
        found = all_sessions(elsewhere.store)
    assert code == 0
    assert report["sessions_derived"] is None
    assert len(found) == 12
    energy_kwh = sum(session.energy_kwh for session in read(*BERLIN)[0].sessions)
    assert sum(session.energy_kwh for session in found) == pytest.approx(energy_kwh, abs=0.02)


def test_a_broker_that_dies_on_the_way_changes_nothing(tmp_path, slice_of_the_real_file):
    files = slice_of_the_real_file, BOULDER
    with an_installation(tmp_path / "data", Timing(messages=True), files) as elsewhere:
        asked = Asked(*files, as_fast_as_acked=True, mqtt=elsewhere.mqtt_url, credentials=credentials_at(elsewhere))
        living = threading.Thread(target=run, args=(asked, threading.Event()))
        living.start()
        until(lambda: sum(account.received for account in elsewhere.worker.accounts()) > 2_000)
        assert living.is_alive()
        os.kill(elsewhere.broker.pid, signal.SIGKILL)
        living.join(60)
        assert not living.is_alive()
        assert elsewhere.worker.wait_drained(10)
        found = compare(read(*files)[0].sessions, all_sessions(elsewhere.store))
    assert found.agrees, found
    assert found.sessions_derived == 299
    assert found.energy_diff_pct == pytest.approx(0, abs=0.01)


def test_an_installation_that_lives_in_a_later_time_is_left_alone(tmp_path):
    with an_installation(tmp_path / "data", Timing()) as elsewhere:
        asked = Asked(*BERLIN, as_fast_as_acked=True, mqtt=elsewhere.mqtt_url, credentials=credentials_at(elsewhere))
        with pytest.raises(UserError, match=r"the file begins on 2024-10-26, but there it is .* with --clock messages"):
            run(asked, threading.Event())
        assert all(account.received == 0 for account in elsewhere.worker.accounts())


def test_a_pile_of_the_past_says_that_it_takes_no_orders(tmp_path):
    folder, stop = tmp_path / "data", threading.Event()
    living = threading.Thread(target=run, args=(Asked(*BERLIN, speed=1000, data=folder), stop))
    living.start()
    try:
        until(lambda: (folder / "ready.json").exists(), within_s=20)
        url = json.loads((folder / "ready.json").read_text())["http"]
        headers = {
            "Authorization": f"Bearer {(folder / 'admin-token').read_text().strip()}",
            "Content-Type": "application/json",
        }
        order = json.dumps({"type": "stop", "connector": 1, "reason": "test"}).encode()
        request = urllib.request.Request(f"{url}/api/v1/devices/hof/Saule-Nord/cmd", order, headers)
        answer = json.loads(until(lambda: answered(request), within_s=20))
    finally:
        stop.set()
        living.join()
    assert (answer["result"], answer["reason"]) == ("rejected", "unsupported")


def answered(request):
    """The body of the answer, once the device is there to give one."""
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()
    except urllib.error.HTTPError as early:
        early.close()
        return None


def test_a_replay_that_is_stopped_says_so_by_its_exit_code(capsys, tmp_path):
    stop = threading.Event()
    stop.set()
    assert run(Asked(*BERLIN, data=tmp_path / "data", json=True), stop) == 1
    assert json.loads(capsys.readouterr().out)["sessions_derived"] is None


@pytest.mark.parametrize(
    ("file", "map_text", "told"),
    [
        ("no.csv", None, "cannot read .*no.csv: No such file"),
        ("some.csv", "[file]\nseparator = 1\n", "map.toml line 2: separator: expected `str`, got `int`, not 1"),
        ("some.csv", None, "map.toml line 9: station: the file has no column 'Station_Name'; it has a, b"),
    ],
)
def test_a_bad_file_or_map_is_said_in_one_line_each(tmp_path, file, map_text, told):
    (tmp_path / "some.csv").write_text("a,b\n1,2\n")
    (tmp_path / "map.toml").write_text(map_text or BOULDER.read_text())
    with pytest.raises(UsageError, match=told):
        run(Asked(tmp_path / file, tmp_path / "map.toml", data=tmp_path / "data"), threading.Event())
    assert not (tmp_path / "data").exists()


def test_credentials_that_do_not_fit_the_file_are_named(tmp_path):
    credentials = tmp_path / "c.json"
    credentials.write_text('[{"username":"other/+","password":"x"}]')
    asked = Asked(*BERLIN, as_fast_as_acked=True, mqtt="mqtt://127.0.0.1:1", credentials=credentials)
    with pytest.raises(UsageError, match=r"the credentials hold none for hof/Saule-Nord, nor for hof/\+"):
        run(asked, threading.Event())
    credentials.write_text("who knows")
    with pytest.raises(UsageError, match="holds no credentials"):
        run(asked, threading.Event())


def test_the_command_ends_with_its_report(tmp_path):
    files = "--replay", BERLIN[0], "--map", BERLIN[1]
    done = lunchong("simulate", *files, "--as-fast-as-acked", "--data", tmp_path / "data", "--json")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == [
        *("rows", "not_livable", "sessions_file", "sessions_derived", "count_diff_pct", "energy_diff_pct"),
        *("occupied_median_ratio", "charging_median_ratio", "messages", "seconds", "messages_per_s"),
    ]


def test_a_wrong_command_is_one_line(tmp_path):
    done = lunchong("simulate", "--replay", "x.csv", "--map", "m.toml", cwd=tmp_path)
    said = "lunchong: cannot read m.toml: No such file or directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--replay x.csv", "the following arguments are required: --map"),
        ("--replay x.csv --map m.toml --fast", "unrecognized arguments: --fast"),
        ("--replay x.csv --map m.toml --speed 0", "--speed must be above 0"),
    ],
)
def test_a_wrong_option_is_named(arguments, told):
    with pytest.raises(UsageError, match=told):
        main(arguments.split())
