"""A line of ours between two processes: it can be slowed, cut, or fall silent as when all packets are dropped."""

from __future__ import annotations

import math
import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Literal, Self
from urllib.parse import urlsplit

Mode = Literal["passing", "cut", "silent"]

READ_BYTES = 256 * 1024
MOST_HELD_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 0.02


class TcpProxy:
    """Passes bytes on in a thread of its own. Use as a context manager.

    `cut` resets every connection, and each new one. `fall_silent` passes nothing on, neither bytes nor that an end
    hung up: whoever only waits for an answer waits for ever. What was not passed on is passed on after `heal`, as TCP
    would send it again.
    """

    def __init__(self, url: str) -> None:
        """`url` is where the lines lead to; `self.url` is the same, through us."""
        address = urlsplit(url)
        self._to = address.hostname or "127.0.0.1", address.port or 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setblocking(False)
        self.url = f"{address.scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.delay_s = 0.0
        """How long each piece is on its way, in either direction."""
        self.hung_up_s: list[float] = []
        """When a client hung up while the line was silent, by the monotonic clock."""
        self._mode: Mode = "passing"
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        self._thread.join()
        for pair in self._pairs:
            pair.reset()
        self._listener.close()

    @property
    def lines(self) -> int:
        """Connections whose client has not hung up."""
        return sum(not pair.left for pair in self._pairs)

    def cut(self) -> None:
        self._turn("cut")

    def fall_silent(self) -> None:
        self.hung_up_s = []
        self._turn("silent")

    def heal(self) -> None:
        self._turn("passing")

    def _turn(self, mode: Mode) -> None:
        with self._lock:
            self._mode = mode

    def _run(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                mode = self._mode
                if mode != "silent":  # what comes meanwhile waits to be welcomed
                    self._accept()
                if mode == "cut":
                    for pair in self._pairs:
                        pair.reset()
                    self._pairs = []
            self._pass_on(silent=mode == "silent")

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                client, _ = self._listener.accept()
                if self._mode == "cut" or _left(client):
                    _reset(client)
                    continue
                try:
                    server = socket.create_connection(self._to, timeout=5)
                except OSError:
                    _reset(client)
                else:
                    self._pairs.append(_Pair(client, server))

    def _pass_on(self, *, silent: bool) -> None:
        poll = select.poll()
        if not silent:
            poll.register(self._listener, select.POLLIN)
        for pair in self._pairs:
            for end, mask in pair.wanted(time.monotonic(), silent=silent).items():
                poll.register(end, mask)
        due_s = min((pair.next_due_s() for pair in self._pairs), default=math.inf)
        wait_s = min(LOOK_EVERY_S, max(0.001, due_s - time.monotonic()))
        ready = dict(poll.poll((LOOK_EVERY_S if silent else wait_s) * 1000))
        now_s = time.monotonic()
        for pair in list(self._pairs):
            if silent:
                if ready.get(pair.client.fileno()) and pair.hung_up(now_s):
                    self.hung_up_s.append(now_s)
            elif pair.left or not pair.pass_on(ready, now_s, self.delay_s):
                pair.reset()
                self._pairs.remove(pair)


class _Pair:
    """A client's connection and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client, self.server = client, server
        self.ways = _Way(client, server), _Way(server, client)
        self.left = False
        """The client hung up, and the server was not told."""

    def wanted(self, now_s: float, *, silent: bool) -> dict[socket.socket, int]:
        """What to wait for. In silence only what the client sends, and whether it hangs up."""
        up, down = self.ways
        if silent:
            return {} if self.left else {self.client: up.wants_read() | select.POLLRDHUP}
        return {
            self.client: up.wants_read() | down.wants_write(now_s),
            self.server: down.wants_read() | up.wants_write(now_s),
        }

    def hung_up(self, now_s: float) -> bool:
        """Whether it did. What it sent before is taken in: behind bytes that nobody reads no end arrives."""
        up = self.ways[0]
        try:
            up.read(now_s)
        except OSError:
            up.ended = True
        self.left = up.ended
        return self.left

    def next_due_s(self) -> float:
        return min((way.held[0][0] for way in self.ways if way.held), default=math.inf)

    def pass_on(self, ready: dict[int, int], now_s: float, delay_s: float) -> bool:
        """False when either end hung up and everything before that was passed on."""
        try:
            for way in self.ways:
                if ready.get(way.source.fileno(), 0) & ~select.POLLOUT:
                    way.read(now_s + delay_s)
                way.write(now_s)
        except OSError:
            return False
        return not any(way.ended and not way.held for way in self.ways)

    def reset(self) -> None:
        _reset(self.client)
        _reset(self.server)


class _Way:
    """One direction: what was read and not yet written, each piece with the moment from which it may be."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self._sink = source, sink
        self.held: deque[tuple[float, memoryview]] = deque()
        self.ended = False
        self._held_bytes = 0

    def wants_read(self) -> int:
        return 0 if self.ended or self._held_bytes > MOST_HELD_BYTES else select.POLLIN

    def wants_write(self, now_s: float) -> int:
        return select.POLLOUT if self.held and self.held[0][0] <= now_s else 0

    def read(self, due_s: float) -> None:
        if self.ended:
            return
        with suppress(BlockingIOError):
            data = self.source.recv(READ_BYTES)
            self.ended = not data
            if data:
                self.held.append((due_s, memoryview(data)))
                self._held_bytes += len(data)

    def write(self, now_s: float) -> None:
        with suppress(BlockingIOError):
            while self.held and self.held[0][0] <= now_s:
                due_s, data = self.held[0]
                sent = self._sink.send(data)
                self._held_bytes -= sent
                if sent < len(data):
                    self.held[0] = (due_s, data[sent:])
                else:
                    self.held.popleft()


def _left(client: socket.socket) -> bool:
    """Whether it hung up again before it was welcomed."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
