"""Floor 2 · What a household took at plugs, as far as that tells what it needs."""

from __future__ import annotations

from scheduler.ledger import Ledger
from scheduler.turns import is_part


def whole_kwh(ledger: Ledger, household: str) -> list[float]:
    """What a household was given each time, oldest first. Whom we gave a place for a part of its need took no less by
    its own choice: that is left out.
    """
    parts = {turn.plugged_ms for turn in ledger.turns(household=household, states=["done"]) if is_part(turn)}
    had = ledger.deliveries([household], 0)
    return [one.energy_kwh for one in had if one.energy_kwh and one.plugged_ms not in parts]
