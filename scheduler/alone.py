"""Floor 2 · Each site alone: what goes wrong at one, and nobody thought of, keeps nobody's promise at another from
being looked after.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ingest.clock import rfc3339
from ingest.messages import Condition
from scheduler.ledger import LedgerUnavailable

log = logging.getLogger(__name__)

FAILED = "look_failed"
MOST_TEXT = 200
Around = Callable[[str], AbstractContextManager[None]]
"""Goes around what is done for one site."""


def not_alone(_site: str) -> AbstractContextManager[None]:
    """An error ends the whole look, as the tests want it."""
    return nullcontext()


class Alone:
    """An error is logged once and is a condition until a look without it. That the ledger is away concerns all."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], str] = {}
        self._found: set[tuple[str, str]] = set()
        self._now_ms = 0

    def begin(self, now_ms: int) -> None:
        """A look begins at all sites: what the last one did not find is over."""
        self._since = {held: since for held, since in self._since.items() if held in self._found}
        self._found, self._now_ms = set(), now_ms

    @contextmanager
    def __call__(self, site: str) -> Iterator[None]:
        try:
            yield
        except LedgerUnavailable:
            raise
        except Exception as error:
            held = site, f"{type(error).__name__}: {error}"[:MOST_TEXT]
            if held not in self._since:
                log.exception("what is due at %s was not done", site)
                self._since[held] = rfc3339(self._now_ms)
            self._found.add(held)

    @property
    def conditions(self) -> list[Condition]:
        return [
            Condition(code=FAILED, since=since, severity="critical", evidence=f"{site}: {error}")
            for (site, error), since in self._since.items()
        ]
