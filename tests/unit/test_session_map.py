"""The map of a sessions file: what a user who writes one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulators.session_map import Columns, FileForm, MapError, Place, Plugs, TimeForm, load_map

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/contracts/replay-map.md").read_text(encoding="utf-8")
BOULDER = (ROOT / "simulators/data/boulder.toml").read_text()


def mistakes(text):
    with pytest.raises(MapError) as caught:
        load_map(text)
    return [str(mistake) for mistake in caught.value.mistakes]


def line_of(text, part):
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('separator = ","', 'separator = ",,"', "separator:"),
        ('decimal_mark = "."', 'decimal_mark = "·"', "decimal_mark:"),
        ('energy_unit = "kWh"', 'energy_unit = "kwh"', "energy_unit:"),
        ("per_station = 2", "per_station = 0", "per_station:"),
        ("per_station = 2", 'per_station = "two"', "per_station:"),
        ('duration = "h:mm:ss"', 'duration = "hms"', "duration:"),
        ('zone = "UTC"', 'zone = "Mars/Olympus"', "there is no time zone 'Mars/Olympus'"),
        ('zone = "UTC"', 'zone = "+19:00"', "no zone is +19:00 away from UTC"),
        ("lat = 40.015", "lat = 400", "lat:"),
        ("lat = 40.015", "latitude = 40.015", "unknown key 'latitude' in [site]"),
        ("[plugs]", "[sockets]", "unknown table 'sockets'"),
        ('decimal_mark = "."', 'encoding = "utf-99"', "there is no encoding 'utf-99'"),
        ('zone = "UTC"', 'zone = "UTC', "not TOML"),
    ],
)
def test_a_bad_key_is_named_with_its_line(right, wrong, told):
    text = BOULDER.replace(right, wrong)
    assert any(said.startswith(f"line {line_of(text, wrong)}: ") and told in said for said in mistakes(text))


def test_all_mistakes_are_told_at_once():
    text = BOULDER.replace('separator = ","', 'separator = ""').replace("lon = -105.27", "lon = -1000")
    assert len(mistakes(text)) == 2


def test_a_required_column_that_the_map_forgot_is_named():
    text = BOULDER.replace('energy = "Energy__kWh_"\n', "")
    assert mistakes(text) == [f"line {line_of(text, '[columns]')}: [columns] needs energy"]


def test_a_zone_is_said_once_and_somewhere():
    for text in (BOULDER.replace('zone = "UTC"\n', ""), BOULDER.replace("+00", "%z")):
        assert mistakes(text) == [
            f"line {line_of(text, '[time]')}: the zone must be said once: zone here, zone in [columns], or %z in format"
        ]


def test_a_map_must_tell_when_a_session_is_over():
    text = BOULDER
    for key in ("end", "plugged_time", "charging_time"):
        text = text.replace(f"\n{key} =", f"\n# {key} =")
    assert "to tell when a session is over" in mistakes(text)[0]


def test_a_fold_column_needs_to_say_which_is_the_second_hour():
    text = BOULDER.replace("[columns]", '[columns]\nfold = "Hour"')
    assert mistakes(text) == [
        f"line {line_of(text, 'fold')}: fold needs second in [time]: what the column says of the second hour"
    ]


def test_the_map_on_its_page_is_one():
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert load_map(example).site.id == "hof"


@pytest.mark.parametrize("table", [FileForm, Columns, TimeForm, Plugs, Place])
def test_every_key_of_the_map_is_in_the_docs(table):
    assert [key for key in table.__struct_fields__ if f"`{key}`" not in PAGE] == []
