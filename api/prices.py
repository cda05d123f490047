"""Floor 0 · What a kilowatt-hour costs, as far as it is published."""

from __future__ import annotations

from api.schemas import Price, TariffBand, Text

SHANGHAI_RESIDENTIAL = Price(
    currency="CNY",
    energy=[
        TariffBand(start="06:00", end="22:00", per_kwh=0.617),
        TariffBand(start="22:00", end="06:00", per_kwh=0.307),
    ],
    service_per_kwh=None,
    source=Text(zh="上海居民分时电价第一档", en="Shanghai residential time-of-use tariff, first tier"),
    valid_from="2012-07-01",
)
"""The service fee is the operator's, and is null until an operator says it."""
