"""Floor 4 · What is free: the answer, and its live stream."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from api import views
from api.answers import facts
from api.deps import Ctx, From, Near, site_of
from api.live import Live
from api.problems import Invalid, TooManyReaders, UnknownSite, responses
from api.schemas import Availability, Nearby

router = APIRouter(prefix="/api/v1", tags=["what is free"])

SiteFilter = Annotated[str | None, Query(description="Only this site", examples=["jn-01"])]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`snapshot` (as /nearby), then `change`; `heartbeat` carries service time",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: snapshot\nid: 5e1c9a1-7\ndata: {"sites":[],"stations":[]}\n\n'
                'event: heartbeat\ndata: {"now":"2026-11-22T13:00:00.000Z","speed":1.0,"believed":true}\n\n',
            }
        },
    }
}


@router.get("/availability", response_model=Availability, responses=responses(UnknownSite, Invalid))
def availability(
    request: Request,
    ctx: Ctx,
    walk: Near,
    site: SiteFilter = None,
    free: Annotated[bool, Query(description="Only sites with a connector that is AVAILABLE")] = False,
) -> Response:
    """Sites and their connectors, with what is free now. With `near`, the nearest first and only those within reach."""
    if site is not None:
        site_of(ctx, site)
    return facts(request, views.availability(ctx.picture(), walk, site, free))


@router.get(
    "/availability/stream",
    response_class=Response,
    responses=STREAM | responses(UnknownSite, Invalid, TooManyReaders),
)
async def stream(
    request: Request,
    ctx: Ctx,
    walk: Near,
    site: SiteFilter = None,
    last_event_id: Annotated[str | None, Header(description="A reader that comes back gets what it missed")] = None,
) -> Response:
    """Server-sent events: a snapshot, then the latest of each connector that changed, at most each 100 ms."""
    if site is not None:
        site_of(ctx, site)
    live: Live = request.app.state.live
    return live.open(walk, site, last_event_id)


@router.get("/nearby", response_model=Nearby, responses=responses(Invalid))
def nearby(request: Request, ctx: Ctx, walk: From) -> Response:
    """Plugs, seats and cool rooms within a walk, the nearest first."""
    return facts(request, views.nearby(ctx.picture(), walk))
