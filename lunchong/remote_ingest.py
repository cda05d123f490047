"""Ingest as another process knows it: asked over the socket in the data folder, seldom, and honest when it is away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ingest.accounts import DeviceAccount, IngestStatus
from lunchong.control import RemoteOffice
from lunchong.errors import UserError
from lunchong.office import IngestNow

HOLDS_S = 0.5
"""An answer is good for so long: a page of many parts asks once."""
AWAY_HOLDS_S = 2.0
ANSWER_WITHIN_S = 1.0
"""An ingest that is stopped, not ended, takes the call and never answers."""


class RemoteIngest:
    """What ingest says of itself now; None while it does not answer. May be asked from any thread."""

    def __init__(self, folder: Path) -> None:
        self._office = RemoteOffice(folder, ANSWER_WITHIN_S)
        self._lock = Lock()
        self._said: IngestNow | None = None
        self._until_s = 0.0

    def accounts(self) -> Sequence[DeviceAccount] | None:
        said = self._ask()
        return said.accounts if said else None

    def status(self) -> IngestStatus | None:
        said = self._ask()
        return said.status if said else None

    def _ask(self) -> IngestNow | None:
        with self._lock:
            if time.monotonic() >= self._until_s:
                try:
                    self._said = self._office.ingest()
                except UserError:
                    self._said = None
                self._until_s = time.monotonic() + (HOLDS_S if self._said else AWAY_HOLDS_S)
            return self._said
