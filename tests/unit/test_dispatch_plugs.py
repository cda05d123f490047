"""Plugs are kept, started, stopped and given something to show, for whom they are promised."""

from __future__ import annotations

import hashlib

import pytest

from ingest.clock import rfc3339
from ingest.messages import CommandResult, Release, Reserve, Show, Start, Stop
from scheduler.buckets import Place
from scheduler.dispatch import RESERVE_TTL_S
from scheduler.orders import AGAIN_S
from tests.steered import ONE, THREE, TWO, Steered, promised, said


@pytest.fixture
def site():
    return Steered()


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
