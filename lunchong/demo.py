"""`lunchong demo`: an invented neighbourhood alive, from an empty folder to a page within seconds."""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import msgspec

from ingest.enrolments import write_private
from ingest.inventory import dump
from lunchong import logs
from lunchong.data_folder import DataFolder
from lunchong.errors import UsageError, UserError
from lunchong.live_clock import demo_begin_ms, wall_ms
from lunchong.residents import Residents
from lunchong.scenario import Place
from lunchong.serve import Installation
from lunchong.settings import EMBEDDED, Settings, read
from lunchong.stopping import asked_to_stop, end_soon
from lunchong.stores import check_store_keeps, prepare_for_any_time
from lunchong.street import Street
from lunchong.summary import Screen, screen
from lunchong.tally import Tally, read_ranges, tally
from lunchong.timing import Timing
from lunchong.turns_tally import turns_tally
from lunchong.web import bound_port
from simulators.scenarios.neighbourhood import neighbourhood

LAST_ACKS_S = 10.0
STOP_S = 1.0
"""How long the street may take to end when somebody waits at the keyboard."""
DRAIN_S = 30.0
DEFAULT_MQTT_PORT = 1883
RANGES = ("sent", "acked", "dropped")
CREDENTIALS = "street-credentials.json"
STREET_LOG = "street.log"


@dataclass(frozen=True)
class Run:
    place: Place
    for_s: float | None
    as_json: bool


def play(run: Run, *, data_dir: Path | None, config: Path | None, port: int | None) -> None:
    """Set everything up, show it until it is over or a signal comes, and end it."""
    defaults = {"data_dir": Path("data/demo"), "mqtt_listen": f"127.0.0.1:{_free_or_any(DEFAULT_MQTT_PORT)}"}
    settings = read(data_dir=data_dir, config=config, options={"http_port": port}, defaults=defaults)
    if settings.mqtt_url != EMBEDDED:
        raise UsageError("the demo brings its own broker: unset LUNCHONG_MQTT_URL")
    asked = asked_to_stop()
    folder = DataFolder(settings.data_dir)
    folder.hold()
    logs.to_file(settings.data_dir / "demo.log")
    settings = _with_inventory(run.place, settings)
    prepare_for_any_time(settings)
    folder.release()
    timing = Timing(speed=run.place.speed, begin_ms=demo_begin_ms(settings.timezone), rests=True)
    with ExitStack() as ending:
        installation = ending.enter_context(Installation(settings, timing))
        began_ms = installation.clock.service_ms()
        check_store_keeps(settings, began_ms, wall_ms())
        log = settings.data_dir / STREET_LOG
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        street = Street(_street_arguments(run.place, installation), log)
        ending.callback(lambda: street.stop(STOP_S))
        assert installation.turns is not None
        accounts = installation.turns.ledger.accounts
        residents = Residents(installation.turns.desk, accounts, installation.inventory, run.place.seed, began_ms)
        look = ending.enter_context(screen(as_json=run.as_json))
        if not _show(run, installation, street, residents, look, asked):
            end_soon()
            return
        counted = _end(installation, street, began_ms)
    print(_text(counted, run.as_json), flush=True)


def _show(
    run: Run, installation: Installation, street: Street, residents: Residents, look: Screen, asked: Event
) -> bool:
    """Show the place until its time is over; False when a signal ended it before."""
    began_s = time.monotonic()
    while not asked.wait(0.25):
        left_s = None if run.for_s is None else began_s + run.for_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            return True
        installation.check()
        if (code := street.ended()) is not None:
            raise _why_it_ended(code, installation.folder.path / STREET_LOG)
        residents.step(installation.clock.service_ms())
        look.show(installation, street.figures, residents.doing, left_s)
    return False


def _why_it_ended(code: int, log: Path) -> UserError:
    """The street's last words, which are its reason where it was wrong use that ended it."""
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if code == UsageError.exit_code and said:
        return UsageError(said[-1].removeprefix("lunchong: "))
    return UserError(f"the street ended by itself with code {code}: see {log}")


def _end(installation: Installation, street: Street, began_ms: int) -> Tally:
    """Let the street come to rest, wait until the store has everything, and count."""
    alerts = len(installation.conditions())
    figures = street.stop(LAST_ACKS_S + 5.0)
    deadline_s = time.monotonic() + DRAIN_S
    while installation.worker.status().spool_rows and time.monotonic() < deadline_s:
        time.sleep(0.05)
    sent, acked, dropped = (read_ranges(_ranges(installation.folder.path, name)) for name in RANGES)
    assert installation.turns is not None
    ledger = installation.turns.ledger
    return tally(
        installation.store,
        turns_tally(ledger, ledger.accounts, began_ms),
        sent=sent,
        acked=acked,
        dropped=dropped,
        resent=figures.resent,
        since_ms=began_ms,
        alerts=alerts,
    )


def _with_inventory(place: Place, settings: Settings) -> Settings:
    """Settings with the inventory of the place, which is written unless it lies there already, maybe edited since."""
    if place.inventory:
        return dataclasses.replace(settings, inventory=Path(place.inventory))
    path = settings.data_dir / "inventory.toml"
    if not path.exists() or not path.read_text(encoding="utf-8").startswith(place.signature):
        made = neighbourhood(piles=place.piles, stations=place.stations, seed=place.seed)
        write_private(path, (place.signature + dump(made)).encode(), 0o644)
    return dataclasses.replace(settings, inventory=path)


def _street_arguments(place: Place, installation: Installation) -> list[str]:
    """Enroll every device, and tell the street where to find what."""
    folder, url = installation.folder.path, installation.mqtt_url
    passwords = installation.enrolments.enroll_devices(installation.inventory.devices)
    installation.admit()
    logins = [{"username": name, "password": password} for name, password in passwords.items()]
    installation.folder.keep(CREDENTIALS, msgspec.json.encode(logins))
    arguments = {"--mqtt": url, "--inventory": str(installation.settings.inventory), "--seed": str(place.seed)}
    arguments |= {"--credentials": str(folder / CREDENTIALS), "--speed": f"{place.speed:g}"}
    if place.weather:
        arguments["--weather"] = place.weather
    if place.faults:
        arguments["--faults"] = place.faults
    for name in RANGES:
        path = _ranges(folder, name)
        path.unlink(missing_ok=True)
        arguments[f"--{name}"] = str(path)
    return [word for pair in arguments.items() for word in pair]


def _ranges(folder: Path, name: str) -> Path:
    return folder / f"street-{name}.csv"


def _free_or_any(port: int) -> int:
    """The port if nobody listens there, else 0: the demo's street is told where its broker is."""
    try:
        bound_port("127.0.0.1", port).close()
    except UserError:
        return 0
    return port


def _text(counted: Tally, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(counted).decode()
    return "\n".join(f"{name:18} {value}" for name, value in msgspec.structs.asdict(counted).items())
