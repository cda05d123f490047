"""What every adapter of Ledger must keep of rules, households and what they were given."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ingest.assets import Window
from scheduler import turns
from scheduler.ledger import Change, DwellingTaken, Household, Outgoing, Superseded
from scheduler.quiet import QuietHours
from scheduler.rules import Basis, Quota, RuleSet
from scheduler.standing import Delivery, NoShow
from tests.ledgers import a_place, ask, promise, step
from tests.stores import DAY_MS, NINE_MS

PLAIN = RuleSet(site="jn-01", compounds=("k-01",))
WHOLE = RuleSet(
    site="jn-01", compounds=("k-01", "k-02"), guests=1, opening=(Window("workday", 480, 1_080),),
    quotas=(Quota(compound="k-01", connectors=2, hours=(Window("all", 0, 60),)),),
    quiet=QuietHours(0, 1, "Europe/Berlin"), parties=("街道办事处",), service_fee_yuan_kwh=0.4,
    basis=Basis(kind="owners_vote", date="2026-05-31", document="a page"),
)  # fmt: skip


# --- rules -----------------------------------------------------------------------------------------------------------


def test_rules_are_kept_by_version_and_none_is_ever_changed(ledger):
    assert ledger.rules("jn-01") is None
    first = ledger.adopt(PLAIN, after=0, by="init", now_ms=NINE_MS)
    second = ledger.adopt(WHOLE, after=1, by="p-7", now_ms=NINE_MS + 1)
    assert (first.version, second.version, second.by, second.at_ms) == (1, 2, "p-7", NINE_MS + 1)
    assert ledger.rules("jn-01") == second
    assert ledger.rules("jn-01").rules == WHOLE
    assert ledger.rules("jn-01", version=1) == first
    assert ledger.rules("jn-01", version=3) is None
    assert ledger.rules("jn-02") is None


@pytest.mark.parametrize("after", [0, 2])
def test_rules_that_were_decided_about_other_rules_are_not_taken(ledger, after):
    ledger.adopt(PLAIN, after=0, by="init", now_ms=NINE_MS)
    with pytest.raises(Superseded, match="stand at version 1 by now") as superseded:
        ledger.adopt(WHOLE, after=after, by="p-7", now_ms=NINE_MS)
    assert superseded.value.version == 1
    assert ledger.rules("jn-01").rules == PLAIN


# --- households ------------------------------------------------------------------------------------------------------


def test_one_dwelling_is_one_household(ledger):
    family = Household(id="h1", compound="k-01", dwelling="3-502")
    ledger.register(family)
    with pytest.raises(DwellingTaken, match="household h1's"):
        ledger.register(replace(family, id="h2"))
    assert ledger.household("h2") is None
    ledger.register(replace(family, id="h2", compound="k-02"))
    assert ledger.household("h1") == family


def test_what_changes_of_a_household_is_kept(ledger):
    ledger.register(Household(id="h1", compound="k-01", dwelling="3-502"))
    moved = Household(id="h1", compound="k-01", dwelling="4-101", accessibility=True, essential=True)
    ledger.register(moved)
    ledger.register(Household(id="h2", compound="k-01", dwelling="3-502"))
    assert ledger.household("h1") == moved


# --- what they were given --------------------------------------------------------------------------------------------


def end(ledger, household, unplugged_ms, **said):
    held = promise(ledger, a_place(), household=household)
    plugged = step(ledger, held, turns.plugged_in(held, unplugged_ms - 60_000))
    given = Delivery(household=household, plugged_ms=unplugged_ms - 60_000, unplugged_ms=unplugged_ms, **said)
    ledger.commit([Change(before=plugged, after=turns.done(plugged, unplugged_ms), delivery=given)], unplugged_ms)
    return given


def test_what_a_turn_was_given_is_kept_with_its_end(ledger):
    old = end(ledger, "h1", NINE_MS - 1)
    late = end(ledger, "h1", NINE_MS + 2, overstay_ms=7, energy_kwh=4.5)
    other = end(ledger, "h2", NINE_MS + 1)
    assert ledger.deliveries(["h1", "h2"], NINE_MS) == [other, late]
    assert ledger.deliveries(["h1"], 0) == [old, late]
    assert ledger.deliveries([], 0) == []


def test_who_did_not_come_is_known(ledger):
    for household, at_ms in (("h1", NINE_MS + 1), ("h2", NINE_MS), ("h1", NINE_MS - 1)):
        held = promise(ledger, a_place(), household=household)
        step(ledger, held, turns.missed(held, at_ms))
    assert ledger.no_shows(["h1", "h2"], NINE_MS) == [NoShow("h2", NINE_MS), NoShow("h1", NINE_MS + 1)]
    assert ledger.no_shows(["h1"], NINE_MS) == [NoShow("h1", NINE_MS + 1)]


def test_the_pool_is_who_asked_here_lately_and_since_when_each_does(ledger):
    for household, days_ago in (("h1", 40), ("h1", 3), ("h2", 2), ("gone", 40)):
        asked = ask(ledger, household=household, requested_ms=NINE_MS - days_ago * DAY_MS)
        step(ledger, asked, turns.cancelled(asked, NINE_MS))
    ask(ledger, household="elsewhere", site="jn-02")
    ask(ledger, household="refused", state="rejected", due_ms=None)
    assert ledger.pool("jn-01", NINE_MS - 28 * DAY_MS) == {"h1": NINE_MS - 40 * DAY_MS, "h2": NINE_MS - 2 * DAY_MS}


def test_a_site_is_cut_off_once_and_until_it_is_reset(ledger):
    told = Outgoing(id="fire:jn-01:h1", kind="notice", to="h1")
    assert not ledger.reset("jn-01")
    ledger.cut("jn-01", "smoke alarm", NINE_MS, [told])
    ledger.cut("jn-01", "again", NINE_MS + 1, [Outgoing(id="fire:jn-01:h2", kind="notice", to="h2")])
    assert ledger.cuts() == {"jn-01": "smoke alarm"}
    assert ledger.outgoing(["pending"]) == [told]
    assert ledger.reset("jn-01")
    assert ledger.cuts() == {}
