"""Floor 4 · The sites and their rules."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api import views
from api.answers import facts
from api.deps import Ctx, site_of
from api.problems import NoRules, UnknownSite, responses
from api.schemas import Rules, SiteDetail, Sites

router = APIRouter(prefix="/api/v1/sites", tags=["places"])


@router.get("", response_model=Sites)
def sites(request: Request, ctx: Ctx) -> Response:
    """Every site, with its counts."""
    inventory, picture = ctx.inventory(), ctx.picture()
    known = [site for site in inventory.sites.values() if site.id in picture.sites]
    return facts(request, Sites(sites=[views.site_answer(picture, inventory, site) for site in known]))


@router.get("/{site}", response_model=SiteDetail, responses=responses(UnknownSite))
def site(request: Request, ctx: Ctx, site: str) -> Response:
    """One site with its connectors."""
    inventory = ctx.inventory()
    return facts(request, views.site_detail(ctx.picture(), inventory, site_of(ctx, site)))


@router.get("/{site}/rules", response_model=Rules, responses=responses(UnknownSite, NoRules))
def rules(request: Request, ctx: Ctx, site: str) -> Response:
    """How its bays are shared: the initial rules of the inventory are version 1."""
    found = site_of(ctx, site)
    if not found.initial_rules:
        raise NoRules(f"No rules are known for {site}.")
    return facts(request, Rules(site=site, version=1, rules=found.initial_rules))
