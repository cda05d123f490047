"""Floor 0 · The public answers of the HTTP API, as values. Times are RFC 3339 text in service time."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

OcpiStatus = Literal["UNKNOWN", "OUTOFORDER", "INOPERATIVE", "BLOCKED", "CHARGING", "RESERVED", "AVAILABLE"]
State = Literal["available", "preparing", "charging", "suspended", "finishing", "faulted", "unavailable"]
Refuge = Literal["cool", "warm", "none"]

NINE = "2026-11-22T13:00:00.000Z"


class Answer(BaseModel):
    """Frozen, and closed: a field that is not named here is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Answer):
    """A name in both languages of the pages."""

    zh: str = Field(examples=["江宁路临停充电点"])
    en: str = Field(examples=["Jiangning Road bays"])


class TariffBand(Answer):
    start: str = Field(description="Local time of day, from", examples=["22:00"])
    end: str = Field(description="Local time of day, until; may be past midnight", examples=["06:00"])
    per_kwh: float = Field(examples=[0.307])


class Price(Answer):
    """Energy and service fee apart. A fee that nobody told us is null, not zero."""

    currency: str = Field(examples=["CNY"])
    energy: list[TariffBand]
    service_per_kwh: float | None
    source: Text
    valid_from: str = Field(examples=["2022-01-01"])


class ConnectorAnswer(Answer):
    id: str = Field(description="`SITE/DEVICE/CONNECTOR`", examples=["jn-01/pile-0001/1"])
    type: Literal["GBT_AC", "GBT_DC"]
    status: OcpiStatus = Field(description="OCPI's word; UNKNOWN when what we know is stale")
    state: State | None = Field(description="What the pile said last; null when it never said")
    since: str | None = Field(description="Since when it is in that state", examples=[NINE])
    observed_at: str | None = Field(description="When the pile last spoke of it", examples=[NINE])
    stale: bool = Field(description="The pile, or our way to it, is silent for too long")
    power_kw: float | None = Field(examples=[6.8])
    max_kw: float = Field(examples=[7.0])
    free_at: str | None = Field(description="When it becomes free, if that is known; never a guess")


class WaitMin(Answer):
    p50: int
    p90: int


class Summary(Answer):
    """How many connectors are in which condition; the nine counts add up to `total`."""

    total: int
    available: int = 0
    reserved: int = 0
    in_use: int = 0
    finishing: int = Field(default=0, description="Charged, and still plugged in")
    blocked: int = Field(default=0, description="The bay is taken without a plug")
    out_of_order: int = 0
    closed: int = 0
    unknown: int = 0
    queue: int = Field(default=0, description="Turns that wait here")
    next_free_at: str | None = Field(default=None, description="When the next connector frees, if that is known")
    wait_min: WaitMin | None = Field(default=None, description="0 while one is free; null when it is not known")


class SiteAvailability(Answer):
    site: str = Field(examples=["jn-01"])
    name: Text
    mode: Literal["temporary", "in_turn", "station"]
    lat: float = Field(examples=[31.2304])
    lon: float = Field(examples=[121.4737])
    walk_min: int | None = Field(description="Minutes on foot from `near`; null without it", examples=[4])
    open_now: bool
    opens_at: str | None = Field(description="When it opens next, if closed now and that is known")
    price: Price | None
    summary: Summary
    connectors: list[ConnectorAnswer]


class Availability(Answer):
    sites: list[SiteAvailability]


class OpeningWindow(Answer):
    days: Literal["all", "workday", "restday"]
    start: str = Field(examples=["18:00"])
    end: str = Field(description="Past 24:00 it ends on the next day", examples=["32:00"])


class SiteAnswer(Answer):
    site: str = Field(examples=["jn-01"])
    name: Text
    mode: Literal["temporary", "in_turn", "station"]
    lat: float
    lon: float
    section: str | None
    compounds: list[str]
    limit_kw: float | None
    opening: list[OpeningWindow] = Field(description="Empty means always open")
    open_now: bool
    opens_at: str | None
    price: Price | None
    summary: Summary
    stations: list[str] = Field(description="`SITE/DEVICE` of its stations")


class SiteDetail(SiteAnswer):
    connectors: list[ConnectorAnswer]


class Sites(Answer):
    sites: list[SiteAnswer]


class Rules(Answer):
    """How the bays of a site are shared."""

    site: str
    version: int
    rules: dict[str, object]


class Seats(Answer):
    total: int | None
    used: int | None
    observed_at: str | None


class OutletsAnswer(Answer):
    total: int | None
    used: int | None
    free: int | None
    observed_at: str | None


class ClimateAnswer(Answer):
    indoor_c: float | None
    indoor_rh_pct: float | None
    outdoor_c: float | None
    outdoor_rh_pct: float | None
    feels_like_c: float | None = Field(description="Heat index outdoors, where its formula holds")
    pm25: float | None
    co2_ppm: float | None
    observed_at: str | None


class AmenityAnswer(Answer):
    name: str
    ok: bool | None = Field(description="null: the station has not said")
    note: str | None
    observed_at: str | None


class StationAnswer(Answer):
    site: str
    device: str
    name: Text
    lat: float
    lon: float
    walk_min: int | None
    placement: Literal["outdoor", "indoor"]
    open_now: bool
    opens_at: str | None
    seats: Seats
    reading_seats: Seats
    outlets: OutletsAnswer
    climate: ClimateAnswer
    amenities: list[AmenityAnswer]
    refuge: Refuge
    refuge_reason: str = Field(description="A stable code; the pages say it in words", examples=["cooler_inside"])
    smoke: bool | None
    stale: bool


class Stations(Answer):
    stations: list[StationAnswer]


class Nearby(Answer):
    sites: list[SiteAvailability]
    stations: list[StationAnswer]


class ConnectorChange(ConnectorAnswer):
    """One of `connectors` in the stream's `change`, which are not grouped by site."""

    site: str


class SiteChange(Answer):
    """One of `sites` in the stream's `change`; its connectors come by themselves."""

    site: str
    open_now: bool
    summary: Summary


class Clock(Answer):
    """A heartbeat of the stream: service time, and how much faster than the wall it runs."""

    now: str = Field(examples=[NINE])
    speed: float = Field(examples=[1.0])
    believed: bool = Field(description="Whether facts reach us: false while the bus or ingest is away")
