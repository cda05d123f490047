"""A day on the street, as somebody who counts cars, people and degrees would see it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple

import msgspec
import pytest

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site, Window
from ingest.clock import from_ms, parse_rfc3339
from ingest.messages import Telemetry
from simulators import weather
from simulators.habits import Household, local_midnight
from simulators.report import Report
from simulators.room import Air
from simulators.station import Station
from simulators.street import Street

FOUR_PM_MS = parse_rfc3339("2026-11-23T16:00:00+08:00")
"""A Monday."""
HOUR_MS = 3_600_000
PLUGGED = {"preparing", "charging", "suspended", "finishing"}


@cache
def file() -> weather.Weather:
    path = Path(weather.__file__).parent / "data" / "shanghai-weather.csv"
    return weather.read(path.read_text(encoding="utf-8"))


def place(piles: int = 120, stations: int = 0) -> Inventory:
    """Three piles a site, every third of two connectors: 160 connectors of 120 piles."""
    devices = [
        Device(
            site=f"lot-{n // 3:02d}",
            id=f"pile-{n:04d}",
            kind="pile",
            connectors=tuple(ConnectorSpec(c + 1) for c in range(2 if n % 3 == 0 else 1)),
        )
        for n in range(piles)
    ]
    devices += [
        Device(site=f"xin-{n}", id="station-01", kind="station", seats=12, reading_seats=4, outlets=6,
               amenities=("toilet", "wifi"))
        for n in range(stations)
    ]  # fmt: skip
    sites = {d.site: Site(id=d.site, name=Name(d.site, d.site), lat=31.2, lon=121.4) for d in devices}
    return Inventory(sites=sites, devices={d.name: d for d in devices})


class Evening(NamedTuple):
    said: list[tuple[str, Report]]
    plugged_at: dict[int, int]
    """Cars that hold a plug at each local hour (26 is two in the morning)."""
    street: Street


@cache
def evening(seed: int = 1) -> Evening:
    """Ten hours; everything is reported when it changes, and each quarter of an hour."""
    air = file().mapped(None, FOUR_PM_MS).at
    street = Street(place(120, 2), seed=seed, start_ms=FOUR_PM_MS, outdoor=air, interval_s=900)
    said, plugged_at = [], {16: street.plugged}
    for hour in range(1, 11):
        said += street.advance(FOUR_PM_MS + hour * HOUR_MS)
        plugged_at[16 + hour] = street.plugged
    return Evening(said, plugged_at, street)


def visits(told: Evening) -> list[tuple[int, int | None]]:
    """(plugged, unplugged) of every car seen, in milliseconds; None while it still stands there."""
    found: list[tuple[int, int | None]] = []
    since: dict[tuple[str, object], int] = {}
    for name, report in told.said:
        if report.fields["kind"] == "connector" and report.fields["state"] not in {"faulted", "unavailable"}:
            key = name, report.fields["connector"]
            if report.fields["state"] in PLUGGED:
                since.setdefault(key, report.ts_ms)
            elif key in since:
                found.append((since.pop(key), report.ts_ms))
    return found + [(start, None) for start in since.values()]


# --- cars -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_hours_from_four_in_the_afternoon_hold_well_over_a_hundred_finished_sessions(seed):
    done = [visit for visit in visits(evening(seed)) if visit[1] is not None]
    assert len(done) >= 120


def test_cars_of_before_stand_at_the_piles_from_the_start():
    assert evening().plugged_at[16] > 10


def test_the_street_is_fuller_after_work_and_at_night_than_in_the_afternoon():
    told = evening().plugged_at
    assert told[17] < told[19] / 2
    assert 80 < told[24] <= 160


def test_most_people_plug_in_after_work_or_when_the_valley_begins():
    hours = Counter(from_ms(start + 8 * HOUR_MS).hour for start, _ in visits(evening()) if start > FOUR_PM_MS + 60_000)
    busiest = {hour for hour, _ in hours.most_common(5)}
    assert {18, 22} <= busiest
    assert sum(hours[h] for h in (17, 18, 19, 21, 22)) > 0.7 * sum(hours.values())


def test_each_second_day_a_household_comes_with_what_the_design_says():
    monday_ms = local_midnight(FOUR_PM_MS)
    came = [v for n in range(3_000) if (v := Household(n).visit(monday_ms))]
    hours = [(v.arrives_ms - monday_ms) / HOUR_MS for v in came]
    assert 0.45 < len(came) / 3_000 < 0.55
    assert sum(1 for h in hours if 17 <= h < 20) / len(came) == pytest.approx(0.40, abs=0.04)
    assert sum(1 for h in hours if 21.8 <= h <= 22.55) / len(came) == pytest.approx(0.35, abs=0.03)
    assert median(v.car.wants_kwh for v in came) == pytest.approx(18, abs=2)
    assert sorted(v.car.wants_kwh for v in came)[int(0.9 * len(came))] == pytest.approx(40, abs=4)
    stays = [v.stay_ms / HOUR_MS for v in came]
    assert all(2 <= stay <= 4 or 8 <= stay <= 11 for stay in stays)


def test_on_a_weekend_more_people_come_by_day():
    def by_day(midnight_ms: int) -> int:
        came = [v for n in range(1_500) if (v := Household(n).visit(midnight_ms))]
        return sum(1 for v in came if v.arrives_ms < midnight_ms + 17 * HOUR_MS)

    monday_ms = local_midnight(FOUR_PM_MS)
    assert by_day(monday_ms + 5 * 24 * HOUR_MS) > 1.3 * by_day(monday_ms)


def test_at_most_three_percent_of_devices_are_broken_on_purpose():
    street = Street(place(), seed=1, start_ms=FOUR_PM_MS, outdoor=weather.constant().at, broken_share=0.5)
    broken = [n for n, p in street.piles.items() if any(p.connector(c).error or p.connector(c).out_of_service
                                                        for c in p.connectors)]  # fmt: skip
    assert 1 <= len(broken) <= 0.03 * 120 + 1


def test_a_site_is_never_fuller_than_its_plugs():
    street = Street(place(3), seed=4, start_ms=FOUR_PM_MS, outdoor=weather.constant().at)
    for hour in range(24):
        street.advance(FOUR_PM_MS + hour * HOUR_MS)
        assert street.plugged <= 4


# --- one life a seed --------------------------------------------------------------------------------------------------


def life(seed: int, step_ms: int = HOUR_MS) -> list[tuple[str, Report]]:
    street = Street(place(9, 1), seed=seed, start_ms=FOUR_PM_MS, outdoor=file().mapped(None, FOUR_PM_MS).at)
    return [said for ms in range(step_ms, 2 * HOUR_MS + 1, step_ms) for said in street.advance(FOUR_PM_MS + ms)]


def test_a_seed_is_one_life_however_often_one_looks():
    by_device: list[dict[str, list[Report]]] = []
    for step_ms in (HOUR_MS, 60_000):
        told: defaultdict[str, list[Report]] = defaultdict(list)
        for name, report in life(7, step_ms):
            told[name].append(report)
        by_device.append(told)
    assert by_device[0] == by_device[1]


def test_another_seed_is_another_life():
    assert life(7) != life(8)


def test_nothing_is_said_of_the_time_before_the_start_and_times_never_go_back():
    last: dict[str, int] = {}
    for name, report in evening().said:
        assert report.ts_ms >= max(FOUR_PM_MS, last.get(name, 0))
        last[name] = report.ts_ms


def test_all_that_is_said_is_in_the_contract():
    decoder = msgspec.json.Decoder(Telemetry)
    envelope = {"v": 1, "boot": "b", "seq": 1, "ts": "2026-11-22T04:05:06.250Z"}
    kinds = Counter()
    for _, report in evening().said:
        decoder.decode(msgspec.json.encode({**envelope, **report.fields}))
        kinds[report.fields["kind"]] += 1
    assert {"meter", "connector", "climate", "presence", "outlets", "amenity", "smoke"} <= kinds.keys()


def test_a_device_that_starts_says_everything_that_it_knows():
    street = Street(place(3, 1), seed=1, start_ms=FOUR_PM_MS, outdoor=weather.constant().at)
    street.report_all("lot-00/pile-0000", FOUR_PM_MS + 1)
    street.report_all("xin-0/station-01", FOUR_PM_MS + 1)
    said = Counter((name, r.fields["kind"]) for name, r in street.advance(FOUR_PM_MS + 1))
    assert said["lot-00/pile-0000", "connector"] == 2
    assert said["xin-0/station-01", "climate"] == 1


def test_an_order_reaches_its_pile_and_a_station_knows_only_show():
    street = Street(place(3, 1), seed=1, start_ms=FOUR_PM_MS, outdoor=weather.constant().at)
    limit = b'{"v":1,"id":"a","epoch":1,"ttl_s":60,"connector":1,"type":"set_limit","limit_kw":3,"fallback_kw":1.4}'
    show = b'{"v":1,"id":"b","epoch":1,"ttl_s":60,"type":"show","text":"hello"}'
    answers = [street.obey(name, order, FOUR_PM_MS + 1) for name, order in
               (("lot-00/pile-0000", limit), ("xin-0/station-01", limit), ("xin-0/station-01", show))]  # fmt: skip
    assert [(a.result, a.reason) for a in answers if a] == [
        ("accepted", None), ("rejected", "unsupported"), ("accepted", None)
    ]  # fmt: skip


def test_a_word_of_the_service_that_comes_between_two_looks_changes_no_meter():
    """What is said to a pile runs a little ahead of the street; nothing may be lived, or charged, twice."""
    show = b'{"v":1,"id":"%d","epoch":1,"ttl_s":60,"type":"show","text":"hello"}'
    until_ms = FOUR_PM_MS + 6 * HOUR_MS

    def counters(talkative: bool) -> dict[tuple[str, int], float]:
        street = Street(place(30), seed=1, start_ms=FOUR_PM_MS, outdoor=weather.constant().at, interval_s=900)
        if talkative:
            for n in range(1, 72):
                for name in street.piles:
                    street.obey(name, show % n, FOUR_PM_MS + n * HOUR_MS // 12)
        street.advance(until_ms)
        for name in street.piles:
            street.report_all(name, until_ms)
        return {(name, number): pile.connector(number).energy_kwh
                for name, pile in street.piles.items() for number in pile.connectors}  # fmt: skip

    assert counters(talkative=True) == pytest.approx(counters(talkative=False), abs=0.01)


# --- stations ---------------------------------------------------------------------------------------------------------


def station(day: date | None, *, hours: int = 24, opening: tuple[float, float] | None = None, **how) -> list[Report]:
    device = Device(**{"site": "xin-1", "id": "s-1", "kind": "station", "seats": 12, "reading_seats": 4, "outlets": 6,
                       "amenities": ("toilet",), **how})  # fmt: skip
    air = file().mapped(day, FOUR_PM_MS).at
    it = Station(device, start_ms=FOUR_PM_MS, interval_s=60, rng=Random(5), outdoor=air, opening_h=opening)
    return it.advance(FOUR_PM_MS + hours * HOUR_MS)


def of(said: list[Report], kind: str, field: str) -> list[float]:
    return [float(str(r.fields[field])) for r in said if r.fields["kind"] == kind]


def test_in_a_heat_wave_the_room_stays_cool_while_it_is_forty_outside():
    said = station(date(2013, 8, 6))
    assert max(of(said, "climate", "outdoor_c")) >= 38
    assert max(of(said, "climate", "indoor_c")) <= 28


def test_a_room_whose_air_conditioning_fails_follows_the_weather():
    device = Device(site="xin-1", id="s-1", kind="station", seats=12)
    it = Station(device, start_ms=FOUR_PM_MS, interval_s=60, rng=Random(5), outdoor=lambda _: Air(39.0, 50.0, 40.0))
    it.advance(FOUR_PM_MS + HOUR_MS)
    it.fail("hvac", FOUR_PM_MS + 8 * HOUR_MS, FOUR_PM_MS + HOUR_MS)
    broken = it.advance(FOUR_PM_MS + 8 * HOUR_MS - 1)
    assert max(of(broken, "climate", "indoor_c")) > 35
    mended = it.advance(FOUR_PM_MS + 12 * HOUR_MS)
    assert of(mended, "climate", "indoor_c")[-1] <= 26.5
    faults = [r.fields["cleared"] for r in broken + mended if r.fields["kind"] == "fault"]
    assert faults == [False, True]


def test_in_winter_it_is_heated():
    said = station(date(2014, 1, 13))
    assert min(of(said, "climate", "outdoor_c")) < 8
    assert min(of(said, "climate", "indoor_c")) >= 16


def test_people_come_and_go_and_never_take_more_seats_and_outlets_than_there_are():
    said = station(None)
    assert max(of(said, "presence", "people")) > 0
    assert max(of(said, "presence", "seats_used")) <= 12
    assert max(of(said, "presence", "reading_seats_used")) <= 4
    assert max(of(said, "outlets", "outlets_used")) <= 6


def test_counters_of_entries_and_energy_only_grow():
    said = station(None)
    for kind, field in (("presence", "entries"), ("outlets", "energy_wh")):
        counted = of(said, kind, field)
        assert counted == sorted(counted)
        assert counted[-1] > counted[0]


def test_nobody_sits_in_a_closed_station():
    said = station(None, opening=(8.0, 20.0))
    night = [r.fields["people"] for r in said if r.fields["kind"] == "presence"
             and 20.1 <= (r.ts_ms + 8 * HOUR_MS) / HOUR_MS % 24 < 24]  # fmt: skip
    assert set(night) == {0}


def test_riders_and_sweepers_are_counted_by_their_groups():
    groups: set[str] = set()
    for report in station(None):
        if report.fields["kind"] == "presence":
            told = report.fields["groups"]
            assert isinstance(told, dict)
            assert sum(told.values()) == report.fields["people"]
            groups |= told.keys()
    assert {"rider", "sweeper", "neighbour", "reader"} <= groups


def test_an_amenity_that_fails_says_so_and_is_mended():
    device = Device(site="xin-1", id="s-1", kind="station", amenities=("toilet",))
    it = Station(device, start_ms=FOUR_PM_MS, interval_s=60, rng=Random(5), outdoor=weather.constant().at)
    it.fail("toilet", FOUR_PM_MS + HOUR_MS, FOUR_PM_MS)
    told = [r.fields["ok"] for r in it.advance(FOUR_PM_MS + 2 * HOUR_MS) if r.fields["kind"] == "amenity"]
    assert (told[0], told[-1]) == (False, True)


def test_smoke_is_said_at_once_and_again_when_it_is_over():
    device = Device(site="xin-1", id="s-1", kind="station")
    it = Station(device, start_ms=FOUR_PM_MS, interval_s=900, rng=Random(5), outdoor=weather.constant().at)
    it.smoke(FOUR_PM_MS + 60_000, FOUR_PM_MS)
    told = [r.fields["alarm"] for r in it.advance(FOUR_PM_MS + 120_000) if r.fields["kind"] == "smoke"]
    assert told[:2] == [True, False]


def test_opening_hours_of_a_site_hold_for_its_station():
    site = Site(id="xin-1", name=Name("x", "x"), lat=31.2, lon=121.4, opening=(Window("all", 480, 1200),))
    device = Device(site="xin-1", id="s-1", kind="station", seats=4)
    inventory = Inventory(sites={"xin-1": site}, devices={device.name: device})
    street = Street(inventory, seed=1, start_ms=FOUR_PM_MS + 6 * HOUR_MS, outdoor=weather.constant().at)
    assert street.stations["xin-1/s-1"].people == 0


# --- weather ----------------------------------------------------------------------------------------------------------


def test_a_date_is_lived_on_the_first_service_day():
    hot = file().mapped(date(2013, 8, 7), FOUR_PM_MS)
    assert max(hot.temp_c(local_midnight(FOUR_PM_MS) + hour * HOUR_MS) for hour in range(24)) >= 38


def test_without_a_date_november_is_a_november():
    temperatures = [file().mapped(None, FOUR_PM_MS).temp_c(FOUR_PM_MS + hour * HOUR_MS) for hour in range(24)]
    assert 5 <= min(temperatures) <= max(temperatures) <= 25


def test_hours_that_were_not_measured_take_the_hour_before():
    for hour in range(14 * 24):
        assert -10 < file().mapped(date(2013, 3, 5), FOUR_PM_MS).temp_c(FOUR_PM_MS + hour * HOUR_MS) < 35


@pytest.mark.parametrize("day", [date(2012, 8, 6), date(2016, 1, 1)])
def test_a_date_that_the_file_has_not_is_refused_with_those_it_has(day):
    with pytest.raises(ValueError, match="from 2013-01-30 to 2015-12-31"):
        file().mapped(day, FOUR_PM_MS)


def test_an_empty_weather_file_is_refused():
    with pytest.raises(ValueError, match="without hours"):
        weather.read("No,year,month\n")
