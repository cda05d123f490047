"""Floor 1 · Logging in, and what belongs to whoever did."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from api.schemas import NINE, Answer, Text
from api.schemas_staff import Wish
from api.schemas_turns import HouseholdAnswer, Id, ReviewAnswer, TurnAnswer
from ingest.assets import ConnectorType
from scheduler.accounts import Role
from scheduler.sentences import Language

Kilowatts = Annotated[float, Field(ge=0, le=500, examples=[7.0])]


class LoginWish(Wish):
    name: str = Field(min_length=1, max_length=64, examples=["wang.fang"])
    password: str = Field(min_length=1, max_length=200)


class LoginAnswer(Answer):
    token: str = Field(description="To be sent as `Authorization: Bearer`; a browser has it as a cookie too")
    expires_at: str = Field(examples=[NINE])
    role: Role


class MeAnswer(Answer):
    name: str
    role: Role
    household: HouseholdAnswer | None
    language: Language = Field(description="Of calendar entries and mail")
    mail: str | None = Field(description="Where the household's notices also go")


class MeWish(Wish):
    """What is to be otherwise; a new password with the one that holds now."""

    language: Language | None = None
    mail: str | None = Field(
        default=None, max_length=254, description="An address; null is none", examples=["wang@example.org"]
    )
    password: str | None = Field(default=None, max_length=200)
    current_password: str | None = Field(default=None, max_length=200)


class VehicleWish(Wish):
    connector_types: list[ConnectorType] = Field(min_length=1, max_length=2, examples=[["GBT_AC"]])
    max_ac_kw: Kilowatts = 0.0
    max_dc_kw: Kilowatts = 0.0
    battery_kwh: float = Field(gt=0, le=1_000, examples=[60.0])

    @model_validator(mode="after")
    def _takes_what_it_fits(self) -> VehicleWish:
        for of, most in (("GBT_AC", self.max_ac_kw), ("GBT_DC", self.max_dc_kw)):
            if of in self.connector_types and most <= 0:
                raise ValueError(f"it takes {of}: say at how many kW at the most")
        return self


class VehicleAnswer(Answer):
    id: str
    connector_types: list[ConnectorType]
    max_ac_kw: float
    max_dc_kw: float
    battery_kwh: float


class VehiclesAnswer(Answer):
    items: list[VehicleAnswer]


class StandingAnswer(Answer):
    """`minutes` is how much longer (below 0: less) than the average household of the site its cars were at plugs."""

    site: str
    minutes: float
    occupied_min: float
    average_min: float
    rank: int
    of: int
    text: Text


class StandingsAnswer(Answer):
    items: list[StandingAnswer]


class NoticeAnswer(Answer):
    id: str
    what: str = Field(examples=["offer"])
    turn: str | None
    at: str = Field(examples=[NINE])
    sent: Literal["pending", "sending", "sent", "unknown"] = Field(
        description="`unknown`: it may have left by mail or webhook, or not, and is not sent again"
    )
    text: Text | None


class NoticesAnswer(Answer):
    items: list[NoticeAnswer]


class WatchWish(Wish):
    site: Id | None = Field(default=None, description="Or `near`, in the query: every site in reach")


class WatchAnswer(Answer):
    id: str
    site: str
    at: str = Field(examples=[NINE])


class WatchesAnswer(Answer):
    items: list[WatchAnswer]


class DeliveryAnswer(Answer):
    plugged_at: str = Field(examples=[NINE])
    unplugged_at: str = Field(examples=[NINE])
    energy_kwh: float
    overstay_min: float


class Export(Answer):
    """All that is kept of an account and its household."""

    me: MeAnswer
    vehicles: list[VehicleAnswer]
    turns: list[TurnAnswer]
    deliveries: list[DeliveryAnswer]
    no_shows: list[str] = Field(description="When turns were missed")
    notices: list[NoticeAnswer]
    reviews: list[ReviewAnswer]
    watches: list[WatchAnswer]


class AccountAnswer(Answer):
    name: str
    role: Role
    household: str | None


class AccountsAnswer(Answer):
    items: list[AccountAnswer]
