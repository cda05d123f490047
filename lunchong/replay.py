"""`lunchong simulate --replay FILE --map MAP.toml`: a file of real sessions, lived at an installation.

    lunchong simulate --replay FILE --map MAP.toml [--as-fast-as-acked] [--speed N]
                      [--mqtt URL --credentials FILE] [--data DIR] [--json]

Without `--mqtt` an installation of its own is started in the data folder, which must hold no facts yet: one site, a
pile for each station of the file, service time driven by the messages, raw facts kept for ever. At the end its charging
sessions are compared with the file's. `--mqtt` lives the file at another installation, whose inventory holds those
piles and whose facts are kept for ever (`LUNCHONG_RETENTION_DAYS` 0), because these are old ones; then nothing is
compared. Where the settings name an InfluxDB that would not keep the file's times, it says so before it sends.

With `--as-fast-as-acked` the piles go on as soon as what they said is acknowledged; else at `--speed` times the wall.
With `--json` the last line of standard output is one JSON object, and nothing else is printed there:

    {"rows","not_livable":["line N: reason"],"sessions_file","sessions_derived","count_diff_pct","energy_diff_pct",
     "occupied_median_ratio","charging_median_ratio","messages","seconds","messages_per_s"}

Exit code 0; 1 where the derived sessions differ from the file's (count by over 1 %, energy by over 0.5 %, a median by
over 2 %) or the replay was stopped; 2 for a bad argument, file or map.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from ingest.clock import rfc3339
from ingest.facts import Session
from ingest.inventory import dump
from ingest.store import TelemetryStore
from lunchong import settings as settings_of
from lunchong.data_folder import DataFolder
from lunchong.errors import UsageError, UserError
from lunchong.live_clock import wall_ms
from lunchong.logs import to_terminal
from lunchong.replay_lines import Lines, Login, read_logins
from lunchong.serve import Installation
from lunchong.stopping import asked_to_stop
from lunchong.stores import DUCKDB_FILE, check_store_is_empty, check_store_keeps, prepare_for_any_time
from lunchong.timing import Timing
from simulators.replay import Replay, inventory_of
from simulators.replay_report import Comparison, compare
from simulators.session_map import MapError, SessionMap, load_map
from simulators.sessions_csv import SessionsFile, read_sessions

TELL_EVERY_S = 1.0
SETTLE_WITHIN_S = 120.0
PAGE = 1_000
KEPT = (DUCKDB_FILE, "spool.db")
"""What an installation leaves in its folder once it has lived."""


@dataclass(frozen=True)
class Asked:
    """The options of the command. `data` and `config` matter only where no `mqtt` is given."""

    file: Path
    map_file: Path
    as_fast_as_acked: bool = False
    speed: float = 1.0
    mqtt: str | None = None
    credentials: Path | None = None
    data: Path | None = None
    config: Path | None = None
    json: bool = False


class Report(Struct, frozen=True):
    """The last line of `--json`. Figures of a comparison are null where none could be made."""

    rows: int
    not_livable: list[str]
    sessions_file: int
    sessions_derived: int | None
    count_diff_pct: float | None
    energy_diff_pct: float | None
    occupied_median_ratio: float | None
    charging_median_ratio: float | None
    messages: int
    seconds: float
    messages_per_s: float


def main(arguments: Sequence[str]) -> int:
    """The command with its arguments; returns the exit code, raises UserError."""
    parser = _Parser(prog="lunchong simulate", usage=__doc__.split("\n\n")[1].strip(), add_help=True)
    parser.add_argument("--replay", dest="file", type=Path, required=True)
    parser.add_argument("--map", dest="map_file", type=Path, required=True)
    parser.add_argument("--as-fast-as-acked", action="store_true")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--mqtt")
    parser.add_argument("--json", action="store_true")
    for path in ("--credentials", "--data", "--config"):
        parser.add_argument(path, type=Path)
    asked = Asked(**vars(parser.parse_args(arguments)))
    if not asked.speed > 0:
        parser.error("--speed must be above 0")
    to_terminal()
    return run(asked, asked_to_stop())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def run(asked: Asked, stop: threading.Event) -> int:
    """Live the file until it is over or `stop` is set. Returns the exit code; raises UserError."""
    file, how = read(asked.file, asked.map_file)
    replay = Replay(file, how, SystemRandom())
    with ExitStack() as ending:
        if asked.mqtt:
            there = settings_of.read(data_dir=asked.data, config=asked.config)
            check_store_keeps(there, replay.begin_ms, wall_ms())
            installation, url = None, asked.mqtt
            logins = read_logins(asked.credentials) if asked.credentials else [_login_of(url, how)]
        else:
            installation = ending.enter_context(_own_installation(asked, file, how, replay.begin_ms))
            url, logins = installation.mqtt_url, [_enrolled(installation, how)]
            _tell(f"what is derived shows on {installation.http_url}")
        lines = Lines(replay, url, logins)
        lines.start()
        ending.callback(lines.stop)
        seconds = _live(replay, lines, asked, stop)
        found = _found(installation, file) if installation and replay.done else None
    report = _report(file, replay, found, seconds)
    print(msgspec.json.encode(report).decode() if asked.json else _plain(report))
    return 0 if replay.done and (found is None or found.agrees) else 1


def read(path: Path, map_path: Path) -> tuple[SessionsFile, SessionMap]:
    """The sessions of a file by its map. Raises UsageError with a line for each mistake."""
    try:
        how = load_map(_text_of(map_path, "utf-8"))
        file = read_sessions(_text_of(path, how.file.encoding), how)
    except MapError as error:
        raise UsageError("\n".join(f"{map_path} {mistake}" for mistake in error.mistakes)) from None
    if not file.sessions:
        reasons = "; ".join(f"{row}" for row in file.not_livable[:3]) or "it has no rows"
        raise UsageError(f"{path} holds no session that could be lived: {reasons}")
    return file, how


def _text_of(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not written in {encoding}; the map says a file's encoding in [file]") from None


def _own_installation(asked: Asked, file: SessionsFile, how: SessionMap, begin_ms: int) -> Installation:
    """Not started yet. Its folder may hold an inventory like ours, and nothing that was lived before."""
    defaults = {"http_port": 0, "mqtt_listen": "127.0.0.1:0"}
    folder = settings_of.read(data_dir=asked.data, config=asked.config, defaults=defaults).data_dir
    inventory = DataFolder(folder).path / "inventory.toml"
    text = dump(inventory_of(file, how))
    if any((folder / name).exists() for name in KEPT) or (inventory.exists() and inventory.read_text() != text):
        raise UsageError(f"{folder} belongs to another installation: name a fresh folder with --data")
    inventory.write_text(text)
    options = {"inventory": inventory, "retention_days": 0}
    settings = settings_of.read(data_dir=asked.data, config=asked.config, options=options, defaults=defaults)
    prepare_for_any_time(settings)
    check_store_keeps(settings, begin_ms, wall_ms())
    check_store_is_empty(settings)
    return Installation(settings, Timing(messages=True))


def _enrolled(installation: Installation, how: SessionMap) -> Login:
    username, password = installation.enrolments.enroll_gateway(how.site.id)
    installation.admit()
    return Login(username, password)


def _login_of(url: str, how: SessionMap) -> Login:
    """The user of the URL; without one, the gateway of the site at a broker that asks for no password."""
    address = urlsplit(url)
    return Login(unquote(address.username or f"{how.site.id}/+"), unquote(address.password or ""))


def _live(replay: Replay, lines: Lines, asked: Asked, stop: threading.Event) -> float:
    """Returns how many seconds it took."""
    began_s = told_s = time.monotonic()
    while not replay.done and not stop.is_set():
        now_s = time.monotonic()
        lived_ms = None if asked.as_fast_as_acked else replay.begin_ms + round((now_s - began_s) * 1000 * asked.speed)
        lines.step(lived_ms)
        if now_s - told_s >= TELL_EVERY_S:
            told_s = now_s
            share = (replay.now_ms - replay.begin_ms) / (replay.end_ms - replay.begin_ms)
            rate = _acked(replay) / (now_s - began_s)
            troubles = "; ".join(lines.troubles())
            _tell(f"{rfc3339(replay.now_ms)[:10]}  {share:4.0%}  {rate:,.0f} messages/s {troubles}")
    return time.monotonic() - began_s


def _acked(replay: Replay) -> int:
    return sum(device.counters.acked for device in replay.devices.values())


def _found(installation: Installation, file: SessionsFile) -> Comparison:
    """Compare, once all that was acknowledged has reached the store."""
    if not installation.worker.wait_drained(SETTLE_WITHIN_S):
        raise UserError(f"the store is still behind, {SETTLE_WITHIN_S:.0f} s after the last message")
    return compare(file.sessions, all_sessions(installation.store))


def all_sessions(store: TelemetryStore) -> list[Session]:
    sessions: list[Session] = []
    cursor: str | None = None
    while True:
        page = store.sessions(cursor=cursor, limit=PAGE)
        sessions += page.items
        cursor = page.next
        if cursor is None:
            return sessions


def _report(file: SessionsFile, replay: Replay, found: Comparison | None, seconds: float) -> Report:
    messages = _acked(replay)
    return Report(
        rows=file.rows,
        not_livable=[str(row) for row in file.not_livable],
        sessions_file=len(file.sessions),
        sessions_derived=found.sessions_derived if found else None,
        count_diff_pct=found.count_diff_pct if found else None,
        energy_diff_pct=found.energy_diff_pct if found else None,
        occupied_median_ratio=found.occupied_median_ratio if found else None,
        charging_median_ratio=found.charging_median_ratio if found else None,
        messages=messages,
        seconds=round(seconds, 1),
        messages_per_s=round(messages / seconds, 1) if seconds else 0.0,
    )


def _plain(report: Report) -> str:
    said = [
        f"rows in the file       {report.rows:>12,}",
        f"not livable            {len(report.not_livable):>12,}",
        *(f"  {reason}" for reason in report.not_livable[:20]),
        f"sessions lived         {report.sessions_file:>12,}",
    ]
    if report.sessions_derived is not None:
        said += [
            f"sessions derived       {report.sessions_derived:>12,}  {report.count_diff_pct:+.2f} %",
            f"energy                               {report.energy_diff_pct:+.3f} %",
            f"median occupied time   {report.occupied_median_ratio or 0:>12.4f}  of the file's",
            f"median charging time   {report.charging_median_ratio or 0:>12.4f}  of the file's",
        ]
    said.append(
        f"messages acknowledged  {report.messages:>12,}  in {report.seconds:.1f} s, {report.messages_per_s:,.0f}/s"
    )
    return "\n".join(said)


def _tell(what: str) -> None:
    """Progress, for a terminal only."""
    if sys.stderr.isatty():
        print(what, file=sys.stderr, flush=True)
