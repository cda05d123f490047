"""Floor 2 · What a ledger needs before anybody can ask at a site: the rules that it begins with, once."""

from __future__ import annotations

from contextlib import suppress

from ingest.assets import Inventory
from scheduler.ground import sites_of
from scheduler.ledger import Ledger, Superseded
from scheduler.rules_file import RulesError, initial


def adopt_initial_rules(ledger: Ledger, inventory: Inventory, timezone: str, now_ms: int) -> dict[str, str]:
    """Make `initial_rules` version 1 of each site that has no rules yet; why not, by the sites where they are wrong."""
    wrong: dict[str, str] = {}
    for site_id in sites_of(inventory):
        if ledger.rules(site_id) is not None:
            continue
        try:
            rules = initial(inventory.sites[site_id], timezone)
        except RulesError as error:
            wrong[site_id] = "; ".join(mistake.what for mistake in error.mistakes)
            continue
        with suppress(Superseded):  # another process did at this moment
            ledger.adopt(rules, after=0, by="init", now_ms=now_ms)
    return wrong
