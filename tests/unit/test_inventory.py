"""The inventory: what an operator writes, what is said of mistakes, and what comes back out."""

from __future__ import annotations

import pytest

from ingest.assets import ConnectorSpec, Name, Window
from ingest.inventory import InventoryError, dump, load
from ingest.toml_lines import lines_of

WHOLE = """\
# A small place with one of everything.
[[workstation]]
id = "east"
name = { zh = "东部联动工作站", en = "East Linkage Workstation" }

[[section]]
id = "s-01"
name = "Jade Lane"
workstation = "east"
roles = [
  { id = "head", name = { zh = "段长", en = "Section head" } },
  { id = "safety", name = "Safety" },
]

[[committee]]
id = "c-01"

[[compound]]
id = "k-01"
name = { zh = "云栖里" }
section = "s-01"
committee = "c-01"
lat = 31.22
lon = 121.45
households = 120

[[site]]
id = "cjd-07"
name = 'Gate "North"'
section = "s-01"
mode = "in_turn"
lat = 31.221
lon = 121.451
compounds = ["k-01"]
limit_kw = 20
opening = ["workday 07:00-22:00", "restday 22:00-06:00", "00:00-24:00"]

[site.initial_rules]
quiet = "22:00-06:00"
quota = { "k-01" = [2, 3.5, true] }

[[device]]
site = "cjd-07"
id = "pile-03"
kind = "pile"
fallback_kw = 3.5
certificate = "CCC-1"
inspection_due = 2027-03-31
connectors = [{ id = 1, type = "GBT_AC", max_kw = 7.0 }, { id = 2, type = "GBT_DC", max_kw = 30 }]

[[device]]
site = "cjd-07"
id = "station-01"
kind = "station"
placement = "indoor"
seats = 20
reading_seats = 4
outlets = 6
amenities = ["water", "微波炉"]
"""

SITE = '[[site]]\nid = "s"\nlat = 31.2\nlon = 121.4\n'
STAFFED = "[[workstation]]\nid='w'\n[[section]]\nid='x'\nworkstation='w'\nroles=[{id='head'}]\n"
PILE = '[[device]]\nsite = "s"\nid = "p"\nkind = "pile"\nconnectors = [{ id = 1 }]\n'


def mistakes(text: str) -> list[str]:
    with pytest.raises(InventoryError) as refused:
        load(text)
    assert str(refused.value) == "\n".join(str(mistake) for mistake in refused.value.mistakes)
    return [str(mistake) for mistake in refused.value.mistakes]


def test_everything_of_the_contract_is_read():
    inventory = load(WHOLE)
    assert inventory.workstations["east"].name == Name("东部联动工作站", "East Linkage Workstation")
    assert [role.id for role in inventory.sections["s-01"].roles] == ["head", "safety"]
    assert inventory.compounds["k-01"].name == Name("云栖里", "云栖里")
    site = inventory.sites["cjd-07"]
    assert site.limit_kw == 20.0
    assert site.opening == (Window("workday", 420, 1320), Window("restday", 1320, 1800), Window("all", 0, 1440))
    assert site.initial_rules == {"quiet": "22:00-06:00", "quota": {"k-01": [2, 3.5, True]}}
    pile = inventory.devices["cjd-07/pile-03"]
    assert pile.connectors == (ConnectorSpec(1), ConnectorSpec(2, "GBT_DC", 30.0))
    assert pile.inspection_due == "2027-03-31"
    assert inventory.devices["cjd-07/station-01"].amenities == ("water", "微波炉")


def test_what_is_written_back_loads_equal():
    inventory = load(WHOLE)
    assert load(dump(inventory)) == inventory


def test_a_site_and_a_pile_need_no_more_than_the_contract_requires():
    inventory = load(SITE + PILE)
    assert inventory.sites["s"].name == Name("s", "s")
    assert inventory.devices["s/p"].connectors == (ConnectorSpec(1, "GBT_AC", 7.0),)


def test_an_empty_file_is_an_empty_inventory():
    assert load("# nothing yet\n").sites == {}


def test_every_mistake_is_named_at_once_each_with_its_line():
    wrong = (
        WHOLE.replace('committee = "c-01"', 'committee = "c-09"')
        .replace("lat = 31.221", "lat = 131.221")
        .replace("limit_kw = 20", "limt_kw = 20")
        .replace('"GBT_DC"', '"CCS"')
    )
    assert mistakes(wrong) == [
        "line 22: there is no committee 'c-09'",
        "line 32: lat must be a number from -90 to 90, not 131.221",
        "line 35: unknown key of a site 'limt_kw', did you mean 'limit_kw'?",
        "line 49: type must be GBT_AC or GBT_DC, not 'CCS'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[sites]]\n", "line 1: unknown table 'sites', did you mean 'site'?"),
        ("[[pump]]\n", "line 1: unknown table 'pump'; known are workstation, section, committee, compound, site,"),
        ("\n[site]\nid = 's'\n", "line 2: write each site under its own [[site]]"),
        ("site = 3\n", "line 1: write each site under its own [[site]]"),
        ('[[site]]\nid = "s"\nlat = 1\n', "line 1: a site needs lon"),
        (SITE + SITE, "line 5: site 's' is already on line 1"),
        (SITE + PILE + PILE, "line 10: device 's/p' is already on line 5"),
        (PILE, "line 2: there is no site 's'"),
        (SITE.replace('"s"', '"a b"'), "line 2: id must be 1 to 32 of the letters A-Z a-z 0-9 _ -, not 'a b'"),
        (SITE.replace('"s"', f'"{33 * "x"}"'), "line 2: id must be 1 to 32 of the letters A-Z a-z 0-9 _ -, not 'xxx"),
        (SITE.replace('"s"', '"service"'), "line 2: id must not be 'service': that name is the service's own"),
        (SITE.replace("121.4", '"121.4"'), "line 4: lon must be a number from -180 to 180, not '121.4'"),
        (SITE.replace("121.4", "nan"), "line 4: lon must be a number from -180 to 180, not nan"),
        (SITE.replace("121.4", "true"), "line 4: lon must be a number from -180 to 180, not True"),
        (SITE + 'mode = "queue"\n', "line 5: mode must be temporary or in_turn or station, not 'queue'"),
        (SITE + "name = {fr = 'x'}\n", "line 5: name may hold zh and en, not fr"),
        (SITE + "name = 5\n", "line 5: name must be a text or { zh = …, en = … }, not 5"),
        (SITE + "limit_kw = 0\n", "line 5: limit_kw must be a number above 0 and up to 100000, not 0"),
        (SITE + "compounds = [\n  'x',\n]\n", "line 6: there is no compound 'x'"),
        (SITE + "opening = ['7-22']\n", 'line 5: opening must be like "workday 07:00-22:00", '),
        (SITE + "opening = ['07:00-25:00']\n", "line 5: opening must use times from 00:00 to 24:00"),
        (SITE + "opening = ['07:00-07:00']\n", "line 5: opening ends when it begins in"),
        (SITE + "initial_rules={from=2026-01-01}\n", "line 5: initial_rules must write its days and times as texts"),
        (SITE + PILE.replace('"pile"', '"pump"'), "line 8: kind must be pile or station, not 'pump'"),
        (SITE + PILE.replace("connectors", "# "), "line 5: a pile needs connectors"),
        (SITE + PILE.replace("[{ id = 1 }]", "[]"), "line 9: a pile needs connectors"),
        (SITE + PILE.replace("id = 1", "id = 65"), "line 9: id must be a whole number from 1 to 64, not 65"),
        (SITE + PILE.replace("{ id = 1 }", "{ id = 1 },\n {id = 1}"), "line 10: connector 1 is here twice"),
        (SITE + PILE.replace("id = 1", "id = 1, max_kw = -3"), "line 9: max_kw must be a number above 0 "),
        (SITE + PILE + "seats = 3\n", "line 10: seats does not belong to a pile"),
        (SITE + PILE + "inspection_due = 'soon'\n", "line 10: inspection_due must be a day such as 2027-03-31"),
        (SITE + PILE.replace("pile", "station"), "line 9: connectors does not belong to a station"),
        (SITE + "limit_kw = 5\n" + PILE + "fallback_kw = 6\n", "line 5: the piles of 's' fall back to 6 kW together"),
        (STAFFED.replace("head", "chief"), "line 6: roles need one with the id 'head'"),
        ("[[section]]\nid='x'\n", "line 1: a section needs workstation"),
        (SITE + "lat = 3\n", "line 5: not TOML: Cannot overwrite a value"),
        (SITE + "name = 'x\n", "line 5: not TOML: Expected \"'\""),
    ],
)  # fmt: skip
def test_a_mistake_says_its_line_and_what_would_be_right(text, said):
    assert any(mistake.startswith(said) for mistake in mistakes(text))


def test_fallbacks_that_just_fit_are_no_mistake():
    piles = "".join(PILE.replace('"p"', f'"p{n}"') + "fallback_kw = 0.1\n" for n in range(3))
    assert load(SITE + "limit_kw = 0.3\n" + piles).sites["s"].limit_kw == 0.3


def test_a_name_with_quotes_breaks_and_signs_survives():
    inventory = load(SITE + 'name = "a\\"b\\\\c\\n\\u007f 轮充"\n')
    assert load(dump(inventory)) == inventory


def test_lines_are_right_past_strings_that_look_like_toml():
    text = 'a = """\n[[x]]\nb = 1\n"""\n# [c]\n[[t]]\n"k.1" = [\n  \'#\', # one\n  [2,\n 3],\n]\n'
    text += "d.e = {f = 1}\n[t.sub]\ng = 1\n"
    lines = lines_of(text)
    assert lines[("a",)] == 1
    assert ("x",) not in lines
    assert lines[("t", 0)] == 6
    assert lines[("t", 0, "k.1", 0)] == 8
    assert lines[("t", 0, "k.1", 1, 1)] == 10
    assert lines[("t", 0, "d", "e", "f")] == 12
    assert lines[("t", 0, "sub", "g")] == 14
