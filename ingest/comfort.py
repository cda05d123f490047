"""Floor 0 · What heat feels like, and when a room is a refuge from heat or cold."""

from __future__ import annotations

from math import sqrt
from typing import Literal

from msgspec import Struct

RefugeKind = Literal["cool", "warm", "none"]
Reason = Literal[
    "cooler_inside", "warmer_inside", "mild", "too_warm_inside", "too_cold_inside", "smoke", "closed", "no_reading"
]

COOL_ENTER_C, COOL_KEEP_C, COOL_NEVER_C = 28.0, 29.5, 33.0
WARM_ENTER_C, WARM_KEEP_C = 16.0, 14.5
DIFFERENCE_C = 3.0
PATIENCE_MS = 10 * 60_000


class Refuge(Struct, frozen=True):
    """What a room is now, why, and since when a doubt about it lasts (milliseconds)."""

    kind: RefugeKind = "none"
    reason: Reason = "no_reading"
    doubt_since_ms: int | None = None


def heat_index_c(air_c: float, rh_pct: float) -> float | None:
    """The heat index of the US National Weather Service: Rothfusz's regression with its two adjustments.

    None below 80 °F (26.7 °C), where the simple formula says that heat is no matter, and outside 0-100 % humidity.
    Source: https://www.wpc.ncep.noaa.gov/html/heatindex_equation.shtml
    """
    t = air_c * 9 / 5 + 32
    if not 0 <= rh_pct <= 100 or t < 80:
        return None
    simple = 0.5 * (t + 61.0 + (t - 68.0) * 1.2 + rh_pct * 0.094)
    index = simple if (simple + t) / 2 < 80 else _rothfusz_f(t, rh_pct)
    return (index - 32) * 5 / 9


def _rothfusz_f(t: float, rh: float) -> float:
    index = (
        -42.379 + 2.04901523 * t + 10.14333127 * rh - 0.22475541 * t * rh - 6.83783e-3 * t * t
        - 5.481717e-2 * rh * rh + 1.22874e-3 * t * t * rh + 8.5282e-4 * t * rh * rh - 1.99e-6 * t * t * rh * rh
    )  # fmt: skip
    if rh < 13 and 80 <= t <= 112:
        return index - (13 - rh) / 4 * sqrt((17 - abs(t - 95)) / 17)
    if rh > 85 and 80 <= t <= 87:
        return index + (rh - 85) / 10 * (87 - t) / 5
    return index


def judge(was: Refuge, indoor_c: float | None, outdoor_c: float | None, at_ms: int) -> Refuge:
    """What the room is after one more reading.

    Cool: at most 28 °C and at least 3 °C below outdoors. It stays cool until it was above 29.5 °C, or no cooler than
    outdoors, for ten minutes; above 33 °C it never is. Warm: at least 16 °C while outdoors is below that and at least
    3 °C colder; it stays warm down to 14.5 °C while it is colder outdoors. A room without both readings is none:
    a warm room is a refuge only from cold that is known.
    """
    if indoor_c is None or outdoor_c is None:
        return Refuge()
    if was.kind == "cool" and indoor_c <= COOL_NEVER_C:
        if indoor_c <= COOL_KEEP_C and indoor_c < outdoor_c:
            return Refuge("cool", "cooler_inside")
        since = at_ms if was.doubt_since_ms is None else was.doubt_since_ms
        if at_ms - since < PATIENCE_MS:
            return Refuge("cool", "cooler_inside", since)
    if was.kind == "warm" and indoor_c >= WARM_KEEP_C and indoor_c > outdoor_c:
        return Refuge("warm", "warmer_inside")
    if WARM_ENTER_C <= indoor_c <= COOL_ENTER_C and outdoor_c - indoor_c >= DIFFERENCE_C:
        return Refuge("cool", "cooler_inside")
    if indoor_c >= WARM_ENTER_C > outdoor_c and indoor_c - outdoor_c >= DIFFERENCE_C:
        return Refuge("warm", "warmer_inside")
    if outdoor_c > COOL_ENTER_C:
        return Refuge("none", "too_warm_inside")
    return Refuge("none", "too_cold_inside" if outdoor_c < WARM_ENTER_C and indoor_c < WARM_ENTER_C else "mild")
