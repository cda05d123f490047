"""The adapters of the store: each is one more parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.store import TelemetryStore
from ingest.store_duckdb import DuckStore

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
