"""Floor 4 · The HTTP application: routes, pages, the live stream, one way to say what went wrong."""

from __future__ import annotations

from fastapi import FastAPI

from api.context import ApiContext

__all__ = ["ApiContext", "create_app"]


def create_app(ctx: ApiContext) -> FastAPI:
    """The whole API over what `ctx` hands in. Serve it without an access log of its own: query strings stay private."""
    app = FastAPI(title="Lunchong", version=ctx.version, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    app.state.ctx = ctx
    return app
