"""Floor 1 · What the desk must know of a site beside its rules."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from ingest.assets import ConnectorType, SiteMode


class Connector(Struct, frozen=True):
    """`id` is `SITE/DEVICE/1`. Below `least_w` a car pauses; `fallback_w` is what it may draw while nobody is heard."""

    id: str
    max_w: int
    type: ConnectorType = "GBT_AC"
    least_w: int = 0
    fallback_w: int = 0


class SiteFacts(Struct, frozen=True, kw_only=True):
    """What the desk must know of a site beside its rules. `limit_w` None is no limit known."""

    id: str
    mode: SiteMode
    connectors: tuple[Connector, ...]
    limit_w: int | None = None


class Sites(Protocol):
    def site(self, site: str) -> SiteFacts | None: ...


def most_w(site: SiteFacts) -> int:
    return max(one.max_w for one in site.connectors)
