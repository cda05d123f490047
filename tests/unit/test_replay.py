"""What piles say while they live a sessions file, and what is derived from it."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from ingest.clock import parse_rfc3339
from ingest.facts import Reading, Session
from ingest.inventory import dump, load
from ingest.messages import Connector, Meter
from ingest.sessions import Life, advance
from simulators.plugs import FileSession
from simulators.replay import Replay, inventory_of
from simulators.replay_report import Comparison, compare
from simulators.session_map import load_map
from simulators.sessions_csv import read_sessions
from simulators.story import INTERVAL_MS, Plug, Story

ROOT = Path(__file__).parents[2]
ARRAY = msgspec.json.Decoder(list[Meter | Connector])
HOUR = 3_600_000
NOON = 24 * HOUR * 18_000 + 12 * HOUR


def a_session(start_h, end_h, *, charging_h=None, kwh=0.0, plug=1, station="a", line=2):
    charging_ms = round((end_h - start_h if charging_h is None else charging_h) * HOUR)
    return FileSession(
        line=line,
        station=station,
        plug=plug,
        start_ms=NOON + round(start_h * HOUR),
        end_ms=NOON + round(end_h * HOUR),
        charging_ms=charging_ms,
        energy_kwh=kwh,
        said_plugged_ms=round((end_h - start_h) * HOUR),
        said_charging_ms=charging_ms,
    )


def told(*sessions, plugs=1, until_h=24.0):
    """What one pile says, as dicts with the hour at which it does."""
    story = Story(list(sessions), [Plug(number, 230.0) for number in range(1, plugs + 1)])
    said = story.tell(NOON + round(until_h * HOUR))
    return [{"h": (at_ms - NOON) / HOUR, **json.loads(b"{" + body)} for at_ms, body in said]


def states(said):
    return [(one["h"], one["state"]) for one in said if one["kind"] == "connector"]


def a_file(folder, csv, toml, rows=None):
    how = load_map((folder / toml).read_text())
    text = (folder / csv).read_bytes().decode(how.file.encoding)
    return read_sessions("\n".join(text.splitlines()[: None if rows is None else rows + 1]), how), how


FILES = {
    "real": (ROOT / "simulators/data", "sessions.csv", "boulder.toml", 400),
    "our own": (ROOT / "tests/sessions", "berlin.csv", "berlin.toml"),
}


def acknowledge(device):
    last = device.boots[-1].last_seq
    device.on_ack(json.dumps({"v": 1, "boot": device.boot, "ranges": [[1, last]]}).encode())


def heard(replay):
    """What all piles say to a service that acknowledges at once, as (`SITE/DEVICE`, message)."""
    while not replay.done:
        replay.advance()
        for device in replay.devices.values():
            if not device.connected:
                device.on_connect(0)
                device.on_service_notice(b"")
            for payload in device.due(1):
                for said in ARRAY.decode(payload):
                    yield device.name, said
            acknowledge(device)


def test_a_session_is_told_from_plug_in_to_unplug():
    said = told(a_session(0, 3, charging_h=2, kwh=14))
    assert states(said) == [(0, "available"), (0, "preparing"), (0, "charging"), (2, "suspended"), (3, "available")]
    assert [one["suspended_by"] for one in said if one.get("state") == "suspended"] == ["ev"]


def test_a_car_that_leaves_while_charging_is_told_to_finish():
    assert states(told(a_session(0, 2, kwh=14)))[-2:] == [(2, "finishing"), (2, "available")]


def test_a_car_that_took_nothing_never_charges():
    assert states(told(a_session(0, 2, charging_h=0))) == [(0, "available"), (0, "preparing"), (2, "available")]


def test_two_sessions_that_touch_are_not_one():
    said = told(a_session(0, 1, kwh=7), a_session(1, 2, kwh=5))
    assert [state for _, state in states(said)].count("available") == 3


def test_power_and_counter_tell_the_same_story():
    meters = [
        one
        for one in told(a_session(0.1, 3.05, charging_h=2.3, kwh=11.5), a_session(4, 5, kwh=3))
        if one["kind"] == "meter"
    ]
    for before, after in pairwise(meters):
        flowed_kwh = before["power_kw"] * (after["h"] - before["h"])
        assert after["energy_kwh"] - before["energy_kwh"] == pytest.approx(flowed_kwh, abs=0.002)
        assert before["current_a"] * before["voltage_v"] == pytest.approx(before["power_kw"] * 1000, abs=2)
    assert meters[-1]["energy_kwh"] == 14.5


def test_each_plug_reports_at_least_once_an_interval_and_in_order():
    said = told(a_session(0.3, 5, kwh=9), a_session(2, 3, kwh=4, plug=2), plugs=2, until_h=12)
    assert [one["h"] for one in said] == sorted(one["h"] for one in said)
    for connector in (1, 2):
        hours = [one["h"] for one in said if one["connector"] == connector]
        assert max(after - before for before, after in pairwise(hours)) * HOUR <= INTERVAL_MS
        assert hours[-1] == 12


@pytest.mark.parametrize("name", FILES)
def test_the_sessions_that_are_derived_are_those_of_the_file(name):
    file, how = a_file(*FILES[name])
    replay = Replay(file, how, Random(1))
    derived: dict[str, Session] = {}
    lives: defaultdict[tuple[str, int], Life] = defaultdict(Life)
    for pile, said in heard(replay):
        at_ms = parse_rfc3339(said.ts.isoformat())
        reading = Reading(said.boot, said.seq, at_ms, said.connector, None, None, None, None)
        if isinstance(said, Meter):
            reading = replace(reading, power_kw=said.power_kw, energy_kwh=said.energy_kwh)
        else:
            reading = replace(reading, state=said.state, suspended_by=said.suspended_by)
        if session := advance(lives[pile, said.connector], how.site.id, pile, reading):
            derived[session.id] = session
    found = compare(file.sessions, derived.values())
    assert found.sessions_derived == found.sessions_file == len(file.sessions)
    assert found.agrees, found
    assert found.energy_diff_pct == pytest.approx(0, abs=0.001)


def two_stations():
    """`a` has its last session long before `b` has its first."""
    file, how = a_file(*FILES["real"])
    sessions = [a_session(0, 1, kwh=5), a_session(24 * 30, 24 * 30 + 1, kwh=5, station="b")]
    return Replay(replace(file, sessions=sessions), how, Random(1))


def test_a_pile_appears_with_its_first_session():
    replay = two_stations()
    replay.advance()
    assert list(replay.devices) == ["boulder/a"]
    while not replay.told:
        acknowledge_all(replay)
        replay.advance()
    assert list(replay.devices) == ["boulder/a", "boulder/b"]


def acknowledge_all(replay):
    for device in replay.devices.values():
        if not device.connected:
            device.on_connect(0)
            device.on_service_notice(b"")
        while device.kept:
            device.due(1)
            acknowledge(device)


def test_a_pile_whose_story_is_over_does_not_hold_time_back():
    newest = {name: parse_rfc3339(said.ts.isoformat()) for name, said in heard(two_stations())}
    assert min(newest.values()) > NOON + 24 * 30 * HOUR


def test_the_slowest_pile_holds_the_others_within_two_windows():
    replay = two_stations()
    while replay.advance():
        pass
    assert not replay.told
    assert all(device.kept <= 1_100 for device in replay.devices.values())
    acknowledge_all(replay)
    assert replay.advance()


def test_a_replay_may_keep_to_a_clock():
    replay = two_stations()
    assert replay.advance(replay.begin_ms + HOUR)
    assert not replay.advance(replay.begin_ms + HOUR)
    assert replay.now_ms == replay.begin_ms + HOUR


@pytest.mark.parametrize("name", FILES)
def test_the_installation_of_a_file_is_an_inventory_that_can_be_loaded(name):
    inventory = inventory_of(*a_file(*FILES[name]))
    assert load(dump(inventory)) == inventory


def test_stations_whose_names_look_alike_stay_apart():
    file, how = a_file(*FILES["our own"])
    names = ["驿站", "车站", "A / B", "A - B", "x" * 40, "x" * 41]
    sessions = [a_session(0, 1, station=name) for name in names]
    inventory = inventory_of(replace(file, sessions=sessions), how)
    assert len(inventory.devices) == len(names)
    assert all(len(device.id) <= 32 for device in inventory.devices.values())


def test_a_comparison_of_nothing_agrees_with_nothing():
    assert not compare([], []).agrees


@pytest.mark.parametrize(
    "changed",
    [
        {"count_diff_pct": -1.1},
        {"energy_diff_pct": 0.6},
        {"occupied_median_ratio": 1.03},
        {"charging_median_ratio": 0.97},
        {"charging_median_ratio": None},
    ],
)
def test_a_comparison_agrees_only_if_each_figure_does(changed):
    good = Comparison(100, 100, 0.9, -0.4, 1.01, 0.99)
    assert good.agrees
    assert not replace(good, **changed).agrees
