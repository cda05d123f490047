"""Floor 2 · Leading: of several schedulers one acts, and another takes over when it is gone."""

from __future__ import annotations

from scheduler.ledger import Ledger, LedgerUnavailable

LEASE_S = 5.0
RENEW_EVERY_S = 1.0
"""A leader that is gone is replaced within the lease and one renewal: 6 s, of the 10 allowed."""
MARGIN_S = 1.0
"""A leader stops this long before its lease ends: its own clock and the ledger's may not run alike."""


class Leader:
    """One process's part in it. `holder` is its own and new at each start; `mono_s` is its steady clock."""

    def __init__(self, ledger: Ledger, holder: str) -> None:
        self._ledger, self._holder = ledger, holder
        self.epoch = 0
        """Of the last time that it led; 0 before the first."""
        self._until_s, self._renew_s = 0.0, 0.0

    def turn(self, mono_s: float) -> bool:
        """Renew or seek the lease when that is due; whether this process leads now."""
        if mono_s >= self._renew_s:
            self._renew_s = mono_s + RENEW_EVERY_S
            try:
                lease = self._ledger.lead(self._holder, LEASE_S)
            except LedgerUnavailable:
                return self.leads(mono_s)
            if lease.holder == self._holder:
                self.epoch, self._until_s = lease.epoch, mono_s + LEASE_S - MARGIN_S
            else:
                self._until_s = 0.0
        return self.leads(mono_s)

    def leads(self, mono_s: float) -> bool:
        """Whether its lease still runs, by its own clock and with a margin."""
        return mono_s < self._until_s
