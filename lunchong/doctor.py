"""`lunchong doctor`: looks at an installation from outside, and asks it how it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ingest.accounts import OUTCOMES, DeviceAccount
from ingest.broker import BrokerError, find_program
from lunchong.control import RemoteOffice, is_running
from lunchong.data_folder import API_LOCK, API_READY, DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryFile, InventoryMistakes
from lunchong.letters import plain
from lunchong.office import Health, IngestNow
from lunchong.settings import EMBEDDED, Settings
from lunchong.stores import DAY_S, found_buckets, what_init_mends

LITTLE_SPACE_BYTES = 500_000_000
LATE_S = 60.0
NAMED = 5
DEVICES_SHOWN = 20
TROUBLES = OUTCOMES[2:]
INIT = "run `lunchong init`"
INIT_BESIDE = "stop `ingest` (or `serve`), run `lunchong init`, start it again"


@dataclass(frozen=True)
class Finding:
    level: Literal["good", "note", "bad"]
    what: str
    said: str

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what:12} {plain(self.said)}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Examination:
    """All findings, good ones too, in the order in which to mend them; and ingest's figures where one runs."""

    findings: list[Finding]
    ingest: IngestNow | None
    http: str | None = None
    """Where pages are served, if they are."""

    @property
    def well(self) -> bool:
        return all(finding.level != "bad" for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """As `doctor --json` prints it."""
        accounts, status = (self.ingest.accounts, self.ingest.status) if self.ingest else ([], None)
        spool = status and {"rows": status.spool_rows, "bytes": status.spool_bytes, "age_s": status.spool_age_s}
        return {
            "findings": [finding.as_dict() for finding in self.findings],
            "devices": [{"site": a.site, "device": a.device, **_counts(a)} for a in accounts],
            "spool": spool,
        }

    def table(self) -> Iterator[str]:
        """A line for each device, of what became of its messages."""
        accounts = self.ingest.accounts if self.ingest else []
        wide = max((len(_name(account)) for account in accounts), default=0)
        yield "  ".join([" " * wide, *(f"{count:>9}" for count in OUTCOMES)])
        for account in accounts:
            yield "  ".join([f"{_name(account):{wide}}", *(f"{count:>9,}" for count in _counts(account).values())])
        if self.http:
            yield f"Each has a page: {self.http}/devices, with any name and the admin token as password"


def examine(settings: Settings) -> Examination:
    runs = is_running(settings.data_dir)
    findings = list(_of_what_lies_here(settings, INIT_BESIDE if runs else INIT))
    if not runs:
        api = _of_the_api_apart(settings.data_dir)
        return Examination([*findings, _without_a_server(api)], None, api)
    office = RemoteOffice(settings.data_dir)
    try:
        health, ingest = office.health(), office.ingest()
    except UserError as error:
        return Examination([*findings, Finding("bad", "server", str(error))], None)
    if health:
        findings += _of_the_server(health, DataFolder(settings.data_dir))
    if ingest:
        findings += _of_the_messages(ingest.accounts)
    return Examination(findings, ingest, (health and health.http) or _of_the_api_apart(settings.data_dir))


def _without_a_server(api: str | None) -> Finding:
    if api:
        return Finding("bad", "ingest", f"none runs, and `api` serves {api} without it: start `lunchong ingest`")
    return Finding("note", "server", "none runs on this data folder")


def _of_what_lies_here(settings: Settings, init: str) -> Iterator[Finding]:
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
    if settings.store == "influxdb":
        yield _of_influxdb(settings, init)
    yield _of_the_ledger(settings.ledger_url)


def _of_the_ledger(url: str) -> Finding:
    from lunchong.ledger_health import look  # half a second of imports, that only this needs

    level, said = look(url)
    return Finding(level, "ledger", said)


def _of_influxdb(settings: Settings, init: str) -> Finding:
    """`init` says how to run what mends the buckets."""
    try:
        found = found_buckets(settings)
    except UserError as error:
        return Finding("bad", "influxdb", str(error))
    if wrong := what_init_mends(settings, found):
        return Finding("bad", "influxdb", f"{wrong}: {init}")
    kept_s, wanted_s = found[settings.influx_bucket] or 0, settings.retention_days * DAY_S
    kept = f"keeps its rows {f'for {kept_s / DAY_S:g} days' if kept_s else 'for ever'}"
    if kept_s and (not wanted_s or kept_s < wanted_s):
        wanted = f"{settings.retention_days} are set" if wanted_s else "they shall be kept for ever"
        return Finding("bad", "influxdb", f"bucket {settings.influx_bucket} {kept} and {wanted}: {init}")
    organisation = f"{settings.influx_url}, organisation {settings.influx_org}"
    return Finding("good", "influxdb", f"{organisation}, buckets {', '.join(found)}; the first {kept}")


def _of_the_folder(settings: Settings) -> Finding:
    try:
        DataFolder(settings.data_dir)
        free = shutil.disk_usage(settings.data_dir).free
    except (UserError, OSError) as error:
        return Finding("bad", "data folder", str(error))
    said = f"{settings.data_dir}, {free // 1_000_000:,} MB free"
    return Finding("bad" if free < LITTLE_SPACE_BYTES else "good", "data folder", said)


def _of_the_server(health: Health, folder: DataFolder) -> Iterator[Finding]:
    where = f"{health.http}, devices" if health.http else "ingest alone, devices"
    yield Finding("good", "server", f"process {health.pid}, {where} at {health.mqtt}")
    if health.http is None:
        there = folder.is_held(API_LOCK)
        yield Finding("good" if there else "note", "api", "runs on this data folder" if there else "none runs here")
    yield from _of_the_broker(health)
    yield Finding("good", "clock", f"service time {health.service_time}, speed {health.speed:g}")
    if not health.accepting:
        yield Finding("bad", "ingest", "accepts nothing: devices hold their readings")
    for condition in health.conditions:
        bad = condition.severity != "info"
        text = f"{condition.code} since {condition.since}: {condition.evidence.replace(INIT, INIT_BESIDE)}"
        yield Finding("bad" if bad else "note", "condition", text)
    yield from _of_the_devices(health)
    late = health.spool_age_s > LATE_S * max(1.0, health.speed)
    waiting = f"{health.spool_rows} waiting, {health.spool_bytes:,} bytes, oldest {health.spool_age_s:.0f} s"
    yield Finding("bad" if late else "good", "spool", waiting)
    if health.dead_letters is None:
        yield Finding("note", "dead letters", "cannot be counted while the store is away")
    elif health.dead_letters:
        yield Finding("note", "dead letters", f"{health.dead_letters}: see `lunchong dead-letters list`")
    if health.refusals:
        refused = f"{health.refusals} logins, publishes or subscriptions refused, the last: {health.last_refusal}"
        yield Finding("note", "broker", refused)
    if health.broker_restarts:
        yield Finding("note", "broker", f"was started again {health.broker_restarts} times")
    for mistake in health.inventory_mistakes:
        yield Finding("bad", "inventory", f"{mistake}; the one before stays in use")


def _of_the_broker(health: Health) -> Iterator[Finding]:
    """What ingest says of its line; a broker of ours that does well is named where it lies."""
    ours = health.refusals is not None
    if health.broker_error:
        said = f"{health.mqtt}, {health.broker_error}: {_what_to_do(health.broker_error, ours=ours)}"
        yield Finding("bad", "broker", said)
    elif not health.connected:
        yield Finding("note", "broker", f"{health.mqtt} has not let ingest in yet: ask again in some seconds")
    elif not ours:
        yield Finding("good", "broker", f"{health.mqtt} lets ingest in")


def _what_to_do(broker_error: str, *, ours: bool) -> str:
    if ours:
        return "it is started again by itself; its log is broker/nats.log in the data folder"
    if any(words in broker_error for words in ("Not authorized", "Bad user name", "does not let us read")):
        return "let it include lunchong.conf of LUNCHONG_MQTT_ACL_DIR, and reload it (docs/brokers.md)"
    if "refused us" in broker_error:
        return "its log says why"
    if "certificate" in broker_error:
        return "set LUNCHONG_MQTT_TLS_CERT to the authority that signed it"
    if "cannot reach" in broker_error or "broke off" in broker_error:
        return "start it, or mend LUNCHONG_MQTT_URL"
    return "is it an MQTT broker? Look at LUNCHONG_MQTT_URL"


def _of_the_api_apart(folder: Path) -> str | None:
    """Where an `api` of its own serves on this data folder. One that was killed leaves its file to a later `serve`."""
    try:
        held_by = (folder / API_LOCK).read_text().strip()
        said = json.loads((folder / API_READY).read_bytes())
        serves = DataFolder(folder).is_held(API_LOCK) and held_by == str(said["pid"])
        return str(said["http"]) if serves else None
    except (UserError, OSError, ValueError, KeyError):
        return None  # none, or it is about to come up


def _of_the_messages(accounts: Sequence[DeviceAccount]) -> Iterator[Finding]:
    """All devices together, and a line for each of which something did not come as it should."""
    total = {count: sum(getattr(account, count) for account in accounts) for count in OUTCOMES}
    yield Finding("bad" if total["lost"] else "good", "messages", _said(total))
    troubled = [account for account in accounts if any(getattr(account, count) for count in TROUBLES)]
    troubled.sort(key=lambda account: (-account.lost, -account.hole, -account.dead, _name(account)))
    for account in troubled[:DEVICES_SHOWN]:
        yield Finding("note", "device", f"{_name(account)}: {_said(_counts(account))}")
    if len(troubled) > DEVICES_SHOWN:
        yield Finding("note", "device", f"and {len(troubled) - DEVICES_SHOWN} more: see `lunchong doctor --devices`")


def _counts(account: DeviceAccount) -> dict[str, int]:
    return {count: getattr(account, count) for count in OUTCOMES}


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {count}" for count, number in counts.items())


def _name(account: DeviceAccount) -> str:
    return plain(f"{account.site}/{account.device}")


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
