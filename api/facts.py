"""Floor 0 · From what a pile said to the status that people are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import NamedTuple, TypeVar

from msgspec import UNSET, UnsetType

from api.schemas import ConnectorAnswer, OcpiStatus, Summary, WaitMin
from ingest.assets import ConnectorSpec
from ingest.clock import parse_rfc3339
from ingest.messages import NO_CODE, ConnectorState, Turns
from ingest.sessions import PLUGGED

T = TypeVar("T")
RESERVED_AHEAD_MS = 15 * 60_000
"""A plug counts as somebody's this long before a promise begins."""


class Held(NamedTuple):
    """What is promised of a connector: from when on it is kept for somebody, and until when it is somebody's now."""

    from_ms: int | None = None
    until: str | None = None


FREE = Held()


def held(said: Turns | None, connector: int) -> Held:
    """What a pile was told of one of its connectors."""
    at = next((one for one in said.connectors if one.connector == connector), None) if said else None
    if at is None:
        return FREE
    if at.now is not None and at.now.code_hash != NO_CODE:
        return Held(0, at.now.until)
    return Held(parse_rfc3339(at.next[0].from_) - RESERVED_AHEAD_MS) if at.next else FREE


def status_of(said: ConnectorState | None, *, stale: bool, open_now: bool, reserved: bool = False) -> OcpiStatus:
    """OCPI's status: the first that holds, in the order of the contract."""
    if stale or said is None or said.state is UNSET:
        return "UNKNOWN"
    if said.state == "faulted":
        return "OUTOFORDER"
    if said.state == "unavailable" or not open_now:
        return "INOPERATIVE"
    if said.state in PLUGGED:
        return "CHARGING"
    return "BLOCKED" if said.bay_occupied is True else "RESERVED" if reserved else "AVAILABLE"


def connector_answer(
    name: str,
    spec: ConnectorSpec,
    said: ConnectorState | None,
    *,
    stale: bool,
    open_now: bool,
    reserved: bool = False,
    free_at: str | None = None,
) -> ConnectorAnswer:
    """What the public sees of the connector `SITE/DEVICE/NUMBER`. `free_at` is when the turn there ends."""
    return ConnectorAnswer(
        id=name,
        type=spec.type,
        status=status_of(said, stale=stale, open_now=open_now, reserved=reserved),
        state=_or_none(said.state) if said else None,
        since=_or_none(said.since) if said else None,
        observed_at=said.observed_at if said else None,
        stale=stale,
        power_kw=_or_none(said.power_kw) if said else None,
        max_kw=spec.max_kw,
        free_at=free_at,
    )


def charged(said: ConnectorState | None) -> bool:
    """Whether the car is done and still plugged in."""
    if said is None or said.state not in PLUGGED:
        return False
    return said.state == "finishing" or bool(said.session and said.session.charge_ended_at is not UNSET)


def summary(connectors: Sequence[ConnectorAnswer], finished: Container[str]) -> Summary:
    """The counts of a site; `finished` are the ids of connectors whose car is charged."""
    counts = Counter(connector.status for connector in connectors)
    finishing = sum(connector.status == "CHARGING" and connector.id in finished for connector in connectors)
    return Summary(
        total=len(connectors),
        available=counts["AVAILABLE"],
        reserved=counts["RESERVED"],
        in_use=counts["CHARGING"] - finishing,
        finishing=finishing,
        blocked=counts["BLOCKED"],
        out_of_order=counts["OUTOFORDER"],
        closed=counts["INOPERATIVE"],
        unknown=counts["UNKNOWN"],
        wait_min=WaitMin(p50=0, p90=0) if counts["AVAILABLE"] else None,
    )


def _or_none(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value
