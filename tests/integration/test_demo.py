"""`lunchong demo` as a process: a small place that lives, is counted, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import time

import pytest

from ingest.clock import parse_rfc3339
from ingest.inventory import load
from tests.brokers import until
from tests.processes import FREE_PORTS, Server, alive, children, lunchong

SMALL = ("demo", "--piles", "12", "--stations", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The data folder of one demo after the other."""
    return tmp_path_factory.mktemp("demo")


def service_ms(folder):
    return parse_rfc3339(json.loads((folder / "clock.json").read_text())["service0"])


def test_a_demo_that_ends_by_itself_tells_what_became_of_every_message(folder):
    run = lunchong(*SMALL, "--for", 8, "--speed", 600, "--json", "--data", folder, env=FREE_PORTS)
    assert run.returncode == 0, run.stderr
    [line] = run.stdout.splitlines()
    tally = json.loads(line)
    assert (tally["lost"], tally["duplicates"], tally["dead"]) == (0, 0, 0)
    assert tally["sent"] == tally["acked"] == tally["stored"] > 500
    assert {"resent", "dropped", "sessions_done", "turns_done", "turns_done_by_mode", "no_shows", "alerts"} <= set(
        tally
    )
    assert {"snoozed", "late", "overstays", "reviews", "reviews_answered"} <= set(tally)
    place = load((folder / "inventory.toml").read_text())
    assert len(place.devices) == 14


def test_what_a_demo_stores_is_its_owner_s_alone(folder):
    kept = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir() if path.is_file()}
    assert {"spool.db", "trouble.db", "facts.duckdb"} <= kept.keys()
    del kept["inventory.toml"]
    assert set(kept.values()) == {"0o600"}, kept


@pytest.mark.parametrize("ending", ["once", "twice", "killed"])
def test_whatever_ends_a_demo_ends_its_broker_and_its_street(folder, ending):
    reached_ms = service_ms(folder) if (folder / "clock.json").exists() else 0
    with Server(folder, command=SMALL) as demo:
        until(lambda: len(children(demo.pid)) >= 2)
        below = children(demo.pid)
        assert service_ms(folder) >= reached_ms
        began_s = time.monotonic()
        if ending == "killed":
            demo.kill()
        else:
            demo.process.send_signal(signal.SIGINT)
            if ending == "twice":
                until(lambda: len(children(demo.pid)) < len(below))
                demo.process.send_signal(signal.SIGINT)
            demo.wait(6)
        assert time.monotonic() - began_s < (6 if ending == "once" else 2)
        until(lambda: not any(map(alive, below)), 1)
        assert "Traceback" not in demo.errors


def test_somebody_s_edit_of_the_inventory_is_kept_and_another_place_is_made_anew(folder, tmp_path):
    inventory = folder / "inventory.toml"
    edited = inventory.read_text().replace('mode = "in_turn"', 'mode = "temporary"')
    inventory.write_text(edited)
    with Server(folder, command=SMALL):
        assert inventory.read_text() == edited
    (tmp_path / "two.toml").write_text('piles = 2\nstations = 0\nspeed = 10\nweather = "2013-08-06"\n')
    with Server(folder, command=("demo", "--scenario", str(tmp_path / "two.toml"))) as demo:
        assert len(demo.get("/api/v1/devices")["items"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pile = 2", "unknown key 'pile'; there are speed, piles, stations, seed, weather, inventory, faults"),
        ("piles = 'two'", "piles must be a whole number from 1 to 5000, not 'two'"),
        ("weather = 2013-08-06", "weather must be a date in quotes, as '2013-08-06', not 2013-08-06"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_line(tmp_path, text, said):
    (tmp_path / "odd.toml").write_text(text)
    run = lunchong("demo", "--scenario", tmp_path / "odd.toml", "--data", tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(f"lunchong: scenario {tmp_path}/odd.toml: {said}")
    assert len(run.stderr.splitlines()) == 1


def test_a_day_of_which_no_weather_is_known_is_named(tmp_path):
    (tmp_path / "street.log").write_text("what a street said before\n")
    run = lunchong(*SMALL, "--weather", "1900-01-01", "--json", "--data", tmp_path, env=FREE_PORTS)
    assert run.returncode == 2
    said = "no weather is known of 1900-01-01: give a date from 2013-01-30 to 2015-12-31"
    assert run.stderr.splitlines()[-1] == f"lunchong: {said}"
