"""Row 9: the disk under the spool is full, and has space again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from tools.faults.alarms import Alarms
from tools.faults.load import PATIENCE_S, end_of_load, loaded, place_for
from tools.faults.outcome import Asked, Outcome, until
from tools.faults.programs import Street
from tools.faults.stage import Stage

FULL = "disk_full"
SAID_WITHIN_S = 60.0
HELD_WITHIN_S = 20.0
AGAIN_WITHIN_S = (10.0, 20.0)
DISK_MIB = (64, 32)
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$0" && cp -a "$2/." "$0/" && touch "$0/mounted" && exec sleep infinity'


@cache
def lacks() -> str | None:
    """Why there can be no small disk here."""
    may = os.geteuid() == 0 and not subprocess.run(["unshare", "-m", "true"], check=False).returncode
    return None if may else "a small disk needs root and mount namespaces"


def disk_full(asked: Asked) -> Outcome:
    """A file takes all the space that is left beside the spool, and is deleted after a while."""
    outcome = Outcome()
    with Stage(place_for(asked), asked.on) as stage:
        board = stage.enrolments.enroll_reader("board")
        stage.own_broker()
        _on_small_disk(stage, int(asked.pick(*DISK_MIB)))
        server = stage.serve()
        street = loaded(stage, server, asked, 1_000, 200)
        alarms = Alarms(server, server.said.mqtt, board)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            time.sleep(asked.pick(5.0, 0.5))
            filler = stage.seen / "filler"
            filled_s = time.monotonic()
            _fill(filler)
            outcome.figures["said"] = alarms.raised(FULL, SAID_WITHIN_S)
            outcome.figures["said_after_s"] = round(time.monotonic() - filled_s, 1)
            outcome.must(alarms.accepting is False, "ingest says that it accepts readings")
            outcome.figures["sent_when_all_held"] = _all_hold(street)
            time.sleep(asked.pick(20.0, 1.0))
            before, freed_s = street.acked_bytes(), time.monotonic()
            filler.unlink()
            street.wait_for_acks(PATIENCE_S, before)
            outcome.recovered(time.monotonic() - freed_s, asked.pick(*AGAIN_WITHIN_S))
            alarms.cleared(FULL, SAID_WITHIN_S)
            until(lambda: alarms.accepting is True, SAID_WITHIN_S, "ingest accepts readings again")
        alarms.close()
        end_of_load(outcome, stage, server, street)
    return outcome


def _on_small_disk(stage: Stage, mib: int) -> None:
    """Give `serve` a data folder that lies on a disk of its own: mounted in a namespace that a sleeper keeps."""
    as_made = stage.folder / "as-made"
    shutil.copytree(stage.data, as_made)
    unshare, nsenter = shutil.which("unshare"), shutil.which("nsenter")
    command = [unshare or "unshare", "-m", "sh", "-c", MOUNT, str(stage.data), f"{mib}m", str(as_made)]
    keeper = stage.child(command, stage.folder / "disk.log", {})
    stage.seen = Path(f"/proc/{keeper.pid}/root{stage.data}")
    until((stage.seen / "mounted").exists, 10.0, "the small disk is mounted")
    stage.prefix = [nsenter or "nsenter", "-t", str(keeper.pid), "-m", f"--wd={Path.cwd()}"]


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))


def _all_hold(street: Street) -> int:
    """Wait until no device sends anything new for some seconds; how many messages that was."""

    def sent() -> int:
        now = street.progress()
        return now.sent if now else 0

    last, since_s = sent(), time.monotonic()

    def holds() -> bool:
        nonlocal last, since_s
        if (now := sent()) != last:
            last, since_s = now, time.monotonic()
        return time.monotonic() - since_s > 3.0

    until(holds, HELD_WITHIN_S, "all devices hold their readings")
    return last
