"""How far it is on foot, who may ask how often, and which language somebody reads."""

from __future__ import annotations

import pytest

from api.geo import distance_m, snapped, walk_min
from api.i18n import CATALOGUES, language_of, words
from api.limiter import Limiter
from api.pages.words import age_text

PEOPLES_SQUARE = (31.2304, 121.4737)


def test_a_degree_of_latitude_is_111_km():
    assert distance_m(31, 121, 32, 121) == pytest.approx(111_195, rel=0.001)


@pytest.mark.parametrize(
    ("metres", "slow", "minutes"), [(0, False, 0), (61, False, 1), (62, False, 2), (923, False, 15), (480, True, 13)]
)
def test_walking_minutes_are_rounded_up_with_a_detour(metres, slow, minutes):
    assert walk_min(metres, slow) == minutes


@pytest.mark.parametrize(("lat", "lon"), [PEOPLES_SQUARE, (0.0, 0.0), (-33.9, 18.4), (90.0, 180.0), (89.9999, -180.0)])
def test_a_position_moves_by_no_more_than_half_a_squares_diagonal(lat, lon):
    assert distance_m(lat, lon, *snapped(lat, lon)) <= 71


def test_neighbours_within_a_square_cannot_be_told_apart():
    lat, lon = snapped(*PEOPLES_SQUARE)
    assert {snapped(lat + dy, lon + dx) for dy in (-4e-4, 0, 4e-4) for dx in (-4e-4, 0, 4e-4)} == {(lat, lon)}


@pytest.mark.parametrize(("lat", "lon"), [PEOPLES_SQUARE, (31.2404321, 121.4406789), (-33.9, 18.4)])
def test_a_snapped_position_stays_where_it_is(lat, lon):
    assert snapped(*snapped(lat, lon)) == snapped(lat, lon)


def test_a_burst_is_allowed_and_then_one_at_a_time():
    limiter = Limiter(burst=3, every_s=10)
    assert [limiter.wait_s("a", 0.0) for _ in range(4)] == [0, 0, 0, 10]
    assert limiter.wait_s("b", 0.0) == 0
    assert limiter.wait_s("a", 10.0) == 0
    assert limiter.wait_s("a", 10.0) > 0


def test_a_limiter_remembers_no_more_keys_than_it_may():
    limiter = Limiter(burst=1, every_s=10, keys=2)
    for key in ("a", "b", "c"):
        limiter.wait_s(key, 0.0)
    assert limiter.wait_s("c", 0.0) > 0
    assert limiter.wait_s("a", 0.0) == 0


def test_every_text_is_there_in_both_languages_with_the_same_values():
    zh, en = CATALOGUES["zh"], CATALOGUES["en"]
    assert zh.keys() == en.keys()
    holes = {language: {key: _holes(text) for key, text in words.items()} for language, words in CATALOGUES.items()}
    assert holes["zh"] == holes["en"]


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "zh"),
        (None, "en-GB,en;q=0.9,zh;q=0.1", "en"),
        (None, "fr,zh-CN;q=0.8,en;q=0.5", "zh"),
        (None, "fr", "zh"),
        (None, "en;q=bad", "zh"),
        ("en", "zh-CN", "en"),
        ("xx", "en", "en"),
    ],
)
def test_chinese_is_the_default_and_a_wish_comes_first(asked, accepted, language):
    assert language_of(asked, accepted) == language


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0.4, "just now"),
        (3.9, "3 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_200, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_an_age_is_told_in_the_unit_that_one_would_use(age_s, text):
    assert age_text(lambda key, **values: words("en", key, **values), age_s) == text


def _holes(text):
    return {part.split("}")[0] for part in text.split("{")[1:]}
