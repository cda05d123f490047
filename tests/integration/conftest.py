"""What several tests of processes stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Nats
from tests.ingesting import Running


@pytest.fixture
def running(nats: Nats, tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "data"
    folder.mkdir()
    running = Running(nats, folder)
    yield running
    running.close()
