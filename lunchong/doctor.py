"""`lunchong doctor`: looks at an installation from outside, and asks it how it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from ingest.broker import BrokerError, find_program
from lunchong.control import RemoteOffice, is_running
from lunchong.data_folder import DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryFile, InventoryMistakes
from lunchong.office import Health
from lunchong.settings import EMBEDDED, Settings

LITTLE_SPACE_BYTES = 500_000_000
LATE_S = 60.0
NAMED = 5


@dataclass(frozen=True)
class Finding:
    level: Literal["good", "note", "bad"]
    what: str
    said: str

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what:12} {self.said}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """All findings, good ones too, in the order in which to mend them."""
    return list(_findings(settings))


def _findings(settings: Settings) -> Iterator[Finding]:
    yield _of_the_folder(settings)
    try:
        found = InventoryFile(settings.inventory).read()
        yield Finding(
            "good", "inventory", f"{settings.inventory}, {len(found.sites)} sites, {len(found.devices)} devices"
        )
    except InventoryMistakes as error:
        yield from (Finding("bad", "inventory", mistake) for mistake in error.mistakes)
    if settings.mqtt_url == EMBEDDED:
        try:
            yield Finding("good", "broker", str(os.path.realpath(find_program())))
        except BrokerError as error:
            yield Finding("bad", "broker", str(error))
    if not is_running(settings.data_dir):
        yield Finding("note", "server", "none runs on this data folder")
        return
    try:
        health = RemoteOffice(settings.data_dir).health()
    except UserError as error:
        yield Finding("bad", "server", str(error))
        return
    if health:
        yield from _of_the_server(health)


def _of_the_folder(settings: Settings) -> Finding:
    try:
        DataFolder(settings.data_dir)
        free = shutil.disk_usage(settings.data_dir).free
    except (UserError, OSError) as error:
        return Finding("bad", "data folder", str(error))
    said = f"{settings.data_dir}, {free // 1_000_000:,} MB free"
    return Finding("bad" if free < LITTLE_SPACE_BYTES else "good", "data folder", said)


def _of_the_server(health: Health) -> Iterator[Finding]:
    yield Finding("good", "server", f"process {health.pid}, {health.http}, devices at {health.mqtt}")
    yield Finding("good", "clock", f"service time {health.service_time}, speed {health.speed:g}")
    if not health.accepting:
        yield Finding("bad", "ingest", "accepts nothing: devices hold their readings")
    for condition in health.conditions:
        bad = condition.severity != "info"
        text = f"{condition.code} since {condition.since}: {condition.evidence}"
        yield Finding("bad" if bad else "note", "condition", text)
    yield from _of_the_devices(health)
    late = health.spool_age_s > LATE_S * max(1.0, health.speed)
    waiting = f"{health.spool_rows} waiting, {health.spool_bytes:,} bytes, oldest {health.spool_age_s:.0f} s"
    yield Finding("bad" if late else "good", "spool", waiting)
    lost = f"{health.messages_lost} lost, {health.messages_dropped} dropped by devices"
    yield Finding("bad" if health.messages_lost else "good", "messages", lost)
    if health.dead_letters:
        yield Finding("note", "dead letters", f"{health.dead_letters}: see `lunchong dead-letters list`")
    if health.refusals:
        refused = f"{health.refusals} logins, publishes or subscriptions refused, the last: {health.last_refusal}"
        yield Finding("note", "broker", refused)
    if health.broker_restarts:
        yield Finding("note", "broker", f"was started again {health.broker_restarts} times")
    for mistake in health.inventory_mistakes:
        yield Finding("bad", "inventory", f"{mistake}; the one before stays in use")


def _of_the_devices(health: Health) -> Iterator[Finding]:
    """A line for each code; what devices report is the street's to mend, but for what endangers people."""
    names: dict[str, list[str]] = {}
    for name, condition in health.device_conditions:
        names.setdefault(condition.code, []).append(name)
    critical = {condition.code for _, condition in health.device_conditions if condition.severity == "critical"}
    for code, held_by in sorted(names.items()):
        more = f" and {len(held_by) - NAMED} more" if len(held_by) > NAMED else ""
        text = f"{code} at {', '.join(held_by[:NAMED])}{more}"
        yield Finding("bad" if code in critical else "note", "devices", text)
