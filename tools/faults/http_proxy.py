"""A server of ours in front of InfluxDB, which says what a healthy InfluxDB will not: no, later, or nothing at all."""

from __future__ import annotations

import gzip
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

WRITE = "/api/v2/write"
OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "expect"}
ANSWER_WITHIN_S = 60.0


class Request(NamedTuple):
    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    """As it came."""

    @property
    def is_write(self) -> bool:
        return self.path.startswith(WRITE)

    def text(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    def with_text(self, text: bytes) -> Request:
        headers = {name: value for name, value in self.headers.items() if name != "content-encoding"}
        return self._replace(headers=headers, body=text)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Seen(NamedTuple):
    """`status` is None where the client got no answer."""

    mono_s: float
    path: str
    status: int | None
    sent: int
    """Bytes of the request's body."""

    @property
    def is_write(self) -> bool:
        return self.path.startswith(WRITE)

    @property
    def bucket(self) -> str:
        return bucket_of(self.path)


def bucket_of(path: str) -> str:
    return parse_qs(urlsplit(path).query).get("bucket", [""])[0]


Script = Callable[[Request], "Answer | Request | Literal['lost'] | None"]
"""What becomes of a request: this answer at once; another request passed on in its place; passed on, and the answer is
lost; or None, passed on. Called from several threads."""


class HttpProxy:
    """Passes requests on, as `script` wants. Use as a context manager."""

    def __init__(self, url: str) -> None:
        self.script: Script = lambda _request: None
        self.on_done: Callable[[Request, int], None] = lambda _request, _status: None
        """Called with each request that the server answered, and the status, before the client hears of it."""
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._to = urlsplit(url)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def seen(self, since_s: float = 0.0) -> list[Seen]:
        """Requests since then, oldest first."""
        with self._lock:
            return [one for one in self._seen if one.mono_s >= since_s]

    def note(self, one: Seen) -> None:
        with self._lock:
            self._seen.append(one)

    def line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._to.hostname or "127.0.0.1", self._to.port, timeout=ANSWER_WITHIN_S)


class _Server(ThreadingHTTPServer):
    proxy: HttpProxy
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one of its own to the server."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120.0

    def setup(self) -> None:
        super().setup()
        self._line = self.server.proxy.line()

    def finish(self) -> None:
        self._line.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *_said: object) -> None:
        """Rows print what matters."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._do(Request(self.command, self.path, headers, body))

    do_POST = do_DELETE = do_PATCH = do_PUT = do_HEAD = do_GET  # noqa: N815 - the server's names for them

    def _do(self, request: Request) -> None:
        began_s, verdict = time.monotonic(), self.server.proxy.script(request)
        if isinstance(verdict, Answer):
            answer: Answer | None = verdict
        else:
            answer = self._passed_on(verdict if isinstance(verdict, Request) else request)
            if verdict == "lost":
                answer = None
        status = answer.status if answer else None
        self.server.proxy.note(Seen(began_s, request.path, status, len(request.body)))
        if answer is None:
            self._hang_up()
        else:
            self._answer(answer)

    def _passed_on(self, request: Request) -> Answer | None:
        """The server's answer; None where it gives none."""
        headers = {name: value for name, value in request.headers.items() if name not in OF_ONE_HOP}
        for again in (False, True):  # an idle connection may have been closed meanwhile
            fresh = self._line.sock is None
            try:
                self._line.request(request.method, request.path, request.body, headers)
                answer = self._line.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._line.close()
                if fresh or again or not isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                    return None
            else:
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in OF_ONE_HOP}
                if answer.chunked:
                    kept["Transfer-Encoding"] = "chunked"
                self.server.proxy.on_done(request, answer.status)
                return Answer(answer.status, kept, body)
        return None

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        chunked = "Transfer-Encoding" in answer.headers
        if answer.status != http.HTTPStatus.NO_CONTENT and not chunked:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if chunked:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(answer.body), answer.body) if answer.body else b"")
            self.wfile.write(b"0\r\n\r\n")
        elif self.command != "HEAD":
            self.wfile.write(answer.body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
