"""Floor 0 · Facts in words: ages, times of day, prices, names, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, tzinfo

from api.i18n import CATALOGUES, TAGS, Language, words
from api.schemas import Price, Text
from ingest.clock import from_ms, parse_rfc3339

DAY_MIN = 1_440


class Speaker:
    """Says things in one language as of one moment of service time. Templates call it `say`."""

    def __init__(self, language: Language, service_ms: int, zone: tzinfo) -> None:
        self.language, self.tag = language, TAGS[language]
        self.other: Language = "en" if language == "zh" else "zh"
        self._service_ms, self._zone = service_ms, zone

    def __call__(self, key: str, **values: object) -> str:
        return words(self.language, key, **values)

    def name(self, text: Text) -> str:
        return text.en if self.language == "en" else text.zh

    def age(self, at: str | None) -> str:
        """`3 s ago`, in service time."""
        return self("never") if at is None else age_text(self, (self._service_ms - parse_rfc3339(at)) / 1_000)

    def time(self, at: str) -> str:
        """The local time of day, with the date when that is another day."""
        local, today = self._local(parse_rfc3339(at)), self._local(self._service_ms)
        return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%m-%d %H:%M}"

    def now(self) -> str:
        return f"{self._local(self._service_ms):%H:%M:%S}"

    def amenity(self, name: str) -> str:
        return CATALOGUES[self.language].get(f"amenity_{name}", name.replace("_", " "))

    def condition(self, code: str) -> str:
        """What holds at a device; of a fault also the device's own code. One that has no words yet is said as it is."""
        kind, _, own = code.partition(":")
        key = f"condition_{kind}"
        return self(key, **({"code": own} if own else {})) if key in CATALOGUES[self.language] else code

    def price(self, price: Price) -> str:
        """What energy costs now and until when, and the service fee or that it is not known."""
        clock = f"{self._local(self._service_ms):%H:%M}"
        parts = [
            f"{self('price_now', price=band.per_kwh)} ({self('price_until', time=band.end)})"
            for band in price.energy
            if _within(band.start, clock, band.end)
        ]
        fee = price.service_per_kwh
        parts.append(self("price_fee_unknown") if fee is None else self("price_fee", price=fee))
        return " · ".join(parts)

    def clock(self, text: str) -> str:
        """A closing time of an opening window; 32:00 is 08:00 of the next day."""
        hours, minutes = (int(part) for part in text.split(":"))
        late = hours * 60 + minutes > DAY_MIN
        return f"{self('next_day') if late else ''}{hours - 24 if late else hours:02}:{minutes:02}"

    def _local(self, ms: int) -> datetime:
        return from_ms(ms).astimezone(self._zone)


def age_text(say: Callable[..., str], age_s: float) -> str:
    """The same steps as in static/page.js."""
    if age_s < 1:
        return say("just_now")
    for key, unit_s in (("age_d", 86_400), ("age_h", 3_600), ("age_min", 60)):
        if age_s >= 2 * unit_s:
            return say(key, n=int(age_s // unit_s))
    return say("age_s", n=int(age_s))


def _within(start: str, clock: str, end: str) -> bool:
    return start <= clock < end if start < end else clock >= start or clock < end
