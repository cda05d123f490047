"""Plugs are told what they may draw: by the promises, within the site's power, until they answer."""

from __future__ import annotations

import pytest

from ingest.messages import CommandResult
from scheduler.dispatch import TTL_S
from scheduler.orders import AGAIN_S, ATTEMPTS
from tests.rounds import SITE
from tests.steered import ONE, THREE, TWO, Steered, two_in_turn


@pytest.fixture
def site():
    return Steered()


def test_a_plug_gives_nothing_before_somebody_may_charge_there_and_nothing_after(site):
    site.later()
    assert site.limit_kw == {ONE: 0, TWO: 0, THREE: 0}
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    assert site.limit_kw == {ONE: 0, TWO: 7, THREE: 0}
    site.street.says(TWO, "available")
    site.later()
    assert site.limit_kw == {ONE: 0, TWO: 0, THREE: 0}


def test_a_walk_in_gives_way_to_what_was_promised(site):
    turn = site.street.asks("h1", kwh=3.5, earliest_ms=site.street.now_ms + 2 * 60_000)
    site.street.later(1)
    site.street.desk.accept(turn, site.street.now_ms)
    place = site.street.turn(turn).place
    other = next(one for one in (ONE, TWO, THREE) if one != place.connector)
    site.street.says(other, "charging", kwh=0.0)
    site.later()
    assert site.limit_kw[other] == 7.0
    site.street.later((place.start_ms - site.street.now_ms) / 60_000)
    site.street.comes(turn)
    site.later()
    assert (site.limit_kw[other], site.limit_kw[place.connector]) == (0, 7)


def test_power_goes_on_to_the_next_car_when_the_first_is_full(site):
    """The second begins before its own hour, since nobody else wants the power."""
    two_in_turn(site)
    site.later()
    assert site.limit_kw == {ONE: 7, TWO: 0, THREE: 0}
    site.street.says(ONE, "suspended", kwh=1.75, suspended_by="ev", since_ms=site.street.now_ms - 60_000)
    site.later()
    assert site.limit_kw == {ONE: 0, TWO: 7, THREE: 0}


def test_the_limit_is_kept_while_a_plug_does_not_answer(site):
    site.later()
    site.street.says(ONE, "charging", kwh=0.0)
    site.later()
    site.answers = False
    site.street.says(ONE, "available")
    site.street.says(TWO, "charging", kwh=0.0)
    said = len(site.commands)
    site.later(2)
    assert site.commands[said].limit_kw == 0
    assert all(command.limit_kw == 0 for command in site.commands[said:]), "the other is not raised before"
    site.answers = True
    site.street.mono_s += AGAIN_S
    site.later(0)
    assert site.limit_kw == {ONE: 0, TWO: 7, THREE: 0}


def test_what_is_not_answered_is_said_again_then_anew_and_is_a_condition(site):
    site.answers = False
    site.later(0)
    assert len(site.commands) == 3
    for _ in range(ATTEMPTS - 1):
        site.street.mono_s += AGAIN_S
        site.later(0)
    assert len(site.commands) == 3 * ATTEMPTS
    assert len({command.id for command in site.commands}) == 3
    assert site.codes() == []
    site.street.mono_s += AGAIN_S
    site.later(0)
    assert len({command.id for command in site.commands}) == 6
    assert site.codes() == [("command_unanswered", plug) for plug in (ONE, TWO, THREE)]
    site.answers = True
    site.street.mono_s += AGAIN_S
    site.later(0)
    assert site.codes() == []


def test_a_plug_that_refuses_is_a_condition(site):
    site.answers = False
    site.later(0)
    refused = CommandResult(v=1, id=site.commands[0].id, result="rejected", reason="faulted")
    site.dispatch.answered(f"{SITE}/pile-01", refused)
    site.later(0)
    assert site.codes() == [("command_refused", ONE)]
    site.street.mono_s += AGAIN_S
    site.answers = True
    site.later(0)
    assert site.codes() == []


def test_a_limit_is_renewed_at_half_of_its_time_and_not_before(site):
    site.later()
    site.later(TTL_S / 120 - 2)
    assert len(site.commands) == 3
    site.later(2)
    assert len(site.commands) == 6
    assert {command.ttl_s for command in site.commands} == {TTL_S}


def test_a_pile_that_began_anew_and_gives_power_is_told_again(site):
    site.street.says(ONE, "charging", kwh=0.0)
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    said = len(site.commands)
    stands = next(plug for plug, kw in site.limit_kw.items() if not kw and plug != THREE)
    site.street.says(stands, "charging", kwh=0.1, power_kw=2.8, since_ms=site.street.now_ms - 60_000)
    site.street.mono_s += AGAIN_S
    site.later(0)
    assert sorted(command.limit_kw for command in site.commands[said:]) == [0.0, 4.2], "and the others make room for it"
    assert site.limit_kw[stands] == 0


def test_who_does_not_lead_any_more_tells_nobody(site):
    site.leads = False
    site.later()
    assert site.commands == []
    site.leads = True
    site.later()
    assert len(site.commands) == 3


def test_who_leads_again_does_not_trust_what_it_said_before(site):
    site.later()
    site.later(0, epoch=3)
    assert [command.epoch for command in site.commands] == [1, 1, 1, 3, 3, 3]


def test_while_no_facts_reach_the_scheduler_nobody_is_told_anything(site):
    site.street.believed = False
    site.later()
    assert site.commands == []
