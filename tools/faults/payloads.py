"""Row 7: payloads that cannot be taken, in the middle of those that can."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from benchmarks.line import Line
from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.codec import decode_ack
from ingest.store import TelemetryStore
from ingest.topics import device_topic, split_topic
from tools.faults.count import counted
from tools.faults.outcome import Asked, NotInTime, Outcome, until
from tools.faults.stage import Stage, place

GOLDEN = Path(__file__).parents[2] / "tests" / "contract" / "golden.jsonl"
DEEP = b"[[[["
GARBAGE = "garbage=0.01"

Letter = tuple[str, int | None, str]
"""SITE/DEVICE, seq and reason."""


class Golden(NamedTuple):
    """What was said, and what must become of it, by SITE/DEVICE."""

    said: list[tuple[str, bytes]]
    stored: dict[str, set[int]]
    dead: Counter[Letter]

    def acked(self) -> dict[str, set[int]]:
        """What the sender must be told is safe: what is stored, and what is dead and has a seq."""
        found = {name: set(seqs) for name, seqs in self.stored.items()}
        for name, seq, _reason in self.dead:
            if seq is not None:
                found.setdefault(name, set()).add(seq)
        return found


def malformed(asked: Asked) -> Outcome:
    """1 payload in 100 of a load is garbage; beside it every case of the golden file."""
    outcome, golden = Outcome(), _golden()
    street_place = place(2, 10) if asked.short else place()
    with Stage(_with_golden_devices(street_place), asked.on) as stage:
        stage.play_only(street_place)
        server = stage.serve()
        rate, for_s = asked.pick(1_000, 200), asked.pick(30.0, 5.0)
        street = stage.street(server, "--rate", f"{rate:g}", "--faults", GARBAGE, "--seed", str(asked.seed))
        street.wait_for_acks(60.0, 0)
        acked = _say(golden, stage, server.said.mqtt)
        outcome.must(acked == golden.acked(), f"of the golden file {_differences(acked, golden.acked())}")
        time.sleep(for_s)
        figures = street.finish()
        server.finish()
        counted(outcome, stage, street, figures.resent)
        outcome.must(
            figures.acked == figures.sent, f"{figures.sent - figures.acked} honest messages were not acknowledged"
        )
        with stage.opened() as store:
            letters = _letters(store)
            stored = _stored(store, golden)
    names = {split[0] for topic, _ in golden.said if (split := split_topic(topic))}
    of_golden = Counter({letter: n for letter, n in letters.items() if letter[0] in names})
    garbage = letters.total() - of_golden.total()
    outcome.must(
        of_golden == golden.dead,
        f"letters of the golden file differ: {of_golden - golden.dead}, {golden.dead - of_golden}",
    )
    outcome.must(stored == golden.stored, f"of the golden file {_differences(stored, golden.stored)}")
    outcome.must(garbage == figures.garbage, f"{figures.garbage} garbage payloads made {garbage} letters")
    outcome.must(figures.garbage > 0, "there was no garbage")
    outcome.figures |= {"garbage": figures.garbage, "golden_payloads": len(golden.said), "dead": letters.total()}
    outcome.figures["reasons"] = len({reason for _, _, reason in letters})
    return outcome


def _golden() -> Golden:
    golden = Golden([], {}, Counter())
    for line in GOLDEN.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        payload = b64decode(case["payload_b64"]) if "payload_b64" in case else case["payload"].encode()
        golden.said.append((case["topic"], payload))
        split = split_topic(case["topic"])
        assert split is not None
        if case["stored"]:
            golden.stored.setdefault(split[0], set()).update(case["stored"])
        for letter in case["dead"]:
            golden.dead[split[0], letter["seq"], _one_reason(payload, letter["reason"])] += 1
    return golden


def _one_reason(payload: bytes, reason: str) -> str:
    """Of what is nested a thousand deep, either of two reasons is right."""
    return "not_json" if payload.startswith(DEEP) and reason == "bad_envelope" else reason


def _with_golden_devices(inventory: Inventory) -> Inventory:
    pile = Device(site="cjd-07", id="pile-03", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2)))
    station = Device(site="jn-02", id="station-01", kind="station")
    sites = {site: Site(id=site, name=Name(site, site), lat=31.2, lon=121.4) for site in ("cjd-07", "jn-02")}
    return replace(
        inventory, sites=inventory.sites | sites, devices=inventory.devices | {pile.name: pile, station.name: station}
    )


def _say(golden: Golden, stage: Stage, mqtt: str) -> dict[str, set[int]]:
    """Publish every case through the gateways of its site; the seqs that were acknowledged in answer."""
    lines = {}
    for site in ("cjd-07", "jn-02"):
        lines[site] = Line(mqtt, f"{site}/+", stage.gateways[f"{site}/+"], f"golden-{site}")
        lines[site].subscribe(device_topic(f"{site}/+", "ack"))
    acked: dict[str, set[int]] = {}
    for topic, payload in golden.said:
        lines[topic.split("/")[2]].publish((topic, payload))

    def heard_all() -> bool:
        for line in lines.values():
            for topic, payload in line.listen(0.02):
                split = split_topic(topic)
                for lo, hi in decode_ack(payload).ranges if split else ():
                    acked.setdefault(split[0] if split else "", set()).update(range(lo, hi + 1))
        return sum(line.pubacks for line in lines.values()) == len(golden.said) and acked == golden.acked()

    try:
        with suppress(NotInTime):  # what is missing is said by name
            until(heard_all, 20.0, "the golden payloads are acknowledged")
    finally:
        for line in lines.values():
            line.close()
    return acked


def _letters(store: TelemetryStore) -> Counter[Letter]:
    found: Counter[Letter] = Counter()
    after = None
    while page := store.dead_letters(limit=1_000, after=after):
        for letter in page:
            split = split_topic(letter.topic)
            reason = _one_reason(letter.payload, letter.reason)
            found[split[0] if split else letter.topic, letter.seq, reason] += letter.count
        after = page[-1].id
    return found


def _stored(store: TelemetryStore, golden: Golden) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for site, device, _boot, lo, hi, _rows in store.stored():
        if f"{site}/{device}" in golden.stored:
            found.setdefault(f"{site}/{device}", set()).update(range(lo, hi + 1))
    return found


def _differences(found: dict[str, set[int]], wanted: dict[str, set[int]]) -> str:
    names = sorted(found.keys() | wanted.keys())
    return "; ".join(
        f"{name} misses {sorted(wanted.get(name, set()) - found.get(name, set()))}"
        f" and has {sorted(found.get(name, set()) - wanted.get(name, set()))} too many"
        for name in names
        if found.get(name, set()) != wanted.get(name, set())
    )
