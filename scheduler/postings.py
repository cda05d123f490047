"""Floor 1 · What a change of turns adds to and takes from the ledger's books: claims, power, quotas, live turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, json

from scheduler.buckets import Place
from scheduler.explain import told
from scheduler.ledger import Change, Claim, Imbalance, Outgoing
from scheduler.turns import Turn, held, is_live, snoozed, withdrawn


class Entry(Struct, frozen=True, order=True):
    """Buckets in a row at which a count changes by the same, up to the same limit."""

    whose: tuple[str, ...]
    """(site,) of power in watts; (site, compound) of a quota in connectors."""
    first: int
    buckets: int
    more: int
    limit: int | None


class Postings(Struct, frozen=True):
    """All of it net: what a change gives back may be claimed in the same change. Each list in a fixed order."""

    freed: list[Claim]
    claimed: list[Claim]
    power: list[Entry]
    quota: list[Entry]
    live: list[tuple[str, int]]
    """(household, more live turns)."""


class _Book:
    """A sum and the smallest limit of each key and bucket."""

    def __init__(self) -> None:
        self._more: Counter[tuple[tuple[str, ...], int]] = Counter()
        self._limits: dict[tuple[tuple[str, ...], int], int] = {}

    def add(self, whose: tuple[str, ...], bucket: int, more: int, limit: int | None = None) -> None:
        self._more[whose, bucket] += more
        if limit is not None:
            self._limits[whose, bucket] = min(limit, self._limits.get((whose, bucket), limit))

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        for (whose, bucket), more in sorted(self._more.items()):
            if not more:
                continue
            entry = Entry(whose, bucket, 1, more, self._limits.get((whose, bucket)) if more > 0 else None)
            if found and _goes_on(found[-1], entry):
                entry = Entry(whose, found[-1].first, found[-1].buckets + 1, more, entry.limit)
                found.pop()
            found.append(entry)
        return found


def postings(changes: Iterable[Change]) -> Postings:
    freed: set[Claim] = set()
    claimed: set[Claim] = set()
    power, quota = _Book(), _Book()
    live: Counter[str] = Counter()
    for change in changes:
        for turn, sign, claims in ((change.before, -1, freed), (change.after, 1, claimed)):
            if turn is None:
                continue
            if is_live(turn) and turn.household is not None:
                live[turn.household] += sign
            if (place := held(turn)) is None:
                continue
            site_w, quota_of = (change.limits.site_w, change.limits.quota) if sign > 0 else (None, None)
            for at, bucket in enumerate(place.buckets):
                claims.add(Claim(place.connector, bucket, turn.id))
                power.add((turn.site,), bucket, sign * place.watts[at], site_w[at] if site_w else None)
                if turn.compound is not None:
                    quota.add((turn.site, turn.compound), bucket, sign, quota_of[at] if quota_of else None)
    return Postings(
        freed=sorted(freed - claimed),
        claimed=sorted(claimed - freed),
        power=power.entries(),
        quota=quota.entries(),
        live=sorted((household, more) for household, more in live.items() if more),
    )


def runs(claims: Sequence[Claim]) -> list[tuple[str, str, int, int]]:
    """Sorted claims as (turn, connector, first bucket, last bucket) of buckets in a row."""
    found: list[tuple[str, str, int, int]] = []
    for claim in claims:
        if found and found[-1][:2] == (claim.turn, claim.connector) and found[-1][3] == claim.bucket - 1:
            found[-1] = (*found[-1][:3], claim.bucket)
        else:
            found.append((claim.turn, claim.connector, claim.bucket, claim.bucket))
    return found


def imbalance(
    turns: Iterable[Turn],
    claims: set[Claim],
    counts: dict[tuple[tuple[str, ...], int], int],
    live: dict[str, int],
) -> Imbalance:
    """Whether the books follow from the turns, as all of them were kept at one moment."""
    all_of_it = postings([Change(before=None, after=turn) for turn in turns])
    should: Counter[tuple[tuple[str, ...], int]] = Counter()
    for entry in (*all_of_it.power, *all_of_it.quota):
        for bucket in range(entry.first, entry.first + entry.buckets):
            should[entry.whose, bucket] = entry.more
    living = dict(all_of_it.live)
    return Imbalance(
        orphans=sorted(claims - set(all_of_it.claimed)),
        unclaimed=sorted(set(all_of_it.claimed) - claims),
        counts=[
            (*at, counts.get(at, 0), should[at]) for at in sorted({*counts, *should}) if counts.get(at, 0) != should[at]
        ],
        live=[
            (household, live.get(household, 0), living.get(household, 0))
            for household in sorted({*live, *living})
            if live.get(household, 0) != living.get(household, 0)
        ],
    )


def given_back(turn: Turn, now_ms: int) -> Change:
    """The step of an offer whose time is over, with the notice that says so. Of one that nobody was told of nothing is
    said, and it is no snooze.
    """
    if turn.told_ms is None:
        return Change(before=turn, after=withdrawn(turn), by="time")
    after = snoozed(turn, now_ms)
    says = notice(after, "snoozed" if is_live(after) else "given_up")
    return Change(before=turn, after=after, by="time", outgoing=(says,))


def notice(
    after: Turn, what: str, was: Place | None = None, why: str | None = None, had_kwh: str | None = None
) -> Outgoing:
    """A notice to a turn's household about the step that made it so; `after.rev` is that of before the step.

    `was` is the place that it takes from them, `why` the cause, `had_kwh` what its car was given.
    """
    to = after.household or ""
    place = after.place.connector if after.place is not None else None
    more = {"place": place, "why": why, "had_kwh": had_kwh}
    values = told(after, what, **{name: value for name, value in more.items() if value is not None}).said
    said = {"what": what, "turn": after.id, "was_ms": was and was.start_ms, "why": why, "said": values}
    body = json.encode({name: value for name, value in said.items() if value is not None}).decode()
    return Outgoing(id=f"{after.id}:{after.rev + 1}:{what}", kind="notice", to=to, turn=after.id, body=body)


def _goes_on(entry: Entry, following: Entry) -> bool:
    is_next = (entry.whose, entry.first + entry.buckets) == (following.whose, following.first)
    return is_next and (entry.more, entry.limit) == (following.more, following.limit)
