"""Rules of a site: every mistake is named, and each rule refuses what it is for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from ingest.assets import Compound, ConnectorSpec, Device, Inventory, Name, Site, Window
from ingest.clock import to_ms
from ingest.workdays import is_workday
from scheduler.buckets import bucket_at
from scheduler.ledger_memory import MemoryLedger
from scheduler.opening_up import adopt_initial_rules
from scheduler.rules import GUESTS, Asked, RuleSet, open_in, pool_of, quota, refusal
from scheduler.rules_file import RulesError, initial, load

HOUR_MS = 3_600_000
WHOLE = """site = "jn-01"
compounds = ["k-01", "k-02"]
guests = 1
opening = ["workday 08:00-18:00", "restday 00:00-24:00"]
quiet = "23:00-06:30"
longest_turn_min = 600
overstay_grace_min = 20
accessibility_min = 120
essential_min = 60
move_margin_min = 45
stay_until_morning = false
service_fee_yuan_kwh = 0.4
parties = ["Sub-district office"]

[[quota]]
compound = "k-01"
connectors = 2
hours = ["18:00-23:00", "restday 10:00-12:00"]

[[quota]]
compound = "k-02"
connectors = 0

[basis]
kind = "owners_vote"
date = 2026-05-31
document = "Minutes of 2026-05-31, item 3"
"""
LEAST = 'site = "jn-01"\ncompounds = ["k-01"]\n'


def place(mode="in_turn"):
    compounds = {id_: Compound(id_, Name("", ""), "s-1", 31.2, 121.4) for id_ in ("k-01", "k-02")}
    return Inventory(
        compounds=compounds, sites={"jn-01": Site(id="jn-01", name=Name("", ""), lat=31.2, lon=121.4, mode=mode)}
    )


def mistakes(text, inventory=None):
    with pytest.raises(RulesError) as error:
        load(text, inventory=inventory)
    return [str(mistake) for mistake in error.value.mistakes]


def at(day, hour, minute=0):
    """Shanghai's time, in October 2026; the 1st to the 7th are holidays, the 10th is a Saturday that is worked."""
    return to_ms(datetime(2026, 10, day, hour, minute, tzinfo=UTC) - timedelta(hours=8))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_everything_that_may_be_said_is_read():
    rules = load(WHOLE, "Europe/Berlin", place())
    assert (rules.site, rules.compounds, rules.guests) == ("jn-01", ("k-01", "k-02"), 1)
    assert (rules.quiet.start_min, rules.quiet.end_min, rules.quiet.timezone) == (1_380, 390, "Europe/Berlin")
    assert [(one.compound, one.connectors, len(one.hours)) for one in rules.quotas] == [("k-01", 2, 2), ("k-02", 0, 0)]
    assert (rules.basis.kind, rules.basis.date) == ("owners_vote", "2026-05-31")
    assert (rules.longest_turn_min, rules.overstay_grace_min, rules.move_margin_min) == (600, 20, 45)
    assert (rules.accessibility_min, rules.essential_min, rules.stay_until_morning) == (120, 60, False)
    assert (rules.service_fee_yuan_kwh, rules.parties) == (0.4, ("Sub-district office",))


def test_what_is_not_said_is_as_at_a_site_that_has_decided_nothing():
    assert load(LEAST) == RuleSet(site="jn-01", compounds=("k-01",))


def test_no_quiet_hours_can_be_said():
    assert not load(LEAST + 'quiet = "none"').quiet.quiet_at(at(12, 3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: a set of rules needs site"),
        ("site = 'jn-01'\ncompounds = 'k-01'", "line 2: compounds must be a list, not 'k-01'"),
        (LEAST + "quota = 3", "line 3: write each quota under its own [[quota]]"),
        (LEAST + "basis = 3", "line 3: write the basis as a table [basis]"),
        (LEAST + "longest_turn = 3", "line 3: unknown key 'longest_turn', did you mean 'longest_turn_min'?"),
        (LEAST + "zzz = 3", "line 3: unknown key 'zzz'; known are site, compounds"),
        (LEAST + "longest_turn_min = 5", "line 3: longest_turn_min must be a whole number from 15 to 1440, not 5"),
        (LEAST + "quiet = '22-7'", 'line 3: quiet must be hours such as "22:00-07:00", or "none", not \'22-7\''),
        (LEAST + "quiet = '22:00-24:00'", "line 3: quiet must be hours such as"),
        (LEAST + "quiet = '22:00-22:00'", "line 3: quiet must be hours such as"),
        (LEAST + "opening = 'nights'", "line 3: opening must be like"),
        (LEAST + "stay_until_morning = 1", "line 3: stay_until_morning must be true or false, not 1"),
        (LEAST + "guests = 2", "line 3: guests needs a [basis]"),
        (LEAST + "service_fee_yuan_kwh = 0.5", "line 3: service_fee_yuan_kwh needs a [basis]"),
        (LEAST + "[basis]\nkind = 'owners_vote'", "line 3: basis needs document"),
        (LEAST + "[basis]\nkind = 'a wish'", "line 4: kind must be owners_vote or charter, not 'a wish'"),
        (LEAST + "[[quota]]\ncompound = 'k-01'", "line 3: quota needs connectors"),
        (LEAST + "[[quota]]\ncompound = 'k-09'\nconnectors = 1", "line 4: 'k-09' is none of the compounds"),
        (LEAST + "parties = ['a', 'a']", "line 3: parties has something twice"),
        ("site = 'jn-01'\ncompounds = []", "line 2: nobody may ask: name compounds, or let guests in"),
        (f"site = 'jn-01'\ncompounds = ['{GUESTS}']", "line 2: compounds must not be 'guests'"),
        ("site = 'jn-01\n", "line 1: not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, said):
    assert any(one.startswith(said) for one in mistakes(text)), mistakes(text)


def test_all_mistakes_are_named_at_once():
    found = mistakes("compounds = ['k-01', 3]\nguests = -1\nzzz = 1\n[[quota]]\nconnectors = 99\n")
    assert [re.match(r"line (\d+)", one)[1] for one in found] == ["1", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (LEAST.replace("jn-01", "jn-09"), "temporary", "line 1: the inventory has no site 'jn-09'"),
        (LEAST.replace("k-01", "k-09"), "temporary", "line 2: the inventory has no compound 'k-09'"),
        (LEAST, "in_turn", "line 1: a street site names the public bodies"),
        (LEAST, "station", "line 1: 'jn-01' is a station"),
    ],
)
def test_rules_fit_the_place_that_they_are_for(text, mode, said):
    assert mistakes(text, place(mode))[0].startswith(said)
    assert load(LEAST, inventory=place("temporary"))


# --- what they refuse ------------------------------------------------------------------------------------------------


def refused(rules=None, **said):
    """On Monday the 12th, at nine."""
    usual = {
        "compound": "k-01", "energy_kwh": 14.0, "max_w": 7_000, "earliest_ms": at(12, 10), "depart_by_ms": at(12, 16),
    }  # fmt: skip
    found = refusal(Asked(**{**usual, **said}), rules or load(WHOLE), at(12, 9), is_workday)
    return found and found.rule


def test_a_plain_wish_is_refused_by_nothing():
    assert refused() is None


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"earliest_ms": at(19, 9, 1), "depart_by_ms": at(19, 16)}, "horizon"),
        ({"depart_by_ms": at(20, 9, 1)}, "horizon"),
        ({"earliest_ms": at(19, 9), "depart_by_ms": at(19, 16)}, None),
        ({"depart_by_ms": at(12, 11, 59)}, "time"),
        ({"depart_by_ms": at(12, 12)}, None),
        ({"depart_by_ms": at(11, 12)}, "time"),
        ({"energy_kwh": 71.0, "depart_by_ms": at(13, 20)}, "longest_turn_min"),
        ({"energy_kwh": 70.0, "depart_by_ms": at(13, 20)}, None),
        ({"earliest_ms": at(12, 18), "depart_by_ms": at(13, 8)}, "opening"),
        ({"earliest_ms": at(12, 18), "depart_by_ms": at(13, 8, 15)}, None),
        ({"compound": "elsewhere"}, None),
        ({"compound": None}, None),
    ],
)
def test_a_wish_is_refused_by_the_rule_that_it_breaks(said, rule):
    assert refused(**said) == rule


def test_without_guests_only_the_compounds_may_ask():
    rules = replace(load(WHOLE), guests=0)
    assert refused(rules, compound="elsewhere") == refused(rules, compound=None) == "compounds"
    assert refused(rules) is None


# --- days and hours --------------------------------------------------------------------------------------------------


def test_opening_follows_chinas_adjusted_days():
    rules = load(WHOLE)
    assert open_in(bucket_at(at(12, 17, 45)), rules, is_workday)
    assert not open_in(bucket_at(at(12, 18)), rules, is_workday)
    assert open_in(bucket_at(at(5, 20)), rules, is_workday)  # a Monday, and a holiday
    assert not open_in(bucket_at(at(10, 20)), rules, is_workday)  # a Saturday that is worked


def test_a_bucket_in_which_a_site_closes_is_not_open():
    rules = load(LEAST + 'opening = "08:00-18:10"')
    assert not open_in(bucket_at(at(12, 18)), rules, is_workday)


def test_the_smallest_quota_of_the_hour_holds():
    text = LEAST + "".join(
        f"[[quota]]\ncompound = 'k-01'\nconnectors = {count}\nhours = '{hours}'\n"
        for count, hours in ((4, "00:00-24:00"), (2, "18:00-23:00"), (3, "17:00-20:00"))
    )
    rules = load(text)
    by_hour = [quota("k-01", bucket_at(at(12, hour)), rules, is_workday) for hour in (16, 17, 18, 21, 23)]
    assert by_hour == [4, 3, 2, 2, 4]
    assert quota("k-01", bucket_at(at(12, 12)), load(LEAST), is_workday) is None


def test_guests_share_one_quota_whatever_compound_they_are_of():
    rules = load(WHOLE)
    assert quota("elsewhere", bucket_at(at(12, 12)), rules, is_workday) == 1
    assert quota(None, bucket_at(at(12, 12)), rules, is_workday) == 1
    assert pool_of("elsewhere", rules) == pool_of(None, rules) == GUESTS
    assert pool_of("k-01", rules) == "k-01"


# --- what a site begins with -----------------------------------------------------------------------------------------


def begins(**initial_rules):
    site = place().sites["jn-01"]
    hours = (Window("workday", 480, 1_080),)
    return replace(site, compounds=("k-01",), opening=hours, initial_rules=initial_rules)


def test_a_site_without_rules_of_its_own_begins_with_its_compounds_and_hours():
    rules = initial(begins())
    assert (rules.site, rules.compounds, rules.opening) == ("jn-01", ("k-01",), begins().opening)


def test_a_site_begins_with_its_initial_rules():
    rules = initial(begins(guests=2, quiet="none", opening=["00:00-24:00"], compounds=["k-02"]))
    assert (rules.guests, rules.compounds) == (2, ("k-02",))
    assert rules.opening[0].end_min == 1_440
    assert not rules.quiet.quiet_at(0)


def test_initial_rules_that_are_none_are_named_and_the_other_sites_open_all_the_same():
    good, bad = begins(), replace(begins(guests="many", colour="red"), id="jn-02")
    piles = [Device(site=one.id, id="p", kind="pile", connectors=(ConnectorSpec(1),)) for one in (good, bad)]
    inventory = replace(place(), sites={one.id: one for one in (good, bad)}, devices={one.name: one for one in piles})
    ledger = MemoryLedger(lambda: 0)
    wrong = adopt_initial_rules(ledger, inventory, "Asia/Shanghai", 0)
    assert "guests must be" in wrong["jn-02"]
    assert "unknown key 'colour'" in wrong["jn-02"]
    assert ledger.rules("jn-02") is None
    assert ledger.rules("jn-01").version == 1
    assert adopt_initial_rules(ledger, inventory, "Asia/Shanghai", 0).keys() == {"jn-02"}
    assert ledger.rules("jn-01").version == 1
