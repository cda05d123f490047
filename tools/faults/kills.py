"""Rows 1, 2, 3 and 12: processes that are killed, and one that is stopped for a while."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.line import Line
from lunchong.turns_side import open_ledger
from scheduler.ledger import Ledger
from scheduler.turns import HOLDING, Turn
from simulators.scenarios.neighbourhood import neighbourhood
from tools.faults.count import counted
from tools.faults.load import PATIENCE_S, end_of_load, loaded, place_for
from tools.faults.outcome import Asked, NotInTime, Outcome, until
from tools.faults.programs import Server, Street, children_of
from tools.faults.stage import Stage

ACKS_AGAIN_S = (5.0, 20.0)
STATES_AGAIN_S = (10.0, 20.0)
"""What the matrix allows; then what the short form does, which shares its machine with other tests."""
CHILDREN_END_S = 1.0


def ingest_killed(asked: Asked) -> Outcome:
    """kill -9 of ingest while messages flow: again and again on one data folder."""
    outcome, rng = Outcome(), asked.rng
    with Stage(place_for(asked), asked.on) as stage:
        stage.own_broker()
        server = stage.ingest()
        street = loaded(stage, server, asked, 2_000, 200)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            time.sleep(rng.uniform(0.5, asked.pick(4.0, 1.0)))
            server.kill()
            time.sleep(0.2)  # what was on its way arrives
            before = street.acked_bytes()
            server = stage.ingest()
            street.wait_for_acks(PATIENCE_S, before)
            outcome.recovered(time.monotonic() - server.began_s, asked.pick(*ACKS_AGAIN_S))
        end_of_load(outcome, stage, server, street)
    outcome.figures["kills"] = asked.times
    return outcome


def broker_killed(asked: Asked) -> Outcome:
    """kill -9 of the broker right after its PUBACKs; what it had on disk is thrown away, as after a power cut."""
    outcome, rng = Outcome(), asked.rng
    with Stage(place_for(asked), asked.on) as stage:
        board = stage.enrolments.enroll_reader("board")
        server = stage.serve()
        street = loaded(stage, server, asked, 2_000, 200)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            known = _states(server.said.mqtt, board, asked.pick(5.0, 2.0))
            time.sleep(rng.uniform(0.2, 1.0))
            before, killed_s = street.acked_bytes(), time.monotonic()
            _kill_broker(stage, server)
            again = _states_again(server.said.mqtt, board, known, killed_s)
            outcome.recovered(again, asked.pick(*STATES_AGAIN_S))
            outcome.figures["states"] = len(known)
            street.wait_for_acks(PATIENCE_S, before)
        end_of_load(outcome, stage, server, street)
    return outcome


def _kill_broker(stage: Stage, server: Server) -> None:
    if stage.on == "production":
        stage.mosquitto().kill()
        stage.mosquitto().start()
        return
    [broker] = children_of(server.pid)
    memory = stage.data / "broker" / "store"
    memory.rename(memory.with_name(f"gone-{broker}"))
    os.kill(broker, signal.SIGKILL)


def all_in_one_killed(asked: Asked) -> Outcome:
    """kill -9 of the all-in-one under the demo's load, then of the demo itself, which always has its own broker."""
    outcome, rng = Outcome(), asked.rng
    piles, stations = (10, 2) if asked.short else (120, 10)
    with Stage(neighbourhood(piles=piles, stations=stations, seed=asked.seed), asked.on) as stage:
        speed = ("--speed", "60")
        server = stage.serve(*speed)
        stage.settings["LUNCHONG_MQTT_LISTEN"] = server.said.mqtt.removeprefix("mqtt://")  # where the street looks
        street = stage.street(server, "--seed", str(asked.seed))
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            time.sleep(rng.uniform(1.0, asked.pick(8.0, 2.0)))
            children = children_of(server.pid)
            server.kill()
            if asked.on == "embedded":
                outcome.must(bool(children), "there were no children")
                _children_are_gone(outcome, children, server.said.mqtt, server.said.http)
            else:
                outcome.must(not children, "there were children")
                _children_are_gone(outcome, children, server.said.http)
            before = street.acked_bytes()
            server = stage.serve(*speed)
            street.wait_for_acks(PATIENCE_S, before)
            outcome.recovered(time.monotonic() - server.began_s, PATIENCE_S)
        end_of_load(outcome, stage, server, street)
    street_of_demo = neighbourhood(piles=piles, stations=stations, seed=asked.seed)
    with Stage(street_of_demo, asked.on, brings_broker=True) as stage:
        _demo_killed(outcome, stage, asked.pick(15.0, 4.0))
    return outcome


def ingest_stopped(asked: Asked) -> Outcome:
    """SIGSTOP of ingest for a minute, then SIGCONT."""
    outcome, stopped_s = Outcome(), asked.pick(60.0, 4.0)
    with Stage(place_for(asked), asked.on) as stage:
        stage.own_broker()
        server = stage.ingest()
        street = loaded(stage, server, asked, 1_000, 200)
        for _ in range(asked.times):
            street.wait_for_acks(PATIENCE_S)
            time.sleep(1.0)
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(stopped_s)
            before = street.acked_bytes()
            os.kill(server.pid, signal.SIGCONT)
            outcome.recovered(street.wait_for_acks(PATIENCE_S, before), 30.0)
        time.sleep(asked.pick(10.0, 1.0))
        end_of_load(outcome, stage, server, street)
    outcome.figures["stopped_s"] = stopped_s
    return outcome


def _states(url: str, board: tuple[str, str], for_s: float) -> set[str]:
    """Topics of the states that a reader who comes now is given within so long."""
    line = Line(url, *board, f"board-{time.monotonic_ns()}")
    try:
        line.subscribe("lunchong/v1/+/+/state")
        found: set[str] = set()
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            found |= {topic for topic, payload in line.listen(0.05) if payload}
        return found
    finally:
        line.close()


def _states_again(url: str, board: tuple[str, str], known: set[str], killed_s: float) -> float:
    """How long after the kill a new reader had been given every state again."""
    found: set[str] = set()
    while not known <= found:
        if time.monotonic() - killed_s > PATIENCE_S:
            raise NotInTime(f"{len(known - found)} of {len(known)} states did not come back")
        with suppress(OSError, ConnectionError):
            found |= _states(url, board, 0.2)
    return time.monotonic() - killed_s


def _children_are_gone(outcome: Outcome, children: list[int], *urls: str) -> None:
    began_s = time.monotonic()
    try:
        until(lambda: not any(_runs(pid) for pid in children), CHILDREN_END_S, "the children end")
        until(lambda: all(_free(url) for url in urls), CHILDREN_END_S, "their ports are free")
    except NotInTime as late:
        outcome.missed.append(str(late))
    outcome.figures["children_ended_s"] = round(time.monotonic() - began_s, 2)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _free(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_server((address.hostname or "", address.port or 0)).close()
    except OSError:
        return False
    return True


def _demo_killed(outcome: Outcome, stage: Stage, after_s: float) -> None:
    """The demo with its own street; then `serve` on its folder empties the spool, and the street's file is compared."""
    if stage.on == "production":
        stage.influxd()
    piles = sum(device.kind == "pile" for device in stage.inventory.devices.values())
    command = [sys.executable, "-m", "lunchong", "demo", "--data", str(stage.data), "--json", "--piles", str(piles)]
    command += ["--stations", str(len(stage.inventory.devices) - piles), "--speed", "600"]
    demo = stage.child(command, stage.folder / "demo.log", stage.settings)
    street = _StreetOfDemo(stage)
    street.wait_for_acks(PATIENCE_S, 0)
    time.sleep(after_s)
    ready = json.loads((stage.data / "ready.json").read_bytes())
    children = children_of(demo.pid)
    demo.kill()
    demo.wait()
    _children_are_gone(outcome, children, ready["mqtt"], ready["http"])
    with closing(open_ledger(f"sqlite:///{stage.data / 'ledger.db'}")) as ledger:
        promised = ledger.turns(states=HOLDING)
        server = stage.serve()
        server.finish()
        _as_promised(outcome, ledger, promised)
    counted(outcome, stage, street)


def _as_promised(outcome: Outcome, ledger: Ledger, promised: list[Turn]) -> None:
    """Each turn that held a place does so still, or went on from there; and the books follow from the turns."""
    now = {turn.id: turn for turn in ledger.turns()}
    forgotten = [
        turn for turn in promised if turn.id not in now or (now[turn.id] != turn and now[turn.id].rev <= turn.rev)
    ]
    outcome.figures |= {"turns_held": len(promised), "turns_forgotten": len(forgotten)}
    outcome.must(not forgotten, f"{len(forgotten)} turns are not as they were promised")
    outcome.must(not ledger.imbalance(), "the ledger's books do not follow from its turns")


class _StreetOfDemo(Street):
    def __init__(self, stage: Stage) -> None:
        self.acked, self.sent, self.dropped = (
            stage.data / f"street-{name}.csv" for name in ("acked", "no-sent", "no-dropped")
        )
