"""The demo on a terminal: a live table where there is one, a line now and then where there is none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api.board import Now
from ingest.clock import from_ms
from lunchong.residents import Doing
from lunchong.serve import Installation
from lunchong.street import Figures

LINE_EVERY_S = 5.0
CONDITIONS = ("available", "in_use", "finishing", "reserved", "blocked", "out_of_order", "closed", "unknown")


class Screen(Protocol):
    def show(self, installation: Installation, street: Figures, people: Doing, left_s: float | None) -> None: ...


@contextmanager
def screen(*, as_json: bool) -> Iterator[Screen]:
    """Standard output is the program's that reads JSON; progress then goes to standard error, if that is a terminal."""
    console = Console(stderr=as_json)
    if not console.is_terminal:
        yield _Nothing() if as_json else _Lines()
        return
    with Live(console=console, refresh_per_second=4, transient=as_json) as live:
        yield _Table(live)


class _Counts:
    """What a moment looks like, and how fast messages come."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), 0)
        self.rate = 0.0

    def take(self, installation: Installation, street: Figures) -> Counter[str]:
        now_s = time.monotonic()
        since_s = now_s - self._last[0]
        if since_s >= 1:
            self.rate = (street.acked - self._last[1]) / since_s
            self._last = (now_s, street.acked)
        now = Now(installation.clock.service_ms(), installation.clock.speed)
        picture = installation.board.look(installation.inventory, now)
        counts: Counter[str] = Counter()
        for site in picture.sites.values():
            counts.update({name: getattr(site.summary, name) for name in ("total", *CONDITIONS)})
        return counts


def _clock(installation: Installation) -> datetime:
    return from_ms(installation.clock.service_ms()).astimezone(ZoneInfo(installation.settings.timezone))


class _Nothing:
    def show(self, installation: Installation, street: Figures, people: Doing, left_s: float | None) -> None:
        """A program waits for the last line alone."""


class _Lines:
    def __init__(self) -> None:
        self._counts, self._due_s = _Counts(), 0.0

    def show(self, installation: Installation, street: Figures, people: Doing, left_s: float | None) -> None:
        counts = self._counts.take(installation, street)
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + LINE_EVERY_S
        left = "" if left_s is None else f", {left_s:.0f} s left"
        safe = f"{street.acked} of {street.sent} messages safe, {self._counts.rate:.0f}/s"
        print(
            f"{_clock(installation):%Y-%m-%d %H:%M}  {installation.http_url}  "
            f"{counts['available']} of {counts['total']} connectors free, {counts['in_use']} in use, "
            f"{counts['unknown']} unknown; {people.promised} turns promised, {people.at_plug} at plugs; {safe}{left}",
            flush=True,
        )


class _Table:
    def __init__(self, live: Live) -> None:
        self._live, self._counts = live, _Counts()

    def show(self, installation: Installation, street: Figures, people: Doing, left_s: float | None) -> None:
        counts = self._counts.take(installation, street)
        table = Table.grid(padding=(0, 3))
        for name in CONDITIONS:
            table.add_row(name.replace("_", " "), str(counts[name]), Text("█" * round(counts[name] / 4), style="green"))
        left = "Ctrl-C ends it" if left_s is None else f"{left_s:.0f} s left"
        head = Text.assemble(
            ("Lunchong 轮充  ", "bold"),
            (installation.http_url, "bold underline"),
            f"   {_clock(installation):%a %H:%M}",
        )
        foot = (
            f"{counts['total']} connectors at {len(installation.inventory.sites)} sites, {street.connected} devices; "
            f"{street.acked:,} of {street.sent:,} messages safe, {self._counts.rate:,.0f}/s; {left}"
        )
        turns = (
            f"{people.waiting} turns wait, {people.promised} are promised, {people.at_plug} at plugs; "
            f"{people.objections} objections unanswered"
        )
        lines = [
            Text(f"{who}: {held.code}, {held.evidence}", style="yellow") for who, held in installation.conditions()
        ]
        self._live.update(Group(head, Text(), table, Text(), Text(turns), Text(foot), *lines[:6]))
