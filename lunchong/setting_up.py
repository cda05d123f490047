"""`lunchong init`: what an installation needs before its first start."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from ingest.enrolments import EnrolmentError, Enrolments, make_for_others, write_private
from lunchong.data_folder import ADMIN_TOKEN, DataFolder
from lunchong.errors import UserError
from lunchong.inventory_file import InventoryFile
from lunchong.office import write_acl
from lunchong.settings import Settings
from lunchong.stores import prepare_store

SERVICES = ("ingest", "api", "scheduler")
OTHERS = stat.S_IRWXG | stat.S_IRWXO
EXAMPLE = """\
# The things of your place. `lunchong inventory check` names every mistake in here with its line;
# a running server takes a changed file without a restart.

[[site]]
id = "gate-01"
name = { zh = "北门轮充点", en = "North gate" }
lat = 31.2220
lon = 121.4540
mode = "in_turn"
limit_kw = 20.0
opening = ["workday 07:00-22:00", "restday 00:00-24:00"]

[[device]]
site = "gate-01"
id = "pile-0001"
kind = "pile"
fallback_kw = 2.8
connectors = [{ id = 1, type = "GBT_AC", max_kw = 7.0 }, { id = 2, type = "GBT_AC", max_kw = 7.0 }]

[[device]]
site = "gate-01"
id = "station-01"
kind = "station"
placement = "outdoor"
seats = 8
outlets = 6
amenities = ["drinking_water", "books"]
"""


def set_up(settings: Settings) -> Iterator[str]:
    """Make what is missing, leave what is there; a line for each thing, of what it is and where."""
    folder = DataFolder(settings.data_dir)
    folder.hold()
    try:
        yield f"data folder  {folder.path}{_made_private(folder.path, settings.mqtt_acl_dir)}"
        folder.admin_token()
        yield f"admin token  {folder.path / ADMIN_TOKEN}"
        _make_secret(settings)
        yield f"secret       {settings.secret_file}"
        enrolments = Enrolments(folder.path / "credentials.json")
        for service in SERVICES:
            enrolments.service(service)
        yield f"credentials  {enrolments.path}"
        if not settings.inventory.exists():
            make_for_others(settings.inventory.parent, 0o755)
            write_private(settings.inventory, EXAMPLE.encode(), 0o644)
            yield f"example      {settings.inventory}: write your own"
        found = InventoryFile(settings.inventory).read()
        yield f"inventory    {settings.inventory}, {len(found.devices)} devices"
        for line in prepare_store(settings):
            yield f"influxdb     {line}"
        if settings.mqtt_acl_dir:
            write_acl(settings, enrolments, found)
            yield f"mosquitto    {settings.mqtt_acl_dir / 'lunchong.conf'}, to be included in its own"
    except (EnrolmentError, OSError) as error:
        raise UserError(str(error)) from None
    finally:
        folder.release()


def _made_private(folder: Path, for_the_broker: Path | None) -> str:
    """Shut others out of a folder that was ours before; of one that is new to us only say that they may enter. One
    with the broker's folder in it stays open, as the broker runs as another user."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & OTHERS:
        return ""
    if for_the_broker and for_the_broker.resolve().is_relative_to(folder.resolve()):
        return f", which others may enter to read {for_the_broker}: better have that elsewhere"
    if not (folder / ADMIN_TOKEN).exists() or folder.stat().st_uid != os.geteuid():
        return f", which others may enter: `chmod 700 {folder}` if nobody else uses it"
    folder.chmod(mode & ~OTHERS)
    return ", which others may enter no more"


def _make_secret(settings: Settings) -> None:
    try:
        file = os.open(settings.secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(file, "w") as secret:
        secret.write(secrets.token_hex(32) + "\n")
