"""What a car takes from a plug: constant current, then a taper, energy for energy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.car import EFFICIENCY, Car

CARS = st.builds(
    Car,
    battery_kwh=st.floats(10, 120),
    soc=st.floats(0, 1),
    target_soc=st.floats(0.1, 1),
)
POWERS = st.floats(0.1, 60)
HOURS = st.lists(st.floats(0, 3), min_size=1, max_size=12)


@given(CARS, POWERS, HOURS)
def test_the_battery_holds_what_the_meter_counted_less_the_chargers_loss(car, limit_kw, hours):
    before = car.soc
    metered_kwh = sum(car.charge(limit_kw, h) for h in hours)
    assert (car.soc - before) * car.battery_kwh == pytest.approx(metered_kwh * EFFICIENCY, abs=1e-9)
    assert 0 <= before <= car.soc <= 1


@given(CARS, POWERS, HOURS)
def test_it_never_takes_more_than_it_is_given_nor_goes_beyond_its_target(car, limit_kw, hours):
    for h in hours:
        below = car.soc <= car.target_soc
        assert car.takes_kw(limit_kw) <= limit_kw
        assert car.charge(limit_kw, h) <= limit_kw * h + 1e-9
        assert not below or car.soc <= car.target_soc + 1e-9


@given(CARS, POWERS, st.floats(0.01, 10), st.integers(2, 30))
def test_a_long_step_is_as_good_as_many_short_ones(car, limit_kw, hours, parts):
    other = Car(car.battery_kwh, car.soc, car.target_soc)
    whole = car.charge(limit_kw, hours)
    assert sum(other.charge(limit_kw, hours / parts) for _ in range(parts)) == pytest.approx(whole, abs=1e-6)


@given(CARS, POWERS)
def test_it_says_when_it_will_be_full(car, limit_kw):
    car.charge(limit_kw, car.full_after_h(limit_kw) + 1e-6)
    assert car.is_full
    assert car.takes_kw(limit_kw) == 0


def test_a_seven_kilowatt_plug_charges_evenly_until_the_battery_is_nearly_full():
    car = Car(50.0, 0.2)
    assert car.takes_kw(7.0) == 7.0
    car.charge(7.0, 5.5)
    assert car.soc == pytest.approx(0.2 + 7 * 5.5 * EFFICIENCY / 50)
    assert car.takes_kw(7.0) == 7.0


def test_near_full_the_power_falls():
    car = Car(50.0, 0.98)
    powers = [car.takes_kw(7.0)]
    while not car.is_full:
        car.charge(7.0, 0.1)
        powers.append(car.takes_kw(7.0))
    assert powers == sorted(powers, reverse=True)
    assert powers[0] < 7.0
    assert powers[-1] == 0.0


def test_fast_charging_tapers_earlier_than_slow():
    assert Car(60.0, 0.85).takes_kw(60.0) < 60.0
    assert Car(60.0, 0.85).takes_kw(7.0) == 7.0


def test_a_car_with_a_target_stops_there():
    car = Car(50.0, 0.5, target_soc=0.8)
    assert car.wants_kwh == pytest.approx(0.3 * 50 / EFFICIENCY)
    car.charge(7.0, 24)
    assert car.soc == pytest.approx(0.8)


def test_without_power_it_never_gets_full():
    assert Car(50.0, 0.5).full_after_h(0.0) == float("inf")
    assert Car(50.0, 0.5).charge(0.0, 10) == 0.0


@pytest.mark.parametrize("wrong", [{"soc": -0.1}, {"soc": 1.1}, {"target_soc": 0.0}, {"battery_kwh": 0.0}])
def test_a_battery_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="no such battery"):
        Car(**{"battery_kwh": 50.0, "soc": 0.5, **wrong})
