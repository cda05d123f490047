"""`python -m benchmarks.ingest [--runs 3] [--only …]`: what a message costs ingest, and how fast a queue is drained.

Messages wait in the persistent session of ingest at the broker, encoded and published before the clock starts; then
ingest is let go, and the clock runs until the store has all. Broker, store and ingest share the machine. Processor time
is that of ingest's process from the moment when all is made and nothing connected. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.influx import Influx, influx_server
from benchmarks.installation import CONNECTORS, PILES_PER_SITE, Gateway, mosquitto, neighbourhood
from benchmarks.line import Line
from benchmarks.measure import wall_ms
from ingest.clock import rfc3339
from ingest.enrolments import Enrolments, ServiceKey
from ingest.inventory import dump
from ingest.store_duckdb import DuckStore
from ingest.tied import tied
from ingest.topics import device_topic
from ingest.worker import SUBSCRIPTIONS

SINGLES = 200_000
READINGS = 800_000
AN_ARRAY = 50
APART_MS = 10
"""From one reading of a pile to its next: all differ in time, and a queue seldom spans two hours, as rolling one up is
no part of what is measured."""
AT_ONCE = 500
DONE_WITHIN_S = 240.0


class Queue(NamedTuple):
    """A broker at which messages wait for ingest."""

    folder: Path
    mqtt: str
    key: ServiceKey
    gateways: list[Gateway]
    readings: int


class Drained(NamedTuple):
    us_per_reading: float
    readings_per_s: float


def main() -> None:
    kinds: dict[str, Callable[[dict[str, list[float]], Influx, Path | None], None]] = {
        "single": _single, "naive": _naive, "batch_influxdb": _batch_influxdb, "batch_duckdb": _batch_duckdb,
    }  # fmt: skip
    asked = argparse.ArgumentParser(prog="python -m benchmarks.ingest")
    asked.add_argument("--runs", type=int, default=3)
    asked.add_argument("--only", choices=kinds, action="append")
    asked.add_argument("--profile", type=Path, help="a folder for a profile of each thread; makes everything slower")
    said = asked.parse_args()
    figures: dict[str, list[float]] = defaultdict(list)
    for run in range(1, said.runs + 1):
        print(f"run {run} of {said.runs}", file=sys.stderr, flush=True)
        for kind in said.only or kinds:
            with influx_server() as influx:
                kinds[kind](figures, influx, said.profile)
    print(json.dumps({name: round(median(values), 1) for name, values in figures.items()} | {"runs": said.runs}))


def _single(figures: dict[str, list[float]], influx: Influx, profile: Path | None) -> None:
    with queued(SINGLES, 1) as queue:
        drained = drain(queue, influx, profile)
    _note(figures, "single_us_per_msg", drained.us_per_reading, "processor time of ingest, single messages, InfluxDB")
    _note(figures, "single_msg_per_s", drained.readings_per_s, "the same, drained until counted in InfluxDB")


def _batch_influxdb(figures: dict[str, list[float]], influx: Influx, profile: Path | None) -> None:
    with queued(READINGS, AN_ARRAY) as queue:
        drained = drain(queue, influx, profile)
    _note(figures, "batch_readings_per_s_influxdb", drained.readings_per_s, f"arrays of {AN_ARRAY}, InfluxDB")
    _note(figures, "batch_us_per_reading_influxdb", drained.us_per_reading, "processor time of ingest")


def _batch_duckdb(figures: dict[str, list[float]], _influx: Influx, profile: Path | None) -> None:
    with queued(READINGS, AN_ARRAY) as queue:
        drained = drain(queue, None, profile)
    _note(figures, "batch_readings_per_s_duckdb", drained.readings_per_s, f"arrays of {AN_ARRAY}, DuckDB")
    _note(figures, "batch_us_per_reading_duckdb", drained.us_per_reading, "processor time of ingest, DuckDB included")


def _naive(figures: dict[str, list[float]], influx: Influx, _profile: Path | None) -> None:
    with queued(SINGLES, 1) as queue, influx.bucket("naive") as bucket:
        port = queue.mqtt.rpartition(":")[2]
        command = ["benchmarks.naive", "--port", port, "--login", json.dumps(queue.key), "--count", str(queue.readings)]
        command += ["--influx", json.dumps([influx.url, influx.token, bucket])]
        with child(command) as process:
            began_s, cpu_s = let_go(process)
            _line(process, "done")
            drained = _drained(process, queue.readings, began_s, cpu_s)
        stored = influx.points(bucket, "pile", "seq")
    print(f"  naive: {stored} of {queue.readings} readings are stored", file=sys.stderr, flush=True)
    _note(figures, "naive_us_per_msg", drained.us_per_reading, "the straightforward worker, on the same queue")
    _note(figures, "naive_msg_per_s", drained.readings_per_s, "the same")


def drain(queue: Queue, influx: Influx | None, profile: Path | None = None) -> Drained:
    """Let ingest go on a queue, until the store has all of it."""
    with ExitStack() as ending:
        command = ["benchmarks.worker", str(queue.folder), "--mqtt", queue.mqtt, "--login", json.dumps(queue.key)]
        prefix = ending.enter_context(influx.buckets()) if influx else ""
        if influx:
            command += ["--influx", json.dumps([influx.url, influx.token, prefix])]
        if profile:
            profile.mkdir(parents=True, exist_ok=True)
            command += ["--profile", str(profile)]
        process = ending.enter_context(child(command))
        began_s, cpu_s = let_go(process)
        drained_to(process, queue.readings)
        drained = _drained(process, queue.readings, began_s, cpu_s)
    stored = influx.points(prefix, "pile", "seq") if influx else _rows_of(queue.folder)
    if stored != queue.readings:
        raise RuntimeError(f"{stored} readings are stored, {queue.readings} were said")
    return drained


def _rows_of(folder: Path) -> int:
    store = DuckStore(folder / "facts.duckdb")
    try:
        return sum(rows for *_run, rows in store.stored())
    finally:
        store.close()


@contextmanager
def queued(readings: int, an_array: int) -> Iterator[Queue]:
    """mosquitto with so many readings in the persistent session of ingest, in arrays of so many."""
    with TemporaryDirectory(prefix="lunchong-bench-") as name, ExitStack() as ending:
        folder = Path(name)
        inventory = neighbourhood()
        (folder / "inventory.toml").write_text(dump(inventory), encoding="utf-8")
        enrolments = Enrolments(folder / "credentials.json")
        gateways = [Gateway(site, *enrolments.enroll_gateway(site)) for site in inventory.sites]
        key = enrolments.service("ingest")
        url = ending.enter_context(mosquitto(folder, enrolments, inventory))
        keep_session(url, key)
        lines = [Line(url, gateway.username, gateway.password, secrets.token_hex(8)) for gateway in gateways]
        for line, gateway in zip(lines, gateways, strict=True):
            ending.callback(line.close)
            _say(line, gateway.site, readings // len(gateways), an_array)
        yield Queue(folder, url, key, gateways, readings)


def keep_session(url: str, key: ServiceKey) -> None:
    """Subscribe as ingest does, and leave: from now on the broker keeps what comes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, key.client_id, clean_session=False)
    client.username_pw_set(key.username, key.password)
    granted: list[int] = []

    def subscribe(*_told: object) -> None:
        client.subscribe(list(SUBSCRIPTIONS))

    client.on_connect = subscribe
    client.on_subscribe = lambda *_: granted.append(1)
    host, _, port = url.removeprefix("mqtt://").rpartition(":")
    client.connect(host, int(port))
    began_s = time.monotonic()
    while not granted:
        client.loop(0.1)
        _in_time(began_s)
    client.disconnect()
    client.loop(0.1)


def _say(line: Line, site: str, readings: int, an_array: int) -> None:
    """Meter readings of the site's piles in turn up to now, once each pile has said its status."""
    turns = readings // PILES_PER_SITE // an_array
    boot, began_ms = secrets.token_hex(8), wall_ms() - turns * an_array * APART_MS
    times = [rfc3339(began_ms + seq * APART_MS) for seq in range(turns * an_array + 1)]
    piles = [f"{site}/pile-{number:03d}" for number in range(PILES_PER_SITE)]
    hello = f'{{"v":1,"boot":"{boot}","ts":"{times[0]}","online":true,"interval_s":60}}'.encode()
    line.publish(*((device_topic(pile, "status"), hello) for pile in piles))
    said, packets, pending = len(piles), 0, list[tuple[str, bytes]]()
    for turn in range(turns):
        seqs = range(turn * an_array + 1, (turn + 1) * an_array + 1)
        payload = _payload([_meter(boot, seq, times[seq]) for seq in seqs])
        for pile in piles:
            pending.append((device_topic(pile, "telemetry"), payload))
        if len(pending) >= AT_ONCE:
            packets += len(pending)
            line.publish(*pending)
            pending = []
            while line.pubacks < said + packets - 4 * AT_ONCE:
                line.listen(1.0)
    line.publish(*pending)
    packets += len(pending)
    while line.pubacks < said + packets:
        line.listen(1.0)


def _meter(boot: str, seq: int, ts: str) -> str:
    return (
        f'{{"v":1,"boot":"{boot}","seq":{seq},"ts":"{ts}","kind":"meter","connector":{1 + seq % CONNECTORS},'
        f'"power_kw":{6.5 + seq % 7 / 10:.1f},"energy_kwh":{1234.5 + seq / 100:.2f},'
        '"current_a":30.1,"voltage_v":226.4}'
    )


def _payload(body: list[str]) -> bytes:
    return (body[0] if len(body) == 1 else f"[{','.join(body)}]").encode()


@contextmanager
def child(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        tied([sys.executable, "-m", *command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        _line(process, "ready")
        yield process
    finally:
        process.communicate(timeout=60)


def let_go(process: subprocess.Popen[str]) -> tuple[float, float]:
    cpu_s, began_s = cpu_of(process.pid), time.monotonic()
    _tell(process, "go")
    return began_s, cpu_s


def _tell(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    if (said := process.stdout.readline().strip()) != wanted:
        raise RuntimeError(f"the process said {said!r} instead of {wanted!r}")


def ask(process: subprocess.Popen[str]) -> tuple[int, int]:
    assert process.stdout is not None
    _tell(process, "status")
    waiting, received = process.stdout.readline().split()
    return int(waiting), int(received)


def _drained(process: subprocess.Popen[str], readings: int, began_s: float, cpu_s: float) -> Drained:
    took_s, used_s = time.monotonic() - began_s, cpu_of(process.pid) - cpu_s
    return Drained(used_s / readings * 1e6, readings / took_s)


def drained_to(process: subprocess.Popen[str], readings: int) -> None:
    """Wait until ingest has received so many, and its store has them."""
    began_s = time.monotonic()
    while ask(process) != (0, readings):
        _in_time(began_s)
        time.sleep(0.1)


def cpu_of(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _in_time(began_s: float) -> None:
    if time.monotonic() - began_s > DONE_WITHIN_S:
        raise TimeoutError(f"not done within {DONE_WITHIN_S:.0f} s")


def _note(figures: dict[str, list[float]], name: str, value: float, what: str) -> None:
    figures[name].append(value)
    print(f"  {name} {value:.1f}  ({what})", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
