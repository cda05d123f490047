"""Floor 0 · The rules of a site: who may ask there, when, how much at a time, and who goes before whom.

A set of rules is data with a version. It changes only by an approved proposal; a turn keeps the version it was made by.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from ingest.assets import Window
from ingest.clock import from_ms
from ingest.opening import open_at
from scheduler.buckets import BUCKET_MS
from scheduler.quiet import QuietHours

IsWorkday = Callable[[date], bool]
Rule = Literal[
    "compounds", "horizon", "time", "opening", "longest_turn_min", "one_turn_a_vehicle", "one_turn_a_household",
]  # fmt: skip

DAY_MS = 86_400_000
HORIZON_MS = 7 * DAY_MS
"""Nobody asks further ahead than this; who stays longest leaves a day later."""
GRACE_MIN = 30
"""Between the end of charging and overstay, where the rules of a site say nothing else."""
NIGHT = QuietHours(22 * 60, 7 * 60)
GUESTS = "guests"
"""Stands for the compound of all who are of none of the site's."""


class Basis(Struct, frozen=True, kw_only=True):
    """What allows a site to be opened to others, fees, or new bays: a vote of owners, or a charter."""

    kind: Literal["owners_vote", "charter"]
    date: str
    document: str


class Quota(Struct, frozen=True, kw_only=True):
    """A compound holds no more connectors than these at a time, within the hours; at all times where there are none."""

    compound: str
    connectors: int
    hours: tuple[Window, ...] = ()


class RuleSet(Struct, frozen=True, kw_only=True):
    """See `rules_file.FIELDS` for what each means; the defaults are those of a site that has decided nothing."""

    site: str
    compounds: tuple[str, ...] = ()
    guests: int = 0
    opening: tuple[Window, ...] = ()
    quotas: tuple[Quota, ...] = ()
    quiet: QuietHours = NIGHT
    longest_turn_min: int = 720
    overstay_grace_min: int = GRACE_MIN
    accessibility_min: int = 0
    essential_min: int = 0
    move_margin_min: int = 30
    stay_until_morning: bool = True
    service_fee_yuan_kwh: float = 0.0
    basis: Basis | None = None
    parties: tuple[str, ...] = ()


class Asked(Struct, frozen=True, kw_only=True):
    """What somebody wishes, as far as rules look at it. Times are service time in milliseconds."""

    compound: str | None
    energy_kwh: float
    max_w: int
    earliest_ms: int
    depart_by_ms: int


class Refusal(Struct, frozen=True):
    """The rule that says no, and what would have to be otherwise, by name."""

    rule: Rule
    said: dict[str, str | int | float] = {}


def refusal(asked: Asked, rules: RuleSet, now_ms: int, is_workday: IsWorkday) -> Refusal | None:
    """The first rule that a wish breaks; None where it may be asked for."""
    if asked.compound not in rules.compounds and not rules.guests:
        return Refusal("compounds", {"compounds": ", ".join(rules.compounds)})
    if asked.earliest_ms > now_ms + HORIZON_MS or asked.depart_by_ms > now_ms + HORIZON_MS + DAY_MS:
        return Refusal("horizon", {"days": HORIZON_MS // DAY_MS})
    takes_ms = charging_ms(asked.energy_kwh, asked.max_w)
    left_ms = asked.depart_by_ms - max(asked.earliest_ms, now_ms)
    if takes_ms > left_ms:
        return Refusal("time", {"minutes": -(-takes_ms // 60_000), "left_min": max(0, left_ms) // 60_000})
    if takes_ms > rules.longest_turn_min * 60_000:
        return Refusal("longest_turn_min", {"minutes": -(-takes_ms // 60_000), "most": rules.longest_turn_min})
    first, last = max(asked.earliest_ms, now_ms) // BUCKET_MS, (asked.depart_by_ms - 1) // BUCKET_MS
    if not any(open_in(bucket, rules, is_workday) for bucket in range(first, last + 1)):
        return Refusal("opening")
    return None


def charging_ms(energy_kwh: float, watts: int) -> int:
    """How long so much energy takes at so much power."""
    return round(energy_kwh * 1_000 / watts * 3_600_000)


def open_in(bucket: int, rules: RuleSet, is_workday: IsWorkday) -> bool:
    """Whether the site serves charging from the first to the last moment of a bucket."""
    start, end = (from_ms(bucket * BUCKET_MS + part) for part in (0, BUCKET_MS - 1))
    zone = ZoneInfo(rules.quiet.timezone)
    return all(open_at(rules.opening, moment.astimezone(zone), is_workday) for moment in (start, end))


def quota(compound: str | None, bucket: int, rules: RuleSet, is_workday: IsWorkday) -> int | None:
    """Connectors that a compound may hold at a time in a bucket; None is no limit.

    Guests share one quota, that of no compound of the rules. Where several quotas hold, the smallest does.
    """
    if compound not in rules.compounds:
        return rules.guests
    local = from_ms(bucket * BUCKET_MS).astimezone(ZoneInfo(rules.quiet.timezone))
    holding = [
        one.connectors for one in rules.quotas if one.compound == compound and open_at(one.hours, local, is_workday)
    ]
    return min(holding, default=None)


def pool_of(compound: str | None, rules: RuleSet) -> str:
    """Whose quota a turn counts in: its compound's, or that of all guests together."""
    return compound if compound is not None and compound in rules.compounds else GUESTS
