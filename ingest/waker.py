"""Floor 3 · Ends a thread's wait for its sockets, from any other thread."""

from __future__ import annotations

import socket
from contextlib import suppress


class Waker:
    """To be registered where the thread waits, and told to `rest` when it is ready to be read."""

    def __init__(self) -> None:
        self.awake = False
        """Whether it was woken and did not rest since: to wake it again would do nothing."""
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def fileno(self) -> int:
        return self._there.fileno()

    def wake(self) -> None:
        """Never blocks."""
        if self.awake:
            return
        self.awake = True
        with suppress(OSError):  # full: it is awake already; closed: it has ended
            self._here.send(b"\0")

    def rest(self) -> None:
        """To be called before what was handed over is looked at: what comes after this wakes again."""
        self._there.recv(65_536)
        self.awake = False

    def close(self) -> None:
        self._here.close()
        self._there.close()
