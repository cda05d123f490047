"""A pile as its bay and the service see it: what it says, and which orders it obeys."""

from __future__ import annotations

import hashlib
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.assets import ConnectorSpec, Device
from ingest.clock import rfc3339
from ingest.codec import decode_telemetry
from simulators.car import Car
from simulators.device import NoLossDevice
from simulators.pile import Pile

NOON_MS = 1_763_784_300_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000


def at(minutes: float) -> int:
    return NOON_MS + int(minutes * MINUTE_MS)


def pile(*, connectors: int = 1, max_kw: float = 7.0, fallback_kw: float | None = None, kind: str = "GBT_AC") -> Pile:
    specs = tuple(ConnectorSpec(n + 1, kind, max_kw) for n in range(connectors))  # type: ignore[arg-type]
    device = Device(site="jn-01", id="pile-0001", kind="pile", connectors=specs, fallback_kw=fallback_kw)
    return Pile(device, start_ms=NOON_MS, interval_s=60, rng=Random(3))


def empty_car(**how) -> Car:
    return Car(**{"battery_kwh": 60.0, "soc": 0.1, **how})


def states(it: Pile, until_ms: int) -> list[str]:
    """The states that it goes through, each named once, with who suspended it."""
    seen: list[str] = []
    for report in it.advance(until_ms):
        if report.fields["kind"] == "connector":
            word = ":".join(str(report.fields[key]) for key in ("state", "suspended_by") if key in report.fields)
            seen += [] if seen[-1:] == [word] else [word]
    return seen


def meters(it: Pile, until_ms: int) -> list[dict]:
    return [report.fields for report in it.advance(until_ms) if report.fields["kind"] == "meter"]


_ids = iter(range(10_000))


def order(it: Pile, minutes: float, **fields) -> tuple[str, str | None] | None:
    defaults = {"v": 1, "id": f"id-{next(_ids)}", "epoch": 1, "ttl_s": 600, "connector": 1}
    answer = it.obey(msgspec.json.encode({**defaults, **fields}), at(minutes))
    return (answer.result, answer.reason) if answer else None


def limit(it: Pile, minutes: float, limit_kw: float, **fields) -> tuple[str, str | None] | None:
    return order(it, minutes, type="set_limit", limit_kw=limit_kw, **{"fallback_kw": 1.4, **fields})


def reserve(it: Pile, minutes: float, turn: str = "t-1", code: str = "4711", **fields) -> tuple[str, str | None] | None:
    code_hash = hashlib.sha256(f"{turn}:{code}".encode()).hexdigest()[:32]
    return order(it, minutes, type="reserve", turn=turn, code_hash=code_hash, until=rfc3339(at(600)), **fields)


def power_kw(it: Pile, minutes: float) -> float:
    it.advance(at(minutes))
    return it.connector(1).power_kw


# --- a car comes and goes ---------------------------------------------------------------------------------------------


def test_a_visit_goes_through_the_states_of_the_contract():
    it = pile()
    it.bay(1, True, at(5))
    it.plug_in(1, empty_car(soc=0.9), at(6))
    it.finish(1, at(300))
    it.unplug(1, at(301))
    it.bay(1, False, at(302))
    assert states(it, at(310)) == ["available", "preparing", "charging", "suspended:ev", "finishing", "available"]


def test_a_car_that_stays_after_full_is_suspended_by_the_car():
    it = pile()
    it.plug_in(1, empty_car(soc=0.95), at(0))
    it.advance(at(600))
    assert (it.connector(1).state, it.connector(1).suspended_by) == ("suspended", "ev")
    assert it.connector(1).power_kw == 0


def test_some_cars_go_on_saying_that_they_charge_at_no_power():
    it = pile()
    it.plug_in(1, empty_car(soc=0.95), at(0), keeps_charging=True)
    it.advance(at(600))
    assert it.connector(1).state == "charging"
    assert meters(it, at(602))[-1]["power_kw"] == 0


def test_a_foreign_car_takes_the_bay_without_a_plug():
    it = pile()
    it.bay(1, True, at(5))
    words = [r.fields for r in it.advance(at(6)) if r.fields["kind"] == "connector"]
    assert (words[-1]["state"], words[-1]["bay_occupied"]) == ("available", True)
    assert not it.is_free(1)


def test_a_change_is_said_when_it_happens_and_not_at_the_next_interval():
    it = pile()
    it.advance(at(10))
    it.plug_in(1, empty_car(), at(10.1))
    assert [r.ts_ms for r in it.advance(at(10.1))] == [at(10.1)] * 2


def test_each_connector_is_reported_in_each_interval_also_when_nothing_changes():
    it = pile(connectors=2)
    it.advance(at(1))
    for minute in range(1, 30):
        said = {(r.fields["kind"], r.fields["connector"]) for r in it.advance(at(minute + 1))}
        assert said == {("meter", 1), ("meter", 2), ("connector", 1), ("connector", 2)}


def test_a_session_holds_the_counters_it_began_and_ended_with():
    it = pile()
    it.advance(at(3))
    it.plug_in(1, empty_car(), at(3))
    it.unplug(1, at(90))
    kinds = [(r.fields["kind"], r.fields.get("state")) for r in it.advance(at(90)) if r.ts_ms in {at(3), at(90)}]
    assert kinds == [("connector", "preparing"), ("meter", None), ("meter", None), ("connector", "available")]


def test_a_second_car_at_a_plug_is_refused():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    with pytest.raises(ValueError, match="already holds a car"):
        it.plug_in(1, empty_car(), at(1))


def test_a_fault_stops_the_charging_and_is_said_with_its_end():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    it.advance(at(9.5))
    it.break_down(1, "leakage_current", "critical", at(10))
    assert it.connector(1).power_kw == 0
    it.repair(1, at(20))
    it.advance_quietly(at(21))
    faults = [r.fields for r in it.advance(at(21)) if r.fields["kind"] == "fault"]
    assert [(f["severity"], f["cleared"]) for f in faults] == [("critical", False), ("info", True)]
    assert it.connector(1).state == "charging"


def test_the_cabinet_warms_under_load_and_cools_again():
    it = pile()
    idle_c = meters(it, at(30))[-1]["temp_c"]
    it.plug_in(1, empty_car(), at(30))
    warm_c = meters(it, at(120))[-1]["temp_c"]
    it.unplug(1, at(120))
    assert idle_c + 10 < warm_c < idle_c + 25
    assert meters(it, at(240))[-1]["temp_c"] < idle_c + 1


@pytest.mark.parametrize(("max_kw", "volts"), [(3.5, 220), (7.0, 220), (21.0, 380)])
def test_volts_and_amperes_fit_the_power(max_kw, volts):
    it = pile(max_kw=max_kw)
    it.plug_in(1, empty_car(max_ac_kw=22.0), at(0))
    said = meters(it, at(30))[-1]
    assert said["power_kw"] == max_kw
    assert said["voltage_v"] == pytest.approx(volts, rel=0.05)
    phases = 3**0.5 if volts == 380 else 1.0
    assert said["voltage_v"] * said["current_a"] * phases == pytest.approx(max_kw * 1000, rel=0.01)


def test_only_direct_current_knows_the_state_of_charge():
    ac, dc = pile(), pile(kind="GBT_DC", max_kw=60.0)
    for it in (ac, dc):
        it.plug_in(1, empty_car(), at(0))
    assert "soc_pct" not in meters(ac, at(10))[-1]
    assert 10 < meters(dc, at(10))[-1]["soc_pct"] < 100


# --- energy -----------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["plug", "unplug", "limit", "finish", "fault", "repair", "wait"]), st.floats(0.2, 90)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 10_000))
def test_the_counter_grows_by_the_integral_of_the_power_and_no_limit_is_passed(steps, seed):
    rng, it, minutes, limit_kw, limited_until = Random(seed), pile(), 0.0, 7.0, -1.0
    last_kwh, integral_kwh, begin_kwh = None, 0.0, it.connector(1).energy_kwh
    for what, pause in steps:
        if what == "plug" and not it.connector(1).car:
            it.plug_in(1, Car(50.0, rng.random() * 0.95), at(minutes))
        elif what == "unplug":
            it.unplug(1, at(minutes))
        elif what == "limit":
            limit_kw, limited_until = rng.choice((0.0, 1.4, 3.0, 7.0)), minutes + 200
            limit(it, minutes, limit_kw, ttl_s=200 * 60, fallback_kw=1.4)
        elif what == "finish":
            it.finish(1, at(minutes))
        elif what == "fault":
            it.break_down(1, "lock", "warning", at(minutes))
        elif what == "repair":
            it.repair(1, at(minutes))
        end = minutes + pause
        while minutes < end:
            minutes = min(end, minutes + 0.2)
            before_kw = it.connector(1).power_kw
            for report in it.advance(at(minutes)):
                if report.fields["kind"] == "meter":
                    counter = float(str(report.fields["energy_kwh"]))
                    assert last_kwh is None or counter >= last_kwh
                    last_kwh = counter
            it.connector(1).settle(at(minutes), silent=False)
            after_kw = it.connector(1).power_kw
            integral_kwh += (before_kw + after_kw) / 2 * 0.2 / 60
            assert after_kw <= (limit_kw if minutes < limited_until else 7.0) + 1e-9
            car = it.connector(1).car
            assert car is None or 0 <= car.soc <= 1
    grown_kwh = it.connector(1).energy_kwh - begin_kwh
    assert grown_kwh == pytest.approx(integral_kwh, abs=0.03 * len(steps) + 0.02)


# --- orders -----------------------------------------------------------------------------------------------------------


def test_a_limit_holds_for_its_time_and_then_the_fallback_does():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    assert power_kw(it, 2) == 7.0
    assert limit(it, 2, 3.0) == ("accepted", None)
    assert (power_kw(it, 2), power_kw(it, 11.9), power_kw(it, 12.1)) == (3.0, 3.0, 1.4)


def test_a_renewed_limit_goes_on():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    for minute in (2, 7, 12):
        limit(it, minute, 3.0)
    assert power_kw(it, 21.9) == 3.0


def test_a_limit_below_six_amperes_suspends_until_there_is_more():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    limit(it, 5, 0.0)
    limit(it, 8, 7.0)
    assert states(it, at(8))[-3:] == ["charging", "suspended:evse", "charging"]


def test_a_changed_power_is_said_at_once():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    it.advance(at(5.1))
    limit(it, 5.1, 3.0)
    assert [m["power_kw"] for m in meters(it, at(5.1))] == [3.0]


@pytest.mark.parametrize("wrong", [{"limit_kw": -1.0}, {"limit_kw": "much"}, {"fallback_kw": -2.0}])
def test_a_limit_that_is_none_is_unsupported(wrong):
    assert limit(pile(), 1, **{"limit_kw": 3.0, **wrong}) == ("rejected", "unsupported")


@pytest.mark.parametrize("ttl_s", [-1, 1e300, 1e308])
def test_an_order_for_a_time_that_is_none_is_unsupported(ttl_s):
    assert limit(pile(), 1, 3.0, ttl_s=ttl_s) == ("rejected", "unsupported")


def test_an_order_without_a_connector_is_for_the_only_one_and_no_other():
    assert limit(pile(), 1, 3.0, connector=None) == ("accepted", None)
    assert limit(pile(connectors=2), 1, 3.0, connector=None) == ("rejected", "unknown_connector")
    assert limit(pile(), 1, 3.0, connector=9) == ("rejected", "unknown_connector")


def test_a_lower_epoch_is_refused_also_when_turns_said_the_higher_one():
    it = pile()
    it.orders.on_turns(b'{"v":1,"ts":"2026-11-22T04:00:00.000Z","epoch":7,"connectors":[]}')
    assert limit(it, 1, 3.0, epoch=6) == ("rejected", "stale_epoch")
    assert limit(it, 1, 3.0, epoch=8) == ("accepted", None)
    assert limit(it, 1, 3.0, epoch=7) == ("rejected", "stale_epoch")


def test_the_epoch_is_kept_over_a_restart():
    it = pile()
    limit(it, 1, 3.0, epoch=5)
    it.restart(at(2))
    assert limit(it, 3, 3.0, epoch=4) == ("rejected", "stale_epoch")


def test_a_repeated_id_gets_its_first_answer_and_is_not_done_again():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    assert limit(it, 2, 3.0, id="same") == ("accepted", None)
    limit(it, 3, 5.0)
    assert limit(it, 4, 3.0, id="same") == ("accepted", None)
    assert power_kw(it, 5) == 5.0
    assert reserve(it, 6, id="twice") == ("rejected", "busy")
    it.unplug(1, at(7))
    assert reserve(it, 8, id="twice") == ("rejected", "busy")


@pytest.mark.parametrize("noise", [b"", b"[]", b'{"v":1}', b"\xff"])
def test_an_order_without_an_id_gets_no_answer(noise):
    assert pile().obey(noise, at(1)) is None


def test_an_order_that_it_does_not_know_is_unsupported():
    assert order(pile(), 1, type="dance") == ("rejected", "unsupported")


def test_a_reserved_connector_waits_for_the_code_of_its_turn():
    it = pile()
    assert reserve(it, 1) == ("accepted", None)
    assert not it.is_free(1)
    it.plug_in(1, empty_car(), at(2), token="0000")
    it.advance(at(5))
    assert it.connector(1).state == "preparing"
    it.unplug(1, at(6))
    it.plug_in(1, empty_car(), at(7), token="4711")
    it.advance(at(9))
    assert it.connector(1).state == "charging"


def test_start_opens_a_reserved_connector():
    it = pile()
    reserve(it, 1)
    it.plug_in(1, empty_car(), at(2))
    assert order(it, 4, type="start", turn="t-1") == ("accepted", None)
    it.advance(at(5))
    assert it.connector(1).state == "charging"


def test_a_reservation_ends_by_itself_unless_it_is_renewed():
    it = pile()
    reserve(it, 1)
    reserve(it, 6)
    it.advance(at(15))
    assert not it.is_free(1)
    it.advance(at(16.5))
    assert it.is_free(1)


def test_a_reservation_ends_when_its_turn_does():
    it = pile()
    reserve(it, 1, ttl_s=10 * 3600 * 24)
    it.advance(at(599))
    assert not it.is_free(1)
    it.advance(at(601))
    assert it.is_free(1)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        (lambda it: reserve(it, 1, turn="t-other"), "busy"),
        (lambda it: it.plug_in(1, empty_car(), at(1)), "busy"),
        (lambda it: it.break_down(1, "lock", "warning", at(1)), "faulted"),
    ],
)
def test_a_connector_that_cannot_be_promised_says_why(story, reason):
    it = pile()
    story(it)
    assert reserve(it, 2) == ("rejected", reason)


def test_release_and_start_know_only_turns_that_hold_the_connector():
    it = pile()
    assert order(it, 1, type="release", turn="t-1", connector=None) == ("rejected", "unknown_turn")
    assert order(it, 1, type="start", turn="t-1") == ("rejected", "unknown_turn")
    reserve(it, 2)
    assert order(it, 3, type="release", turn="t-1", connector=None) == ("accepted", None)
    assert it.is_free(1)


def test_stop_ends_the_charging_with_the_plug_still_in():
    it = pile()
    it.plug_in(1, empty_car(), at(0))
    assert order(it, 5, type="stop", reason="turn over") == ("accepted", None)
    assert (it.connector(1).state, it.connector(1).power_kw) == ("finishing", 0)


def test_show_puts_a_text_on_the_display():
    it = pile()
    assert order(it, 1, type="show", text="蓝鹭 4") == ("accepted", None)
    assert it.shown == "蓝鹭 4"


# --- silence of the service -------------------------------------------------------------------------------------------


def test_after_two_silent_intervals_it_falls_back_and_a_word_alone_does_not_bring_the_limit_back():
    it = pile()
    it.silence_ms = 2 * MINUTE_MS
    it.plug_in(1, empty_car(), at(0))
    limit(it, 1, 5.0, ttl_s=3600)
    assert (power_kw(it, 2.9), power_kw(it, 3.1)) == (5.0, 1.4)
    it.heard(at(4))
    assert power_kw(it, 4.5) == 1.4
    limit(it, 5, 5.0)
    assert power_kw(it, 5.5) == 5.0


def test_a_pile_that_was_never_limited_falls_back_to_what_the_inventory_says_and_recovers():
    it = pile(connectors=2, fallback_kw=2.8)
    it.silence_ms = 2 * MINUTE_MS
    it.plug_in(1, empty_car(), at(0))
    assert (power_kw(it, 1.5), power_kw(it, 2.5)) == (7.0, 1.4)
    it.heard(at(3))
    assert power_kw(it, 3) == 7.0


def test_while_it_hears_something_it_keeps_its_limit():
    it = pile(fallback_kw=1.4)
    it.silence_ms = 2 * MINUTE_MS
    it.plug_in(1, empty_car(), at(0))
    for minute in range(1, 30):
        it.heard(at(minute))
        assert power_kw(it, minute) == 7.0


# --- what it says, ingest can read ------------------------------------------------------------------------------------


def test_everything_that_it_says_is_in_the_contract():
    it = pile(connectors=2, max_kw=21.0)
    device = NoLossDevice(it.name, "b", interval_s=60, rng=Random(1))
    device.on_connect(0.0)
    it.plug_in(1, empty_car(), at(1), token="4711")
    it.break_down(2, "lock", "warning", at(2))
    for report in it.advance(at(20)):
        device.say(report.fields, report.ts_ms)
    for payload in device.due(2.0):
        good, refused = decode_telemetry(payload)
        assert (len(good), refused) == (1, [])
