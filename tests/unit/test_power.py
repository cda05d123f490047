"""Who gets which power, and that no order in which piles hear of it passes the limit of a site."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.power import Draw, shares, steps


def draw(connector, promised_w=0, wants_w=0, may_w=0, **said):
    return Draw(connector=connector, promised_w=promised_w, wants_w=wants_w, may_w=may_w, least_w=1_380, **said)


def test_what_was_promised_comes_first_and_the_rest_goes_to_who_wants_more():
    given_w = shares(10_000, [draw("late", wants_w=7_000), draw("promised", 3_500, 7_000), draw("idle")])
    assert given_w == {"late": 6_500, "promised": 3_500, "idle": 0}
    given_w = shares(14_000, [draw("promised", 3_500, 7_000), draw("late", wants_w=7_000)])
    assert given_w == {"promised": 7_000, "late": 7_000}


def test_what_is_too_little_to_charge_with_is_left_to_another():
    assert shares(8_000, [draw("a", 7_000), draw("b", wants_w=7_000), draw("c", 0, 0)]) == {"a": 7_000, "b": 0, "c": 0}
    assert shares(8_400, [draw("a", 7_000), draw("b", wants_w=7_000)]) == {"a": 7_000, "b": 1_400}


def test_a_silent_pile_keeps_what_it_may_be_drawing():
    silent = draw("silent", 7_000, 7_000, may_w=2_800, heard=False)
    assert shares(7_000, [silent, draw("b", 7_000)]) == {"b": 4_200}


def test_without_a_limit_everybody_gets_what_the_car_takes():
    assert shares(None, [draw("a", 3_500, 7_000), draw("b")]) == {"a": 7_000, "b": 0}
    assert steps(None, {"a": 7_000, "b": 0}, [draw("a"), draw("b")]) == {"a": 7_000, "b": 0}


def test_one_is_raised_only_once_the_other_was_lowered():
    draws = [draw("a", 0, 0, may_w=7_000), draw("b", 7_000)]
    wanted = shares(7_000, draws)
    assert steps(7_000, wanted, draws) == {"a": 0}
    assert steps(7_000, wanted, [replace(draws[0], may_w=0), draws[1]]) == {"a": 0, "b": 7_000}


LIMIT_W = 14_000
PLUGS = ("a", "b", "c", "d")
HAPPENS = st.one_of(
    st.tuples(st.just("wants"), st.sampled_from(PLUGS), st.sampled_from([0, 1_400, 3_500, 7_000])),
    st.tuples(st.just("hears"), st.sampled_from(PLUGS), st.booleans()),
)


@given(st.lists(HAPPENS, max_size=60))
def test_whatever_is_heard_late_or_never_answered_the_limit_is_kept(happens):
    """Each plug obeys the limits it was sent in their order, when it hears them; of some the answer is lost."""
    wants, in_force, may = (dict.fromkeys(PLUGS, 0) for _ in range(3))
    sent = {plug: [] for plug in PLUGS}
    for what, plug, value in happens:
        if what == "wants":
            wants[plug] = value
        elif sent[plug]:
            in_force[plug] = sent[plug].pop(0)
            if value and not sent[plug]:  # of the last that was said, the answer came
                may[plug] = in_force[plug]
        draws = [draw(one, min(3_500, wants[one]), wants[one], may[one]) for one in PLUGS]
        given_w = shares(LIMIT_W, draws)
        assert sum(given_w.values()) <= LIMIT_W
        for one, watts in steps(LIMIT_W, given_w, draws).items():
            if watts != (sent[one][-1] if sent[one] else in_force[one]):
                sent[one].append(watts)
                may[one] = max(may[one], watts)
        assert sum(in_force.values()) <= LIMIT_W
