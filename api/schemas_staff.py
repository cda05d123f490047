"""Floor 1 · What is reported from the street, and the answers for staff."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.ports import TroubleKind
from api.schemas import NINE, Answer

Connector = Annotated[int, Field(ge=1, le=64)]


class Wish(BaseModel):
    """A request's body: what is not named here is refused, so that a misspelt field is not lost silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TroubleReport(Wish):
    connector: str = Field(max_length=80, examples=["jn-01/pile-0001/1"])
    kind: TroubleKind
    note: str = Field(default="", max_length=500, examples=["The cable is cut."])


class TroubleAnswer(Answer):
    id: str
    reported_at: str = Field(examples=[NINE])
    connector: str
    kind: TroubleKind
    note: str


class Troubles(Answer):
    items: list[TroubleAnswer]
    total: int


class SessionAnswer(Answer):
    """One car at one connector, from plug-in to unplug."""

    id: str
    site: str
    device: str
    connector: int
    started_at: str = Field(examples=[NINE])
    charge_ended_at: str | None
    ended_at: str | None = Field(description="null: the car is there still")
    energy_kwh: float
    incomplete: bool = Field(description="Messages of its time were never received")


class Sessions(Answer):
    items: list[SessionAnswer]
    next: str | None = Field(description="The `cursor` of the next page")
    complete_until: str | None = Field(description="History is whole up to here; null when that is not known")


class Messages(Answer):
    """What became of a device's messages."""

    received: int
    duplicate: int
    hole: int = Field(description="Seqs not received and not explained yet")
    dropped: int = Field(description="Given up by the device, by its own word")
    lost: int
    skewed: int
    dead: int


class ConditionAnswer(Answer):
    code: str
    since: str
    severity: Literal["info", "warning", "critical"]
    evidence: str


class DeviceAnswer(Answer):
    site: str
    device: str
    kind: Literal["pile", "station"]
    online: bool | None = Field(description="null: it never spoke")
    interval_s: int | None
    observed_at: str | None
    rev: int | None
    clock_skew_s: float | None
    conditions: list[ConditionAnswer]
    messages: Messages | None = Field(description="null: it never spoke, or ingest does not answer")


class Spool(Answer):
    """What ingest took and the store has not yet, of all devices together."""

    rows: int
    bytes: int
    age_s: float = Field(description="Of the oldest, in service time")


class OneDevice(DeviceAnswer):
    spool: Spool | None = Field(description="null while ingest does not answer")


class Devices(Answer):
    items: list[DeviceAnswer]
    spool: Spool | None = Field(description="null while ingest does not answer")


class HistoryPointAnswer(Answer):
    at: str = Field(examples=[NINE])
    values: dict[str, float | None]


class History(Answer):
    every_s: int
    points: list[HistoryPointAnswer]


class CommandAnswer(Answer):
    id: str
    result: Literal["accepted", "rejected", "failed"]
    reason: str | None


class SetLimitWish(Wish):
    type: Literal["set_limit"]
    connector: Connector
    limit_kw: float = Field(ge=0, le=1_000)
    fallback_kw: float = Field(ge=0, le=1_000)
    ttl_s: float = Field(default=300, gt=0, le=86_400)


class StopWish(Wish):
    type: Literal["stop"]
    connector: Connector
    reason: str | None = Field(default=None, max_length=200)


class ShowWish(Wish):
    type: Literal["show"]
    connector: Connector | None = None
    text: str = Field(max_length=200)
    code: str | None = Field(default=None, max_length=32)


CommandWish = Annotated[SetLimitWish | StopWish | ShowWish, Field(discriminator="type")]
