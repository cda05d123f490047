"""The adapters of the store, each one more parameter; and what the tests of HTTP stand on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore
from ingest.store_influx import InfluxStore
from scheduler.ledger import Ledger
from scheduler.ledger_memory import MemoryLedger
from tests.between import Between, between
from tests.boards import Street
from tests.desks import World
from tests.influx import Server
from tests.ledgers import opened
from tests.stores import Spool

ADAPTERS = ("duckdb", "influxdb")
LEDGERS = ("memory", "sqlite", "postgresql")


@pytest.fixture(params=ADAPTERS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., TelemetryStore]]:
    """Opens the same facts again and again. Settings such as `timezone` may be given."""
    opened: list[TelemetryStore] = []
    if request.param == "influxdb":
        server, prefix = (request.getfixturevalue(name) for name in ("influx_server", "influx_prefix"))

    def open_it(**settings: str) -> TelemetryStore:
        if request.param == "influxdb":
            opened.append(InfluxStore(server.url, server.token, org=server.org, prefix=prefix, **settings))
        else:
            opened.append(DuckStore(tmp_path / "facts.duckdb", **settings))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., TelemetryStore]) -> TelemetryStore:
    return open_store()


@pytest.fixture(params=LEDGERS)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where an empty ledger may be made; None for the one in memory."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}" if request.param == "sqlite" else None


@pytest.fixture
def ledger(ledger_url: str | None) -> Iterator[Ledger]:
    kept: Ledger = opened(ledger_url) if ledger_url else MemoryLedger(lambda: time.monotonic_ns() // 1_000_000)
    yield kept
    kept.close()


@pytest.fixture
def world(ledger: Ledger) -> Iterator[World]:
    made = World(ledger)
    yield made
    assert not ledger.imbalance()


@pytest.fixture
def spool() -> Spool:
    return Spool()


@pytest.fixture
def proxy(influx_server: Server) -> Iterator[Between]:
    with between(influx_server.url) as proxy:
        yield proxy


@pytest.fixture
def open_influx(proxy: Between, influx_server: Server, influx_prefix: str) -> Iterator[Callable[..., InfluxStore]]:
    """Opens the same facts in InfluxDB, behind the proxy, again and again, as another process would."""
    opened: list[InfluxStore] = []

    def open_it(token: str | None = None) -> InfluxStore:
        given = token or influx_server.token
        opened.append(InfluxStore(proxy.url, given, org=influx_server.org, prefix=influx_prefix))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def influx_store(open_influx: Callable[..., InfluxStore]) -> InfluxStore:
    return open_influx()


@pytest.fixture(scope="session")
def idle_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckStore]:
    """One for all that read no history."""
    kept = DuckStore(tmp_path_factory.mktemp("store") / "facts.duckdb", "Asia/Shanghai")
    yield kept
    kept.close()


@pytest.fixture
def street() -> Street:
    return Street()
