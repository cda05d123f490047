"""What people would miss in a plan: that it may be carried out, who goes first, and that what was said stays so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.buckets import Place
from scheduler.plan import (
    Fixed,
    Plan,
    Plug,
    Problem,
    Request,
    charged_by,
    faults,
    keeps_published,
    lateness,
    value,
    weight_of,
    worth,
)  # fmt: skip
from scheduler.plan_greedy import greedy
from scheduler.plan_solver import Limit, improved

FIRST = 2_000_000
SEVEN_W = 7_000
PLUG = Plug(id="s/p1/1", kind="ac", max_w=SEVEN_W, min_w=1_380)
UNTIL_THE_NIGHT = Fixed(place=Place(PLUG.id, FIRST, (0,) * 8))


def wants(name="a", hours=1.0, *, start=0, stay=24, **more):
    """A car that needs so many hours at 7 kW, there from a bucket on for so many buckets."""
    given = {"kinds": ("ac",), "max_w": SEVEN_W, "weight": 1_000}
    first, need_wh = FIRST + start, round(hours * SEVEN_W)
    return Request(id=name, earliest=first, depart_by=first + stay, need_wh=need_wh, **(given | more))


def site(*requests, plugs=1, buckets=24, **more):
    """A site with so many plugs of 7 kW, or with these."""
    if isinstance(plugs, int):
        plugs = [Plug(id=f"s/p{no}/1", kind="ac", max_w=SEVEN_W, min_w=1_380) for no in range(1, plugs + 1)]
    given = {
        "limit_w": (100_000,) * buckets, "open": (True,) * buckets, "quiet": (False,) * buckets,
        "tariff_fen_kwh": (100,) * buckets,
    }  # fmt: skip
    return Problem(first=FIRST, requests=requests, plugs=tuple(plugs), **(given | more))


def at(place):
    """First bucket and the one after the last, from the problem's first on."""
    return place and (place.first - FIRST, place.end - FIRST)


@pytest.fixture(params=["greedy", "improved"])
def planned(request):
    """A plan that keeps to everything, by each planner."""

    def by(problem):
        plan = greedy(problem) if request.param == "greedy" else improved(problem, Limit(seconds=0.05), seed=1)
        assert faults(problem, plan) == []
        return plan

    return by


# --- who goes first, and when ----------------------------------------------------------------------------------------


def test_everybody_begins_at_once_where_there_is_room(planned):
    plan = planned(site(wants("a"), wants("b", start=3), plugs=2))
    assert {name: at(place) for name, place in plan.places.items()} == {"a": (0, 4), "b": (3, 7)}


def test_who_weighs_more_goes_first(planned):
    plan = planned(site(wants("a"), wants("b", weight=1_500)))
    assert at(plan.places["b"]) == (0, 4)
    assert at(plan.places["a"]) == (4, 8)


def test_a_car_that_leaves_early_is_planned_before_one_that_stays():
    problem = site(wants("stays", weight=1_100), wants("leaves", stay=5))
    plan = improved(problem, Limit(seconds=0.05))
    assert at(plan.places["leaves"])[0] < at(plan.places["stays"])[0]
    assert value(problem, plan) > value(problem, greedy(problem))


def test_two_short_ones_go_before_a_long_one():
    problem = site(wants("long", 2, weight=1_900, stay=8), wants("x", stay=8), wants("y", stay=8))
    assert set(improved(problem, Limit(seconds=0.05)).places) == {"x", "y"}


def test_two_served_count_more_than_one_whoever_they_are():
    weights = [weight_of(rank, 200) for rank in range(200)]
    assert weights == sorted(weights, reverse=True)
    assert 2 * weights[-1] > weights[0]


def test_a_promise_is_not_touched(planned):
    promised = Fixed(place=Place(PLUG.id, FIRST + 2, (SEVEN_W,) * 4))
    plan = planned(site(wants("a", 1), fixed=(promised,)))
    assert at(plan.places["a"]) == (6, 10)


def test_a_plug_stays_free_behind_a_car_that_likely_stays_longer(planned):
    plan = planned(site(wants("a", turnover=1, weight=1_900), wants("b")))
    assert at(plan.places["b"]) == (5, 9)
    late = Fixed(place=Place(PLUG.id, FIRST, (SEVEN_W,)), turnover=2)
    assert at(planned(site(wants("b"), fixed=(late,))).places["b"]) == (3, 7)


def test_a_car_only_comes_to_a_plug_that_fits_it(planned):
    fast = Plug(id="s/p9/1", kind="dc", max_w=60_000)
    plan = planned(site(wants("a", kinds=("dc",), max_w=50_000), plugs=(PLUG, fast)))
    assert plan.places["a"] == Place("s/p9/1", FIRST, (50_000,))


# --- power -----------------------------------------------------------------------------------------------------------


def test_a_power_group_moves_power_and_not_cars(planned):
    cars = [wants(name, flexible=True, stay=8) for name in "ab"]
    plan = planned(site(*cars, plugs=2, limit_w=(SEVEN_W,) * 24))
    assert set(plan.places) == {"a", "b"}
    assert max(charged_by(place) for place in plan.places.values()) == FIRST + 8


def test_a_flexible_car_is_given_less_for_longer(planned):
    plan = planned(site(wants("a", flexible=True), limit_w=(3_500,) * 24))
    assert plan.places["a"] == Place(PLUG.id, FIRST, (3_500,) * 8)


def test_a_car_that_is_not_flexible_gets_full_power_or_nothing(planned):
    plan = planned(site(wants("a"), limit_w=(3_500,) * 24))
    assert plan.reasons == {"a": "power"}


def test_no_power_is_planned_that_a_plug_cannot_hold(planned):
    plan = planned(site(wants("a", 0.5, flexible=True), limit_w=(1_000, *(SEVEN_W,) * 23)))
    assert plan.places["a"].first == FIRST + 1
    rest = planned(site(wants("a", 1.01, flexible=True)))
    assert min(rest.places["a"].watts) == PLUG.min_w


def test_a_curve_from_the_grid_is_kept_to(planned):
    curve = (SEVEN_W,) * 2 + (0,) * 4 + (SEVEN_W,) * 18
    plan = planned(site(wants("a", flexible=True), wants("b"), plugs=2, limit_w=curve))
    assert all(watts <= limit for watts, limit in zip(plan.places["a"].watts, curve, strict=False))
    assert at(plan.places["b"])[0] >= 6


def test_a_limit_that_sank_below_what_is_promised_only_lets_nobody_in(planned):
    promised = Fixed(place=Place("s/p2/1", FIRST, (SEVEN_W,) * 4))
    plan = planned(site(wants("a"), plugs=2, fixed=(promised,), limit_w=(3_500,) * 4 + (SEVEN_W,) * 20))
    assert at(plan.places["a"]) == (4, 8)


# --- hours, quotas, nights -------------------------------------------------------------------------------------------


def test_nobody_is_planned_while_the_site_is_closed(planned):
    is_open = tuple(4 <= bucket < 8 for bucket in range(24))
    plan = planned(site(wants("a", weight=1_100), wants("b"), plugs=1, open=is_open))
    assert at(plan.places["a"]) == (4, 8)
    assert plan.reasons == {"b": "taken"}


def test_a_compound_holds_no_more_plugs_than_its_quota(planned):
    cars = [wants(name, compound="x", stay=5) for name in "ab"]
    plan = planned(site(*cars, wants("c", compound="y", stay=5), plugs=3, quotas={"x": (1,) * 24}))
    assert "c" in plan.places
    assert list(plan.reasons.values()) == ["quota"]


def test_plugged_without_power_counts_in_a_quota_too(planned):
    curve = (SEVEN_W, 0, 0, *(SEVEN_W,) * 21)
    first = Fixed(place=Place("s/p2/1", FIRST, (0,) * 8), compound="x")
    plan = planned(
        site(wants("a", compound="x", flexible=True), plugs=2, fixed=(first,), limit_w=curve, quotas={"x": (1,) * 24})
    )
    assert plan.places["a"].first == FIRST + 8


def test_nobody_drives_a_car_away_at_night(planned):
    quiet = tuple(2 <= bucket < 12 for bucket in range(24))
    plan = planned(site(wants("a", moves_at_night=False, weight=1_900), wants("b", start=4), quiet=quiet))
    assert at(plan.places["a"]) == (0, 12)
    assert at(plan.places["b"]) == (12, 16)


@pytest.mark.parametrize("flexible", [True, False])
@pytest.mark.parametrize("others_flexible", [True, False])
def test_nobody_is_planned_to_come_at_night_who_did_not_agree_to(planned, others_flexible, flexible):
    """By parts anew where most are flexible, by prices where they are not."""
    quiet = tuple(6 <= bucket < 20 for bucket in range(24))
    others = [wants(name, flexible=others_flexible, stay=5, weight=1_001) for name in "xyz"]
    late = wants("late", flexible=flexible, start=4, stay=14, weight=1_002)
    plan = planned(site(*others, replace(late, moves_at_night=False), quiet=quiet, fixed=(UNTIL_THE_NIGHT,)))
    assert plan.places == {}
    plan = planned(site(*others, late, quiet=quiet, fixed=(UNTIL_THE_NIGHT,)))
    assert at(plan.places["late"]) == (8, 12)


@pytest.mark.parametrize("flexible", [True, False])
@pytest.mark.parametrize("others_flexible", [True, False])
def test_who_has_power_at_night_alone_comes_before_it(planned, others_flexible, flexible):
    quiet, limit_w = tuple(6 <= bucket < 20 for bucket in range(24)), (0,) * 8 + (SEVEN_W,) * 16
    others = [wants(name, flexible=others_flexible, stay=5, weight=1_001) for name in "xyz"]
    plan = planned(site(*others, wants("a", flexible=flexible, moves_at_night=False), quiet=quiet, limit_w=limit_w))
    first, end = at(plan.places["a"])
    assert first < 6
    assert end == 20


def test_a_published_place_that_waits_for_the_night_stays(planned):
    quiet = tuple(6 <= bucket < 20 for bucket in range(24))
    told = Place(PLUG.id, FIRST + 5, (0, 0, *(SEVEN_W,) * 4, *(0,) * 9))
    plan = planned(site(wants(published=told, start=4, moves_at_night=False, margin=5), quiet=quiet))
    assert plan.places["a"].first == told.first


def test_who_agreed_to_move_leaves_the_plug_at_night(planned):
    quiet = tuple(2 <= bucket < 12 for bucket in range(24))
    plan = planned(site(wants("a", weight=1_100), wants("b", start=4), quiet=quiet))
    assert at(plan.places["b"]) == (4, 8)


# --- what was said stays so ------------------------------------------------------------------------------------------


def test_a_published_place_stays_where_little_would_be_gained(planned):
    told = Place(PLUG.id, FIRST + 2, (SEVEN_W,) * 4)
    plan = planned(site(wants("a", published=told, margin=2)))
    assert plan.places["a"] == told


def test_a_published_place_moves_where_more_than_the_margin_is_gained(planned):
    told = Place(PLUG.id, FIRST + 3, (SEVEN_W,) * 4)
    plan = planned(site(wants("a", published=told, margin=2)))
    assert at(plan.places["a"]) == (0, 4)


@pytest.mark.parametrize(("told_at", "margin", "moved"), [(1, 8, False), (1, 1, True)])
def test_somebody_else_moves_a_published_place_only_for_more_than_the_margin(planned, told_at, margin, moved):
    told = Place(PLUG.id, FIRST + told_at, (SEVEN_W,) * 4)
    problem = site(wants("told", published=told, margin=margin, start=told_at), wants("first", weight=1_001))
    plan = planned(problem)
    assert keeps_published(problem.requests[0], plan.places["told"]) is not moved


def test_a_published_place_that_is_impossible_now_is_planned_anew(planned):
    told = Place(PLUG.id, FIRST, (SEVEN_W,) * 4)
    broken = Fixed(place=Place(PLUG.id, FIRST, (0,) * 6))
    assert at(planned(site(wants("a", published=told, margin=9), fixed=(broken,))).places["a"]) == (6, 10)


def test_a_plan_with_cheaper_energy_is_worth_more():
    problem = site(wants("a"), tariff_fen_kwh=(100,) * 4 + (30,) * 20)
    dear, cheap = (Place(PLUG.id, FIRST + start, (SEVEN_W,) * 4) for start in (0, 4))
    late = lateness(problem, problem.requests[0], cheap) * problem.requests[0].weight
    assert worth(problem, problem.requests[0], cheap) + late > worth(problem, problem.requests[0], dear)
    assert worth(problem, problem.requests[0], cheap) < worth(problem, problem.requests[0], dear)


# --- reasons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "more", "reason"),
    [
        (wants(kinds=("dc",)), {}, "no_connector"),
        (wants(hours=7), {}, "time"),
        (wants(stay=3), {}, "time"),
        (wants(), {"open": (True, True, False) * 8}, "opening"),
        (wants(compound="x"), {"quotas": {"x": (0,) * 24}}, "quota"),
        (wants(), {"limit_w": (SEVEN_W, 0) * 12}, "power"),
        (wants(stay=5), {"fixed": (Fixed(place=Place(PLUG.id, FIRST + 1, (0,))),)}, "taken"),
    ],
)
def test_who_is_not_served_is_told_what_bound_it(planned, request_, more, reason):
    assert planned(site(request_, **more)).reasons == {"a": reason}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"open": (True,)}, "same number"),
        ({"requests_": (wants(hours=0),)}, "above 0"),
        ({"requests_": (wants(), wants())}, "request a is there twice"),
        ({"plugs": (Plug(id="p", kind="ac", max_w=0),)}, "of a plug"),
    ],
)
def test_a_problem_that_is_none_is_refused(more, said):
    requests = more.pop("requests_", (wants(),))
    with pytest.raises(ValueError, match=said):
        site(*requests, **more)


@pytest.mark.parametrize(
    ("place", "more", "said"),
    [
        (Place("s/p7/1", FIRST, (SEVEN_W,) * 4), {}, "does not fit"),
        (Place(PLUG.id, FIRST + 22, (SEVEN_W,) * 4), {}, "outside its time"),
        (Place(PLUG.id, FIRST, (SEVEN_W,) * 3), {}, "too little energy"),
        (Place(PLUG.id, FIRST, (8_000,) * 4), {}, "cannot have"),
        (Place(PLUG.id, FIRST, (SEVEN_W, 0, *(SEVEN_W,) * 3)), {}, "less than full power"),
        (Place(PLUG.id, FIRST, (SEVEN_W,) * 4), {"open": (False,) * 24}, "closed"),
        (Place(PLUG.id, FIRST, (SEVEN_W,) * 4), {"limit_w": (6_999,) * 24}, "W of 6999"),
        (
            Place(PLUG.id, FIRST, (SEVEN_W,) * 4),
            {"fixed": (Fixed(place=Place(PLUG.id, FIRST + 3, (0,))),)},
            "taken twice",
        ),
    ],
)
def test_the_checker_refuses(place, more, said):
    [wrong, *_] = faults(site(wants(), **more), Plan({"a": place}))
    assert said in wrong


@pytest.mark.parametrize("flexible", [True, False])
def test_the_checker_lets_no_place_begin_at_night_but_power_may(flexible):
    asleep = site(wants(flexible=flexible, moves_at_night=False), quiet=(False, *(True,) * 4, *(False,) * 19))
    assert faults(asleep, Plan({"a": Place(PLUG.id, FIRST + 2, (SEVEN_W,) * 4)})) == ["a: to be plugged in at night"]
    assert faults(asleep, Plan({"a": Place(PLUG.id, FIRST, (0, 0, *(SEVEN_W,) * 4))})) == []


def test_the_checker_lets_no_car_wait_by_day_that_is_not_flexible():
    by_day = site(wants(moves_at_night=False))
    assert faults(by_day, Plan({"a": Place(PLUG.id, FIRST, (0, *(SEVEN_W,) * 4))})) == ["a: less than full power"]


def test_the_checker_wants_a_reason_and_no_strangers():
    assert faults(site(wants()), Plan({})) == ["a: neither served nor told why"]
    assert faults(site(), Plan({"z": Place(PLUG.id, FIRST, (1,))})) == ["z: nobody asked for it"]


# --- any site --------------------------------------------------------------------------------------------------------


def _request(draw, no, plugs):
    first, number = draw(st.integers(-3, 20)), st.integers
    told = st.builds(Place, st.sampled_from(plugs), number(FIRST, FIRST + 20), st.just((SEVEN_W,) * 3))
    return Request(
        id=f"r{no}",
        kinds=draw(st.sampled_from([("ac",), ("dc",), ("ac", "dc")])),
        earliest=FIRST + first,
        depart_by=FIRST + first + draw(number(0, 30)),
        need_wh=draw(number(1, 12_000)),
        max_w=draw(st.sampled_from([1_000, 3_500, 7_000, 11_000])),
        weight=draw(number(1_000, 2_000)),
        flexible=draw(st.booleans()),
        compound=draw(st.sampled_from([None, "x", "y"])),
        turnover=draw(number(0, 2)),
        moves_at_night=draw(st.booleans()),
        margin=draw(number(0, 4)),
        published=draw(st.none() | told),
    )


@st.composite
def sites(draw):
    buckets = 24
    number = st.integers

    def row(values):
        return tuple(draw(st.lists(values, min_size=buckets, max_size=buckets)))

    plugs = tuple(
        Plug(id=f"s/p{no}/1", kind=kind, max_w=7_000 if kind == "ac" else 20_000, min_w=1_380 if kind == "ac" else 0)
        for no, kind in enumerate(draw(st.lists(st.sampled_from(["ac", "ac", "dc"]), min_size=1, max_size=4)))
    )
    limit_w = draw(number(0, 30_000))
    held = [
        Place(plug.id, FIRST + draw(number(-3, 20)), (draw(number(0, 7_000)),) * draw(number(1, 6))) for plug in plugs
    ]
    fixed = tuple(Fixed(place=place, compound="x") for place in held if draw(st.booleans()))
    requests = tuple(_request(draw, no, [plug.id for plug in plugs]) for no in range(draw(number(0, 9))))
    night = draw(number(0, 20))
    return Problem(
        first=FIRST, requests=requests, plugs=plugs, fixed=fixed, quotas={"x": row(number(0, 2))},
        limit_w=tuple(limit_w if draw(number(0, 5)) else 0 for _ in range(buckets)),
        open=tuple(draw(number(0, 9)) > 0 for _ in range(buckets)),
        quiet=tuple(night <= bucket < night + 6 for bucket in range(buckets)), tariff_fen_kwh=row(number(0, 150)),
    )  # fmt: skip


def naive(problem, plan):
    """The rules once more, bucket by bucket, as somebody would check them by hand."""
    for request in problem.requests:
        place = plan.places.get(request.id)
        assert (place is None) == (request.id in plan.reasons)
        if place is None:
            continue
        [plug] = [plug for plug in problem.plugs if plug.id == place.connector]
        most = min(plug.max_w, request.max_w)
        assert plug.kind in request.kinds
        assert max(request.earliest, FIRST) <= place.first
        assert place.end <= min(request.depart_by, FIRST + 24)
        assert sum(place.watts) / 4 >= request.need_wh
        assert all(w == 0 or min(plug.min_w, most) <= w <= most for w in place.watts)
        drawn = list(place.watts)
        while drawn[-1] == 0:
            drawn.pop()
        waits = next(no for no, watts in enumerate(drawn) if watts)
        if waits and not request.flexible:
            assert not request.moves_at_night
            assert problem.quiet[place.first + waits - FIRST]
        assert request.flexible or set(drawn[waits:]) == {most}
        assert request.moves_at_night or not problem.quiet[place.first - FIRST]
        charged = place.first + len(drawn)
        if not request.moves_at_night and problem.quiet[charged - 1 - FIRST]:
            for bucket in range(charged, min(request.depart_by, FIRST + 24)):
                if not problem.quiet[bucket - FIRST]:
                    break
                assert bucket < place.end
    for bucket in range(FIRST, FIRST + 24):
        watts, held, plugs = 0, 0, []
        for one in problem.fixed:
            inside = one.place.first <= bucket < one.place.end
            watts += one.place.watts[bucket - one.place.first] if inside else 0
            held += inside
            plugs += [one.place.connector] if inside else []
        watts_fixed, held_fixed = watts, held
        for request in problem.requests:
            place = plan.places.get(request.id)
            if place is None:
                continue
            if place.first <= bucket < place.end + request.turnover:
                assert place.connector not in plugs
                plugs.append(place.connector)
            if place.first <= bucket < place.end:
                assert problem.open[bucket - FIRST]
                watts += place.watts[bucket - place.first]
                held += request.compound == "x"
        assert watts == watts_fixed or watts <= problem.limit_w[bucket - FIRST]
        assert held == held_fixed or held <= problem.quotas["x"][bucket - FIRST]


@given(sites())
@settings(deadline=None)
def test_every_greedy_plan_may_be_carried_out(problem):
    plan = greedy(problem)
    naive(problem, plan)
    assert faults(problem, plan) == []


@given(sites())
@settings(max_examples=40, deadline=None)
def test_an_improved_plan_may_be_carried_out_and_is_never_worse(problem):
    plan = improved(problem, Limit(seconds=0.1))
    naive(problem, plan)
    assert faults(problem, plan) == []
    assert value(problem, plan) >= value(problem, greedy(problem))


@given(sites())
@settings(max_examples=10, deadline=None)
def test_the_same_seed_gives_the_same_plan_where_no_clock_is_asked(problem):
    assert improved(problem, Limit(seconds=0.1), seed=3) == improved(problem, Limit(seconds=0.1), seed=3)
