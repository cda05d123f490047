"""An HTTP proxy in front of a real InfluxDB that says what a healthy one will not say, and counts what it is asked."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Asked(NamedTuple):
    """One request: `path` without its query, the bucket that it names, and the lines of a write."""

    method: str
    path: str
    bucket: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")


class Said(NamedTuple):
    """An answer in place of the server's."""

    status: int
    message: str = "because a test says so"
    headers: dict[str, str] = {}  # noqa: RUF012


Rule = Callable[[Asked], Said | str | None]
"""What becomes of a request: an answer of ours, None for the server's, "lost" for the server's that does not arrive,
"cut" for a connection that ends before the server hears of it."""


class Between:
    """`url` leads to the server at `to`. `rule` may be changed at any time; `asked` holds every request so far."""

    def __init__(self, to: str) -> None:
        self.asked: list[Asked] = []
        self.rule: Rule = lambda _asked: None
        self._to = urlsplit(to)
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else an answer's second part waits 40 ms for word of its first

            def log_message(self, *_args: object) -> None: ...

            def do_GET(self) -> None:
                between._pass_on(self)

            def do_POST(self) -> None:
                between._pass_on(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_args: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == "/api/v2/write"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        text = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        path, _, query = request.path.partition("?")
        bucket = parse_qs(query).get("bucket", [""])[0]
        asked = Asked(request.command, path, bucket, text.decode(errors="replace"))
        self.asked.append(asked)
        said = self.rule(asked)
        if isinstance(said, Said):
            content = f'{{"code":"test","message":"{said.message}"}}'.encode()
            self._answer(request, said.status, said.headers, content)
            return
        if said == "cut":
            request.close_connection = True
            return
        connection = http.client.HTTPConnection(self._to.hostname, self._to.port, timeout=30)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if said == "lost":
            request.close_connection = True
            return
        kept = {"Content-Type", "Retry-After", "Date"}
        self._answer(request, answer.status, {n: v for n, v in answer.getheaders() if n in kept}, content)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes) -> None:
        request.send_response_only(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@contextmanager
def between(to: str) -> Iterator[Between]:
    proxy = Between(to)
    try:
        yield proxy
    finally:
        proxy.close()
