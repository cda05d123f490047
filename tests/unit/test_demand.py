"""What makes the study's demand the same for all: people are drawn from the seed alone, none asks twice at once."""

from __future__ import annotations

from collections import defaultdict
from math import inf
from statistics import median

from lunchong.study import BEGIN_MS, behaviour
from scheduler.study_world import DAY_MS, Wished
from simulators.demand import Visit, demand
from simulators.demand import Wished as Made
from simulators.visits import visits_of


def drawn(seed=1, people="as_told", scale=1.0, visits=()):
    told = behaviour()
    return demand(told["place"], told["demand"], told[people], seed, BEGIN_MS, 7, scale, visits)


def test_the_same_seed_is_the_same_demand_and_another_is_not():
    assert drawn(1) == drawn(1) != drawn(2)


def test_a_careless_person_wants_the_same_as_one_who_does_as_told():
    def wants(made):
        return {(one.id, one.asks_ms, one.earliest_ms, one.depart_ms, one.energy_kwh) for one in made}

    assert len(wants(drawn()) & wants(drawn(people="careless"))) > 0.9 * len(drawn())


def test_a_household_asks_again_only_once_its_car_is_gone():
    gone_ms: dict[int, int] = {}
    for one in drawn(scale=2.0):
        assert one.asks_ms >= gone_ms.get(one.household, 0)
        gone_ms[one.household] = one.depart_ms


def test_who_tells_nobody_has_more_who_never_come_and_fewer_who_leave():
    made = drawn(scale=2.0)
    assert sum(one.late_min == inf for one in made) < sum(one.late_untold_min == inf for one in made)
    assert sum(one.leaves_told_min == inf for one in made) < sum(one.leaves_untold_min == inf for one in made)


def test_real_sessions_give_arrivals_and_needs():
    made = drawn(visits=[Visit(600, 6.5, 180.0)])
    assert {one.energy_kwh for one in made} == {6.5}
    assert {(one.earliest_ms - BEGIN_MS) % DAY_MS for one in made} == {600 * 60_000}


def test_of_real_sessions_a_household_draws_those_that_are_like_each_other():
    made = drawn(scale=2.0, visits=[Visit(600, 3.0 + no / 100, 180.0) for no in range(2_000)])
    needs = defaultdict[int, list[float]](list)
    for one in made:
        needs[one.household].append(one.energy_kwh)
    spread = [max(some) / min(some) for some in needs.values() if len(some) > 2]
    assert max(one.energy_kwh for one in made) > 4 * min(one.energy_kwh for one in made)
    assert median(spread) < 2


def test_a_session_s_time_is_local():
    text = (
        "Start_Date___Time,Start_Time_Zone,Total_Duration__hh_mm_ss_,Energy__kWh_\n"
        "2019/01/02 18:05:00+00,MST,2:30:00,9.5\n"
        "2019/01/02 18:05:00+00,MST,0:03:00,9.5\n"
    )
    assert visits_of(text) == [Visit(11 * 60 + 5, 9.5, 150)]


def test_what_simulators_make_is_what_the_study_takes():
    assert Made._fields == Wished.__struct_fields__
