"""Floor 0 · What a kilowatt-hour costs, as far as it is published."""

from __future__ import annotations

from api.schemas import Price, TariffBand, Text
from scheduler import tariff

SHANGHAI_RESIDENTIAL = Price(
    currency="CNY",
    energy=[
        TariffBand(start=f"{band.start_hour:02}:00", end=f"{band.end_hour:02}:00", per_kwh=band.fen_kwh / 100)
        for band in tariff.SHANGHAI_RESIDENTIAL
    ],
    service_per_kwh=None,
    source=Text(zh="上海居民分时电价第一档", en="Shanghai residential time-of-use tariff, first tier"),
    valid_from="2012-07-01",
)
"""The service fee is the operator's, and is null until an operator says it."""
