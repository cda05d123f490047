"""A refuge from heat or cold is promised on what was measured, and not taken back for a moment's warmth."""

from __future__ import annotations

import pytest

from ingest.comfort import Refuge, heat_index_c, judge

MINUTE_MS = 60_000


def lived(*readings):
    """Refuge kinds after each (minute, indoor, outdoor)."""
    refuge, kinds = Refuge(), []
    for minute, indoor_c, outdoor_c in readings:
        refuge = judge(refuge, indoor_c, outdoor_c, minute * MINUTE_MS)
        kinds.append(refuge.kind)
    return kinds


@pytest.mark.parametrize(
    ("indoor_c", "outdoor_c", "kind"),
    [
        (28.0, 31.0, "cool"),
        (28.1, 39.0, "none"),
        (28.0, 30.9, "none"),
        (26.0, 39.0, "cool"),
        (16.0, 5.0, "warm"),
        (15.9, 5.0, "none"),
        (20.0, 18.0, "none"),
        (27.0, 28.0, "none"),
        (10.0, 14.0, "none"),
        (26.0, None, "none"),
        (None, 39.0, "none"),
    ],
)
def test_a_room_is_a_refuge_by_its_own_and_the_outdoor_temperature(indoor_c, outdoor_c, kind):
    assert lived((0, indoor_c, outdoor_c)) == [kind]


def test_a_cool_room_stays_one_while_the_door_stands_open_for_some_minutes():
    assert lived((0, 27, 36), (1, 29.4, 36), (5, 29.8, 36), (9, 29.6, 36), (12, 28.5, 36)) == ["cool"] * 5


def test_ten_minutes_too_warm_end_a_cool_room():
    assert lived((0, 27, 36), (1, 29.6, 36), (10, 29.6, 36), (11, 29.6, 36), (12, 29.0, 36)) == [
        "cool", "cool", "cool", "none", "none",
    ]  # fmt: skip


def test_the_ten_minutes_begin_again_after_a_cool_reading():
    assert lived((0, 27, 36), (1, 30, 36), (8, 29, 36), (9, 30, 36), (18, 30, 36), (19, 30, 36))[-2:] == [
        "cool",
        "none",
    ]


def test_above_33_degrees_no_room_is_cool_however_short():
    assert lived((0, 27, 40), (1, 33.1, 40)) == ["cool", "none"]


def test_a_room_no_cooler_than_the_evening_outside_is_no_refuge_from_heat():
    assert lived((0, 27, 36), (60, 26, 25), (71, 26, 25)) == ["cool", "cool", "none"]


def test_a_warm_room_is_kept_down_to_14_and_a_half():
    assert lived((0, 16, 2), (1, 14.5, 2), (2, 14.4, 2), (3, 15.5, 2)) == ["warm", "warm", "none", "none"]


@pytest.mark.parametrize(
    ("air_f", "rh_pct", "index_f"),
    [(80, 40, 80), (90, 50, 95), (96, 50, 108), (100, 40, 109), (90, 70, 106), (110, 40, 136), (86, 90, 105)],
)
def test_the_heat_index_agrees_with_the_weather_services_table(air_f, rh_pct, index_f):
    assert heat_index_c((air_f - 32) / 1.8, rh_pct) * 1.8 + 32 == pytest.approx(index_f, abs=1.3)


def test_dry_air_feels_less_hot_than_the_regression_says_and_wet_air_more():
    assert heat_index_c(37.8, 10) < heat_index_c(37.8, 13) < heat_index_c(37.8, 20)
    assert heat_index_c(28.0, 95) > heat_index_c(28.0, 85)


@pytest.mark.parametrize(("air_c", "rh_pct"), [(26.0, 50), (10.0, 80), (35.0, 101), (35.0, -1)])
def test_outside_its_validity_there_is_no_heat_index(air_c, rh_pct):
    assert heat_index_c(air_c, rh_pct) is None
