"""Floor 2 · Pictures of the board as the public answers."""

from __future__ import annotations

from api.board import Picture
from api.nearby import Walk, within
from api.schemas import (
    Availability,
    Nearby,
    OpeningWindow,
    SiteAnswer,
    SiteAvailability,
    SiteDetail,
    StationAnswer,
)
from ingest.assets import Inventory, Site


def sites_with_plugs(
    picture: Picture, walk: Walk | None = None, site: str | None = None, free: bool = False
) -> list[SiteAvailability]:
    """Sites that have a connector; only `site`, only within the walk, only with a free one, as asked."""
    chosen = picture.sites.values() if site is None else [here for here in picture.sites.values() if here.site == site]
    kept = [here for here in chosen if here.connectors and (not free or here.summary.available)]
    return within(walk, kept)


def availability(picture: Picture, walk: Walk | None, site: str | None, free: bool) -> Availability:
    return Availability(sites=sites_with_plugs(picture, walk, site, free))


def stations_near(picture: Picture, walk: Walk | None = None, site: str | None = None) -> list[StationAnswer]:
    """Stations; only of `site`, only within the walk, as asked."""
    return within(walk, [here for here in picture.stations.values() if site in (None, here.site)])


def nearby(picture: Picture, walk: Walk) -> Nearby:
    return Nearby(sites=sites_with_plugs(picture, walk), stations=stations_near(picture, walk))


def site_answer(picture: Picture, inventory: Inventory, site: Site) -> SiteAnswer:
    here = picture.sites[site.id]
    return SiteAnswer(
        site=site.id,
        name=here.name,
        mode=site.mode,
        lat=site.lat,
        lon=site.lon,
        section=site.section,
        compounds=list(site.compounds),
        limit_kw=site.limit_kw,
        opening=[
            OpeningWindow(days=window.days, start=clock_text(window.start_min), end=clock_text(window.end_min))
            for window in site.opening
        ],
        open_now=here.open_now,
        opens_at=here.opens_at,
        price=here.price,
        summary=here.summary,
        stations=[d.name for d in inventory.devices.values() if d.site == site.id and d.kind == "station"],
    )


def site_detail(picture: Picture, inventory: Inventory, site: Site) -> SiteDetail:
    whole = dict(site_answer(picture, inventory, site))
    return SiteDetail(**whole, connectors=picture.sites[site.id].connectors)


def clock_text(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
