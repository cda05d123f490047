"""The rows that this machine can run, by their numbers in the fault matrix, and the parts that each runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.influx import MISSING, influxd_program
from tests.postgres import MISSING as NO_POSTGRES
from tests.postgres import postgresql_folder
from tools.faults import (
    answers,
    clocks,
    disks,
    intruders,
    kills,
    ledger_away,
    networks,
    outages,
    payloads,
    promises,
    spool_cuts,
    two_leaders,
)
from tools.faults.mosquitto import mosquitto_program
from tools.faults.outcome import Asked, On, Outcome

FULL_DISK, PROMISES, TWO, LEDGER = 9, 15, 16, 18
BOTH: tuple[On, ...] = ("embedded", "production")
INFLUXDB: tuple[On, ...] = ("production",)
PARTS: dict[On, str] = {"embedded": "NATS + DuckDB", "production": "mosquitto + InfluxDB"}


class Row(NamedTuple):
    title: str
    act: Callable[[Asked], Outcome]
    on: tuple[On, ...]


ROWS = {
    1: Row("kill -9 of ingest", kills.ingest_killed, BOTH),
    2: Row("kill -9 of the broker, its memory gone", kills.broker_killed, BOTH),
    3: Row("kill -9 of the all-in-one, then of the demo", kills.all_in_one_killed, BOTH),
    4: Row("InfluxDB down", outages.influxdb_down, INFLUXDB),
    5: Row("InfluxDB answers 503, then 429 with Retry-After", outages.influxdb_busy, INFLUXDB),
    6: Row("writes that commit, and nobody is told", answers.answers_lost, INFLUXDB),
    7: Row("malformed payloads, and all of the golden file's", payloads.malformed, BOTH),
    8: Row("one point of 5 000 refused", answers.one_refused, INFLUXDB),
    FULL_DISK: Row("the disk under the spool full", disks.disk_full, BOTH),
    10: Row("the spool's log cut off after its last commit, then before it", spool_cuts.spool_cut, BOTH),
    11: Row("the line to the broker slow, cut, then silent", networks.line_cut, BOTH),
    12: Row("ingest stopped, then continued", kills.ingest_stopped, BOTH),
    14: Row("messages out of order, from yesterday, from a backlog, from wrong clocks", clocks.wrong_times, BOTH),
    PROMISES: Row("the scheduler killed at every step of a promise", promises.killed_at_every_step, BOTH),
    TWO: Row("two schedulers, one paused past its lease, then continued", two_leaders.two_leaders, INFLUXDB),
    17: Row("the InfluxDB token revoked, then given back", outages.token_revoked, INFLUXDB),
    LEDGER: Row("the ledger's database away", ledger_away.ledger_away, INFLUXDB),
    19: Row("other people's credentials, topics and messages", intruders.intruders, BOTH),
}


def missing(number: int, on: On) -> str | None:
    """What this row lacks on this machine, and how it comes there."""
    if number in (PROMISES, TWO, LEDGER):
        lacks = [NO_POSTGRES if on == "production" and postgresql_folder() is None else None]
        lacks += [None if number != TWO or mosquitto_program() else "mosquitto is missing: apt-get install mosquitto"]
        return "; ".join(filter(None, lacks)) or None
    lacks = [disks.lacks()] if number == FULL_DISK else []
    if on == "production":
        lacks += [None if mosquitto_program() else "mosquitto is missing: apt-get install mosquitto"]
        lacks += [None if influxd_program() else MISSING]
    return "; ".join(filter(None, lacks)) or None
