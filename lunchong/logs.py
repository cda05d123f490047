"""Where the log goes: lines on standard error, or a file beside a terminal that shows something else."""

from __future__ import annotations

import logging
import sys
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path

LINE = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"
FILE_BYTES = 4_000_000


def to_terminal() -> None:
    _to(logging.StreamHandler(sys.stderr))


def to_file(path: Path) -> None:
    _to(RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=2, encoding="utf-8"))


def _to(handler: logging.Handler) -> None:
    handler.setFormatter(logging.Formatter(LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("uvicorn", "apscheduler"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    threading.excepthook = _tell_of_a_thread


def _tell_of_a_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "?"
    if ended.exc_value is not None:
        logging.getLogger(__name__).critical("the thread %s ended by an error", name, exc_info=ended.exc_value)
