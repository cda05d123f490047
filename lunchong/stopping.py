"""How a command is asked to end: the first signal ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


def asked_to_stop() -> threading.Event:
    """An event that SIGINT, SIGTERM or SIGHUP sets. To be called once, from the main thread."""
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            os._exit(128 + number)  # children are tied to us and end too
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    return asked
