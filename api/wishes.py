"""Floor 3 · From what a person asks for to what the desk is asked: where, how much, and at which power."""

from __future__ import annotations

from api.context import ApiContext
from api.geo import distance_m
from api.nearby import Walk
from api.schemas_turns import TurnWish
from api.turns import Turns
from scheduler.accounts import Vehicle
from scheduler.desk import Wish
from scheduler.ledger import UnknownHousehold
from scheduler.planning_request import kinds
from scheduler.rules import RuleSet
from scheduler.site_facts import most_w
from scheduler.turns import Turn

USUAL_KW = 7.0
INTO_THE_BATTERY = 0.9
"""Of what a plug gives; assumed, as the losses of an on-board charger and the battery's own together."""


class NotAsked(Exception):
    """What is missing or wrong in a wish, and where."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where, self.what = where, what


def wished(
    ctx: ApiContext, given: Turns, household: str, near: Walk | None, wish: TurnWish, times_ms: tuple[int, int]
) -> Wish:
    """Raises NotAsked, and UnknownHousehold. `times_ms` are the earliest start and when the car must leave."""
    car = next((one for one in given.accounts.vehicles(household) if one.id == wish.vehicle), None)
    site = wish.site if wish.site is not None else _nearest(ctx, given, household, near)
    max_kw = wish.max_kw or (_takes_kw(given, site, car) if car is not None else USUAL_KW)
    if max_kw <= 0:
        raise NotAsked("body.vehicle", "no plug of that site fits it")
    return Wish(
        site=site, household=household, vehicle=f"{household}/{wish.vehicle}", energy_kwh=_energy_kwh(wish, car),
        max_w=round(max_kw * 1_000), earliest_ms=times_ms[0], depart_by_ms=times_ms[1],
        room_kwh=_room_kwh(wish, car), flexible=wish.flexible,
    )  # fmt: skip


def _energy_kwh(wish: TurnWish, car: Vehicle | None) -> float:
    if wish.energy_kwh is not None:
        return wish.energy_kwh
    if wish.soc_now is None or wish.target_soc is None:
        raise NotAsked("body.energy_kwh", "say energy_kwh, or soc_now and target_soc")
    if car is None:
        raise NotAsked("body.vehicle", "soc_now says nothing of a vehicle that is not known: PUT /api/v1/me/vehicles")
    if wish.target_soc <= wish.soc_now:
        raise NotAsked("body.target_soc", "it must be above soc_now")
    return car.battery_kwh * (wish.target_soc - wish.soc_now) / 100 / INTO_THE_BATTERY


def _room_kwh(wish: TurnWish, car: Vehicle | None) -> float | None:
    """What its battery can take at the most."""
    if car is None:
        return None
    return car.battery_kwh * (100 - (wish.soc_now or 0.0)) / 100 / INTO_THE_BATTERY


def _takes_kw(given: Turns, site_id: str, car: Vehicle) -> float:
    """At the plugs of that site that fit it, the most that it takes."""
    site = given.desk.sites.site(site_id)
    types = {one.type for one in site.connectors} if site is not None else set()
    takes = {"GBT_AC": car.max_ac_kw, "GBT_DC": car.max_dc_kw}
    return max((takes[one] for one in types & set(car.connector_types)), default=0.0)


def takes_w(given: Turns, turn: Turn, site_id: str) -> int:
    """The most that a turn's car takes at another site; 0 where no plug of it fits.

    Where it was asked for with less than its car can take, that is what it takes there too.
    """
    here, there = (given.desk.sites.site(one) for one in (turn.site, site_id))
    if here is None or there is None:
        return turn.max_w
    vehicle = (turn.vehicle or "").removeprefix(f"{turn.household}/")
    car = next((one for one in given.accounts.vehicles(turn.household or "") if one.id == vehicle), None)
    if car is None:
        fits = {*kinds(turn.max_w, here.connectors)} & {*kinds(min(turn.max_w, most_w(there)), there.connectors)}
        return turn.max_w if fits else 0
    takes_here, takes_there = (round(_takes_kw(given, one, car) * 1_000) for one in (turn.site, site_id))
    stated_less = turn.max_w < min(takes_here, most_w(here))
    return min(turn.max_w, takes_there) if stated_less else takes_there


def _nearest(ctx: ApiContext, given: Turns, household: str, near: Walk | None) -> str:
    """The nearest site in reach where turns are given and the household may ask."""
    if near is None:
        raise NotAsked("body.site", "say a site, or near=lat,lon in the query")
    found = given.desk.ledger.household(household)
    if found is None:
        raise UnknownHousehold(household)
    there = []
    for site in ctx.inventory().sites.values():
        adopted = given.desk.ledger.rules(site.id) if given.desk.sites.site(site.id) is not None else None
        metres = distance_m(near.lat, near.lon, site.lat, site.lon)
        if adopted is not None and metres <= near.reach_m and _may_ask(found.compound, adopted.rules):
            there.append((metres, site.id))
    if not there:
        raise NotAsked("query.near", "no site within reach gives turns to your compound")
    return min(there)[1]


def _may_ask(compound: str, rules: RuleSet) -> bool:
    return not rules.compounds or compound in rules.compounds or rules.guests > 0
