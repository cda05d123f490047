"""Floor 4 · The HTTP application: routes, pages, the live stream, one way to say what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems
from api.context import ApiContext
from api.edge import Edge
from api.live import Live
from api.metrics import Metrics
from api.pages import routes as pages
from api.pages import staff as staff_pages
from api.problems import ProblemAnswer
from api.routes import availability, login, me, moving, service, sites, staff, stations, trouble, turns

__all__ = ["ApiContext", "create_app"]

DESCRIPTION = """What is free, how far it is, and how old that is; and the staff's view of devices and sessions.
Times are RFC 3339 in service time. Errors are application/problem+json (RFC 9457) with a stable `type`.
Public answers carry an ETag: equal facts are equal bytes."""


def create_app(ctx: ApiContext) -> FastAPI:
    """The whole API over what `ctx` hands in. Serve it without an access log of its own: query strings stay private."""
    live = Live(ctx)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(live.run())
        yield
        live.close()
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    app = FastAPI(
        title="Lunchong",
        version=ctx.version,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.ctx, app.state.live, app.state.metrics = ctx, live, Metrics(ctx, live)
    app.state.trouble_limits, app.state.login_limits = trouble.Limits(), login.Limits()
    for resource in (
        availability,
        sites,
        stations,
        trouble,
        login,
        me,
        staff,
        turns,
        moving,
        service,
        pages,
        staff_pages,
    ):
        app.include_router(resource.router)
    pages.mount_static(app)
    problems.install(app)
    app.add_middleware(Edge, metrics=app.state.metrics, mono_s=ctx.mono_s)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Let /openapi.json name the one schema of errors that every route may answer with."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            problem = ProblemAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = schema["components"]["schemas"]
            for operation in (operation for item in schema["paths"].values() for operation in item.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]  # any text is a good name in a path: an unknown one is a 404
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            schemas.update(problem.pop("$defs"), ProblemAnswer=problem)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
