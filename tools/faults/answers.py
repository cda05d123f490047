"""Rows 6 and 8: InfluxDB stores and its answer is lost; InfluxDB refuses one point among thousands."""

from __future__ import annotations

import json
import secrets
import threading
import time
from random import Random
from typing import Literal

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from ingest.clock import rfc3339
from ingest.topics import device_topic
from tests.influx import ORG, Influxd
from tools.faults.clocks import DAY_MS, SITE, Bench, wall_ms
from tools.faults.http_proxy import Answer, Request
from tools.faults.load import end_of_load, loaded, place_for, without
from tools.faults.outages import DRAINED_WITHIN_S, drained, said_no
from tools.faults.outcome import Asked, Outcome, until
from tools.faults.rows import rows_of
from tools.faults.stage import PREFIX, Stage

READINGS, ARRAY = 5_000, 500
MOST_WRITES = 60
"""To find one bad point of 5 000 by halves takes 26."""
REFUSED_KWH, MARK = 4242.4242, b"4242.4242"
"""What the proxy takes for a bad point; no other reading says it."""
NOWHERE = "nowhere"
REASON = "store_refused"


class Loses:
    """A script that loses the answers of some of the writes that InfluxDB took."""

    def __init__(self, rng: Random, share: float) -> None:
        self._rng, self._share, self._lock = rng, share, threading.Lock()
        self.lost = 0

    def __call__(self, request: Request) -> Literal["lost"] | None:
        with self._lock:
            if not request.is_write or self._rng.random() >= self._share:
                return None
            self.lost += 1
            return "lost"


def answers_lost(asked: Asked) -> Outcome:
    """A third of the writes commit, and nobody is told so."""
    outcome, loses = Outcome(), Loses(asked.rng, 1 / 3)
    with Stage(place_for(asked), asked.on) as stage:
        proxy = stage.before_influxd()
        server = stage.serve()
        street = loaded(stage, server, asked, 1_000, 200)
        proxy.script = loses
        time.sleep(asked.pick(30.0, 6.0))
        proxy.script = lambda _request: None
        healed_s = time.monotonic()
        drained(server, outcome)
        outcome.recovered(time.monotonic() - healed_s, asked.pick(*DRAINED_WITHIN_S))
        end_of_load(outcome, stage, server, street)
    outcome.figures["answers_lost"] = loses.lost
    outcome.must(loses.lost > 0, "no answer was lost")
    return outcome


def one_refused(asked: Asked) -> Outcome:
    """Of 5 000 readings InfluxDB refuses one and stores the others; of another 5 000 it stores none because of one."""
    outcome, rng, whole = Outcome(), asked.rng, place_for(asked)
    with Stage(whole, asked.on) as stage:
        stage.play_only(without(whole, SITE))
        board = stage.enrolments.enroll_reader("board")
        proxy = stage.before_influxd()
        _let_temperatures_be_refused(stage.influxd())
        server = stage.serve()
        street = loaded(stage, server, asked, 1_000, 200)
        bench = Bench(stage, server.said.mqtt, board)
        bad: dict[str, tuple[str, int]] = {}
        for number, (how, field) in enumerate((("partly", {"temp_c": 88.5}), ("wholly", {"energy_kwh": REFUSED_KWH}))):
            name, boot, seq = f"{SITE}/pile-{number:03d}", secrets.token_hex(8), rng.randint(1, READINGS)
            bad[name] = boot, seq
            proxy.script = _later
            _say(bench, name, boot, seq, field)
            proxy.script = _refuse_marked if how == "wholly" else lambda _request: None
            healed_s = time.monotonic()
            until(lambda: server.health().dead_letters == len(bad), 60.0, "the refused reading is a dead letter")
            drained(server, outcome)
            outcome.recovered(time.monotonic() - healed_s, 60.0)
            writes = [one for one in proxy.seen(healed_s) if one.is_write and one.bucket == PREFIX]
            refused = [one for one in writes if one.status == 422]
            outcome.figures[f"refused_{how}"] = f"{len(refused)} of {len(writes)} writes in {outcome.recovered_s[-1]} s"
            outcome.must(0 < len(refused) <= MOST_WRITES, f"{how}: {len(refused)} writes were refused")
        bench.close()
        _forget_temperatures(stage.influxd())
        end_of_load(outcome, stage, server, street)
        for name, (boot, seq) in bad.items():
            rows = [(row.boot, row.seq) for row in rows_of(stage, name)]
            wanted = {(boot, other) for other in range(1, READINGS + 1) if other != seq}
            outcome.count(len(wanted - set(rows)), len(rows) - len(set(rows)))
            outcome.must((boot, seq) not in rows, f"{name}: the bad point was stored")
            outcome.figures[f"stored_of_{name}"] = len(rows)
        with stage.opened() as store:
            letters = store.dead_letters()
        found = {(*letter.topic.split("/")[2:4], letter.boot, letter.seq, letter.reason) for letter in letters}
        outcome.must(found == {(*name.split("/"), *key, REASON) for name, key in bad.items()}, f"letters: {found}")
        outcome.figures["dead"] = len(letters)
    return outcome


def _say(bench: Bench, name: str, boot: str, odd_seq: int, odd: dict[str, float]) -> None:
    """5 000 readings in arrays, one of them with something odd in it; until all are safe."""
    now_ms = wall_ms()
    for first in range(1, READINGS + 1, ARRAY):
        body = [
            {
                "v": 1, "boot": boot, "seq": seq, "ts": rfc3339(now_ms), "kind": "meter", "connector": 1,
                "power_kw": 6.6, "energy_kwh": 100 + seq / 100, "current_a": 30, "voltage_v": 220,
            } | (odd if seq == odd_seq else {})
            for seq in range(first, first + ARRAY)
        ]  # fmt: skip
        bench.line.publish((device_topic(name, "telemetry"), json.dumps(body).encode()))
    bench.wait_acked(name, boot, set(range(1, READINGS + 1)))


def _let_temperatures_be_refused(influxd: Influxd) -> None:
    """In a measurement that has `temp_c` as text InfluxDB itself refuses points that have it as a number."""
    with InfluxDBClient(influxd.url, influxd.token, org=ORG) as client:
        for day in (0, 1):  # such a type holds for a shard, which is a day
            at_ns = (wall_ms() + day * DAY_MS) * 1_000_000
            client.write_api(SYNCHRONOUS).write(PREFIX, record=f'pile,site={NOWHERE} temp_c="warm" {at_ns}')


def _forget_temperatures(influxd: Influxd) -> None:
    with InfluxDBClient(influxd.url, influxd.token, org=ORG) as client:
        times = "1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z"
        client.delete_api().delete(*times, f'site="{NOWHERE}"', bucket=PREFIX, org=ORG)


def _later(request: Request) -> Answer | None:
    return said_no(503, "wait", {"Retry-After": "1"}) if request.is_write else None


def _refuse_marked(request: Request) -> Answer | None:
    """As InfluxDB does with a line that it cannot read: nothing of the body is stored."""
    if not request.is_write or MARK not in request.text():
        return None
    return said_no(422, f"failure writing points to database: {MARK.decode()} is not wanted here")
