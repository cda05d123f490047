"""`python -m benchmarks.worker FOLDER`: ingest alone, its worker and store, told by lines on stdin what to do.

It prints `ready` when everything is made and nothing is connected, so that what it uses from there on is the cost of
messages alone. `go` starts it; at the end of stdin it stops. `--profile FOLDER` gets a profile of each thread.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import sys
import threading
import time
from pathlib import Path

from ingest.clock import ServiceClock
from ingest.inventory import load
from ingest.running import IngestSettings
from ingest.store import TelemetryStore
from ingest.worker import IngestWorker
from lunchong.live_clock import LiveClock, wall_ms
from lunchong.logs import to_terminal


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    asked.add_argument("folder", type=Path)
    asked.add_argument("--mqtt", required=True)
    login, influx = '["USERNAME","PASSWORD","CLIENT_ID"]', '["URL","TOKEN","PREFIX"]'
    asked.add_argument("--login", type=json.loads, metavar=login, required=True)
    asked.add_argument("--influx", type=json.loads, metavar=influx, help="else DuckDB in the folder")
    asked.add_argument("--profile", type=Path)
    said = asked.parse_args()
    to_terminal()
    store = _store(said.folder, said.influx)
    username, password, client_id = said.login
    settings = IngestSettings(
        data_dir=said.folder, mqtt_url=said.mqtt, username=username, password=password, client_id=client_id
    )
    inventory = load((said.folder / "inventory.toml").read_text(encoding="utf-8"))
    now_ms = wall_ms()
    if said.profile:
        _profile_threads(said.profile)
    worker = IngestWorker(settings, inventory, store, LiveClock(ServiceClock(now_ms, now_ms)))
    print("ready", flush=True)
    sys.stdin.readline()
    worker.start()
    for _ in sys.stdin:
        status = worker.status()
        print(status.spool_rows, sum(account.received for account in worker.accounts()), flush=True)
    worker.stop()
    store.close()


def _store(folder: Path, influx: list[str] | None) -> TelemetryStore:
    if influx is None:
        from ingest.store_duckdb import DuckStore

        return DuckStore(folder / "facts.duckdb")
    from ingest.store_influx import InfluxStore

    url, token, prefix = influx
    return InfluxStore(url, token, prefix=prefix)


def _profile_threads(folder: Path) -> None:
    """Each thread writes its own profile, by processor time, named after the thread."""
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile(time.thread_time)
        try:
            profile.runcall(run, thread)
        finally:
            profile.dump_stats(folder / f"{thread.name}.prof")

    threading.Thread.run = profiled  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
