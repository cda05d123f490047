"""Floor 1 · The port behind which promises are kept.

Each method is one transaction: all of it happened, or none. Whatever states a turn goes through, the ledger keeps that

- a connector's bucket is claimed by one turn at most, and by exactly the turns that hold it (`turns.held`);
- the power reserved at a site and the buckets that a compound uses there are the sums over those claims, and no
  claim was added that took them past the limits given with it;
- a vehicle has one live turn, and a household no more than `LIVE_TURNS`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from scheduler.explain import Decision
from scheduler.rules import RuleSet
from scheduler.standing import Delivery, NoShow
from scheduler.turns import State, Turn

LIVE_TURNS = 2
"""Live turns of a household at a time."""

OutgoingKind = Literal["notice", "mail"]
"""A mail goes with a notice, to each account of its household that has an address."""
OutgoingState = Literal["pending", "sending", "sent", "unknown"]


class Limits(Struct, frozen=True):
    """What the claims of one change may reach, bucket by bucket from its place's first; None is no limit."""

    site_w: tuple[int, ...] | None = None
    """All power reserved at the site."""
    quota: tuple[int, ...] | None = None
    """Connectors that the turn's compound holds at the site."""


NO_LIMITS = Limits()


class Household(Struct, frozen=True, kw_only=True):
    """A dwelling and who lives there; `accessibility`, and `essential` of one with a vehicle that others depend on (a
    doctor's, say), where rules may weigh them.
    """

    id: str
    compound: str
    dwelling: str
    accessibility: bool = False
    essential: bool = False


class Adopted(Struct, frozen=True, kw_only=True):
    """A site's rules as they were approved, by whom and when. Versions of a site count from 1."""

    rules: RuleSet
    version: int
    at_ms: int
    by: str


class Outgoing(Struct, frozen=True, kw_only=True):
    """What leaves because of a step, written in its transaction. `id` is ours and equal for equal causes."""

    id: str
    kind: OutgoingKind
    to: str
    """A household, or for a mail an account."""
    turn: str | None = None
    body: str = "{}"
    """JSON."""


class Change(Struct, frozen=True, kw_only=True):
    """One turn's step: `before` as the caller read it (None: it is new), `after` as it is to be."""

    before: Turn | None
    after: Turn
    limits: Limits = NO_LIMITS
    outgoing: tuple[Outgoing, ...] = ()
    delivery: Delivery | None = None
    """What the turn was given, where this step ends it."""
    sent: str | None = None
    """What was being sent, and is `sent` with this step."""
    by: str = "scheduler"
    """Whoever did it, for the audit: an account's id, or a process."""
    key: str | None = None
    """The idempotency key of a request; one household's keys are its own."""
    asked: bool = False
    """Its household asks for it, and must be registered still: it may be forgotten since the caller looked."""


class Claim(Struct, frozen=True, order=True):
    connector: str
    bucket: int
    turn: str


class Imbalance(Struct, frozen=True):
    """Where the ledger's books do not follow from its turns. Each list is empty in a ledger that is whole."""

    orphans: list[Claim] = []
    """Claims that no turn holds."""
    unclaimed: list[Claim] = []
    """Buckets that a turn holds, and which nobody, or another, has claimed."""
    counts: list[tuple[tuple[str, ...], int, int, int]] = []
    """Power of (site,), quotas of (site, compound): whose, bucket, what is kept, what it should be."""
    live: list[tuple[str, int, int]] = []
    """Households: whose, live turns as kept, as they are."""

    def __bool__(self) -> bool:
        return bool(self.orphans or self.unclaimed or self.counts or self.live)


class Lease(Struct, frozen=True):
    """Who leads. `epoch` grows with each change of the holder; `until_ms` is by the ledger's own clock."""

    holder: str
    epoch: int
    until_ms: int


class Taken(Exception):
    """A bucket of the place is another's: `claim` names the first."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"{claim.connector} is promised to another turn in bucket {claim.bucket}")
        self.claim = claim


class OverLimit(Exception):
    """The site's power, or the compound's quota, does not allow it."""

    def __init__(self, what: Literal["site_w", "quota"], site: str) -> None:
        super().__init__(f"{'the power' if what == 'site_w' else 'a quota'} of {site} does not allow it")
        self.what, self.site = what, site


class TooMany(Exception):
    """The vehicle has a live turn already, or the household as many as it may have."""

    def __init__(self, what: Literal["vehicle", "household"], whose: str) -> None:
        super().__init__(f"{what} {whose} has as many live turns as it may have")
        self.what, self.whose = what, whose


class Moved(Exception):
    """The turn is no longer as the caller read it: `now` is how it is (None: nobody knows it)."""

    def __init__(self, turn_id: str, now: Turn | None) -> None:
        super().__init__(f"turn {turn_id} is {now.state if now else 'unknown'} by now")
        self.now = now


class Known(Exception):
    """A request with this idempotency key was kept before: `turn` is what it made."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(f"asked before: turn {turn.id}")
        self.turn = turn


class Superseded(Exception):
    """Rules were approved against a version that is no longer the newest: `version` is."""

    def __init__(self, site: str, version: int) -> None:
        super().__init__(f"the rules of {site} stand at version {version} by now")
        self.site, self.version = site, version


class DwellingTaken(Exception):
    """The dwelling has a household already, and one dwelling is one household."""

    def __init__(self, household: str) -> None:
        super().__init__(f"that dwelling is household {household}'s")
        self.household = household


class UnknownHousehold(Exception):
    """No such household is registered, or it is forgotten by now."""

    def __init__(self, household: str | None) -> None:
        super().__init__(f"household {household} is not registered")


class LedgerUnavailable(Exception):
    """The database is away; nothing of it was kept. Try again after `retry_s`."""

    def __init__(self, why: str, retry_s: float = 1.0) -> None:
        super().__init__(why)
        self.retry_s = retry_s


class Ledger(Protocol):
    """Safe to call from several threads and processes. Any method may raise LedgerUnavailable."""

    def commit(self, changes: Sequence[Change], now_ms: int) -> list[Turn]:
        """Keep steps of turns together, with their claims and what leaves; returns the turns with their new `rev`.

        Before it claims, offers of the same sites whose time is over are given back, as a snooze by silence is. All
        that is given back in these changes may be claimed by them. Raises Moved, Taken, OverLimit, TooMany, Known, and
        UnknownHousehold.
        """

    def turn(self, turn_id: str) -> Turn | None: ...

    def by_key(self, household: str, key: str) -> Turn | None:
        """The turn that a household's request with this idempotency key made."""

    def turns(
        self, *, site: str | None = None, household: str | None = None, states: Collection[State] | None = None
    ) -> list[Turn]:
        """In the order in which they were asked for."""

    def due(self, now_ms: int, limit: int = 100) -> list[Turn]:
        """Those whose state has run out, the longest first."""

    def claims(self, site: str, buckets: range) -> list[Claim]:
        """In order of connector and bucket."""

    def reserved_w(self, site: str, buckets: range) -> list[int]:
        """Power reserved at a site, for each of the buckets."""

    def used(self, site: str, compound: str, buckets: range) -> list[int]:
        """Connectors that a compound holds at a site, for each of the buckets."""

    def outgoing(
        self, states: Collection[OutgoingState], limit: int = 100, kind: OutgoingKind | None = None
    ) -> list[Outgoing]:
        """In the order in which they were written."""

    def sending(self, outgoing_id: str, epoch: int) -> bool:
        """Take one that is pending to be sent under this epoch; False where it is not pending."""

    def sent(self, outgoing_ids: Collection[str]) -> None: ...

    def take_back(self, outgoing_id: str, epoch: int) -> None:
        """It was being sent under this epoch and did not leave for certain: it is pending again."""

    def give_up_sending(self, epoch: int, kind: OutgoingKind | None = None) -> list[Outgoing]:
        """What was `sending` under this epoch or an older one may have left: `unknown` from now on, returned once.

        For who leads alone, and while it sends nothing of that kind itself.
        """

    def lead(self, holder: str, for_s: float) -> Lease:
        """Take the lease if it is free or ours, for so long from now; returns whose it is then."""

    def adopt(self, rules: RuleSet, after: int, by: str, now_ms: int) -> Adopted:
        """Make these the rules of their site, as the version after that one; 0 before the first. Raises Superseded."""

    def rules(self, site: str, version: int | None = None) -> Adopted | None:
        """The newest, or those of a version; None where there are none."""

    def versions(self) -> dict[str, int]:
        """The newest version of each site's rules that has any."""

    def register(self, household: Household) -> None:
        """Keep a household, or what changed of it. Raises DwellingTaken."""

    def household(self, household_id: str) -> Household | None: ...

    def pool(self, site: str, since_ms: int) -> dict[str, int]:
        """The households that asked at a site since then, and when each first asked there."""

    def deliveries(self, households: Collection[str], since_ms: int) -> list[Delivery]:
        """What they were given at all sites until now, of what ended since then; the oldest end first."""

    def no_shows(self, households: Collection[str], since_ms: int) -> list[NoShow]:
        """In order of time."""

    def decide(self, decisions: Mapping[str, Decision]) -> None:
        """Keep why each turn, by its id, was placed as it was; the last decision of each stays."""

    def decisions(self, turn_ids: Collection[str]) -> dict[str, Decision]:
        """Of those turns the ones of which anything was decided."""

    def cut(self, site: str, why: str, now_ms: int, outgoing: Collection[Outgoing] = ()) -> None:
        """The site is cut off until it is reset, with what leaves because of that; nothing where it is already."""

    def reset(self, site: str) -> bool:
        """A person says that it is safe again; whether it was cut off."""

    def cuts(self) -> dict[str, str]:
        """Sites that are cut off, and why."""

    def imbalance(self) -> Imbalance:
        """What does not add up, of all that is kept: nothing does not, and the doctor asks."""

    def close(self) -> None: ...
