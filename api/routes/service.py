"""Floor 4 · The service about itself: alive, ready, measured, described."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import Field

from api.deps import Ctx
from api.metrics import CONTENT_TYPE, Metrics
from api.pages.reference import problem_page, reference_page
from api.problems import ALL, NotFound, NotReady, responses
from api.schemas import Answer
from ingest.store import StoreUnavailable

router = APIRouter(tags=["service"])


class Health(Answer):
    status: str = Field(examples=["ok"])
    version: str


class Readiness(Answer):
    status: str = Field(examples=["ready"])


@router.get("/healthz")
def healthz(ctx: Ctx) -> Health:
    """The process answers."""
    return Health(status="ok", version=ctx.version)


@router.get("/readyz", responses=responses(NotReady))
def readyz(ctx: Ctx) -> Readiness:
    """The bus is connected, ingest is online and accepts, the store answers; else 503 with what is missing."""
    missing = [] if ctx.board.linked else ["the bus is not connected"]
    ingest = ctx.board.notice("ingest")
    if ingest is None or not ingest.online:
        missing.append("ingest is offline")
    elif ingest.accepting is False:
        missing.append("ingest does not accept telemetry")
    try:
        ctx.store.sessions(start_ms=ctx.service_ms(), limit=1)  # of nothing, but asked
    except StoreUnavailable as away:
        missing.append(f"the store of facts is away: {away}")
    if missing:
        raise NotReady("; ".join(missing), headers={"Retry-After": "2"})
    return Readiness(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """For Prometheus. Names are listed in docs/metrics.md."""
    counted: Metrics = request.app.state.metrics
    return Response(counted.text(), media_type=CONTENT_TYPE)


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(reference_page(request.app.openapi()))


@router.get("/problems/{slug}", response_class=HTMLResponse, include_in_schema=False)
def problem(slug: str) -> HTMLResponse:
    for kind in ALL:
        if kind.slug == slug:
            return HTMLResponse(problem_page(kind))
    raise NotFound
