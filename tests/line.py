"""A line between a client and a broker that a test may cut, or make swallow what is sent."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from urllib.parse import urlsplit


class Line:
    """Forwards a free port on loopback to `url`; `line.url` is what the client is given."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._target = (address.hostname or "", address.port or 1883)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"{address.scheme}://127.0.0.1:{self._server.getsockname()[1]}"
        self._silent = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._ended = threading.Event()
        self._thread.start()

    def cut(self) -> None:
        """End every connection that stands; new ones may be made."""
        with self._lock:
            for end in list(self._pairs):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def go_silent(self) -> None:
        """From now on nothing passes and nothing is said, as when a cable is pulled."""
        self._silent = True

    def speak_again(self) -> None:
        """What is sent from now on passes; what was swallowed is lost, so those connections are ended."""
        self.cut()
        self._silent = False

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            for end in [*self._pairs, self._server]:
                end.close()
        self._selector.close()

    def _forward(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.02):
                end = key.fileobj
                assert isinstance(end, socket.socket)
                if end is self._server:
                    self._join()
                elif end in self._pairs:  # else its other end was found closed a moment ago
                    self._pass_on(end)

    def _join(self) -> None:
        client = self._server.accept()[0]
        try:
            broker = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        with self._lock:
            self._pairs |= {client: broker, broker: client}
        for end in (client, broker):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        other = self._pairs[end]
        try:
            data = end.recv(65536)
            if data and self._silent:
                return
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        with self._lock:
            for one in (end, other):
                self._selector.unregister(one)
                del self._pairs[one]
                one.close()
