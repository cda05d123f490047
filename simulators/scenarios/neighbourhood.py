"""Floor 0 · An invented neighbourhood of 1.5 km² in central Shanghai, as an inventory drawn from a seed.

Two workstations, 16 sections with a head and four staff roles each, 92 compounds, 82 owners' committees (ten compounds
are spoken for by their residents' committee), and as many piles and stations as asked for. Streets, compounds and
centres are made up. Powers are mixed 10/80/10 of 3.5, 7 and 21 kW; where a site gets 20 to 80 kW from its transformer,
and how many bays a site has, is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from ingest.assets import (
    Committee,
    Compound,
    ConnectorSpec,
    Device,
    Inventory,
    Name,
    Role,
    Section,
    Site,
    Window,
    Workstation,
)
from simulators.scenarios.invented_names import COMPOUND_KINDS, Word, named, stems

SOUTH, WEST = 31.2165, 121.4480
LAT_SPAN, LON_SPAN = 0.0110, 0.01285
"""1 224 m by 1 223 m."""

COMPOUNDS, COMMITTEES, SECTIONS_A_SIDE = 92, 82, 4
PILES_A_SITE = 3
DUAL_SHARE = 0.4
"""Piles with two connectors; the rest have one."""
DC_SHARE, DC_KW = 0.03, 30.0
FALLBACK_KW_A_CONNECTOR = 1.4
"""The least that a car takes from an AC pile: 6 A on one phase."""

LONGEST_IN_COMPOUND_MIN, LONGEST_IN_STREET_MIN = 480, 240
"""Assumed: in a compound a car may charge over night, a street bay is for an evening."""
ROLES = (
    Role("head", Name("段长", "Section head")),
    Role("charging", Name("充电管理员", "Charging steward")),
    Role("safety", Name("安全巡查员", "Safety patrol")),
    Role("order", Name("车位秩序员", "Bay steward")),
    Role("service", Name("驿站服务员", "Station host")),
)
AMENITIES = ("drinking_water", "microwave", "toilet", "first_aid", "phone_charging", "books", "umbrellas", "wifi")
_COMPOUND_BAYS = (Window("workday", 0, 510), Window("workday", 930, 1440), Window("restday", 0, 1440))
_CENTRE_HOURS = (Window("workday", 480, 1260), Window("restday", 540, 1140))

Place = tuple[float, float]
T = TypeVar("T")


def neighbourhood(*, piles: int = 120, stations: int = 10, seed: int = 1) -> Inventory:
    """The inventory of the invented place; equal arguments make an equal one."""
    rng = Random(seed)
    stem = stems(rng)
    workstations = _by_id([Workstation(side, Name(f"{zh}联动工作站", f"{en} Linkage Workstation")) for side, zh, en in
                           (("east", "东片", "East"), ("west", "西片", "West"))])  # fmt: skip
    streets = [next(stem) for _ in range(SECTIONS_A_SIDE**2)]
    sections = _by_id([_section(number, street) for number, street in enumerate(streets)])
    compounds = [_compound(rng, number, place, next(stem)) for number, place in enumerate(_scattered(rng, COMPOUNDS))]
    committees = [
        Committee(str(one.committee), Name(f"{one.name.zh}业主委员会", f"Owners' Committee of {one.name.en}"))
        for one in compounds
        if one.committee
    ]
    sites = list(_charging_sites(rng, math.ceil(piles / PILES_A_SITE), compounds, streets))
    devices = list(_piles(rng, piles, sites))
    sites = [_as_power_group(rng, site, devices) for site in sites]
    for number, place in enumerate(_scattered(rng, stations)):
        site, station = _station(rng, number, place, streets[_section_of(place)])
        sites.append(site)
        devices.append(station)
    return Inventory(
        workstations=workstations,
        sections=sections,
        committees=_by_id(committees),
        compounds=_by_id(compounds),
        sites=_by_id(sites),
        devices={device.name: device for device in devices},
    )


def _by_id(things: Sequence[T]) -> dict[str, T]:
    return {thing.id: thing for thing in things}  # type: ignore[attr-defined]


def _scattered(rng: Random, count: int) -> list[Place]:
    """So many places, spread evenly with some disorder, in a drawn order."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across) if count else 0
    cells = [(row, column) for row in range(down) for column in range(across)]
    rng.shuffle(cells)
    return [
        _at((row + rng.uniform(0.15, 0.85)) / down, (column + rng.uniform(0.15, 0.85)) / across)
        for row, column in cells[:count]
    ]


def _at(north: float, east: float) -> Place:
    """The place at these shares of the way from the south-western corner, to about a metre."""
    return round(SOUTH + min(max(north, 0.0), 1.0) * LAT_SPAN, 5), round(WEST + min(max(east, 0.0), 1.0) * LON_SPAN, 5)


def _near(rng: Random, place: Place, share: float) -> Place:
    north, east = (place[0] - SOUTH) / LAT_SPAN, (place[1] - WEST) / LON_SPAN
    return _at(north + rng.uniform(-share, share), east + rng.uniform(-share, share))


def _section_of(place: Place) -> int:
    def cell(share: float) -> int:
        return min(SECTIONS_A_SIDE - 1, int(share * SECTIONS_A_SIDE))

    return cell((place[0] - SOUTH) / LAT_SPAN) * SECTIONS_A_SIDE + cell((place[1] - WEST) / LON_SPAN)


def _section(number: int, street: Word) -> Section:
    side = "west" if number % SECTIONS_A_SIDE < SECTIONS_A_SIDE // 2 else "east"
    return Section(f"s-{number + 1:02d}", named(street, "路路段", "Road Section"), side, ROLES)


def _compound(rng: Random, number: int, place: Place, stem: Word) -> Compound:
    zh, en = rng.choice(COMPOUND_KINDS)
    committee = f"c-{number + 1:02d}" if number < COMMITTEES else None
    households = min(900, max(60, round(rng.lognormvariate(math.log(260), 0.5))))
    return Compound(
        f"k-{number + 1:02d}", named(stem, zh, en), f"s-{_section_of(place) + 1:02d}", *place, households, committee
    )


def _charging_sites(rng: Random, count: int, compounds: list[Compound], streets: list[Word]) -> Iterator[Site]:
    """Six of ten inside a compound, for it alone; the others on the street, shared by the compounds around."""
    inside = round(count * 0.6)
    homes = rng.sample(compounds, len(compounds))
    for number in range(inside):
        home = homes[number % len(homes)]
        bays = "" if number < len(homes) else str(number // len(homes) + 1)
        lat, lon = _near(rng, (home.lat, home.lon), 0.015)
        yield Site(
            id=f"lot-{number + 1:02d}",
            name=Name(f"{home.name.zh}临停共享车位{bays}", f"{home.name.en} shared bays {bays}".strip()),
            lat=lat,
            lon=lon,
            mode="temporary",
            section=home.section,
            compounds=(home.id,),
            opening=_COMPOUND_BAYS if rng.random() < 0.5 else (),
            initial_rules={"longest_turn_min": LONGEST_IN_COMPOUND_MIN},
        )
    for number, place in enumerate(_scattered(rng, count - inside)):
        section = _section_of(place)
        around = sorted(compounds, key=lambda one: math.dist((one.lat, one.lon * 0.855), (place[0], place[1] * 0.855)))
        yield Site(
            id=f"bay-{number + 1:02d}",
            name=named(streets[section], f"路轮充点{number + 1}", f"Road in-turn bays {number + 1}"),
            lat=place[0],
            lon=place[1],
            mode="in_turn",
            section=f"s-{section + 1:02d}",
            compounds=tuple(one.id for one in around[: rng.randint(3, 5)]),
            initial_rules={"longest_turn_min": LONGEST_IN_STREET_MIN},
        )


def _piles(rng: Random, count: int, sites: list[Site]) -> Iterator[Device]:
    """Shares of powers and of piles with two connectors are met exactly, not on average."""
    direct = round(count * DC_SHARE)
    alternating = count - direct
    powers_kw = [3.5] * round(alternating * 0.1) + [21.0] * round(alternating * 0.1)
    powers_kw += [7.0] * (alternating - len(powers_kw))
    rng.shuffle(powers_kw)
    dual = [number < math.ceil(count * DUAL_SHARE) for number in range(alternating)]
    rng.shuffle(dual)
    specs = [
        tuple(ConnectorSpec(no, "GBT_AC", kw) for no in ((1, 2) if two else (1,)))
        for kw, two in zip(powers_kw, dual, strict=True)
    ]
    specs += [(ConnectorSpec(1, "GBT_DC", DC_KW),)] * direct
    rng.shuffle(specs)
    for number, connectors in enumerate(specs):
        yield Device(
            site=sites[number % len(sites)].id,
            id=f"pile-{number + 1:04d}",
            kind="pile",
            connectors=connectors,
            fallback_kw=round(FALLBACK_KW_A_CONNECTOR * len(connectors), 1),
            certificate=f"DEMO-{rng.randrange(10**6):06d}",
            inspection_due=f"2027-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        )


def _as_power_group(rng: Random, site: Site, devices: list[Device]) -> Site:
    """The same site with a limit that its connectors together pass."""
    together_kw = sum(plug.max_kw for device in devices if device.site == site.id for plug in device.connectors)
    share_kw = together_kw * rng.uniform(0.45, 0.75)
    limit_kw = min(80.0, max(20.0, share_kw) if together_kw > 22.0 else share_kw)
    values = {field: getattr(site, field) for field in site.__struct_fields__}
    return Site(**{**values, "limit_kw": round(limit_kw, 1)})


def _station(rng: Random, number: int, place: Place, street: Word) -> tuple[Site, Device]:
    outdoor = number % 5 < 2
    host = named(street, "路党群服务中心", "Road Party-masses Service Center")
    name = (
        Name(f"慧治·暖“新”苑（{street[0]}路）", f"Hui Zhi Nuan Xin Yuan ({street[1]} Road)")
        if outdoor
        else Name(f"新心服务站（{host.zh}）", f"Xinxin Service Station ({host.en})")
    )
    site = Site(
        id=f"xin-{number + 1:02d}",
        name=name,
        lat=place[0],
        lon=place[1],
        mode="station",
        section=f"s-{_section_of(place) + 1:02d}",
        opening=() if outdoor else _CENTRE_HOURS,
    )
    station = Device(
        site=site.id,
        id="station-01",
        kind="station",
        placement="outdoor" if outdoor else "indoor",
        seats=rng.randint(6, 12) if outdoor else rng.randint(16, 40),
        reading_seats=rng.choice((0, 4)) if outdoor else rng.randint(4, 12),
        outlets=rng.randint(4, 12),
        amenities=tuple(sorted(rng.sample(AMENITIES, rng.randint(4, 7)))),
    )
    return site, station
