"""The demo's place: as big, as mixed and as short of power as the design says."""

from __future__ import annotations

from collections import Counter
from math import cos, radians

import pytest

from ingest.inventory import dump, load
from simulators.scenarios.neighbourhood import neighbourhood

PLACE = neighbourhood()
PILES = [device for device in PLACE.devices.values() if device.kind == "pile"]
STATIONS = [device for device in PLACE.devices.values() if device.kind == "station"]
CONNECTORS = [connector for pile in PILES for connector in pile.connectors]


def test_the_sub_districts_are_those_of_the_design():
    assert len(PLACE.workstations) == 2
    assert len(PLACE.sections) == 16
    assert {len(section.roles) for section in PLACE.sections.values()} == {5}
    assert Counter(section.workstation for section in PLACE.sections.values()) == {"east": 8, "west": 8}
    assert len(PLACE.compounds) == 92
    assert len(PLACE.committees) == 82
    assert sum(compound.committee is None for compound in PLACE.compounds.values()) == 10


def test_piles_stations_and_sites_are_enough_and_of_every_kind():
    assert len(PILES) == 120
    assert len(CONNECTORS) >= 160
    assert len(STATIONS) == 10
    assert {station.placement for station in STATIONS} == {"outdoor", "indoor"}
    modes = Counter(site.mode for site in PLACE.sites.values())
    assert modes["temporary"] + modes["in_turn"] >= 40
    assert min(modes.values()) >= 10
    names = [site.name.en for site in PLACE.sites.values()]
    assert any("Hui Zhi Nuan Xin Yuan" in name for name in names)
    assert any("Xinxin Service Station" in name for name in names)


def test_powers_are_mixed_as_the_street_has_them():
    kw_of_piles = Counter(pile.connectors[0].max_kw for pile in PILES if pile.connectors[0].type == "GBT_AC")
    assert kw_of_piles == {3.5: 12, 7.0: 92, 21.0: 12}
    assert sum(connector.type == "GBT_DC" for connector in CONNECTORS) == 4


def test_every_charging_site_has_less_power_than_plugs_and_enough_to_fall_back_on():
    for site in PLACE.sites.values():
        if site.mode != "station":
            here = [pile for pile in PILES if pile.site == site.id]
            assert site.limit_kw < sum(connector.max_kw for pile in here for connector in pile.connectors)
            assert site.limit_kw >= sum(pile.fallback_kw for pile in here)


def test_all_of_it_lies_within_one_and_a_half_square_kilometres():
    places = [(site.lat, site.lon) for site in PLACE.sites.values()]
    places += [(compound.lat, compound.lon) for compound in PLACE.compounds.values()]
    lats, lons = zip(*places, strict=True)
    north_m = (max(lats) - min(lats)) * 111_195
    east_m = (max(lons) - min(lons)) * 111_195 * cos(radians(31.22))
    assert north_m * east_m <= 1_500_000


def test_no_two_compounds_or_sites_share_a_name():
    for things in (PLACE.compounds, PLACE.sites, PLACE.sections):
        assert len({thing.name.zh for thing in things.values()}) == len(things)
        assert len({thing.name.en for thing in things.values()}) == len(things)


def test_the_place_is_an_inventory_without_mistakes_and_the_same_for_the_same_seed():
    assert load(dump(PLACE)) == PLACE
    assert neighbourhood() == PLACE
    assert neighbourhood(seed=2) != PLACE


@pytest.mark.parametrize(("piles", "stations"), [(0, 0), (1, 0), (0, 1), (7, 3), (2_000, 40)])
def test_a_smaller_or_larger_place_has_as_many_devices_as_asked_for(piles, stations):
    place = neighbourhood(piles=piles, stations=stations)
    assert Counter(device.kind for device in place.devices.values()) == Counter(pile=piles, station=stations)
    assert load(dump(place)) == place
