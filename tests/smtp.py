"""A mail server in a thread, as simple as RFC 5321 allows, that answers as it is told to."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MailBox:
    """What came, as (recipient, text), and the answers to `MAIL`, `RCPT`, `DATA` and `end`, that of the text.

    None as the answer to the end: the text is taken, and the line cut.
    """

    def __init__(self) -> None:
        self.came: list[tuple[str, str]] = []
        self.answers: dict[str, str | None] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}/?from=turns@example.org"


@contextmanager
def mail_box() -> Iterator[MailBox]:
    box = MailBox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            to = ""
            self._say("220 ready")
            while line := self.rfile.readline().decode():
                verb = line.split()[0].upper()
                if verb == "RCPT":
                    to = line.partition("<")[2].partition(">")[0]
                if verb == "DATA" and "DATA" not in box.answers:
                    self._say("354 go on")
                    text = b""
                    while not text.endswith(b"\r\n.\r\n"):
                        text += self.rfile.readline()
                    box.came.append((to, text.removesuffix(b".\r\n").decode()))
                    if (end := box.answers.get("end", "250 taken")) is None:
                        return
                    self._say(end)
                elif verb == "QUIT":
                    self._say(box.answers.get("QUIT") or "221 bye")
                    return
                else:
                    self._say(box.answers.get(verb) or "250 yes")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    server = Server(("127.0.0.1", 0), Handler)
    box.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
