"""The street's files against the store: what is lost, what is there twice."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from ingest.store import TelemetryStore
from lunchong.tally import Tally, read_ranges, tally
from tools.faults.outcome import Outcome
from tools.faults.programs import Street


class HasStore(Protocol):
    def opened(self) -> AbstractContextManager[TelemetryStore]: ...


def counted(outcome: Outcome, stage: HasStore, street: Street, resent: int = 0) -> Tally:
    """Compare, and note the figures in the outcome."""
    sent, acked, dropped = (read_ranges(file) for file in (street.sent, street.acked, street.dropped))
    with stage.opened() as store:
        found = tally(store, sent=sent, acked=acked, dropped=dropped, resent=resent, since_ms=0, alerts=0)
        of_acked = tally(store, sent={}, acked=acked, dropped={}, resent=0, since_ms=0, alerts=0)
    outcome.figures["acked_and_not_stored"] = of_acked.lost
    outcome.count(found.lost, found.duplicates)
    outcome.must(found.acked > 0, "nothing was acknowledged at all")
    for name in ("sent", "acked", "stored", "resent", "dropped"):
        outcome.figures[name] = int(outcome.figures.get(name, 0)) + getattr(found, name)  # type: ignore[call-overload]
    return found
