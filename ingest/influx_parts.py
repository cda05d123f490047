"""Floor 3 · The parts that a rollup is made of, and how those of neighbouring stretches make those of both.

What a counter rose by between two stretches is in neither: it is added on reading, in their order. So data that come
late change their own hour and day, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from msgspec import Struct

from ingest.facts import Level
from ingest.influx_reads import COUNTERS
from ingest.store import RollupRow

HOUR_MS = 3_600_000

GAUGES = {"power_kw": "power", "people": "people", "indoor_c": "indoor"}
"""Fields of readings, and what their parts are called."""
KEPT = {"power": ("max", "sum", "n"), "people": ("max", "sum", "n"), "indoor": ("max", "min")}
FIELDS = (
    "samples",
    *(f"{name}_{part}" for name, parts in KEPT.items() for part in parts),
    *(f"{name}_{part}" for name in COUNTERS for part in ("first", "last", "inner")),
)
"""Of a rollup's point; only those that somebody reads, since the server's work goes by fields."""

Key = tuple[str, str, int]
"""Site, device and connector, which is 0 for a station."""


class Counted(Struct, frozen=True):
    """A lifetime counter over a stretch: where it began and ended, and what it rose by inside."""

    first: float
    last: float
    inner: float = 0.0

    def then(self, later: Counted) -> Counted:
        return Counted(self.first, later.last, self.inner + later.inner + max(0.0, later.first - self.last))


class Gauge(Struct, frozen=True, kw_only=True):
    """An instantaneous quantity over a stretch. Each has those parts that are kept of it."""

    max: float
    min: float = 0.0
    sum: float = 0.0
    n: int = 0

    def then(self, later: Gauge) -> Gauge:
        return Gauge(
            max=max(self.max, later.max), min=min(self.min, later.min), sum=self.sum + later.sum, n=self.n + later.n
        )


class Parts(Struct, frozen=True):
    """One instrument over one hour or day."""

    samples: int
    gauges: dict[str, Gauge]
    counters: dict[str, Counted]

    def then(self, later: Parts) -> Parts:
        """Of both stretches. `later` begins where this ends, or afterwards."""
        gauges, counters = dict(self.gauges), dict(self.counters)
        for name, gauge in later.gauges.items():
            gauges[name] = gauges[name].then(gauge) if name in gauges else gauge
        for name, counted in later.counters.items():
            counters[name] = counters[name].then(counted) if name in counters else counted
        return Parts(self.samples + later.samples, gauges, counters)

    def fields(self) -> dict[str, str]:
        """As fields of a line of its point."""
        said = {"samples": f"{self.samples}i"}
        for name, gauge in self.gauges.items():
            parts = {"max": f"{gauge.max}", "min": f"{gauge.min}", "sum": f"{gauge.sum}", "n": f"{gauge.n}i"}
            said |= {f"{name}_{part}": parts[part] for part in KEPT[name]}
        for name, counted in self.counters.items():
            said |= {f"{name}_first": f"{counted.first}", f"{name}_last": f"{counted.last}"}
            said |= {f"{name}_inner": f"{counted.inner}"}
        return said


def of_point(fields: Mapping[str, str]) -> Parts:
    """The parts from the fields of a point."""
    return Parts(
        int(fields["samples"]),
        {
            name: Gauge(
                max=float(fields[f"{name}_max"]),
                min=float(fields.get(f"{name}_min", 0.0)),
                sum=float(fields.get(f"{name}_sum", 0.0)),
                n=int(fields.get(f"{name}_n", 0)),
            )
            for name in GAUGES.values()
            if f"{name}_max" in fields
        },
        {
            name: Counted(float(fields[f"{name}_first"]), float(fields[f"{name}_last"]), float(fields[f"{name}_inner"]))
            for name in COUNTERS
            if f"{name}_inner" in fields
        },
    )


def of_reading(fields: Mapping[str, str]) -> Parts:
    """The parts of one reading."""
    gauges = {name: float(fields[field]) for field, name in GAUGES.items() if field in fields}
    return Parts(
        1,
        {name: Gauge(max=value, min=value, sum=value, n=1) for name, value in gauges.items()},
        {name: Counted(float(fields[name]), float(fields[name])) for name in COUNTERS if name in fields},
    )


def all_of(parts: Iterable[Parts]) -> Parts:
    """Of stretches in their order. Raises StopIteration for none."""
    rest = iter(parts)
    whole = next(rest)
    for later in rest:
        whole = whole.then(later)
    return whole


def results(
    level: Level, rows: Iterable[tuple[Key, int, Parts]], before: Mapping[Key, Mapping[str, float]]
) -> Iterator[RollupRow]:
    """Rows from (key, start_ms, parts) by key and time. `before` is where each counter stood ahead of the first."""
    for (site, device, connector), of_key in groupby(rows, key=lambda row: row[0]):
        stood = dict(before.get((site, device, connector), {}))
        for _key, start_ms, parts in of_key:
            rose: dict[str, float] = {}
            for name, counted in parts.counters.items():
                rose[name] = counted.inner + max(0.0, counted.first - stood.get(name, counted.first))
                stood[name] = counted.last
            power, people, indoor = (parts.gauges.get(name) for name in ("power", "people", "indoor"))
            yield RollupRow(
                level=level,
                start_ms=start_ms,
                site=site,
                device=device,
                connector=connector,
                samples=parts.samples,
                energy_kwh=rose.get("energy_kwh"),
                power_kw_max=power.max if power else None,
                power_kw_mean=power.sum / power.n if power else None,
                people_max=people.max if people else None,
                people_mean=people.sum / people.n if people else None,
                indoor_c_max=indoor.max if indoor else None,
                indoor_c_min=indoor.min if indoor else None,
                outlet_wh=rose.get("energy_wh"),
                entries=round(rose["entries"]) if "entries" in rose else None,
            )
