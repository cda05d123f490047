"""Floor 1 · Wishes for turns, and turns as they are answered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.schemas import NINE, Answer, Text
from api.schemas_staff import Wish
from ingest.assets import SiteMode
from scheduler.turns import Kind, State

ID = r"^[A-Za-z0-9_-]{1,32}$"
NO_NUL = r"^[^\x00]+$"
"""What PostgreSQL can keep."""
Id = Annotated[str, Field(pattern=ID)]
Time = Annotated[str, Field(max_length=40, examples=[NINE], json_schema_extra={"format": "date-time"})]


class HouseholdWish(Wish):
    """Where a household lives. One dwelling is one household."""

    compound: Id = Field(examples=["k-01"])
    dwelling: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["3-502"])
    accessibility: bool = Field(default=False, description="Where the site's rules weigh it")
    essential: bool = Field(default=False, description="It has a vehicle that others depend on; where rules weigh it")


class HouseholdAnswer(Answer):
    id: str
    compound: str
    dwelling: str
    accessibility: bool
    essential: bool


class TurnWish(Wish):
    """What is asked for, and for whom: `energy_kwh`, or `soc_now` and `target_soc` of a vehicle that is known."""

    site: Id | None = Field(default=None, examples=["jn-01"], description="Or `near`, in the query")
    on_behalf_of: Id | None = Field(default=None, description="The household, where staff ask", examples=["h-17"])
    vehicle: Id = Field(examples=["car-1"])
    energy_kwh: float | None = Field(default=None, gt=0, le=200, examples=[18.0])
    soc_now: float | None = Field(default=None, ge=0, le=100, description="Per cent", examples=[35])
    target_soc: float | None = Field(default=None, gt=0, le=100, examples=[80])
    max_kw: float | None = Field(
        default=None, ge=1, le=500, description="What the car takes at most; 7 where the vehicle is not known"
    )
    earliest: Time | None = Field(default=None, description="Now when left out")
    depart_by: Time = Field(description="When the car must leave")
    flexible: bool = Field(default=False, description="May be given less power for longer")


class MoveWish(Wish):
    site: Id = Field(examples=["jn-02"], description="Where the turn is to wait from now on")


class ReviewWish(Wish):
    note: str = Field(
        min_length=1, max_length=2_000, pattern=NO_NUL, examples=["A car stood in my bay; I was there at 18:05."]
    )


class ReviewReply(Wish):
    answer: str = Field(
        min_length=1, max_length=2_000, pattern=NO_NUL, examples=["You are right: it is no missed turn."]
    )


class ReviewAnswer(Answer):
    id: str
    turn: str
    note: str
    at: str = Field(examples=[NINE])
    answer: str | None
    answered_at: str | None = Field(examples=[NINE])


class ReviewsAnswer(Answer):
    items: list[ReviewAnswer]


class StartAnswer(Answer):
    p50: str = Field(examples=[NINE])
    p90: str = Field(examples=[NINE])


class Cost(Answer):
    energy: float = Field(description="By the tariff of the hours of its place", examples=[7.4])
    service: float
    currency: str = Field(examples=["CNY"])


class ReasonAnswer(Answer):
    code: str = Field(examples=["standing_less"])
    text: Text


class TurnAnswer(Answer):
    """A place at a plug and energy by a time."""

    id: str
    site: str
    connector: str | None = Field(examples=["jn-01/pile-0001/1"])
    household: str | None
    vehicle: str | None
    state: State
    kind: Kind
    mode: SiteMode
    requested_at: str = Field(examples=[NINE])
    start: StartAnswer | None = Field(description="When it begins by the plan; null while it has no place")
    end: str | None = Field(examples=[NINE])
    energy_kwh: float = Field(description="What it is planned with, which may be less than was asked for")
    cost: Cost | None
    call: str = Field(description="What the pile calls it", examples=["blue heron 4"])
    code: str | None = Field(description="To be given at the pile, while a place is held")
    offer_expires_at: str | None = Field(examples=[NINE])
    delayed: bool
    moved: bool
    rank: int | None = Field(description="Of those who wait at the site")
    reasons: list[ReasonAnswer]


class TurnsAnswer(Answer):
    items: list[TurnAnswer]


class AlternativeAnswer(Answer):
    """What another site would likely give to the turn if it waited there from now on."""

    site: str = Field(examples=["jn-02"])
    name: Text
    walk_min: int = Field(description="From the turn's own site")
    start: StartAnswer
    end: str = Field(examples=[NINE])
    energy_kwh: float = Field(description="Less than the turn is planned with where it is flexible, and no more fits")


class AlternativesAnswer(Answer):
    items: list[AlternativeAnswer]


class Explained(Answer):
    reasons: list[ReasonAnswer]


class CutAnswer(Answer):
    site: str
    why: str = Field(examples=["jn-01/pile-0001: smoke alarm"])


class CutsAnswer(Answer):
    items: list[CutAnswer]
