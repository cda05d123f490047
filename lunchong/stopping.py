"""How a command is asked to end: the first signal ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from queue import SimpleQueue
from types import FrameType

AT_MOST_S = 4.0


def end_soon() -> None:
    """Whoever pressed Ctrl-C waits no longer than `AT_MOST_S` for an end in order; what is kept bears a sudden one."""
    last = threading.Timer(AT_MOST_S, os._exit, [128 + signal.SIGINT])
    last.daemon = True
    last.start()


def asked_to_stop() -> threading.Event:
    """An event that SIGINT, SIGTERM or SIGHUP sets. To be called once, from the main thread."""
    asked, signals = threading.Event(), SimpleQueue[int]()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # It interrupts whoever waits for the event and may hold its lock: to set it here could wait for ever.
        signals.put(number)

    def hear() -> None:
        signals.get()
        asked.set()
        os._exit(128 + signals.get())  # children are tied to us and end too

    threading.Thread(target=hear, name="signals", daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return asked
