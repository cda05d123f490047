"""The site's power is kept where piles fall silent, do not obey or begin to burn."""

from __future__ import annotations

import pytest

from ingest.messages import Show, Stop
from scheduler.dispatch import DISOBEYS_S, TTL_S
from scheduler.orders import AGAIN_S
from tests.rounds import SITE
from tests.steered import ONE, THREE, TWO, Steered, promised, said, two_in_turn


@pytest.fixture
def site():
    return Steered()


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
