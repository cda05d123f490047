"""The side that shows the facts: the board fed by the bus, and HTTP over it. `serve` and `api` have it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from fastapi import FastAPI

from api.board import Board
from api.feed import Feed
from api.ports import IngestView
from api.trouble import SqliteTroubleBook
from api.turns import Turns
from ingest.enrolments import ServiceKey
from ingest.messages import ServiceNotice
from ingest.store import TelemetryStore
from ingest.workdays import is_workday
from lunchong.data_folder import DataFolder
from lunchong.inventory_file import InventoryInUse
from lunchong.live_clock import LiveClock
from lunchong.settings import Settings
from lunchong.web import bound_port


class HttpSide:
    """Takes its port at once, so that a taken one is known before anything starts."""

    def __init__(self, settings: Settings, folder: DataFolder, in_use: InventoryInUse, ending: ExitStack) -> None:
        self._settings, self._folder, self._in_use, self._ending = settings, folder, in_use, ending
        self.line = bound_port(settings.http_host, settings.http_port)
        ending.callback(self.line.close)
        self.url = f"http://{_shown(settings.http_host)}:{self.line.getsockname()[1]}"
        self.board = Board(ZoneInfo(settings.timezone), is_workday)

    def hear(
        self,
        mqtt_url: str,
        key: ServiceKey,
        trust: dict[str, Path | None],
        notice: Callable[[], ServiceNotice] | None = None,
    ) -> Feed:
        """Connect the board to the bus. `notice` is what this process says of itself there."""
        self._feed = Feed(
            self.board,
            mqtt_url,
            client_id=key.client_id,
            username=key.username,
            password=key.password,
            notice=notice,
            **trust,
        )
        self._feed.start()
        self._ending.callback(self._feed.stop)
        return self._feed

    def application(
        self,
        *,
        store: TelemetryStore,
        clock: LiveClock,
        ingest: IngestView,
        turns: Callable[[], Turns | None] | None = None,
    ) -> FastAPI:
        from api.app import ApiContext, create_app  # a second of imports, in which devices are acknowledged already

        book = SqliteTroubleBook(self._folder.path / "trouble.db")
        self._ending.callback(book.close)
        return create_app(
            ApiContext(
                inventory=lambda: self._in_use.inventory,
                store=store,
                board=self.board,
                service_ms=clock.service_ms,
                mono_s=clock.mono_s,
                wall_ms=clock.wall_ms,
                admin_token=self._folder.admin_token(),
                trouble=book,
                speed=lambda: clock.speed,
                ingest=ingest,
                commands=self._feed,
                turns=turns,
                trusted_proxies=self._settings.trusted_proxies,
                zone=ZoneInfo(self._settings.timezone),
                version=version("lunchong"),
            )
        )


def _shown(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
