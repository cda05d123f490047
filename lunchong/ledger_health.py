"""What the doctor finds of the ledger: whether it is there, of this version, and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from scheduler.ledger import LedgerUnavailable
from scheduler.ledger_engine import engine_of
from scheduler.ledger_migrations import newest, version_of
from scheduler.ledger_sql import SqlLedger
from scheduler.turns import LIVE

MANY = 100_000


def look(url: str) -> tuple[Literal["good", "note", "bad"], str]:
    """Nothing is made or changed there."""
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
            return "note", "there is none yet: `serve` or `scheduler` makes it"
        engine = engine_of(url, connections=1)
        step = version_of(engine)
    except (SQLAlchemyError, ImportError) as error:
        return "bad", f"cannot be opened: {str(getattr(error, 'orig', None) or error).splitlines()[0]}"
    try:
        if step != newest():
            return "note", f"stands at step {step}, this version at {newest()}: it is brought there as `serve` starts"
        return _weighed(SqlLedger(engine))
    except LedgerUnavailable as away:
        return "bad", str(away)
    finally:
        engine.dispose()


def _weighed(ledger: SqlLedger) -> tuple[Literal["good", "note", "bad"], str]:
    wrong = ledger.imbalance()
    if wrong:
        parts = {
            "claims without a turn": len(wrong.orphans),
            "turns without their claim": len(wrong.unclaimed),
            "counts that are no sums": len(wrong.counts),
            "households with another number of live turns": len(wrong.live),
        }
        return "bad", ", ".join(f"{times} {what}" for what, times in parts.items() if times)
    live, unknown = len(ledger.turns(states=LIVE)), len(ledger.outgoing(["unknown"], MANY))
    said = f"whole, {live} live turns"
    return ("note", f"{said}; {unknown} notices may have left or not") if unknown else ("good", said)
