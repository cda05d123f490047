"""Charging sessions from what a connector said; a whole story fits on a line."""

from __future__ import annotations

import pytest

from ingest.facts import Reading, Session
from ingest.sessions import Life, advance, measured

MINUTE_MS = 60_000
NINE_MS = 1_795_525_200_000


def live(*said: tuple[str | None, float | None, float | None] | str, every_min: int = 5) -> tuple[Life, list[Session]]:
    """A connector that says (state, power kW, counter kWh) every few minutes; "gap" is a hole. The last word of each
    session, and the life after it."""
    life, found = Life(), {}
    for n, word in enumerate(said):
        if isinstance(word, str):
            changed = life.gap()
        else:
            state, power_kw, meter_kwh = word
            by = {"full": "ev", "held": "evse"}.get(state or "")
            at_ms = NINE_MS + n * every_min * MINUTE_MS
            name = "suspended" if by else state
            changed = advance(life, "jn-01", "pile-01", Reading("b", n + 1, at_ms, 1, name, by, power_kw, meter_kwh))
        if changed is not None:
            found[changed.id] = changed
    return life, list(found.values())


def minutes(session: Session) -> tuple[float | None, float | None]:
    """(charging ended, unplugged), in minutes after plug-in."""
    ended = [session.charge_ended_ms, session.ended_ms]
    charge, unplug = [None if at is None else (at - session.started_ms) / MINUTE_MS for at in ended]
    return charge, unplug


def test_a_session_goes_from_plug_in_to_unplug_and_its_energy_is_the_counters() -> None:
    _life, [session] = live(
        (None, 0.0, 100.0), ("preparing", None, None), ("charging", None, None), (None, 7.0, 103.5),
        ("finishing", None, None), (None, 0.0, 104.0), ("available", None, None),
    )  # fmt: skip
    assert session.energy_kwh == 4.0
    assert minutes(session) == (15, 25)
    assert not session.incomplete


@pytest.mark.parametrize("word", ["full", "finishing"])
def test_overstay_is_counted_from_the_end_of_charging(word: str) -> None:
    _life, [session] = live(("charging", None, None), (None, 7.0, 10.0), (word, None, None), ("available", None, None))
    assert minutes(session) == (10, 15)


def test_a_full_car_that_goes_on_saying_charging_has_ended_when_its_power_went() -> None:
    _life, [session] = live(
        ("charging", None, None), (None, 7.0, 10.0), (None, 0.05, 12.0), ("charging", None, None), (None, 0.0, 12.0),
        ("charging", None, None), ("available", None, None),
    )  # fmt: skip
    assert minutes(session) == (10, 30)


def test_power_that_we_hold_back_is_no_end_of_charging() -> None:
    _life, [session] = live(
        ("charging", None, None), (None, 7.0, 10.0), ("held", None, None), (None, 0.0, 10.5), (None, 0.0, 10.5),
        (None, 0.0, 10.5), ("available", None, None),
    )  # fmt: skip
    assert minutes(session) == (30, 30)


def test_a_car_that_goes_on_charging_has_not_ended() -> None:
    life, [session] = live(("charging", None, None), (None, 7.0, 1.0), ("full", None, None), ("charging", None, None))
    assert session.charge_ended_ms is None
    assert measured(life) == session


def test_a_car_that_never_charged_has_no_end_of_charging() -> None:
    _life, [session] = live((None, 0.0, 5.0), ("preparing", None, None), ("available", None, None))
    assert session.charge_ended_ms is None
    assert session.energy_kwh == 0.0


@pytest.mark.parametrize("after_swap", [0.0, 3.0])
def test_a_replaced_meter_loses_no_energy(after_swap: float) -> None:
    _life, [session] = live(
        (None, 0.0, 99.0), ("charging", None, None), (None, 7.0, 101.0), (None, 7.0, after_swap),
        (None, 7.0, after_swap + 1.5), ("available", None, None),
    )  # fmt: skip
    assert session.energy_kwh == 3.5


@pytest.mark.parametrize("word", ["faulted", "unavailable"])
def test_a_fault_neither_ends_nor_begins_a_session(word: str) -> None:
    _life, [session] = live(
        ("charging", None, None), (word, None, None), ("charging", None, None), ("available", None, None)
    )
    assert minutes(session)[1] == 15
    assert live((word, None, None))[1] == []


def test_a_hole_in_a_session_makes_it_incomplete() -> None:
    _life, [session] = live(("charging", None, None), "gap", ("available", None, None))
    assert session.incomplete


def test_a_hole_takes_no_energy_away() -> None:
    _life, [session] = live(("charging", None, None), (None, 7.0, 10.0), (None, 7.0, 14.5), "gap")
    assert session.energy_kwh == 4.5


def test_a_session_first_seen_after_a_hole_is_incomplete_and_counts_from_what_is_known() -> None:
    _life, [session] = live((None, 0.0, 50.0), "gap", ("charging", None, None), (None, 7.0, 60.0), (None, 7.0, 61.0))
    assert session.incomplete
    assert session.started_ms == NINE_MS + 10 * MINUTE_MS


def test_a_hole_while_nobody_was_plugged_is_forgotten_once_the_connector_says_available() -> None:
    _life, [session] = live("gap", ("available", None, None), ("charging", None, None), ("available", None, None))
    assert not session.incomplete


def test_a_session_keeps_its_id_when_it_is_derived_again() -> None:
    story = [("charging", None, None), (None, 7.0, 1.0), ("available", None, None)]
    assert [s.id for s in live(*story)[1]] == [s.id for s in live(*story)[1]]
