"""Floor 2 · Looking out for whoever wants to be told when a plug is free: once, and then the watch has ended."""

from __future__ import annotations

from scheduler.accounts import Accounts
from scheduler.buckets import bucket_at
from scheduler.desk import Desk
from scheduler.ground import Ground
from scheduler.rules import NIGHT

FREE_BUCKETS = 2
"""A plug is worth coming for when nobody has it in this bucket and the next."""


class LookingOut:
    """Used by who leads alone, after the ground was looked at."""

    def __init__(self, desk: Desk, ground: Ground, accounts: Accounts) -> None:
        self._desk, self._ground, self._accounts = desk, ground, accounts

    def look(self, now_ms: int) -> None:
        if not self._ground.believed or not (watches := self._accounts.watches()):
            return
        cut = self._desk.ledger.cuts()
        free = {site: None if site in cut else self._free(site, now_ms) for site in {one.site for one in watches}}
        for watched in watches:
            if (connector := free[watched.site]) is not None:
                self._accounts.tell_free(watched, connector, now_ms)

    def _free(self, site_id: str, now_ms: int) -> str | None:
        """A plug there that whoever comes may use, within the hours of the site and outside its quiet hours: in the
        morning another may have it.
        """
        site, adopted, now = self._ground.site(site_id), self._desk.ledger.rules(site_id), bucket_at(now_ms)
        if site is None or (adopted is not None and not self._desk.is_open(now, adopted.rules)):
            return None
        if (adopted.rules.quiet if adopted else NIGHT).quiet_at(now_ms):
            return None
        claims = self._desk.ledger.claims(site_id, range(now, now + FREE_BUCKETS))
        taken = {claim.connector for claim in claims}
        there = (one.id for one in site.connectors if one.id not in taken)
        return next((one for one in there if self._ground.seen(one) == "free"), None)
