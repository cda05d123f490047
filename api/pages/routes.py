"""Floor 4 · The addresses of the pages."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from msgspec import Struct, to_builtins
from pydantic import ValidationError
from starlette.types import Scope

from api import views
from api.context import ApiContext
from api.deps import MAX_WALK_MIN, POSITION, Ctx, client_address, device_of, site_of
from api.geo import snapped
from api.i18n import CATALOGUES, language_of
from api.nearby import Walk
from api.pages.model import oldest, overview, places, position
from api.pages.render import CACHE, LEAFLET, LEAFLET_AT, STATIC, render, render_macro, script_data
from api.pages.words import Speaker
from api.problems import Invalid, Problem, UnknownDevice
from api.routes.trouble import keep
from api.schemas_staff import TroubleReport
from ingest.assets import Inventory
from ingest.clock import rfc3339

router = APIRouter(include_in_schema=False)

HEADERS = {"Cache-Control": "no-cache", "Vary": "Accept-Language"}
STREAM = "/api/v1/availability/stream"
SPOKEN = re.compile(
    "age_|never|just_now|live|not_live|updated|lost|nearest|none_known|sites_full|status_|state_|now_kw|locat|map|demo_clock"
)
"""The words that the script needs."""


class Kept(StaticFiles):
    """Static files that a browser may keep for a day: their address changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = CACHE
        return response


class Asked(Struct, frozen=True, omit_defaults=True):
    """What the form on the first page asked for; it goes along from page to page."""

    place: str = ""
    near: str | None = None
    minutes: int = 15
    pace: Literal["normal", "slow"] = "normal"
    connector: str = ""


def mount_static(app: FastAPI) -> None:
    app.mount(LEAFLET_AT, Kept(directory=LEAFLET))
    app.mount("/static", Kept(directory=STATIC))


def speaker(request: Request, ctx: Ctx, lang: str | None = None) -> Speaker:
    language = language_of(lang, request.headers.get("accept-language", ""))
    return Speaker(language, ctx.service_ms(), ctx.zone)


def asked(place: str = "", near: str = "", minutes: str = "", pace: str = "", connector: str = "") -> Asked:
    """A page answers whatever its address says: what cannot be read is as if it were not there."""
    walk_min = int(minutes) if re.fullmatch("[0-9]{1,4}", minutes) else 15
    return Asked(
        place,
        near if re.fullmatch(POSITION, near) else None,
        min(max(walk_min, 1), MAX_WALK_MIN),
        "slow" if pace == "slow" else "normal",
        connector,
    )


Say = Annotated[Speaker, Depends(speaker)]
Form = Annotated[Asked, Depends(asked)]


@router.get("/")
def index(ctx: Ctx, say: Say, form: Form) -> HTMLResponse:
    inventory, picture = ctx.inventory(), ctx.picture()
    here = position(inventory, form.place) or _near(form.near)
    walk = Walk(*here, form.minutes, form.pace == "slow") if here else None
    query = f"?near={here[0]},{here[1]}&minutes={form.minutes}&pace={form.pace}" if here else ""
    return _page(
        ctx,
        say,
        form,
        "index.html",
        path="/",
        view=overview(picture, walk),
        places=places(inventory),
        choices=sorted({5, 10, 15, 30, form.minutes}),
        oldest=oldest,
        page_data=_script(ctx, say, STREAM + query, _map(inventory, say, walk)),
    )


@router.get("/sites/{site}")
def site_page(
    ctx: Ctx, say: Say, form: Form, site_id: Annotated[str, Path(alias="site")], told: str = ""
) -> HTMLResponse:
    inventory, picture = ctx.inventory(), ctx.picture()
    site = inventory.sites.get(site_id)
    if site is None:
        return _page(ctx, say, form, "absent.html", 404, path="/")
    return _page(
        ctx,
        say,
        form,
        "site.html",
        path=f"/sites/{site.id}",
        told=told if told == "thanks" or f"trouble_why_{told}" in CATALOGUES["zh"] else "",
        site=views.site_detail(picture, inventory, site),
        stations=views.stations_near(picture, site=site.id),
        compounds=[
            inventory.compounds[compound].name.in_language(say.language)
            for compound in site.compounds
            if compound in inventory.compounds
        ],
        page_data=_script(ctx, say, f"{STREAM}?site={site.id}", None),
    )


@router.post("/sites/{site}")
async def report(request: Request, ctx: Ctx, say: Say, site: str) -> RedirectResponse:
    """The form at the end of a site's page: it works without a script."""
    back = f"/sites/{site_of(ctx, site).id}?lang={say.language}&told="
    said = parse_qs((await request.body()).decode(errors="replace"))
    try:
        told = TroubleReport.model_validate({name: values[0] for name, values in said.items()})
        keep(ctx, request.app.state.trouble_limits, client_address(request, ctx), told)
    except ValidationError:
        return RedirectResponse(f"{back}{Invalid.slug}", 303)
    except Problem as problem:
        return RedirectResponse(f"{back}{problem.slug}", 303)
    return RedirectResponse(f"{back}thanks", 303)


@router.get("/sites/{site}/stations/{device}")
def station_part(ctx: Ctx, say: Say, site: str, device: str) -> HTMLResponse:
    """The body of a station's card, for the script."""
    found = device_of(ctx, site, device)
    if found.kind != "station":
        raise UnknownDevice(f"{found.name} is a pile, not a station.")
    return HTMLResponse(
        render_macro("parts.html", "station_body", say, ctx.picture().stations[found.name]), headers=HEADERS
    )


def _page(
    ctx: ApiContext, say: Speaker, form: Asked, template: str, status: int = 200, **values: object
) -> HTMLResponse:
    kept = {name: value for name, value in to_builtins(form).items() if name != "connector"}
    body = render(template, say=say, asked=form, kept=kept, believed=ctx.board.believed, speed=ctx.speed(), **values)
    return HTMLResponse(body, status, headers=HEADERS | {"Content-Language": say.tag})


def _near(text: str | None) -> tuple[float, float] | None:
    lat, lon = (float(part) for part in text.split(",")) if text else (91.0, 0.0)
    return snapped(lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None


def _script(ctx: ApiContext, say: Speaker, stream: str, chart: dict[str, object] | None) -> str:
    now = ctx.now()
    return script_data(
        {
            "stream": stream,
            "language": say.language,
            "now": rfc3339(now.service_ms),
            "speed": now.speed,
            "zone": str(ctx.zone),
            "map": chart,
            "words": {key: text for key, text in CATALOGUES[say.language].items() if SPOKEN.match(key)},
        }
    )


def _map(inventory: Inventory, say: Speaker, walk: Walk | None) -> dict[str, object]:
    return {
        "leaflet": LEAFLET_AT,
        "you": (walk.lat, walk.lon) if walk else None,
        "minutes": walk.minutes if walk else None,
        "reach_m": walk.reach_m if walk else None,
        "sites": [[s.id, s.lat, s.lon, s.name.in_language(say.language)] for s in inventory.sites.values()],
        "compounds": [[c.lat, c.lon, c.name.in_language(say.language)] for c in inventory.compounds.values()],
    }
