"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import influx
from tests.brokers import Broker, Mosquitto, Nats, mosquitto_program
from tests.postgres import Postgres

KINDS = ["nats", "mosquitto"]

# A busy machine is no failure; what failed can be run again from its blob; a build of CI is the same twice.
hypothesis.settings.register_profile("lunchong", deadline=None, print_blob=True, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("lunchong")


def pytest_configure() -> None:
    influx.check_environment()


_without_influxd: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and influx.MISSING in str(report.longrepr):
        _without_influxd.append(report.nodeid)


def pytest_unconfigure() -> None:
    if _without_influxd:
        print(f"Not run: {len(_without_influxd)} tests. {influx.MISSING}")


def _run(kind: str, folder: Path) -> Iterator[Broker]:
    if kind == "mosquitto" and not mosquitto_program():
        pytest.skip("mosquitto is missing: apt-get install mosquitto")
    broker: Broker = Nats(folder) if kind == "nats" else Mosquitto(folder)
    yield broker
    broker.stop()


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    """The embedded broker alone, loaded with everyone of `tests.brokers`."""
    broker = Nats(tmp_path / "broker")
    yield broker
    broker.stop()


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A fresh broker of each kind that an installation may have, for tests that leave something in it."""
    yield from _run(request.param, tmp_path / "broker")


@pytest.fixture(scope="module", params=KINDS)
def shared_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The same for a whole module, for tests that leave it as it was."""
    yield from _run(request.param, tmp_path_factory.mktemp("broker") / request.param)


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[influx.Server]:
    """A real InfluxDB for the whole run. Skips, or fails where REQUIRE_INFLUXD=1, when there is none."""
    with influx.some_server(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture
def influx_prefix(influx_server: influx.Server) -> Iterator[str]:
    """The prefix of three empty buckets of the test's own."""
    with influx.fresh_buckets(influx_server) as prefix:
        yield prefix


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A real PostgreSQL for the whole run."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """An empty database of the test's own."""
    with postgres_server.database() as url:
        yield url
