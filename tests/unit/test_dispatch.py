"""Plugs are told what they may draw: by the promises, within the site's power, until they answer."""

from __future__ import annotations

import pytest

from ingest.messages import CommandResult
from scheduler.buckets import Place, bucket_at
from scheduler.dispatch import AGAIN_S, ATTEMPTS, TTL_S, Dispatch
from tests.rounds import SITE, Neighbourhood

ONE, TWO, THREE = (f"{SITE}/pile-0{no}/1" for no in (1, 2, 3))


class Steered:
    """A site that may draw 7 kW, with three plugs that do what they are told, as long as they are told anything."""

    def __init__(self, limit_kw=7.0):
        self.street = Neighbourhood(piles=3, limit_kw=limit_kw)
        self.leads, self.answers = True, True
        self.commands, self.limit_kw, self.silent = [], {}, ()
        self.lead()

    def lead(self):
        self.dispatch = Dispatch(self.street.desk, self.street.ground, self.send, lambda: 1.0)

    def send(self, device, command):
        if self.leads:
            self.commands.append(command)
            if self.answers:
                self.limit_kw[f"{device}/{command.connector}"] = command.limit_kw
                self.dispatch.answered(device, CommandResult(v=1, id=command.id, result="accepted"))

    def later(self, minutes=1, epoch=1):
        """So many minutes, and the round that follows them, with a second of the wall after each look."""
        self.street.later(minutes, *self.silent)
        self.street.ground.look(self.street.now_ms)
        for _ in range(3):
            self.street.mono_s += 1.0
            self.dispatch.round(epoch, self.street.now_ms, self.street.mono_s)

    def codes(self):
        return [(condition.code, condition.evidence) for condition in self.dispatch.conditions]


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
    site.street.says(place.connector, "charging", kwh=0.0)
    site.later()
    assert (site.limit_kw[other], site.limit_kw[place.connector]) == (0, 7)


def test_power_goes_on_to_the_next_car_when_the_first_is_full(site):
    """Two that are plugged, of whom one waits; and it begins before its own hour, since nobody else wants the power."""
    plugs = [f"{SITE}/pile-0{no}/1" for no in (1, 2)]
    for no, plug in enumerate(plugs):
        place = Place(plug, bucket_at(site.street.now_ms), ((7_000, 0), (0, 7_000))[no])
        turn = site.street.asks(f"h{no + 1}", kwh=1.75, flexible=True)
        site.street.desk.plan(turn, place, site.street.now_ms)
        site.street.desk.offer(turn, place, site.street.now_ms)
        site.street.desk.accept(turn, site.street.now_ms)
        site.street.says(plug, "charging", kwh=0.0)
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
    assert [(f"{SITE}/pile-0{stands[-3]}", command.limit_kw) for command in site.commands[said:]] == [
        (stands[:-2], 0.0)
    ]


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


def test_a_silent_pile_takes_its_share_of_the_power_with_it(site):
    """It falls back to what it may draw alone; who was promised more than is left is short, and that is said."""
    site.later()
    site.silent = (f"{SITE}/pile-01",)
    site.later(10)
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    fallback_kw = site.street.ground.site(SITE).connectors[0].fallback_w / 1_000
    assert site.limit_kw[TWO] == pytest.approx(7.0 - fallback_kw)
    assert site.codes() == [("power_short", SITE)]
