"""A PUBACK and an `ack` leave only after the commit of what they acknowledge is synced: shown by the system calls."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from ingest.clock import rfc3339
from ingest.inventory import dump
from ingest.tied import tied
from lunchong.live_clock import wall_ms
from tests.brokers import Client, Nats, password_of, until
from tests.ingesting import INVENTORY, PILE

ROOT = Path(__file__).parents[2]
CALLS = "recvfrom,sendto,pwrite64,fdatasync,fsync"
TOPIC = f"lunchong/v1/{PILE.name}/telemetry"
MESSAGES = 5
SPOOL, MARK = "spool.db-wal", "spool.mark"
SAFE = [("write", SPOOL), ("sync", SPOOL), ("write", MARK), ("sync", MARK)]
"""What must have happened, in this order, between a message's receipt and the word that it is safe."""

FORGETFUL_SPOOL = """
import os
from ingest import spool
connect = spool._connect
def careless(path):
    db = connect(path)
    db.execute("PRAGMA synchronous = OFF")
    return db
spool._connect = careless
"""
FORGETFUL_MARK = """
import os
os.fdatasync = lambda file: None
"""
HASTY = """
import time
from ingest.worker import IngestWorker
commit = IngestWorker._commit
def hasty(worker, received):
    worker._bus.acknowledge(received)
    time.sleep(0.05)
    return commit(worker, received)
IngestWorker._commit = hasty
"""
MAIN = "\nfrom benchmarks.worker import main\nmain()"


class Call(NamedTuple):
    what: str
    where: str
    data: bytes


@pytest.fixture(autouse=True)
def may_trace() -> None:
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is missing (tools/system-packages test), or may not trace here")


@contextmanager
def traced(nats: Nats, folder: Path, tampered: str) -> Iterator[None]:
    """Ingest in a process of its own, its system calls noted in `folder/trace`; ended when the block is left."""
    (folder / "inventory.toml").write_text(dump(INVENTORY), encoding="utf-8")
    login = ("service/ingest", password_of("service/ingest"), f"ingest-{uuid.uuid4().hex}")
    command = [sys.executable, "-c", tampered + MAIN, str(folder), "--mqtt", nats.url, "--login", json.dumps(login)]
    strace = [
        shutil.which("strace") or "",
        "-f",
        "-y",
        "-xx",
        "-s",
        "100000",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(folder / "trace"),
    ]
    with subprocess.Popen(
        tied([*strace, *command]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        yield
        process.stdin.close()


def calls(trace: Path) -> Iterator[Call]:
    """In the order in which they ended; what is sent or written, in the order in which that began."""
    under_way: dict[str, Call] = {}
    for line in trace.read_text(encoding="ascii").splitlines():
        pid, _, said = line.partition(" ")
        said = said.strip()
        if said.startswith("<... "):
            call = under_way.pop(pid, None)
            if call is not None and call.what == "receive":
                call = call._replace(data=_data(said))
            if call is not None:
                yield call
            continue
        found = re.match(r"(\w+)\(\d+<(.*?)>[,) ]", said)
        if found is None:
            continue
        what = {"recvfrom": "receive", "sendto": "send", "pwrite64": "write"}.get(found[1], "sync")
        call = Call(what, _bytes(found[2]).decode().rpartition("/")[2], _data(said))
        if "<unfinished" in said and what in ("sync", "receive"):
            under_way[pid] = call
        else:
            yield call


def _data(said: str) -> bytes:
    text = re.search(r'"((?:\\x[0-9a-f]{2})*)"', said)
    return _bytes(text[1]) if text else b""


def _bytes(hexed: str) -> bytes:
    return bytes.fromhex(hexed.replace("\\x", ""))


def unsafe(trace: Path) -> list[str]:
    """Words that a message is safe which left before it was."""
    found, seq, done = [], 0, list[tuple[str, str]]()
    told: set[str] = set()
    for call in calls(trace):
        if call.what == "receive" and (heard := re.findall(rb'"seq": (\d+)', call.data)):
            seq, done, told = int(heard[-1]), [], set()
        elif len(done) < len(SAFE) and (call.what, call.where) == SAFE[len(done)]:
            done.append((call.what, call.where))
        elif call.what == "send" and seq:
            puback = b"\x40\x02" in call.data and "PUBACK" not in told
            ack = f"[[1,{seq}]]".encode() in call.data
            for name in [name for name, is_it in (("PUBACK", puback), ("ack", ack)) if is_it]:
                told.add(name)
                if len(done) < len(SAFE):
                    found.append(f"{name} of {seq} after {done}")
    return found


def acked(device: Client, seq: int) -> bool:
    return any(f"[1,{seq}]" in heard.payload for heard in device.heard)


@pytest.mark.parametrize(
    ("tampered", "holds"),
    [("", True), (FORGETFUL_SPOOL, False), (FORGETFUL_MARK, False), (HASTY, False)],
    ids=["as it is", "a spool that does not sync", "a mark that is not synced", "an answer before the commit"],
)
def test_every_puback_and_ack_follows_the_sync_of_its_batch(nats: Nats, tmp_path: Path, tampered: str, holds: bool):
    with traced(nats, tmp_path, tampered), Client(nats.url, "jn-01/+") as device:
        device.subscribe("lunchong/v1/service/ingest")
        until(lambda: any('"online":true' in heard.payload for heard in device.heard), 60)  # it listens from now on
        device.subscribe(f"lunchong/v1/{PILE.name}/ack")
        for seq in range(1, MESSAGES + 1):
            message = (
                f'{{"v": 1, "boot": "boot-a", "seq": {seq}, "ts": "{rfc3339(wall_ms())}", "kind": "connector",'
                f' "connector": 1, "state": "available"}}'
            )
            device.publish(TOPIC, message)
            until(partial(acked, device, seq), 60)
    heard = [call for call in calls(tmp_path / "trace") if call.what == "receive" and b'"seq": ' in call.data]
    assert len(heard) >= MESSAGES
    assert (unsafe(tmp_path / "trace") == []) is holds
