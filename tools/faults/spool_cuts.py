"""Row 10: the spool's write-ahead log, cut off after its last synced commit, then before it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import msgspec

from lunchong.tally import read_ranges, tally
from tools.faults.load import PATIENCE_S
from tools.faults.outcome import Asked, Outcome
from tools.faults.programs import Street
from tools.faults.stage import Stage, place

HEADER, FRAME_HEADER = 32, 24
DAMAGED = "spool_damaged"


class Mark(msgspec.Struct):
    """`spool.mark`: the newest commit that was synced."""

    spool: str
    no: int


class Log:
    """A SQLite write-ahead log, by its frames: https://www.sqlite.org/fileformat2.html#walformat."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = path.read_bytes()
        page, self.salts = struct.unpack(">I", self.bytes[8:12])[0], self.bytes[16:24]
        self.frame = FRAME_HEADER + page

    def end_of_last_commit(self) -> int:
        """Where the newest whole transaction ends; frames of an older round of the log follow it."""
        end = HEADER
        for at in range(HEADER, len(self.bytes) - self.frame + 1, self.frame):
            pages_after_commit, salts = struct.unpack(">I8s", self.bytes[at + 4 : at + 16])
            if salts != self.salts:
                break
            if pages_after_commit:
                end = at + self.frame
        return end


def spool_cut(asked: Asked) -> Outcome:
    """One load, killed; then the same folder again and again, each time with another cut, and a restart."""
    outcome, rng = Outcome(), asked.rng
    inventory = place(2, 10)
    with Stage(inventory, asked.on) as stage:
        stage.own_broker()
        server = stage.serve()
        street = stage.street(server, "--rate", f"{asked.pick(1_000, 200):g}", "--seed", str(asked.seed))
        street.wait_for_acks(PATIENCE_S, 0)
        time.sleep(asked.pick(10.0, 3.0))
        server.kill()
        time.sleep(1.0)  # what it was told before arrives
        outcome.must(street.process.poll() is None, "the street ended by itself")
        street.process.kill()  # in order, it would wait for acks that nobody gives
        street.process.wait()
        whole = stage.folder / "whole"
        stage.keep_as(whole)
        log = Log(whole / "data" / "spool.db-wal")
        end = log.end_of_last_commit()
        cuts = int(asked.pick(8, 1))
        after = [rng.randint(end, len(log.bytes)) for _ in range(cuts)]
        before = [rng.randrange(HEADER + log.frame, end) for _ in range(cuts)]
        for at in after:
            torn = rng.randbytes(rng.randrange(1, log.frame))  # a write that the power cut short
            _restart(stage, whole, log.bytes[:at] + torn)
            outcome.must(DAMAGED not in _conditions(stage), f"cut at {at}, after the last commit: damage is reported")
            lost, duplicates = _compared(stage, street)
            outcome.count(lost, duplicates)
        found = gone = 0
        for at in before:
            _restart(stage, whole, log.bytes[:at])
            missing, alarm = _missing_batches(stage), _conditions(stage).get(DAMAGED, "")
            lost, duplicates = _compared(stage, street)
            outcome.count(0, duplicates)
            outcome.must(
                bool(alarm) == bool(missing), f"cut at {at}: {missing} batches are gone, the alarm says {alarm!r}"
            )
            outcome.must(_says(alarm) == missing, f"cut at {at}: {missing} batches are gone, the alarm says {alarm!r}")
            outcome.must(lost == 0 or bool(alarm), f"cut at {at}: {lost} messages are lost and nobody says so")
            found, gone = found + bool(alarm), gone + lost
    outcome.figures |= {"cuts_after": after, "last_commit_ends": end, "cuts_before": before, "damage_found": found}
    outcome.figures["gone_with_the_damage"] = gone
    outcome.must(found > 0, "no cut took a commit away")
    return outcome


def _restart(stage: Stage, whole: Path, log: bytes) -> None:
    """The folder as it was when ingest was killed, with this log instead."""
    stage.put_back(whole)
    (stage.data / "spool.db-shm").unlink(missing_ok=True)
    (stage.data / "spool.db-wal").write_bytes(log)


def _conditions(stage: Stage) -> dict[str, str]:
    """Start, ask what holds, drain and stop."""
    server = stage.serve()
    try:
        return server.conditions()
    finally:
        server.finish()


def _compared(stage: Stage, street: Street) -> tuple[int, int]:
    """What was acknowledged and is not stored, what is stored twice. What was never acknowledged may be either."""
    acked = read_ranges(street.acked)
    with stage.opened() as store:
        found = tally(store, sent={}, acked=acked, dropped={}, resent=0, since_ms=0, alerts=0)
    return found.lost, found.duplicates


def _missing_batches(stage: Stage) -> int:
    """How many committed batches the log no longer holds: by the mark beside it, and by SQLite on a copy."""
    copy = stage.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("spool.db", "spool.db-wal"):
        shutil.copy(stage.data / name, copy / name)
    with closing(sqlite3.connect(copy / "spool.db")) as db:
        try:
            [(last_no,)] = db.execute("SELECT value FROM meta WHERE key = 'last_no'").fetchall()
        except (sqlite3.OperationalError, ValueError):
            last_no = 0
    mark = msgspec.msgpack.decode((stage.data / "spool.mark").read_bytes().rstrip(b"\n"), type=Mark)
    return max(0, mark.no - int(last_no))


def _says(alarm: str) -> int:
    found = re.search(r"batches (\d+) to (\d+) were gone", alarm)
    return int(found[2]) - int(found[1]) + 1 if found else 0
