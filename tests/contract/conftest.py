"""The adapters of the store, each one more parameter; and what the tests of HTTP stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore
from tests.boards import Street

ADAPTERS: dict[str, Callable[[Path], TelemetryStore]] = {
    "duckdb": lambda folder: DuckStore(folder / "facts.duckdb"),
}
"""InfluxDB takes its seat here: a server, a token and buckets of the test's own, with the same facts behind them."""


@pytest.fixture(params=ADAPTERS)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], TelemetryStore]]:
    """Opens the same facts again and again."""
    opened: list[TelemetryStore] = []

    def open_it() -> TelemetryStore:
        opened.append(ADAPTERS[request.param](tmp_path))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], TelemetryStore]) -> TelemetryStore:
    return open_store()


@pytest.fixture(scope="session")
def idle_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckStore]:
    """One for all that read no history."""
    kept = DuckStore(tmp_path_factory.mktemp("store") / "facts.duckdb", "Asia/Shanghai")
    yield kept
    kept.close()


@pytest.fixture
def street() -> Street:
    return Street()
