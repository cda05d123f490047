"""HTTP in a thread of its own: the public application on a port, the office on the socket in the data folder."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lunchong.control import answer
from lunchong.errors import UserError
from lunchong.office import Office

GRACE_S = 1
"""Open streams get this long at the end."""
START_S = 15.0


def bound_port(host: str, port: int) -> socket.socket:
    """A listening place for HTTP, taken before anything else starts. Raises UserError in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    line = socket.socket(family, socket.SOCK_STREAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        line.bind((host, port))
        line.listen(socket.SOMAXCONN)
    except OSError as error:
        line.close()
        if error.errno == errno.EADDRINUSE:
            hint = "stop the other program, or choose another with LUNCHONG_HTTP_PORT or the demo's --port"
            raise UserError(f"port {port} on {host} is in use: {hint}") from None
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return line


def office_app(office: Office) -> Starlette:
    async def call(request: Request) -> Response:
        body = await request.body()
        status, said = await run_in_threadpool(answer, office, request.path_params["method"], body)
        return Response(said, status, media_type="application/json")

    return Starlette(routes=[Route("/{method}", call, methods=["POST"])])


class Web:
    """Serves until `stop`; `on_end` is called when serving ended by itself."""

    def __init__(self, served: list[tuple[ASGIApp, socket.socket]], on_end: Callable[[], None]) -> None:
        self._served = [(_Server(app), line) for app, line in served]
        self._on_end = on_end
        self._stopping = False
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()
        if not self._up.wait(START_S) or not self._thread.is_alive():
            raise UserError("HTTP did not start; the log says why")

    def stop(self) -> None:
        self._stopping = True
        for server, _ in self._served:
            server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(GRACE_S + 2)
        for _, line in self._served:
            line.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._up.set()
            if not self._stopping:
                self._on_end()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            for server, line in self._served:
                group.create_task(server.serve([line]))
            while not all(server.started or server.should_exit for server, _ in self._served):  # noqa: ASYNC110 - uvicorn offers no event
                await asyncio.sleep(0.005)
            self._up.set()


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # query strings stay private
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
