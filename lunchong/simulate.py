"""`lunchong simulate`: a street of devices, or a plain load, against any installation.

    lunchong simulate [--mqtt URL] [--inventory FILE] [--credentials FILE] [--devices N] [--speed N] [--weather DATE]
                      [--faults SPEC] [--rate MESSAGES_PER_S] [--for SECONDS] [--seed N]
                      [--interval SECONDS] [--ca FILE] [--acked FILE] [--sent FILE] [--dropped FILE] [--json]

`--mqtt` is `mqtt[s]://[user:password@]host:port`. `--credentials` holds `{"username","password"[,"url"]}`, one a line
or as one JSON list; user names are `SITE/DEVICE`, or `SITE/+` for a gateway that speaks for every device of its site
that has no credential of its own. A credential's `url` counts where `--mqtt` is not given. Without credentials, devices
connect with the user of the URL, or without one.

Service time is that of the clock in `service/ingest`; `--speed` holds only where there is none within three seconds.
Above speed 1 devices pack messages into arrays.

Range files hold lines `site,device,boot,lo,hi`. `--acked` is appended to while it runs and synced before a range is
counted; `--sent` and `--dropped` are written once, at the end: what was published at least once, and what devices gave
up and said so. Messages that were said and never published are in none of them.

`--faults` is `name=share,…` of: `duplicate`, `reorder`, `garbage` (shares of publishes), `skew`, `silence`, `reboot`
(shares of devices; silence and reboot come again each ten minutes of service time, silence lasts three intervals).

It ends after `--for` wall seconds, or on SIGTERM or SIGINT: the street stops, and up to 10 s are given to the last acks
(a second signal ends it at once). With `--json` each line of standard output is one JSON object:

    {"progress":{…the figures below…}}      once a second
    {"sent":…,"acked":…,"resent":…,"dropped":…,"garbage":…,"devices":…,"connected":…,"seconds":…}      the last line

`sent` counts distinct (device, boot, seq) that were published, `acked` those that an `ack` covered, `resent` publishes
of a message beyond its first, `dropped` those given up and reported in `boots`, published before or not, `garbage`
malformed payloads published on purpose (each with bytes of its own, so each makes one dead letter). What was published
and neither acknowledged nor dropped when it ended is what `--sent` names and neither `--acked` nor `--dropped` does.
Exit code 0; 1 when `--acked` can no longer be written, or when it ended and no device had ever been connected; 2 for a
bad argument or file, in one line.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from threading import Event
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from msgspec import Struct

from ingest.assets import ConnectorSpec, Device, Inventory, Name, Site
from lunchong.crowd_life import Asked, Life
from lunchong.errors import UsageError, UserError
from lunchong.inventory_file import InventoryFile
from lunchong.range_files import SyncedRanges, write_ranges
from lunchong.replay_lines import Login, read_logins
from lunchong.scenario import date_of
from lunchong.stopping import asked_to_stop
from simulators.mischief import parse
from simulators.publish import Credential
from simulators.sockets import address_of

TICK_S = 0.02
TELL_EVERY_S = 1.0
LAST_ACKS_S = 10.0
MADE_UP = 200
"""Devices where neither an inventory nor credentials nor `--devices` say how many."""


class Figures(Struct, frozen=True, kw_only=True):
    """What is printed; see the top of this file."""

    sent: int
    acked: int
    resent: int
    dropped: int
    garbage: int
    devices: int
    connected: int
    seconds: float


def main(arguments: list[str]) -> int:
    """Run the command with these arguments. Raises UserError, or what typer raises for a bad argument."""
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    command.command()(_simulate)
    command(arguments, prog_name="lunchong simulate", standalone_mode=False)
    return 0


def _simulate(
    mqtt: Annotated[str | None, typer.Option(metavar="URL", help="mqtt://[user:password@]host:port.")] = None,
    inventory: Annotated[Path | None, typer.Option(help="Simulate the devices of this inventory.")] = None,
    credentials: Annotated[Path | None, typer.Option(help="What `device enroll --json` printed.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Only so many devices.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, max=3600, help="Where no service says how fast time runs.")] = 1.0,
    weather: Annotated[str | None, typer.Option(metavar="DATE", help="Weather of that day.")] = None,
    faults: Annotated[str, typer.Option(metavar="SPEC", help="As duplicate=0.01,reboot=0.005.")] = "",
    rate: Annotated[float | None, typer.Option(min=0.001, help="A plain load of so many messages a second.")] = None,
    for_s: Annotated[float | None, typer.Option("--for", min=0.1, help="End after so many seconds.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed is the same life.")] = 1,
    interval: Annotated[int, typer.Option(min=1, max=900, help="Reporting interval in service seconds.")] = 60,
    ca: Annotated[Path | None, typer.Option(help="Authority that signed the broker's certificate.")] = None,
    acked: Annotated[Path | None, typer.Option(help="Append acknowledged ranges here, synced.")] = None,
    sent: Annotated[Path | None, typer.Option(help="Write all published ranges here at the end.")] = None,
    dropped: Annotated[Path | None, typer.Option(help="Write all dropped ranges here at the end.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Simulated devices against any installation; see also --replay FILE --map MAP.toml."""
    try:
        shares = parse(faults)
    except ValueError as error:
        raise UsageError(str(error)) from None
    day = date_of(weather) if weather is not None else None
    asked = Asked(
        mqtt=mqtt, inventory=inventory, credentials=credentials, devices=devices, speed=speed, weather=day,
        faults=shares, rate_per_s=rate, for_s=for_s, seed=seed, interval_s=interval, ca_file=ca, acked=acked, sent=sent,
        dropped=dropped, json=as_json,
    )  # fmt: skip
    figures, in_vain = simulate(asked, asked_to_stop())
    print(msgspec.json.encode(figures).decode() if as_json else _plain(figures), flush=True)
    if in_vain:
        raise UserError(f"no device was ever connected: {in_vain}")


def simulate(asked: Asked, stop: Event) -> tuple[Figures, str]:
    """Live until `stop` is set or the time is over, then wait for the last acks. Raises UsageError.

    Returns the figures, and why no device was ever connected, where that is so.
    """
    place, who = cast(asked)
    for file in filter(None, (asked.sent, asked.dropped)):
        write_ranges(file, ())  # a path that cannot be written is known before the run, not after it
    acked = SyncedRanges(asked.acked) if asked.acked else None
    life = Life(place, who, asked, acked)
    began_s = told_s = time.monotonic()
    troubles: list[str] = []
    connected = False

    def figures() -> Figures:
        return Figures(
            sent=life.total("sent"),
            acked=acked.written if acked else life.total("acked"),
            resent=life.total("resent"),
            dropped=life.total("dropped"),
            garbage=life.mischief.garbage,
            devices=len(place.devices),
            connected=life.crowd.connected,
            seconds=round(time.monotonic() - began_s, 1),
        )

    while not stop.wait(TICK_S) and (asked.for_s is None or time.monotonic() - began_s < asked.for_s):
        life.step()
        connected = connected or life.crowd.connected > 0
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            if asked.json:
                print(msgspec.json.encode({"progress": figures()}).decode(), flush=True)
            elif sys.stderr.isatty():
                print(f"\r{_line(figures())}", end="", file=sys.stderr, flush=True)
            if life.crowd.troubles != troubles and (troubles := life.crowd.troubles):
                print(f"lunchong: {'; '.join(troubles[:3])}", file=sys.stderr, flush=True)
    deadline_s = time.monotonic() + LAST_ACKS_S
    while not life.rests() and time.monotonic() < deadline_s:
        time.sleep(TICK_S)
    last = figures()
    in_vain = (
        "" if connected or last.connected else "; ".join(life.crowd.troubles[:3]) or "the broker had no time to answer"
    )
    life.close()
    for path, what in ((asked.sent, "sent"), (asked.dropped, "dropped")):
        if path:
            write_ranges(path, life.ranges(what))
    return last, in_vain


def cast(asked: Asked) -> tuple[Inventory, dict[str, Credential]]:
    """The devices to play, and whom each logs in as. Raises UsageError."""
    url, user, password = _address(asked.mqtt) if asked.mqtt else (None, None, None)
    logins = {login.username: login for login in read_logins(asked.credentials)} if asked.credentials else {}
    place = InventoryFile(asked.inventory).read() if asked.inventory else _made_up(asked.devices, logins)
    names = sorted(place.devices)[: asked.devices]
    if not names:
        raise UsageError(f"{asked.inventory} holds no device")
    place = msgspec.structs.replace(place, devices={name: place.devices[name] for name in names})
    who: dict[str, Credential] = {}
    for name in names:
        gateway = f"{place.devices[name].site}/+"
        login = logins.get(name) or logins.get(gateway)
        if login is None and logins and user is None:
            raise UsageError(f"{asked.credentials} holds no credential for {name}, nor for {gateway}")
        at = url or (_address(login.url)[0] if login and login.url else None)
        if at is None:
            raise UsageError(f"name the broker with --mqtt: no credential says where {name} connects")
        who[name] = Credential(login.username, login.password, at) if login else Credential(user, password, at)
    return place, who


def _address(url: str) -> tuple[str, str | None, str | None]:
    """As `address_of`. Raises UsageError, which repeats no password."""
    try:
        if urlsplit(url).port != 0:
            return address_of(url)
    except ValueError:
        pass
    shown = re.sub(r"^(\w+://)?.*@", r"\1…@", url, flags=re.DOTALL)
    raise UsageError(f"{shown!r} is no address of a broker: write mqtt://HOST:1883")


def _made_up(count: int | None, logins: dict[str, Login]) -> Inventory:
    """Piles for those who may log in, or so many of a made-up site where nobody is named."""
    names = [name for name in logins if not name.endswith("/+")]
    sites = [name[:-2] for name in logins if name.endswith("/+")] or ["load"]
    if not names:
        names = [f"{sites[n % len(sites)]}/pile-{n // len(sites) + 1:04d}" for n in range(count or MADE_UP)]
    pairs = [name.split("/", 1) for name in names]
    if any(len(pair) != 2 for pair in pairs):
        raise UsageError("credentials are for SITE/DEVICE or SITE/+: give readers' and others' to somebody else")
    piles = [Device(site=site, id=one, kind="pile", connectors=(ConnectorSpec(1),)) for site, one in pairs]
    return Inventory(
        sites={site: Site(id=site, name=Name(site, site), lat=31.22, lon=121.45) for site, _ in pairs},
        devices={pile.name: pile for pile in piles},
    )


def _line(now: Figures) -> str:
    return (
        f"{now.seconds:6.0f} s  {now.connected} of {now.devices} connected  {now.acked:,} of {now.sent:,} acknowledged"
    )


def _plain(figures: Figures) -> str:
    return "\n".join(f"{name:10} {value:>12,}" for name, value in msgspec.structs.asdict(figures).items())
