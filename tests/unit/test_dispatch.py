"""Plugs are told what they may draw: by the promises, within the site's power, until they answer."""

from __future__ import annotations

import hashlib

import pytest

from ingest.clock import rfc3339
from ingest.messages import CommandResult, Release, Reserve, SetLimit, Show, Start, Stop
from scheduler.buckets import Place, bucket_at
from scheduler.dispatch import DISOBEYS_S, RESERVE_TTL_S, TTL_S, Dispatch
from scheduler.orders import AGAIN_S, ATTEMPTS
from tests.rounds import SITE, Neighbourhood

ONE, TWO, THREE = (f"{SITE}/pile-0{no}/1" for no in (1, 2, 3))


class Steered:
    """A site that may draw 7 kW, with three plugs that do what they are told, as long as they are told anything."""

    def __init__(self, limit_kw=7.0):
        self.street = Neighbourhood(piles=3, limit_kw=limit_kw)
        self.leads, self.answers, self.deaf = True, True, set()
        self.commands, self.others, self.limit_kw, self.silent = [], [], {}, ()
        self.lead()

    def lead(self):
        refused = self.street.arrivals.refused
        self.dispatch = Dispatch(self.street.desk, self.street.ground, self.send, lambda: 1.0, refused)

    def send(self, device, command):
        if device in self.deaf:
            return
        if self.leads and not isinstance(command, SetLimit):
            self.others.append(command)
            if self.answers:
                self.dispatch.answered(device, CommandResult(v=1, id=command.id, result="accepted"))
        elif self.leads:
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
    site.street.comes(turn)
    site.later()
    assert (site.limit_kw[other], site.limit_kw[place.connector]) == (0, 7)


def two_in_turn(site):
    """Two that are plugged, of whom the second waits until the power of the first is its own."""
    plugs = [f"{SITE}/pile-0{no}/1" for no in (1, 2)]
    for no, plug in enumerate(plugs):
        place = Place(plug, bucket_at(site.street.now_ms), ((7_000, 0), (0, 7_000))[no])
        turn = site.street.asks(f"h{no + 1}", kwh=1.75, flexible=True)
        site.street.desk.plan(turn, place, site.street.now_ms)
        site.street.desk.offer(turn, place, site.street.now_ms)
        site.street.desk.accept(turn, site.street.now_ms)
        site.street.comes(turn)


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


def test_a_pile_that_is_about_to_fall_back_takes_its_fallback_from_the_others(site):
    """It falls back after two intervals of silence; that it is silent is known only after three."""
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    site.silent = (f"{SITE}/pile-01",)
    site.later(1.4)
    assert site.limit_kw[TWO] == 7, "it is only late"
    site.later(0.2)
    fallback_kw = site.street.ground.site(SITE).connectors[0].fallback_w / 1_000
    assert site.limit_kw[TWO] == pytest.approx(7.0 - fallback_kw, abs=0.001)
    site.silent = ()
    site.later()
    assert site.limit_kw[TWO] == 7


def test_a_pile_that_may_have_fallen_back_still_counts_at_a_last_limit_that_is_higher(site):
    two_in_turn(site)
    site.later()
    site.street.says(ONE, "suspended", kwh=1.75, suspended_by="ev", since_ms=site.street.now_ms - 60_000)
    site.deaf = site.silent = (f"{SITE}/pile-01",)
    site.later(1.6)
    assert (site.limit_kw[ONE], site.limit_kw[TWO]) == (7, 0), "it was not heard to take the cut"


def said(site, kind):
    return [command for command in site.others if isinstance(command, kind)]


def promised(site, **wish):
    turn = site.street.asks("h1", **{"earliest_ms": site.street.now_ms + 900_000, **wish})
    site.street.later(1)
    site.street.desk.accept(turn, site.street.now_ms)
    return turn


def test_a_plug_is_kept_for_whom_it_is_promised_from_its_start_and_renewed(site):
    turn = promised(site)
    place, code = site.street.turn(turn).place, site.street.turn(turn).code
    site.later(13)
    assert said(site, Reserve) == []
    site.later(1)
    [kept] = said(site, Reserve)
    assert (kept.turn, kept.until, kept.ttl_s) == (turn, rfc3339(place.end_ms), RESERVE_TTL_S)
    assert kept.code_hash == hashlib.sha256(f"{turn}:{code}".encode()).hexdigest()[:32]
    site.later(RESERVE_TTL_S / 120)
    assert len(said(site, Reserve)) == 2


def test_a_car_that_is_known_is_started_where_the_pile_waits_for_that(site):
    turn = promised(site)
    site.later(15)
    site.street.says(site.street.turn(turn).place.connector, "preparing", kwh=0.0)
    site.later(1)
    assert said(site, Start) == []
    assert said(site, Show)[-1].text.endswith("please check in on your phone.")
    site.street.desk.check_in(turn, site.street.now_ms)
    site.later(1)
    [started] = said(site, Start)
    assert started.turn == turn
    assert said(site, Show)[-1].text == ""


def test_a_plug_that_was_kept_is_given_back_before_it_is_kept_for_the_next(site):
    first = promised(site, kwh=1.75)
    at = site.street.turn(first).place
    site.later(15)
    place = Place(at.connector, at.end, (7_000,) * 4)
    second = site.street.asks("h2", kwh=7.0)
    site.street.desk.plan(second, place, site.street.now_ms)
    site.street.desk.offer(second, place, site.street.now_ms)
    site.street.desk.accept(second, site.street.now_ms)
    site.street.desk.cancel(first, site.street.now_ms)
    site.later(1)
    assert [command.turn for command in said(site, Release)] == [first]
    site.later(15)
    kept = [type(one).__name__ + " " + one.turn for one in site.others if isinstance(one, Reserve | Release)]
    assert kept[-1] == f"Reserve {second}"
    assert f"Release {first}" in kept


def test_a_car_without_a_place_is_stopped_and_told_so_and_the_next_one_too(site):
    turn = promised(site, kwh=7.0)
    plug = site.street.turn(turn).place.connector
    site.street.says(plug, "charging", kwh=0.0)
    site.later(1)
    site.street.desk.cancel(turn, site.street.now_ms)
    others = [one for one in (ONE, TWO, THREE) if one != plug]
    site.street.says(others[0], "charging", kwh=0.0)
    site.later(1)  # all 7 kW of the site are promised to one of them
    shut = [name for name in (plug, others[0]) if name in site.street.arrivals.refused()]
    assert len(shut) == 1
    for times in (1, 2):
        assert len(said(site, Stop)) == times
        assert said(site, Stop)[-1].reason == "no_place"
        assert said(site, Show)[-1].text.endswith("There is no place free now. Please move your car.")
        site.street.says(shut[0], "available")
        site.later(1)
        assert said(site, Show)[-1].text == ""
        site.street.says(shut[0], "charging", kwh=0.0)
        site.later(1)


def test_a_walk_in_is_shown_until_when_and_who_is_charged_by_when_to_leave():
    site = Steered(limit_kw=21.0)
    site.street.says(ONE, "charging", kwh=0.0)
    site.later(1)
    assert "You may charge until" in said(site, Show)[-1].text
    turn = promised(site, kwh=1.75)
    site.later((site.street.turn(turn).place.start_ms - site.street.now_ms) / 60_000)
    site.street.comes(turn)
    site.later(1)
    site.street.desk.finish(turn, site.street.now_ms)
    site.later(1)
    assert [command.reason for command in said(site, Stop)] == ["finished"]
    assert "It is charged. Please leave by" in said(site, Show)[-1].text


def test_a_pile_that_keeps_and_shows_nothing_is_no_condition_and_one_that_does_not_stop_is(site):
    promised(site)
    site.answers = False
    site.later(15)
    for command in list(site.others):
        result = CommandResult(v=1, id=command.id, result="rejected", reason="unsupported")
        for device in site.street.inventory.devices:
            site.dispatch.answered(device, result)
    site.answers = True
    site.street.mono_s += AGAIN_S
    site.later(0)
    assert site.codes() == []


def test_a_plug_that_reports_and_hears_nothing_counts_as_fallen_back_when_its_limit_is_over(site):
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    assert site.limit_kw == {ONE: 0, TWO: 7, THREE: 0}
    site.deaf = {f"{SITE}/pile-01"}
    site.later(TTL_S / 60 - 2)
    assert site.limit_kw[TWO] == 7, "it still stands at what it took last"
    for _ in range(3):
        site.later(5)
        site.street.mono_s += 20
    fallback_kw = site.street.ground.site(SITE).connectors[0].fallback_w / 1_000
    assert site.limit_kw[TWO] == pytest.approx(7.0 - fallback_kw, abs=0.001)
    assert ("command_unanswered", ONE) in site.codes()
    site.deaf = set()
    site.street.mono_s += AGAIN_S
    site.later()
    assert site.limit_kw[TWO] == 7


def test_a_plug_that_draws_more_than_it_was_told_takes_that_from_the_others_and_is_said(site):
    site.street.says(ONE, "charging", kwh=0.0)
    site.street.says(TWO, "charging", kwh=0.0)
    site.later()
    second = next(plug for plug in (ONE, TWO) if site.limit_kw[plug] == 0)
    first = next(plug for plug in (ONE, TWO) if plug != second)
    site.street.says(second, "charging", kwh=0.5, power_kw=3.0, since_ms=site.street.now_ms - 60_000)
    site.later()
    assert (site.limit_kw[first], site.limit_kw[second]) == (4, 0)
    assert site.codes() == [("power_short", SITE)]
    site.street.mono_s += DISOBEYS_S
    site.later()
    assert site.codes() == [("limit_passed", second), ("power_short", SITE)]


def test_piles_that_nobody_hears_leave_the_rest_to_the_others_once_the_last_leader_s_limits_are_over(site):
    site.silent = (f"{SITE}/pile-01", f"{SITE}/pile-03")
    site.later(10)
    site.street.says(TWO, "charging", kwh=0.0)
    site.later(1, epoch=2)
    assert site.limit_kw[TWO] == 0, "they may still draw what the last one gave them"
    site.later(TTL_S / 60, epoch=2)
    fallback_kw = site.street.ground.site(SITE).connectors[0].fallback_w / 1_000
    assert site.limit_kw[TWO] == pytest.approx(7.0 - 2 * fallback_kw, abs=0.001)


def test_smoke_cuts_the_whole_site_off_until_a_person_resets_it(site):
    turn = promised(site, kwh=3.5)
    place = site.street.turn(turn).place
    other = next(one for one in (ONE, TWO, THREE) if one != place.connector)
    waits = site.street.asks("h2", kwh=3.5, earliest_ms=site.street.now_ms + 5 * 3_600_000, hours=9)
    site.street.says(other, "charging", kwh=0.0, power_kw=7.0)
    site.later()
    assert site.limit_kw[other] == 7
    site.street.alarm(place.connector, "smoke")
    site.later()
    assert set(site.limit_kw.values()) == {0}
    assert [(command.reason, command.connector) for command in said(site, Stop)] == [("cut", 1)]
    assert site.street.turn(turn).state == "failed"
    assert {one.kind for one in site.street.ledger.turns(states=["active"])} == set()
    told = {item.to for item in site.street.ledger.outgoing(["pending", "sent"]) if item.id.startswith("fire:")}
    assert told == {"h1", "h2"}
    site.street.alarm(place.connector, None)
    site.later(30)
    assert site.street.ledger.cuts() == {SITE: f"{place.connector[:-2]}: smoke alarm"}
    assert set(site.limit_kw.values()) == {0}, "no timer ends it"
    assert site.street.turn(waits).state in ("requested", "queued")
    assert not site.street.ledger.imbalance()
    assert site.street.ledger.reset(SITE)
    site.street.says(other, "available")
    site.later()
    site.street.says(other, "charging", kwh=0.0)
    site.later()
    assert site.limit_kw[other] == 7


def test_an_alarm_that_still_holds_when_a_person_resets_it_cuts_again(site):
    site.street.alarm(ONE, "fault:over_temperature")
    site.later()
    site.street.ledger.reset(SITE)
    site.later()
    assert SITE in site.street.ledger.cuts()


def test_a_warning_of_heat_cuts_nothing_off(site):
    site.street.alarm(ONE, "fault:over_temperature", "warning")
    site.later()
    assert site.street.ledger.cuts() == {}


def test_a_silent_pile_is_told_nothing_until_it_is_heard_again(site):
    site.answers = False
    site.street.says(ONE, "charging", kwh=0.0)
    site.later()
    site.silent = (f"{SITE}/pile-01",)
    site.later(10)
    before = len(said(site, Show))
    assert before > 0
    for _ in range(3):
        site.street.mono_s += AGAIN_S
        site.later(1)
    assert len(said(site, Show)) == before
