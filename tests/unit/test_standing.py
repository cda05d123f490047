"""Who goes first: how standing is counted, and that nothing is gained by tricks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.standing import (
    DAY_MS,
    MINUTE_MS,
    Delivery,
    NoShow,
    Waiting,
    in_order,
    need_kwh,
    occupied_min,
    penalties,
    standings,
)
from tests.stores import NINE_MS

LONG_AGO_MS = NINE_MS - 100 * DAY_MS


def charged(household, minutes, days_ago=1.0, overstay=0):
    ended_ms = NINE_MS - round(days_ago * DAY_MS)
    return Delivery(
        household=household, plugged_ms=ended_ms - minutes * MINUTE_MS, unplugged_ms=ended_ms,
        overstay_ms=overstay * MINUTE_MS,
    )  # fmt: skip


def standing(*deliveries, missed=(), **pool):
    """Of each household, in minutes; `pool` says how many days ago it first asked."""
    since = {household: NINE_MS - days * DAY_MS for household, days in pool.items()}
    found = standings(since, occupied_min(deliveries, missed, NINE_MS), NINE_MS)
    return {household: round(one.minutes, 6) for household, one in found.items()}


def test_standing_is_minutes_at_plugs_beyond_the_mean():
    assert standing(charged("a", 300), charged("b", 60), charged("b", 60), a=90, b=90, c=90) == {
        "a": 160, "b": -20, "c": -140,
    }  # fmt: skip


def test_overstay_counts_twice_and_a_no_show_an_hour():
    missed = [NoShow("b", NINE_MS - 1), NoShow("b", NINE_MS - 29 * DAY_MS)]
    assert standing(charged("a", 100, overstay=20), missed=missed, a=90, b=90) == {"a": 30, "b": -30}


def test_only_the_last_28_days_count():
    half_in = charged("a", 60, days_ago=28 - 30 / 1440)
    assert standing(charged("a", 600, days_ago=29), half_in, a=90, b=90) == {"a": 15, "b": -15}


def test_an_overstay_that_ended_before_the_28_days_began_is_over():
    across = charged("a", 90, days_ago=28 - 60 / 1440, overstay=30)
    assert standing(across, a=90, b=90) == {"a": 45, "b": -45}


def test_what_goes_on_counts_until_now():
    going_on = Delivery(household="a", plugged_ms=NINE_MS - 60 * MINUTE_MS, unplugged_ms=NINE_MS + DAY_MS)
    assert standing(going_on, a=90, b=90) == {"a": 30, "b": -30}


def test_nobody_stands_beyond_600_minutes():
    assert standing(charged("a", 6_000), a=90, b=90, c=90) == {"a": 600, "b": -600, "c": -600}


def test_a_new_household_starts_at_nought_whatever_the_others_had():
    found = standing(charged("a", 300), charged("b", 500), a=90, b=90, new=0)
    assert found["new"] == 0


def test_half_a_window_is_compared_with_half_an_average():
    assert standing(charged("a", 300), a=90, late=14) == {"a": 100, "late": -100}


def test_a_pool_where_nobody_was_there_yet_is_all_equal():
    assert standing(charged("a", 300), a=0) == {"a": 300}
    assert standing() == {}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 140)), max_size=20))
def test_standings_of_those_who_were_there_all_the_time_add_up_to_nought(had):
    found = standing(*(charged(household, minutes) for household, minutes in had), a=90, b=90, c=90, d=90)
    assert abs(sum(found.values())) < 1e-6 or max(map(abs, found.values())) == 600


# --- the order -------------------------------------------------------------------------------------------------------


def order(**said):
    waiting = [
        Waiting(turn=turn, standing_min=standing_min, age_ms=age * MINUTE_MS, requested_ms=0, **more)
        for turn, (standing_min, age, more) in said.items()
    ]
    return "".join(one.turn for one in in_order(waiting))


def test_lower_goes_first():
    assert order(a=(100, 0, {}), b=(-100, 0, {}), c=(0, 0, {})) == "bca"


def test_of_near_equals_who_waits_longest_goes_first():
    assert order(a=(1, 5, {}), b=(20, 50, {}), c=(31, 500, {})) == "bac"


def test_a_rule_may_let_an_essential_vehicle_go_first():
    assert order(a=(0, 9, {}), b=(50, 0, {"advantage_min": 120.0})) == "ba"


@given(st.lists(st.tuples(st.floats(-600, 600), st.integers(0, 10**9)), max_size=8), st.randoms())
def test_the_order_does_not_depend_on_who_is_named_first(said, shuffle):
    waiting = [
        Waiting(turn=str(no), standing_min=standing_min, age_ms=age_ms, requested_ms=no)
        for no, (standing_min, age_ms) in enumerate(said)
    ]
    mixed = list(waiting)
    shuffle.shuffle(mixed)
    assert in_order(mixed) == in_order(waiting)


# --- need ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "room", "delivered", "need"),
    [
        (20, None, [], 20),
        (20, 12, [], 12),
        (60, 50, [10, 10, 10, 10, 10], 12),
        (60, None, [99, 10, 10, 10, 10, 10], 12),
        (60, None, [20], 24),
        (5, 50, [10, 10], 5),
    ],
)
def test_overstating_a_need_gains_nothing(stated, room, delivered, need):
    assert need_kwh(stated, room, delivered) == pytest.approx(need)


# --- the worked example of docs/turns.md -----------------------------------------------------------------------------


def test_the_worked_example_of_the_docs_is_what_the_code_computes():
    page = (Path(__file__).resolve().parents[2] / "docs/turns.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| ([A-D]) \|(.*)$", page, re.MULTILINE)
    table = {name: [int(number) for number in re.findall(r"[+-]?\d+", cells)] for name, cells in lines}
    given = [charged(name, row[1], overstay=row[2]) for name, row in table.items()]
    missed = [NoShow(name, NINE_MS - 1) for name, row in table.items() for _ in range(row[3])]
    pool = {name: NINE_MS - row[0] * DAY_MS for name, row in table.items()}
    found = standings(pool, occupied_min(given, missed, NINE_MS), NINE_MS)
    waiting = [Waiting(turn=name, standing_min=one.minutes, age_ms=0, requested_ms=0) for name, one in found.items()]
    goes = {one.turn: no for no, one in enumerate(in_order(waiting), 1)}
    computed = {name: [one.occupied_min, one.average_min, one.minutes, goes[name]] for name, one in found.items()}
    assert {name: pytest.approx(row) for name, row in computed.items()} == {
        name: row[4:] for name, row in table.items()
    }


def test_what_counts_more_than_once_is_named_for_those_who_have_any():
    had = [charged("a", 300, overstay=40), charged("a", 60, days_ago=27.99, overstay=30), charged("b", 60)]
    missed = [NoShow("b", NINE_MS - 1), NoShow("c", NINE_MS - 29 * DAY_MS), NoShow("b", NINE_MS - 2)]
    assert penalties(had, missed, NINE_MS) == {"a": (54, 0), "b": (0, 2)}, "of the older overstay only its last part"
