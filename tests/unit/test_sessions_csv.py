"""A sessions file becomes sessions that piles can live; what cannot be lived is listed with its line and reason."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from ingest.clock import from_ms
from simulators.session_map import MapError, load_map
from simulators.sessions_csv import read_sessions

ROOT = Path(__file__).parents[2]
SESSIONS = ROOT / "tests/sessions"

MAP = """
[file]
separator = ";"
[columns]
station = "at"
start = "from"
end = "to"
plugged_time = "stood"
charging_time = "charged"
energy = "kwh"
[time]
format = "%Y-%m-%d %H:%M"
zone = "Europe/Berlin"
duration = "h:mm"
resolution_s = 60
[plugs]
per_station = 2
[site]
id = "s"
lat = 0
lon = 0
"""
HEADER = "at;from;to;stood;charged;kwh"


def read(*rows, how=MAP, header=HEADER):
    return read_sessions("\n".join([header, *rows]), load_map(how))


def times(session):
    return f"{from_ms(session.start_ms):%d %H:%M}", f"{from_ms(session.end_ms):%d %H:%M}"


def refused(*rows, **how):
    return [str(row) for row in read(*rows, **how).not_livable]


@pytest.fixture(scope="module")
def boulder():
    folder = ROOT / "simulators/data"
    return read_sessions((folder / "sessions.csv").read_text(), load_map((folder / "boulder.toml").read_text()))


def test_all_real_rows_but_the_broken_one_are_lived(boulder):
    assert boulder.rows == 17_226
    assert [str(row) for row in boulder.not_livable] == ["line 15879: ends before it starts (1970-01-01 00:00:00 UTC)"]
    assert len(boulder.sessions) == 17_225


def test_real_sessions_never_share_a_plug(boulder):
    free_ms: Counter[tuple[str, int]] = Counter()
    for session in boulder.sessions:
        plug = (session.station, session.plug)
        assert free_ms[plug] <= session.start_ms < session.end_ms
        assert session.charging_ms <= session.end_ms - session.start_ms
        free_ms[plug] = session.end_ms


def test_real_rows_of_one_minute_are_lived_with_their_total_duration(boulder):
    short = [one for one in boulder.sessions if one.said_plugged_ms == 26_000]
    assert short
    assert any(one.end_ms - one.start_ms == 26_000 for one in short)


def test_a_file_written_quite_otherwise_needs_a_map_and_no_code():
    how = load_map((SESSIONS / "berlin.toml").read_text())
    file = read_sessions((SESSIONS / "berlin.csv").read_bytes().decode(how.file.encoding), how)
    assert [(one.line, one.station, one.plug, *times(one), round(one.energy_kwh, 6)) for one in file.sessions[:6]] == [
        (2, "Säule Nord", 1, "26 16:12", "26 21:40", 12.4805),
        (3, "Säule Nord", 2, "26 19:55", "27 01:30", 17.4),
        (4, "Säule Süd", 1, "26 23:05", "26 23:53", 4.21025),
        (5, "Säule Süd", 1, "27 00:10", "27 00:45", 3.7),
        (6, "Säule Süd", 2, "27 00:50", "27 01:20", 2.95075),
        (7, "Säule Süd", 1, "27 01:15", "27 03:05", 11.9),
    ]
    assert [str(row) for row in file.not_livable] == [
        "line 8: no end, and no duration to live it by",
        "line 11: energy '1.250' is no number from 0 up with the decimal mark ','",
        "line 13: plug '3' is not one of 1 to 2",
        "line 16: ends before it starts (2024-10-28 07:01:00 UTC)",
    ]
    assert file.rows == 16


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;0:30;x", "energy 'x' is no number"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;0:30;-1", "energy '-1' is no number"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;0:30;", "energy is missing"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;60;0:30;1", "plugged_time '60' is not like h:mm"),
        ("a;01.05.2024;2024-05-01 11:00;1:00;0:30;1", "start '01.05.2024': time data"),
        ("a;;2024-05-01 11:00;1:00;0:30;1", "no start"),
        (";2024-05-01 10:00;2024-05-01 11:00;1:00;0:30;1", "no station"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;0:30", "5 cells where the header has 6"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;5:00;1", "charges for 18000 s but is plugged for 3600 s"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;0:00;1", "1 kWh in 0 s of charging"),
        ("a;2024-05-01 10:00;2024-05-01 11:00;1:00;1:00;2000", "2000 kWh in 3600 s of charging"),
        ("a;1969-05-01 10:00;2024-05-01 11:00;1:00;1:00;2", "is not between 1970 and 2199"),
        ("a;2024-03-31 02:30;2024-03-31 11:00;7:30;1:00;2", "was skipped when the clock was set forward"),
    ],
)
def test_a_row_that_cannot_be_lived_is_named_with_its_line_and_reason(row, reason):
    [said] = refused("a;2024-05-01 06:00;2024-05-01 07:00;1:00;1:00;5", row)
    assert said.startswith("line 3: ")
    assert reason in said


def test_a_third_car_at_two_plugs_is_not_lived():
    [said] = refused(*["a;2024-05-01 10:00;2024-05-01 11:00;1:00;1:00;5"] * 3)
    assert said == "line 4: every plug of 'a' is taken for 3600 s more when it starts"


def test_retries_within_a_minute_wait_for_their_plug_by_less_than_a_minute():
    seconds = MAP.replace('"h:mm"', '"seconds"')
    one_minute = ["a;2024-05-01 10:00;2024-05-01 10:00;4;0;0", "a;2024-05-01 10:00;2024-05-01 10:00;10;0;0"]
    file = read(*one_minute, "a;2024-05-01 10:00;2024-05-01 11:00;3600;3600;7", how=seconds)
    assert [(one.plug, one.start_ms % 60_000, one.end_ms % 60_000) for one in file.sessions] == [
        (1, 0, 4_000),
        (2, 0, 10_000),
        (1, 4_000, 0),
    ]


def test_the_repeated_hour_is_told_apart_by_a_column_where_one_says_it():
    how = MAP.replace("[time]", '[time]\nsecond = ["B"]').replace("[columns]", '[columns]\nfold = "hour"')
    rows = [f"a;2024-10-27 02:10;2024-10-27 02:40;;;2;{hour}" for hour in "AB"]
    file = read(*rows, how=how, header=f"{HEADER};hour")
    assert [times(one) for one in file.sessions] == [("27 00:10", "27 00:40"), ("27 01:10", "27 01:40")]


def test_the_repeated_hour_is_told_apart_by_the_duration_of_the_row():
    [before, after] = read(
        "a;2024-10-27 01:30;2024-10-27 02:30;1:00;1:00;2", "b;2024-10-27 01:30;2024-10-27 02:30;2:00;1:00;2"
    ).sessions
    assert times(before)[1] == "27 00:30"
    assert times(after)[1] == "27 01:30"


@pytest.mark.parametrize(
    ("rows", "zones", "starts"),
    [
        (["MST", "MDT"], '{ MST = "-07:00", MDT = "-06:00" }', ["01 17:00", "01 16:00"]),
        (["+0800", "-03:30"], "{}", ["01 02:00", "01 13:30"]),
        (["Asia/Shanghai", "Europe/Berlin"], "{}", ["01 02:00", "01 08:00"]),
    ],
)
def test_each_row_may_bring_its_own_zone(rows, zones, starts):
    how = MAP.replace('zone = "Europe/Berlin"', f"zones = {zones}").replace("[columns]", '[columns]\nzone = "zone"')
    file = read(
        *(f"{zone};2024-05-01 10:00;2024-05-01 11:00;1:00;;1;{zone}" for zone in rows), how=how, header=f"{HEADER};zone"
    )
    by_station = {one.station: times(one)[0] for one in file.sessions}
    assert [by_station[zone] for zone in rows] == starts


def test_an_unknown_zone_of_a_row_is_named():
    how = MAP.replace('zone = "Europe/Berlin"', "").replace("[columns]", '[columns]\nzone = "zone"')
    [said] = refused("a;2024-05-01 10:00;2024-05-01 11:00;1:00;;1;XYZ", how=how, header=f"{HEADER};zone")
    assert "there is no time zone 'XYZ'" in said


def test_times_may_bring_their_offset_in_the_text():
    how = MAP.replace('zone = "Europe/Berlin"\n', "").replace("%H:%M", "%H:%M%z")
    [one] = read("a;2024-05-01 10:00+0800;2024-05-01 12:00+0800;2:00;;1", how=how).sessions
    assert times(one) == ("01 02:00", "01 04:00")


def test_a_file_without_charging_times_charges_as_long_as_it_is_plugged():
    how = MAP.replace('charging_time = "charged"\n', "")
    [one] = read("a;2024-05-01 10:00;2024-05-01 12:00;2:00;;1", how=how).sessions
    assert one.charging_ms == 2 * 3_600_000


def test_a_column_that_the_file_lacks_is_named_with_the_maps_line():
    with pytest.raises(MapError) as caught:
        read(how=MAP.replace('"kwh"', '"Energy"'))
    line = MAP.splitlines().index('energy = "kwh"') + 1
    assert (
        str(caught.value)
        == f"line {line}: energy: the file has no column 'Energy'; it has {', '.join(HEADER.split(';'))}"
    )


def test_an_empty_file_is_said_to_have_no_header():
    with pytest.raises(MapError, match="it has no header"):
        read_sessions("", load_map(MAP))


def test_local_summers_and_winters_of_a_zone_are_right():
    [summer, winter] = read(
        "a;2024-07-01 12:00;2024-07-01 13:00;;;1", "a;2024-12-01 12:00;2024-12-01 13:00;;;1"
    ).sessions
    assert [from_ms(one.start_ms) for one in (summer, winter)] == [
        datetime.fromisoformat("2024-07-01T10:00Z"),
        datetime.fromisoformat("2024-12-01T11:00Z"),
    ]
