"""Floor 0 · So many of a kind within so long, for each who asks; memory is bounded."""

from __future__ import annotations

from collections import OrderedDict


class Limiter:
    """A token bucket for each key: `burst` at once, then one each `every_s`. Remembers the last `keys` keys."""

    def __init__(self, burst: int, every_s: float, keys: int = 10_000) -> None:
        self._burst, self._every_s, self._keys = burst, every_s, keys
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, key: str, mono_s: float) -> float:
        """0 when allowed, and counted; else the seconds until it would be."""
        debt_until = max(self._empty_at.get(key, 0.0), mono_s)
        over_s = debt_until + self._every_s - (mono_s + self._burst * self._every_s)
        if over_s > 0:
            return over_s
        self._empty_at[key] = debt_until + self._every_s
        self._empty_at.move_to_end(key)
        if len(self._empty_at) > self._keys:
            self._empty_at.popitem(last=False)
        return 0.0
