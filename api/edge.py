"""Floor 3 · The outermost layer of HTTP: safe headers, small bodies, a count and a log line without the query."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import Failed, TooLarge, answer

log = logging.getLogger("lunchong.http")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MAX_BODY_BYTES = 64 * 1024
LOGGED_PATH = 200
SAFE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "geolocation=(self), camera=(), microphone=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]


class Edge:
    def __init__(self, app: ASGIApp, metrics: Metrics, mono_s: Callable[[], float]) -> None:
        self._app, self._metrics, self._mono_s = app, metrics, mono_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status, streams, read_bytes = self._mono_s(), 0, False, 0
        if head := scope["method"] == "HEAD":  # every GET answers it, so that a watchman may ask for little
            scope = {**scope, "method": "GET"}

        async def measured_receive() -> Message:
            nonlocal read_bytes
            message: Message = {"type": "http.disconnect"} if head and streams else await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > MAX_BODY_BYTES:
                raise HTTPException(TooLarge.status)
            return message

        async def safe_send(message: Message) -> None:
            nonlocal status, streams
            if head and message["type"] == "http.response.body":
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                streams = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
                message = {**message, "headers": [*message["headers"], *_RAW_HEADERS]}
            await send(message)
            if head:
                await send({"type": "http.response.body", "body": b""})

        try:
            await self._app(scope, measured_receive, safe_send)
        except Exception:
            log.exception("%s failed", quote(scope["path"]))
            if status:
                raise
            await answer(Request(scope), Failed())(scope, receive, safe_send)
        finally:
            method = "HEAD" if head else scope["method"]
            self._count(scope, method, status, None if streams else self._mono_s() - started_s)

    def _count(self, scope: Scope, said: str, status: int, took_s: float | None) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = said if said in METHODS else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        if took_s is not None:
            self._metrics.seconds.observe(took_s)
        log.info("%s %s %d", method, quote(scope["path"])[:LOGGED_PATH], status)
