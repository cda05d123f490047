"""`python -m benchmarks.steady [--rate 5000] [--for 300]`: how long a message waits to be safe, minute after minute.

Piles on mosquitto say single messages at a steady rate, InfluxDB stores them, and the time from a publish to the `ack`
that covers it is noted. Beside it a file on the same disk is synced now and then, as the machine's own measure. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, quantiles

from benchmarks.influx import Influx, influx_server
from benchmarks.ingest import child, cpu_of, drained_to, let_go, queued
from benchmarks.line import Line
from benchmarks.measure import Site
from ingest.codec import decode_ack
from ingest.topics import split_topic

TICK_S = 0.02
TELL_EVERY_S = 10.0
SYNC_EVERY_S = 0.1
SYNC_BYTES = 20_000
MEMORY_EVERY_S = 1.0
MIB = 1024 * 1024


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.steady")
    asked.add_argument("--rate", type=int, default=5_000, help="messages a second")
    asked.add_argument("--for", dest="for_s", type=float, default=300.0, help="seconds")
    said = asked.parse_args()
    with influx_server() as influx:
        print(json.dumps(steady(influx, said.rate, said.for_s)))


def steady(influx: Influx, rate: int, for_s: float) -> dict[str, float]:
    with ExitStack() as ending:
        queue = ending.enter_context(queued(0, 1))
        prefix = ending.enter_context(influx.buckets())
        command = ["benchmarks.worker", str(queue.folder), "--mqtt", queue.mqtt, "--login", json.dumps(queue.key)]
        process = ending.enter_context(child([*command, "--influx", json.dumps([influx.url, influx.token, prefix])]))
        let_go(process)
        sites = [Site(queue.mqtt, gateway) for gateway in queue.gateways]
        for site in sites:
            ending.callback(site.line.close)
        watch = Watch(process.pid, queue.folder)
        ending.callback(watch.stop)
        cpu_s = cpu_of(process.pid)
        waits_ms = _say(sites, rate, for_s)
        used_s = cpu_of(process.pid) - cpu_s
        watch.stop()
        said = sum(sum(site.seqs.values()) for site in sites)
        drained_to(process, said)
        stored = influx.points(prefix, "pile", "seq")
    cuts, syncs = quantiles(waits_ms, n=100), quantiles(watch.syncs_ms, n=100)
    return {
        "messages": said, "acked": len(waits_ms), "stored": stored, "rate_per_s": rate, "seconds": for_s,
        "ack_p50_ms": round(cuts[49], 1), "ack_p99_ms": round(cuts[98], 1), "ack_max_ms": round(max(waits_ms), 1),
        "sync_p50_ms": round(syncs[49], 2), "sync_p99_ms": round(syncs[98], 2),
        "memory_first_minute_mib": round(watch.memory_mib(first=True), 1),
        "memory_last_minute_mib": round(watch.memory_mib(first=False), 1),
        "us_per_msg": round(used_s / said * 1e6, 1),
    }  # fmt: skip


def _say(sites: list[Site], rate: int, for_s: float) -> list[float]:
    """From each publish to the ack that covers it, in milliseconds."""
    waits_ms: list[float] = []
    open_yet: dict[str, deque[tuple[int, float]]] = {pile: deque() for site in sites for pile in site.piles}
    turns = [(site, pile) for number in range(len(sites[0].piles)) for site in sites for pile in [site.piles[number]]]
    began_s, said, told_s = time.monotonic(), 0, 0.0
    while (now_s := time.monotonic() - began_s) < for_s or any(open_yet.values()):
        due = round(min(now_s, for_s) * rate)
        batch: dict[Line, list[tuple[str, bytes]]] = {site.line: [] for site in sites}
        for number in range(said, due):
            site, pile = turns[number % len(turns)]
            message = site.message(pile, "meter", _fields(1 + number // len(turns) % 2, number))
            batch[site.line].append(message)
            open_yet[pile].append((site.seqs[pile], time.monotonic()))
        said = due
        for line, messages in batch.items():
            if messages:
                line.publish(*messages)
        for site in sites:
            waits_ms += _acked(site.line, open_yet, TICK_S / len(sites))
        if now_s > for_s + 60:
            break
        if now_s >= told_s:
            told_s += TELL_EVERY_S
            print(f"  {now_s:.0f} s, {len(waits_ms)} of {said} acknowledged", file=sys.stderr, flush=True)
    return waits_ms


def _fields(connector: int, number: int) -> str:
    return (
        f'"connector":{connector},"power_kw":6.8,"energy_kwh":{1234.5 + number / 1000:.3f},'
        '"current_a":30.1,"voltage_v":226.4'
    )


def _acked(line: Line, open_yet: dict[str, deque[tuple[int, float]]], within_s: float) -> list[float]:
    heard, now_s = line.listen(within_s), time.monotonic()
    waits_ms = []
    for topic, payload in heard:
        waiting = open_yet[(split_topic(topic) or ("",))[0]]
        ranges = decode_ack(payload).ranges
        while waiting and any(lo <= waiting[0][0] <= hi for lo, hi in ranges):
            waits_ms.append((now_s - waiting.popleft()[1]) * 1000)
    return waits_ms


class Watch:
    """Syncs a file now and then, and notes the memory of a process, in a thread of its own."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.syncs_ms: list[float] = []
        self._memory: list[float] = []
        self._pid, self._folder = pid, folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def memory_mib(self, *, first: bool) -> float:
        a_minute = round(60 / MEMORY_EVERY_S)
        return mean(self._memory[:a_minute] if first else self._memory[-a_minute:])

    def _run(self) -> None:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            due_s = 0.0
            while not self._stopping.wait(SYNC_EVERY_S):
                began_s = time.perf_counter()
                file.write(b"x" * SYNC_BYTES)
                file.flush()
                os.fdatasync(file.fileno())
                self.syncs_ms.append((time.perf_counter() - began_s) * 1000)
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + MEMORY_EVERY_S
                    self._memory.append(_resident_bytes(self._pid) / MIB)


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
