"""The measurements: how fast messages become facts, what one costs ingest, how late the page's event stream is."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import cycle
from typing import NamedTuple

from benchmarks.installation import CONNECTORS, PILES_PER_SITE, Gateway, Installation
from benchmarks.line import Line
from ingest.clock import parse_rfc3339, rfc3339
from ingest.codec import decode_ack
from ingest.ranges import Ranges
from ingest.topics import device_topic, split_topic

MESSAGES_PER_PILE = 400
IN_FLIGHT_PER_GATEWAY = 10_000
AT_ONCE = 200
STREAM_RATE_PER_S, STREAM_S = 500, 10.0
DONE_WITHIN_S = 120.0


class Throughput(NamedTuple):
    msgs_per_s: float
    ingest_us_per_msg: float


class Site:
    """The piles of one site behind their gateway: says messages, and counts those that are acknowledged."""

    def __init__(self, mqtt: str, gateway: Gateway) -> None:
        self.boot = secrets.token_hex(8)
        self.piles = [f"{gateway.site}/pile-{number:03d}" for number in range(PILES_PER_SITE)]
        self.acked = 0
        self._covered = {pile: Ranges() for pile in self.piles}
        self.seqs = dict.fromkeys(self.piles, 0)
        self.line = Line(mqtt, gateway.username, gateway.password, secrets.token_hex(8))
        self.line.subscribe(device_topic(f"{gateway.site}/+", "ack"))
        status = f'{{"v":1,"boot":"{self.boot}","ts":"{rfc3339(wall_ms())}","online":true,"interval_s":60}}'
        self.line.publish(*((device_topic(pile, "status"), status.encode()) for pile in self.piles))

    def message(self, pile: str, kind: str, fields: str) -> tuple[str, bytes]:
        self.seqs[pile] += 1
        head = f'{{"v":1,"boot":"{self.boot}","seq":{self.seqs[pile]},"ts":"{rfc3339(wall_ms())}","kind":"{kind}",'
        return device_topic(pile, "telemetry"), f"{head}{fields}}}".encode()

    def meters(self) -> list[tuple[str, bytes]]:
        """Meter messages of all piles in turn, as they would come."""
        return [
            self.message(
                pile,
                "meter",
                f'"connector":{1 + turn % CONNECTORS},"power_kw":6.8,"energy_kwh":{1234.5 + turn},'
                '"current_a":30.1,"voltage_v":226.4',
            )
            for turn in range(MESSAGES_PER_PILE)
            for pile in self.piles
        ]

    def listen(self, within_s: float) -> None:
        for topic, payload in self.line.listen(within_s):
            name, _leaf = split_topic(topic) or ("", "")
            covered = self._covered[name]
            before = covered.count
            for lo, hi in decode_ack(payload).ranges:
                covered.add_range(lo, hi)
            self.acked += covered.count - before


def throughput(installation: Installation) -> Throughput:
    """Say a fixed number of messages as fast as they are acknowledged, until the last one is in the store."""
    sites = [Site(installation.mqtt, gateway) for gateway in installation.gateways]
    waiting = {site: site.meters() for site in sites}
    total = sum(len(messages) for messages in waiting.values())
    cpu_s, began_s = installation.cpu_s(), time.monotonic()
    sent = dict.fromkeys(sites, 0)
    while sum(site.acked for site in sites) < total:
        for site in sites:
            messages = waiting[site][sent[site] : sent[site] + AT_ONCE]
            if messages and sent[site] - site.acked < IN_FLIGHT_PER_GATEWAY:
                site.line.publish(*messages)
                sent[site] += len(messages)
                site.listen(0)
            else:
                site.listen(0.001)
        _in_time(began_s)
    while installation.metric("lunchong_spool_rows"):
        time.sleep(0.05)
        _in_time(began_s)
    took_s = time.monotonic() - began_s
    received = installation.metric("lunchong_device_messages_total", outcome="received")
    if received != total:
        raise RuntimeError(f"{received:.0f} messages were received, {total} were said")
    used_s = installation.cpu_s() - cpu_s
    for site in sites:
        site.line.close()
    return Throughput(total / took_s, used_s / total * 1e6)


def stream_delays_ms(installation: Installation) -> list[float]:
    """From a message's publish to its arrival on the event stream, while 500 a second change a connector's state."""
    sites = [Site(installation.mqtt, gateway) for gateway in installation.gateways]
    delays: list[float] = []
    reader = threading.Thread(target=_read_stream, args=(installation.http, wall_ms(), delays), daemon=True)
    reader.start()
    began_s = time.monotonic()
    for number, (site, pile, connector) in enumerate(_turns(sites)):
        due_s = began_s + number / STREAM_RATE_PER_S
        if due_s > began_s + STREAM_S:
            break
        while (wait_s := due_s - time.monotonic()) > 0:
            site.listen(wait_s)
        state = ("preparing", "charging", "available")[site.seqs[pile] // CONNECTORS % 3]
        site.line.publish(site.message(pile, "connector", f'"connector":{connector},"state":"{state}"'))
    time.sleep(1.0)
    for site in sites:
        site.line.close()
    return delays


def _turns(sites: list[Site]) -> Iterator[tuple[Site, str, int]]:
    order = [
        (site, site.piles[number], connector)
        for connector in range(1, CONNECTORS + 1)
        for number in range(PILES_PER_SITE)
        for site in sites
    ]
    return cycle(order)


def _read_stream(http: str, since_ms: int, delays: list[float]) -> None:
    """Note the delay of every change that was said after `since_ms`; `since` of a connector is when it was said."""
    connection = HTTPConnection(http.removeprefix("http://"), timeout=5)
    connection.request("GET", "/api/v1/availability/stream")
    event = b""
    for line in connection.getresponse():
        if line.startswith(b"event:"):
            event = line[6:].strip()
        elif line.startswith(b"data:") and event == b"change":
            now_ms = time.time_ns() / 1e6
            said = [parse_rfc3339(one["since"]) for one in json.loads(line[5:])["connectors"] if one["since"]]
            delays += [now_ms - at_ms for at_ms in said if at_ms >= since_ms]


def _in_time(began_s: float) -> None:
    if time.monotonic() - began_s > DONE_WITHIN_S:
        raise TimeoutError(f"not done within {DONE_WITHIN_S:.0f} s")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
