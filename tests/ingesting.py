"""Ingest over a real broker, spool and store, with a client that speaks for devices and one that listens."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from ingest.clock import ServiceClock, rfc3339
from ingest.facts import Batch, DeadLetter, Reading, Row
from ingest.running import IngestSettings
from ingest.store import StoreUnavailable
from ingest.store_duckdb import DuckStore
from ingest.worker import IngestWorker
from lunchong.live_clock import LiveClock, wall_ms
from tests.brokers import WITNESS, Client, Nats, password_of, until

PILE = Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2)))
STATION = Device(site="jn-01", id="station-1", kind="station", seats=10)
SITE = Site(id="jn-01", name=Name("静安", "Jing'an"), lat=31.2, lon=121.4)
INVENTORY = Inventory(sites={SITE.id: SITE}, devices={PILE.name: PILE, STATION.name: STATION})


class DistantStore(DuckStore):
    """The real store, that can be out of reach, or refuse a seq for good."""

    away = False
    refuses: int | None = None
    hangs: threading.Event | None = None
    """Whoever reads of the past waits for this."""

    def write(self, batch: Batch) -> list[DeadLetter]:
        self._reach()
        bad = [row for row in batch.pile if row[5] == self.refuses]
        letters = [_letter(row) for row in bad]
        super().write(replace(batch, pile=[row for row in batch.pile if row not in bad], dead=[*batch.dead, *letters]))
        return letters

    def readings(self, site: str, device: str, connector: int, since_ms: int) -> list[Reading]:
        if self.hangs is not None:
            self.hangs.wait(30)
        return super().readings(site, device, connector, since_ms)

    def drained(self, spool: str) -> int:
        self._reach()
        return super().drained(spool)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is away", retry_s=0.05)


def _letter(row: Row) -> DeadLetter:
    topic = f"lunchong/v1/{row[1]}/{row[2]}/telemetry"
    return DeadLetter(id=f"refused-{row[5]}", received_ms=0, topic=topic, payload=b"{}", reason="store_refused")


class Running:
    """An ingest worker on a broker, a client that speaks for every device, and one that hears everything."""

    def __init__(self, broker: Nats, folder: Path) -> None:
        self.broker, self.folder = broker, folder
        self.client_id = f"ingest-{uuid.uuid4().hex}"
        self.inventory = INVENTORY
        self.store = DistantStore(folder / "facts.duckdb")
        self.start()
        self.device = Client(broker.url, "jn-01/+").__enter__()
        self.reader = Client(broker.url, WITNESS).__enter__()
        self.reader.subscribe("lunchong/v1/#")

    def start(self) -> None:
        settings = IngestSettings(
            data_dir=self.folder, mqtt_url=self.broker.url, username="service/ingest",
            password=password_of("service/ingest"), client_id=self.client_id,
        )  # fmt: skip
        now_ms = wall_ms()
        self.worker = IngestWorker(settings, self.inventory, self.store, LiveClock(ServiceClock(now_ms, now_ms)))
        self.worker.start()
        until(lambda: self.worker.connected)

    def restart(self) -> None:
        self.worker.stop()
        self.start()

    def close(self) -> None:
        self.device.__exit__()
        self.reader.__exit__()
        self.worker.stop()
        self.store.close()

    def say(self, seq: int, *, device: str = "pile-1", boot: str = "boot-a", ago_s: float = 0, **said: object) -> None:
        ts = rfc3339(wall_ms() - round(ago_s * 1000))
        message = {"v": 1, "boot": boot, "seq": seq, "ts": ts, **said}
        self.device.publish(f"lunchong/v1/jn-01/{device}/telemetry", json.dumps(message))

    def state_is(self, seq: int, state: str, connector: int = 1, **more: object) -> None:
        self.say(seq, kind="connector", connector=connector, state=state, **more)

    def meter(self, seq: int, energy_kwh: float, power_kw: float = 7.0, **more: object) -> None:
        self.say(
            seq,
            kind="meter",
            connector=1,
            power_kw=power_kw,
            energy_kwh=energy_kwh,
            current_a=30,
            voltage_v=230,
            **more,
        )

    def status(self, boot: str, boots: list[dict[str, object]], last_seq: int = 0, device: str = "pile-1") -> None:
        said = {"v": 1, "boot": boot, "online": True, "ts": rfc3339(wall_ms()), "interval_s": 60, "last_seq": last_seq}
        self.device.publish(f"lunchong/v1/jn-01/{device}/status", json.dumps(said | {"boots": boots}), retain=True)

    def heard(self, leaf: str, device: str = "pile-1") -> list[dict[str, Any]]:
        topic = f"lunchong/v1/jn-01/{device}/{leaf}"
        return [json.loads(m.payload) for m in self.reader.heard if m.topic == topic and m.payload]

    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(m.payload) for m in self.reader.heard if m.topic.endswith("service/ingest")]

    def state(self, device: str = "pile-1") -> dict[str, Any]:
        return (self.heard("state", device) or [{}])[-1]

    def connector(self) -> dict[str, Any]:
        connectors = self.state().get("connectors")
        return connectors[0] if isinstance(connectors, list) and connectors else {}

    def acked(self, boot: str = "boot-a") -> set[int]:
        acks = [ack for ack in self.heard("ack") if ack["boot"] == boot]
        return {seq for ack in acks for lo, hi in ack["ranges"] for seq in range(lo, hi + 1)}

    def conditions(self) -> set[str]:
        return {str(c["code"]) for c in self.state().get("conditions", [])}

    def stored(self) -> int:
        self.worker.wait_drained(5.0)
        return sum(rows for *_run, rows in self.store.stored())
