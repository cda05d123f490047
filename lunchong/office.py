"""What an operator may ask of an installation, whether it runs or only lies on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from ingest.accounts import DeviceAccount, IngestStatus
from ingest.assets import Inventory
from ingest.broker import BrokerError
from ingest.credentials import mosquitto_files
from ingest.enrolments import EnrolmentError, Enrolments, write_broker_files
from ingest.facts import DeadLetter
from ingest.inventory import dump
from ingest.messages import Condition
from ingest.store import StoreUnavailable, TelemetryStore
from lunchong.errors import UsageError, UserError
from lunchong.settings import Settings

FOR_NOW = (UserError, BrokerError, EnrolmentError, StoreUnavailable)
"""Errors of parts that say in one line what they cannot do now, and why."""

EnrolKind = Literal["device", "gateway", "client"]


class Enrolled(Struct, frozen=True):
    """A new credential. The password is kept nowhere and shown this once."""

    username: str
    password: str
    url: str


class IngestNow(Struct, frozen=True):
    """Ingest's own figures at one moment."""

    accounts: list[DeviceAccount]
    status: IngestStatus


class Health(Struct, frozen=True, kw_only=True):
    """What a running installation says of itself.

    `http` is None where `ingest` runs alone, `dead_letters` while the store is away, the broker's figures where it is
    not ours. `broker_error` is why ingest does not read all that it must, in the words of the log.
    """

    pid: int
    http: str | None
    mqtt: str
    service_time: str
    speed: float
    accepting: bool
    conditions: list[Condition]
    device_conditions: list[tuple[str, Condition]]
    spool_rows: int
    spool_bytes: int
    spool_age_s: float
    complete_until: str
    devices: int
    messages_lost: int
    messages_dropped: int
    dead_letters: int | None
    refusals: int | None
    last_refusal: str
    broker_restarts: int | None
    inventory_mistakes: list[str]
    connected: bool = True
    broker_error: str = ""


class Office(Protocol):
    """Raises UserError, in one line, where it cannot do what it was asked."""

    def enroll(self, what: EnrolKind, site: str, name: str) -> Enrolled:
        """`site` and `name` of a device; `site` alone of a gateway; `name` alone of a client."""

    def dead_letters(self, limit: int, after: str | None) -> list[DeadLetter]: ...

    def retry_dead(self, ids: list[str] | None) -> tuple[int, int]:
        """Try these again, or all; how many were taken now, and how many not."""

    def purge_dead(self, ids: list[str] | None, before_ms: int | None) -> int: ...

    def inventory_text(self) -> str: ...

    def health(self) -> Health | None:
        """None where nothing runs."""

    def ingest(self) -> IngestNow | None:
        """None where nothing runs."""


class Desk:
    """The office over the parts themselves, in the process that holds the data folder."""

    def __init__(
        self,
        *,
        inventory: Callable[[], Inventory],
        enrolments: Enrolments,
        admit: Callable[[], None],
        mqtt_url: str,
        store: Callable[[], TelemetryStore],
        retry: Callable[[list[str]], tuple[int, int]] | None = None,
        health: Callable[[], Health] | None = None,
        ingest: Callable[[], IngestNow] | None = None,
    ) -> None:
        self._inventory, self._enrolments, self._admit, self._mqtt_url = inventory, enrolments, admit, mqtt_url
        self._store, self._retry, self._health, self._ingest = store, retry, health, ingest

    def enroll(self, what: EnrolKind, site: str, name: str) -> Enrolled:
        inventory = self._inventory()
        if what == "device":
            if f"{site}/{name}" not in inventory.devices:
                raise UsageError(f"the inventory has no device {site}/{name}")
            username, password = self._enrolments.enroll_device(site, name)
        elif what == "gateway":
            if site not in inventory.sites:
                raise UsageError(f"the inventory has no site {site}")
            username, password = self._enrolments.enroll_gateway(site)
        else:
            try:
                username, password = self._enrolments.enroll_reader(name)
            except EnrolmentError as error:
                raise UsageError(str(error)) from None
        self._admit()
        return Enrolled(username, password, self._mqtt_url)

    def dead_letters(self, limit: int, after: str | None) -> list[DeadLetter]:
        try:
            return self._store().dead_letters(limit=limit, after=after)
        except ValueError as unknown:
            raise UsageError(str(unknown)) from None

    def retry_dead(self, ids: list[str] | None) -> tuple[int, int]:
        if self._retry is None:
            raise UserError(
                "dead letters are tried again by a running server: start `lunchong serve` or `ingest` first"
            )
        return self._retry(every_id(self) if ids is None else self._known(ids))

    def purge_dead(self, ids: list[str] | None, before_ms: int | None) -> int:
        return self._store().purge_dead(None if ids is None else self._known(ids), before_ms)

    def _known(self, ids: list[str]) -> list[str]:
        if unknown := sorted(set(ids) - set(every_id(self))):
            raise UserError(f"there is no dead letter {', '.join(unknown)}")
        return ids

    def inventory_text(self) -> str:
        return dump(self._inventory())

    def health(self) -> Health | None:
        return self._health() if self._health else None

    def ingest(self) -> IngestNow | None:
        return self._ingest() if self._ingest else None

    def count_dead(self) -> int | None:
        """None while the store is away."""
        try:
            return self._store().count_dead()
        except StoreUnavailable:
            return None


def every_id(office: Office, page: int = 500) -> list[str]:
    """The ids of all dead letters, newest first."""
    ids: list[str] = []
    while letters := office.dead_letters(page, ids[-1] if ids else None):
        ids += [letter.id for letter in letters]
    return ids


def write_acl(settings: Settings, enrolments: Enrolments, inventory: Inventory) -> None:
    """Where a folder for them is set, write mosquitto's files anew."""
    if settings.mqtt_acl_dir:
        files = mosquitto_files(enrolments.credentials, inventory, settings.mqtt_acl_dir)
        write_broker_files(settings.mqtt_acl_dir, files)
