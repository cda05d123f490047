"""A street of three sites for tests of the API: states said to a real board, and the real application over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.board import Board
from api.context import SHANGHAI, ApiContext
from api.trouble import SqliteTroubleBook
from ingest.accounts import DeviceAccount
from ingest.assets import Compound, ConnectorSpec, Device, Inventory, Name, Section, Site, Window
from ingest.clock import parse_rfc3339, rfc3339
from ingest.messages import CommandResult
from ingest.store_duckdb import DuckStore
from ingest.workdays import is_workday

NINE_MS = parse_rfc3339("2026-11-23T01:00:00Z")
"""Nine in the morning in Shanghai, a Monday."""

TOKEN = "a-token-of-the-tests"
STAFF = {"Authorization": f"Bearer {TOKEN}"}

STREET = Inventory(
    sections={"s-01": Section("s-01", Name("江宁段", "Jiangning section"), "east")},
    compounds={
        "c-01": Compound("c-01", Name("和平小区", "Heping Compound"), "s-01", 31.2400, 121.4400, 400),
        "c-02": Compound("c-02", Name("远处小区", "Faraway Compound"), "s-01", 31.3000, 121.5400, 100),
    },
    sites={
        "jn-01": Site(
            id="jn-01",
            name=Name("江宁路轮充点", "Jiangning Road"),
            lat=31.2405,
            lon=121.4405,
            mode="in_turn",
            section="s-01",
            compounds=("c-01",),
            limit_kw=20,
            initial_rules={"hold_min": 15},
        ),
        "cjd-07": Site(
            id="cjd-07",
            name=Name("昌化小区临停", "Changhua bays"),
            lat=31.2500,
            lon=121.4400,
            opening=(Window("workday", 18 * 60, 32 * 60), Window("restday", 0, 1440)),
        ),
        "st-01": Site(id="st-01", name=Name("会治暖心园", "Xin Yuan"), lat=31.2402, lon=121.4402, mode="station"),
    },
    devices={
        device.name: device
        for device in (
            Device(site="jn-01", id="pile-1", kind="pile", connectors=(ConnectorSpec(1), ConnectorSpec(2))),
            Device(site="jn-01", id="pile-2", kind="pile", connectors=(ConnectorSpec(1, "GBT_DC", 60.0),)),
            Device(site="cjd-07", id="pile-1", kind="pile", connectors=(ConnectorSpec(1),)),
            Device(
                site="st-01",
                id="station-1",
                kind="station",
                seats=12,
                reading_seats=4,
                outlets=8,
                amenities=("wifi", "drinking_water"),
            ),
        )
    },
)  # fmt: skip


class Street:
    """Says things to a board, one device at a time. Time stands still until `passes`."""

    def __init__(self, inventory: Inventory = STREET, service_ms: int = NINE_MS, speed: float = 1.0) -> None:
        self.board = Board(SHANGHAI, is_workday)
        self.inventory = inventory
        self.service_ms, self.speed = service_ms, speed
        self.mono_s = 0.0
        self.revs: dict[str, int] = {}
        self.board.link(True)
        self.ingest(online=True)

    def passes(self, seconds: float) -> None:
        self.service_ms += round(seconds * 1_000)
        self.mono_s += seconds / self.speed

    def ingest(self, *, online: bool) -> None:
        said = {"v": 1, "online": online} | ({"accepting": True} if online else {})
        self.board.apply("lunchong/v1/service/ingest", json.dumps(said).encode())

    def pile(self, name: str, *connectors: dict[str, Any], **fields: Any) -> None:
        """`pile("jn-01/pile-1", charging(1), free(2))`."""
        now = rfc3339(self.service_ms)
        self.says(
            name, {"kind": "pile", "connectors": [{"observed_at": now, "since": now} | c for c in connectors]}, fields
        )

    def turns(self, name: str, *connectors: dict[str, Any], epoch: int = 1) -> None:
        """`turns("jn-01/pile-1", {"connector": 1, "until_s": 600}, {"connector": 2, "from_s": 900})`, from now."""
        at = {"v": 1, "ts": rfc3339(self.service_ms), "epoch": epoch}
        said = [{"connector": one["connector"], "now": self._now(one), "next": self._next(one)} for one in connectors]
        self.board.apply(f"lunchong/v1/{name}/turns", json.dumps(at | {"connectors": said}).encode())

    def _now(self, one: dict[str, Any]) -> dict[str, str] | None:
        if "until_s" not in one:
            return None
        until = rfc3339(self.service_ms + one["until_s"] * 1_000)
        return {"turn": "t1", "call": "blue heron 4", "code_hash": one.get("code_hash", "ab" * 16), "until": until}

    def _next(self, one: dict[str, Any]) -> list[dict[str, str]]:
        if "from_s" not in one:
            return []
        return [{"call": "red robin 2", "from": rfc3339(self.service_ms + one["from_s"] * 1_000)}]

    def station(
        self, name: str = "st-01/station-1", *, fields: dict[str, Any] | None = None, **instruments: Any
    ) -> None:
        """`station(climate={"indoor_c": 26.0}, amenities={"wifi": {"ok": True}})`."""
        now = {"observed_at": rfc3339(self.service_ms)}
        said = {key: now | value for key, value in instruments.items() if key != "amenities"}
        amenities = {key: now | value for key, value in instruments.get("amenities", {}).items()}
        said |= {"amenities": amenities} if amenities else {}
        self.says("st-01/station-1", {"kind": "station", "station": said}, fields or {})

    def says(self, name: str, said: dict[str, Any], fields: dict[str, Any]) -> None:
        site, device = name.split("/")
        now = rfc3339(self.service_ms)
        self.revs[name] = fields.get("rev", self.revs.get(name, 0) + 1)
        state = {
            "v": 1, "rev": self.revs[name], "site": site, "device": device, "ts": now, "observed_at": now,
            "online": True, "interval_s": 60, "conditions": [],
        } | said | fields  # fmt: skip
        self.board.apply(f"lunchong/v1/{name}/state", json.dumps(state).encode())

    def everything_free(self) -> None:
        for device in self.inventory.devices.values():
            if device.kind == "pile":
                self.pile(device.name, *(free(spec.id) for spec in device.connectors))

    def context(self, folder: Path, **changes: Any) -> ApiContext:
        ctx = ApiContext(
            inventory=lambda: self.inventory,
            store=changes.pop("store", None) or DuckStore(folder / "facts.duckdb", "Asia/Shanghai"),
            board=self.board,
            service_ms=lambda: self.service_ms,
            mono_s=lambda: self.mono_s,
            wall_ms=lambda: round(self.mono_s * 1_000),
            admin_token=TOKEN,
            trouble=SqliteTroubleBook(folder / "trouble.db"),
            speed=lambda: self.speed,
        )
        return replace(ctx, **changes)

    @contextmanager
    def app(self, folder: Path, **changes: Any) -> Iterator[FastAPI]:
        ctx = self.context(folder, **changes)
        try:
            yield create_app(ctx)
        finally:
            if "store" not in changes:
                ctx.store.close()
            ctx.trouble.close()  # type: ignore[attr-defined]

    @contextmanager
    def client(self, folder: Path, **changes: Any) -> Iterator[TestClient]:
        with self.app(folder, **changes) as app:
            yield TestClient(app, client=("10.0.0.1", 50_000))


class Devices:
    """Answers commands as it is told to; a fake, and called so."""

    def __init__(self, answer="accepted", reason=None):
        self.sent = []
        self.answer, self.reason = answer, reason

    async def send(self, device, command, timeout_s):
        self.sent.append((device, command))
        return CommandResult(v=1, id=command.id, result=self.answer, reason=self.reason) if self.answer else None


class Ingest:
    """A fake view of ingest with one account."""

    def __init__(self):
        self.account = DeviceAccount(
            site="jn-01", device="pile-1", received=100, duplicate=3, hole=1, dropped=2, lost=4, skewed=5, dead=6,
            boots=1, online=True, heard_ms=NINE_MS,
        )  # fmt: skip

    def accounts(self):
        return [self.account]

    def status(self):
        return SimpleNamespace(
            accepting=True, conditions=[], spool_rows=7, spool_bytes=70, spool_age_s=1.5, complete_until_ms=NINE_MS
        )


def free(connector: int, **fields: Any) -> dict[str, Any]:
    return {"connector": connector, "state": "available", "power_kw": 0.0} | fields


def charging(connector: int, **fields: Any) -> dict[str, Any]:
    return {"connector": connector, "state": "charging", "power_kw": 6.8} | fields
