"""The office of an installation that does not run: it opens the data folder itself, for the length of one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ingest.enrolments import Enrolments
from lunchong.control import RemoteOffice, is_running
from lunchong.data_folder import DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryFile
from lunchong.office import FOR_NOW, Desk, Office, write_acl
from lunchong.settings import EMBEDDED, Settings


@contextmanager
def office(settings: Settings) -> Iterator[Office]:
    """The running server's office where one runs on this data folder, else one over the folder itself."""
    if is_running(settings.data_dir):
        yield RemoteOffice(settings.data_dir)
        return
    with ExitStack() as ending:
        try:
            yield _desk(settings, ending)
        except FOR_NOW as error:
            raise error if isinstance(error, UserError) else UserError(str(error)) from None


def _desk(settings: Settings, ending: ExitStack) -> Desk:
    from ingest.store import StoreUnusable, TelemetryStore
    from lunchong.stores import open_store

    folder = DataFolder(settings.data_dir)
    folder.hold()
    ending.callback(folder.release)
    inventory = InventoryFile(settings.inventory)
    enrolments = Enrolments(folder.path / "credentials.json")

    def store() -> TelemetryStore:
        try:
            opened = open_store(settings)
        except StoreUnusable as error:
            raise UserError(str(error)) from None
        ending.callback(opened.close)
        return opened

    host, port = settings.mqtt_listen
    scheme = "mqtts" if settings.mqtt_tls_cert else "mqtt"
    url = f"{scheme}://{host}:{port}" if settings.mqtt_url == EMBEDDED else settings.mqtt_url
    return Desk(
        inventory=inventory.read,
        enrolments=enrolments,
        admit=lambda: write_acl(settings, enrolments, inventory.read()),
        mqtt_url=url,
        store=store,
    )
