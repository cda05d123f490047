"""Who may say and hear what: one suite over the embedded broker and mosquitto.

Mosquitto answers what it refuses as if it had been done, so the suite asks what arrives, not what was answered.
"""

from __future__ import annotations

import re
import socket

import pytest

from tests.brokers import DEVICES, WITNESS, Broker, Client, Nats, Refused, everyone, place, until, user

ROOT = "lunchong/v1"
ME, NEIGHBOUR, ELSEWHERE = (f"{ROOT}/{name}" for name in DEVICES)
GATEWAY = "jn-01/+"
MARK = "that was all"


def comes_through(broker: Broker, name: str, topics: list[str]) -> list[str]:
    """Which of `topics` anybody hears when this user publishes to them."""
    through = []
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe("#", 0)
        witness.subscribe("$MQTT/#", 0)
        for topic in topics:
            with Client(broker.url, name) as speaker:
                speaker.publish(topic)
            witness.publish("mark", MARK)
            until(lambda: witness.heard and witness.heard[-1].payload == MARK)
            through += [message.topic for message in witness.heard if message.payload != MARK]
            witness.heard.clear()
    return through


def hears(broker: Broker, name: str, topic_filter: str, topics: list[str], mark: str) -> list[str]:
    """Which of `topics` this user hears by `topic_filter`; on `mark`, which it may hear, comes the end."""
    with Client(broker.url, name) as listener, Client(broker.url, WITNESS) as witness:
        listener.subscribe(mark)
        listener.subscribe(topic_filter)
        for topic in topics:
            witness.publish(topic)
        witness.publish(mark, MARK)
        until(lambda: listener.disconnected.is_set() or (listener.heard and listener.heard[-1].payload == MARK))
        return [message.topic for message in listener.heard if message.payload != MARK]


FOREIGN_TO_SAY = [
    f"{NEIGHBOUR}/telemetry",
    f"{ELSEWHERE}/status",
    *(f"{ME}/{leaf}" for leaf in ("state", "session", "ack", "cmd", "turns", "token", "telemetry/more")),
    f"{ROOT}/service/ingest",
    f"{ROOT}/service/pile-1/telemetry",
    "other/topic",
]
FOREIGN_TO_HEAR = [
    *(f"{NEIGHBOUR}/{leaf}" for leaf in ("ack", "cmd", "turns", "telemetry", "status", "state")),
    *(f"{ME}/{leaf}" for leaf in ("telemetry", "status", "state", "session", "cmd/result", "token")),
    f"{ELSEWHERE}/turns",
    f"{ROOT}/service/api",
]


def test_a_device_says_its_telemetry_its_status_and_its_answers(shared_broker: Broker):
    own = [f"{ME}/telemetry", f"{ME}/status", f"{ME}/cmd/result"]
    assert comes_through(shared_broker, DEVICES[0], own) == own


def test_a_device_says_nothing_else(shared_broker: Broker):
    assert comes_through(shared_broker, DEVICES[0], [*FOREIGN_TO_SAY, "$MQTT/sub/anything", "$JS/API/INFO"]) == []


def test_the_probe_of_this_suite_sees_what_is_not_refused(shared_broker: Broker):
    assert comes_through(shared_broker, WITNESS, FOREIGN_TO_SAY) == FOREIGN_TO_SAY
    assert hears(shared_broker, WITNESS, f"{ROOT}/#", FOREIGN_TO_HEAR, "mark") == FOREIGN_TO_HEAR


@pytest.mark.parametrize("own", [f"{ME}/ack", f"{ME}/cmd", f"{ME}/turns", f"{ROOT}/service/ingest"])
def test_a_device_hears_its_acks_its_commands_its_turns_and_whether_ingest_is_there(shared_broker: Broker, own: str):
    mark = f"{ME}/ack" if own.endswith("turns") else f"{ME}/turns"
    assert hears(shared_broker, DEVICES[0], own, [*FOREIGN_TO_HEAR, own], mark) == [own]


@pytest.mark.parametrize(
    "topic_filter",
    [
        "#",
        "+/+/+/+/+",
        *(f"{ROOT}/{tail}" for tail in ("#", "+/+/telemetry", "+/+/ack", "jn-01/+/cmd", "jn-01/#", "service/+")),
        *(f"{NEIGHBOUR}/{leaf}" for leaf in ("ack", "cmd", "turns", "#")),
        *(f"{ME}/{leaf}" for leaf in ("telemetry", "state", "#", "+")),
        "$MQTT/sub/#",
        f"$share/all/{ROOT}/+/+/telemetry",
    ],
)
def test_a_device_hears_nothing_of_others_by_any_filter(shared_broker: Broker, topic_filter: str):
    assert hears(shared_broker, DEVICES[0], topic_filter, FOREIGN_TO_HEAR, f"{ROOT}/service/ingest") == []


def test_a_device_does_not_hear_what_is_kept_for_others(broker: Broker):
    with Client(broker.url, WITNESS) as witness:
        witness.publish(f"{NEIGHBOUR}/turns", retain=True)
        witness.publish(f"{NEIGHBOUR}/state", retain=True)
    for topic_filter in ("#", f"{ROOT}/jn-01/+/turns", f"{NEIGHBOUR}/turns", f"{NEIGHBOUR}/state"):
        assert hears(broker, DEVICES[0], topic_filter, [], f"{ME}/ack") == []


def test_a_foreign_will_is_not_published_and_the_own_one_is(broker: Broker):
    with Client(broker.url, WITNESS) as witness:
        witness.subscribe("#")
        for topic in (f"{NEIGHBOUR}/status", f"{ROOT}/service/ingest", f"{ME}/status"):
            try:
                with Client(broker.url, DEVICES[0], will=(topic, "gone")) as device:
                    device.vanish()
            except Refused:  # a broker may turn the whole connection away
                assert topic != f"{ME}/status"
        assert [(message.topic, message.payload) for message in until(lambda: witness.heard)] == [
            (f"{ME}/status", "gone")
        ]


def test_a_gateway_speaks_and_listens_for_each_device_of_its_site(shared_broker: Broker):
    assert comes_through(
        shared_broker, GATEWAY, [f"{ME}/telemetry", f"{NEIGHBOUR}/status", f"{ELSEWHERE}/telemetry"]
    ) == [
        f"{ME}/telemetry",
        f"{NEIGHBOUR}/status",
    ]
    said = [f"{ME}/cmd", f"{NEIGHBOUR}/cmd", f"{ELSEWHERE}/cmd"]
    assert hears(shared_broker, GATEWAY, f"{ROOT}/jn-01/+/cmd", said, f"{ROOT}/service/ingest") == said[:2]
    assert said[2] not in hears(shared_broker, GATEWAY, f"{ROOT}/+/+/cmd", said, f"{ROOT}/service/ingest")


def test_a_reader_hears_states_sessions_and_services_and_says_nothing(shared_broker: Broker):
    said = [f"{ME}/state", f"{ELSEWHERE}/session", f"{ROOT}/service/api", f"{ME}/telemetry", f"{ME}/turns", f"{ME}/ack"]
    heard = [
        topic
        for readable in ("+/+/state", "+/+/session", "service/+")
        for topic in hears(shared_broker, "board", f"{ROOT}/{readable}", said, f"{ROOT}/service/mark")
    ]
    assert heard == said[:3]
    for secret in ("telemetry", "token"):
        assert (
            hears(shared_broker, "board", f"{ROOT}/+/+/{secret}", [*said, f"{ME}/token"], f"{ROOT}/service/mark") == []
        )
    assert comes_through(shared_broker, "board", [*said, f"{ME}/status"]) == []


@pytest.mark.parametrize(
    ("service", "may"),
    [
        ("ingest", ["ack", "state", "session", "status", "turns", "token"]),
        ("api", ["cmd"]),
        ("scheduler", ["cmd", "turns"]),
    ],
)
def test_a_service_says_what_is_its_own_to_say(shared_broker: Broker, service: str, may: list[str]):
    leaves = ["ack", "state", "session", "status", "turns", "token", "telemetry", "cmd", "cmd/result"]
    own = [f"{ROOT}/service/{service}"]
    others = [f"{ROOT}/service/{name}" for name in ("ingest", "api", "scheduler") if name != service]
    said = comes_through(shared_broker, f"service/{service}", [*(f"{ME}/{leaf}" for leaf in leaves), *own, *others])
    assert sorted(said) == sorted([f"{ME}/{leaf}" for leaf in may] + own)


@pytest.mark.parametrize(
    ("service", "topic_filter"),
    [
        *(("ingest", leaf) for leaf in ("+/+/telemetry", "+/+/status", "+/+/cmd/result", "+/+/state", "+/+/turns")),
        *(("api", leaf) for leaf in ("+/+/state", "+/+/session", "+/+/cmd/result")),
        *(("scheduler", leaf) for leaf in ("+/+/state", "+/+/session", "+/+/cmd/result", "+/+/turns", "+/+/token")),
    ],
)
def test_a_service_hears_what_it_works_on(shared_broker: Broker, service: str, topic_filter: str):
    topic = f"{ROOT}/{topic_filter}".replace("+/+", DEVICES[2])
    assert hears(shared_broker, f"service/{service}", f"{ROOT}/{topic_filter}", [topic], f"{ROOT}/service/mark") == [
        topic
    ]


@pytest.mark.parametrize(
    ("name", "password"),
    [(DEVICES[0], "wrong"), (DEVICES[0], ""), (DEVICES[0], None), ("jn-01/stranger", "x"), ("", ""), ("jn-01/+", "x")],
)
def test_a_wrong_password_and_an_unknown_user_stay_outside(shared_broker: Broker, name: str, password: str | None):
    with (
        pytest.raises(Refused),
        Client(shared_broker.url, name, password=user(DEVICES[0]).bcrypt if password is None else password),
    ):
        pass


def test_a_reload_lets_a_new_device_in_and_disconnects_nobody(broker: Broker):
    new = "jn-01/pile-3"
    with Client(broker.url, DEVICES[0]) as stays, Client(broker.url, WITNESS) as witness:
        stays.subscribe(f"{ME}/ack")
        with pytest.raises(Refused), Client(broker.url, new):
            pass
        broker.load([*everyone(), user(new)], place(*DEVICES, new))
        until(lambda: lets_in(broker, new))
        witness.publish(f"{ME}/ack", "still here")
        assert stays.payloads(1) == ["still here"]
        assert not stays.disconnected.is_set()


def test_a_removed_device_is_disconnected_and_stays_outside(broker: Broker):
    with Client(broker.url, DEVICES[0]) as leaves, Client(broker.url, DEVICES[1]) as stays:
        broker.load([one for one in everyone() if one.username != DEVICES[0]], place(*DEVICES))
        until(leaves.disconnected.is_set)
        assert not stays.disconnected.is_set()
    assert not lets_in(broker, DEVICES[0])


def test_a_device_that_left_the_inventory_has_no_access(broker: Broker):
    broker.load(everyone(), place(*DEVICES[1:]))
    until(lambda: not lets_in(broker, DEVICES[0]))
    assert lets_in(broker, DEVICES[1])


def lets_in(broker: Broker, name: str) -> bool:
    try:
        with Client(broker.url, name):
            return True
    except Refused:
        return False


def test_a_session_does_not_pass_to_another_user_with_its_client_id(broker: Broker):
    readable = f"{ROOT}/+/+/state"
    with Client(broker.url, "board", client_id="the-board", keep_session=True) as reader:
        reader.subscribe(readable)
    with Client(broker.url, WITNESS) as witness:
        witness.publish(f"{NEIGHBOUR}/state", "while away")
        try:
            with Client(broker.url, DEVICES[0], client_id="the-board", keep_session=True) as thief:
                witness.publish(f"{NEIGHBOUR}/state", "while it listens")
                thief.subscribe(f"{ME}/ack")
                witness.publish(f"{ME}/ack", MARK)
                until(lambda: thief.disconnected.is_set() or MARK in [message.payload for message in thief.heard])
                assert [message.payload for message in thief.heard] == [MARK]
        except Refused:
            pass


def test_the_embedded_broker_counts_what_it_refuses(nats: Nats):
    refusals = nats.embedded.refusals
    with Client(nats.url, DEVICES[0]) as device:
        for topic in FOREIGN_TO_SAY:
            device.publish(topic)
        until(lambda: refusals() == len(FOREIGN_TO_SAY))
        assert device.subscribe(f"{NEIGHBOUR}/cmd") == 128
        until(lambda: refusals() == len(FOREIGN_TO_SAY) + 1)
    assert not lets_in(nats, "jn-01/stranger")
    until(lambda: refusals() == len(FOREIGN_TO_SAY) + 2)


def test_the_embedded_brokers_own_protocol_is_shut_to_our_users(nats: Nats):
    [line] = re.findall(r"client connections on ([\d.]+):(\d+)", nats.embedded.log_file.read_text())
    assert line[0] == "127.0.0.1"
    with socket.create_connection((line[0], int(line[1])), timeout=5) as native:
        native.recv(4096)
        login = f'{{"user":"{DEVICES[0]}","pass":"the secret of {DEVICES[0]}","verbose":true}}'
        native.sendall(f"CONNECT {login}\r\nSUB lunchong.> 1\r\nPING\r\n".encode())
        assert b"Authorization Violation" in native.recv(4096)
