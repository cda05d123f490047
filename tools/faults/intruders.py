"""Row 19: devices and readers that try what is not theirs, on either broker."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks.line import Line
from ingest.credentials import SERVICE_ACCESS
from ingest.topics import DEVICE_READS, DEVICE_WRITES, ROOT, device_topic
from simulators.device_line import DeviceLine
from tools.faults.count import counted
from tools.faults.outcome import Asked, Outcome, until
from tools.faults.programs import Server
from tools.faults.stage import Stage, place

MINE, NEIGHBOUR, FOREIGN = "site-0/pile-000", "site-0/pile-001", "site-1/pile-000"
LEAVES = (*DEVICE_WRITES, *DEVICE_READS, "state", "session")
WRONG_LOGINS = 5
FILTERS = (
    "#",
    f"{ROOT}/#",
    f"{ROOT}/+/+/telemetry",
    f"{ROOT}/+/+/ack",
    f"{ROOT}/+/+/state",
    f"{ROOT}/+/+/cmd",
    f"{ROOT}/site-0/+/ack",
    f"{ROOT}/{FOREIGN}/#",
    f"{ROOT}/{NEIGHBOUR}/turns",
    f"{ROOT}/service/+",
    "$SYS/#",
    "$MQTT/#",
    "+/+/+/+/+",
)


class User(NamedTuple):
    name: str
    password: str
    may_write: tuple[str, ...]
    may_read: tuple[str, ...]


def intruders(asked: Asked) -> Outcome:
    """Passed must be 0, and refusals are counted where the broker tells of them."""
    outcome = Outcome()
    inventory, mark = place(2, 4), f"intruder-{secrets.token_hex(6)}"
    with Stage(inventory, asked.on) as stage:
        board = stage.enrolments.enroll_reader("board")
        device = stage.enrolments.enroll_device(*MINE.split("/"))
        gateway = "site-0/+", stage.gateways["site-0/+"]
        logs = stage.mosquitto(tells_all=True).log if asked.on == "production" else None
        server = stage.serve()
        refused_before = _refusals(server, logs)
        street = stage.street(server, "--rate", "100", "--seed", str(asked.seed))
        street.wait_for_acks(60.0, 0)
        users = [
            User(*device, _topics(MINE, DEVICE_WRITES), (*_topics(MINE, DEVICE_READS), f"{ROOT}/service/ingest")),
            User(*gateway, (f"{ROOT}/site-0/",), (f"{ROOT}/site-0/", f"{ROOT}/service/ingest")),
            User(*board, (), (f"{ROOT}/",)),
        ]
        with _witnesses(stage, server, board) as witnesses:
            logins = _logins_that_passed(server.said.mqtt, device)
            tried = _publishes(server.said.mqtt, users, mark) + _wills(server.said.mqtt, users[0], mark)
            overheard = _overheard(server.said.mqtt, users[:2], asked.pick(5.0, 2.0))
            heard = _heard_until_control(server.said.mqtt, users[0], witnesses)
            passed = sum(mark.encode() in payload for payload in heard)
        refused = _refusals(server, logs) - refused_before
        figures = street.finish()
        server.finish()
        counted(outcome, stage, street, figures.resent)
        passed += _kept(stage, mark)
    outcome.must(passed == 0, f"{passed} foreign publishes or wills passed")
    outcome.must(logins == 0, f"{logins} wrong logins passed")
    outcome.must(overheard == 0, f"{overheard} messages reached who may not read them")
    outcome.must(refused > 0, "refusals are not counted")
    outcome.figures["tried"] = tried + WRONG_LOGINS + 2 * len(FILTERS)
    outcome.figures |= {"passed": passed + logins + overheard, "refused": refused}
    return outcome


def _logins_that_passed(mqtt: str, device: tuple[str, str]) -> int:
    name, password = device
    wrong = [(name, "wrong"), (name, ""), (FOREIGN, password), ("service/ingest", password), ("nobody", "nothing")]
    passed = 0
    for username, secret in wrong:
        with suppress(OSError):
            Line(mqtt, username, secret, secrets.token_hex(8)).close()
            passed += 1
    return passed


def _publishes(mqtt: str, users: list[User], mark: str) -> int:
    """Every topic that a user may not write, each by a line of its own; how many were tried."""
    names = (MINE, NEIGHBOUR, FOREIGN, "site-1/ghost")
    topics = [device_topic(name, leaf) for name in names for leaf in LEAVES]
    topics += [
        f"{ROOT}/service/ingest",
        f"{ROOT}/service/intruder",
        "elsewhere",
        "lunchong/v2/site-1/pile-000/telemetry",
    ]
    lines = []
    for user in users:
        for topic in topics:
            if not (user.may_write and topic.startswith(user.may_write) and topic.endswith(DEVICE_WRITES)):
                lines.append(Line(mqtt, user.name, user.password, secrets.token_hex(8)))
                lines[-1].publish((topic, _payload(mark)))
    for line in lines:
        with suppress(OSError):  # a broker may well hang up on who tries this
            line.listen(0.1)
        line.close()
    return len(lines)


def _heard_until_control(mqtt: str, user: User, witnesses: list[Line]) -> list[bytes]:
    """All that the witnesses heard, up to a message that may pass: were they deaf, nothing would ever seem to pass."""
    heard, control = list[bytes](), secrets.token_hex(8).encode()
    line = Line(mqtt, user.name, user.password, secrets.token_hex(8))
    line.publish((device_topic(user.name, "cmd/result"), b'{"v":1,"id":"%s","result":"accepted"}' % control))

    def heard_control() -> bool:
        heard.extend(payload for witness in witnesses for _, payload in witness.listen(0.02))
        return any(control in payload for payload in heard)

    until(heard_control, 20.0, "the witnesses hear what may pass")
    line.close()
    return heard


def _wills(mqtt: str, user: User, mark: str) -> int:
    """Wills on another's topics, then a line that breaks."""
    host, port = mqtt.removeprefix("mqtt://").split(":")
    for name in (NEIGHBOUR, FOREIGN):
        with socket.create_connection((host, int(port)), timeout=5) as line, suppress(OSError):
            hello = DeviceLine().connect(
                secrets.token_hex(8), user.name, user.password, will_topic=device_topic(name, "status"),
                will=_payload(mark), keepalive_s=60,
            )  # fmt: skip
            line.sendall(hello)
            line.recv(4)
    return 2


def _overheard(mqtt: str, users: list[User], for_s: float) -> int:
    """What is delivered, while the street speaks, to who asked for more than is theirs."""
    lines = []
    for user in users:
        for wanted in FILTERS:
            with suppress(OSError):
                line = Line(mqtt, user.name, user.password, secrets.token_hex(8))
                lines.append((user, line))
                line.subscribe(wanted)
    heard, end_s = 0, time.monotonic() + for_s
    while time.monotonic() < end_s:
        for user, line in lines:
            with suppress(OSError):
                heard += sum(not topic.startswith(user.may_read) for topic, _ in line.listen(0))
        time.sleep(0.05)
    for _, line in lines:
        line.close()
    return heard


@contextmanager
def _witnesses(stage: Stage, server: Server, board: tuple[str, str]) -> Iterator[list[Line]]:
    """Lines that hear, between them, every topic that an intruder writes to."""
    ingest = stage.enrolments.service("ingest")
    lines = []
    for user, filters in (
        ((ingest.username, ingest.password), [f"{ROOT}/{topic}" for topic in SERVICE_ACCESS["ingest"].subscribe]),
        (board, [f"{ROOT}/+/+/state", f"{ROOT}/+/+/session", f"{ROOT}/service/+"]),
        *(
            ((name, password), [device_topic(name, leaf) for leaf in DEVICE_READS])
            for name, password in stage.gateways.items()
        ),
    ):
        line = Line(server.said.mqtt, *user, secrets.token_hex(8))
        for wanted in filters:
            line.subscribe(wanted)
        lines.append(line)
    yield lines
    for line in lines:
        line.close()


def _kept(stage: Stage, mark: str) -> int:
    """Traces of the intruder in the store."""
    with stage.opened() as store:
        rows = sum(rows for _, _, boot, _, _, rows in store.stored() if boot == mark)
        return rows + sum(mark.encode() in letter.payload for letter in store.dead_letters(limit=10_000))


def _refusals(server: Server, mosquitto_log: Path | None) -> int:
    if mosquitto_log is None:
        return server.health().refusals or 0
    log = mosquitto_log.read_text(encoding="utf-8", errors="replace")
    return log.count("Denied PUBLISH") + log.count("not authorised")


def _topics(name: str, leaves: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(device_topic(name, leaf) for leaf in leaves)


def _payload(mark: str) -> bytes:
    said = {"v": 1, "boot": mark, "seq": 1, "ts": "2026-11-22T04:05:06.250Z", "online": True, "interval_s": 60}
    meter = {"kind": "meter", "connector": 1, "power_kw": 1, "energy_kwh": 1, "current_a": 1, "voltage_v": 220}
    return json.dumps(said | meter).encode()
