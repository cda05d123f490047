"""Simulated devices over real brokers: each on its own line, nothing lost whatever happens to it."""

from __future__ import annotations

import json
import subprocess
import time
from random import Random

import pytest

from ingest.broker import EmbeddedBroker
from ingest.credentials import nats_config
from simulators.device import NoLossDevice
from simulators.kept import Acked
from simulators.publish import Credential, Crowd
from tests.brokers import DEVICES, WITNESS, Client, password_of, place, until, user
from tests.line import Line

PILE = "jn-01/pile-1"
METER = {"kind": "meter", "connector": 1, "power_kw": 0, "energy_kwh": 7, "current_a": 0, "voltage_v": 230}
NOON_MS = 1_763_784_300_000
ONLINE = '{"v":1,"online":true,"accepting":true,"since":"2026-11-22T04:00:00.000Z"}'


class Devices:
    """A crowd with an owner that notes what it is told."""

    def __init__(self, url: str, names=DEVICES, *, as_gateway=False, password=None, ca_file=None) -> None:
        self.later_s = 0.0
        self.acked: list[Acked] = []
        self.said: list[tuple[str, str, bytes]] = []
        self.notices: list[bytes] = []
        self.all = {name: NoLossDevice(name, f"boot-of-{name[-1]}", interval_s=60, rng=Random(1)) for name in names}
        self.crowd = Crowd(
            [(device, self._who(name, url, as_gateway, password)) for name, device in self.all.items()],
            self,
            rng=Random(),
            mono_s=lambda: time.monotonic() + self.later_s,
            stamp_ms=lambda _: NOON_MS,
            ca_file=ca_file,
        )
        self.crowd.speaking = True

    @staticmethod
    def _who(name: str, url: str, as_gateway: bool, password: str | None) -> Credential:
        user = f"{name.split('/', maxsplit=1)[0]}/+" if as_gateway else name
        return Credential(user, password or password_of(user), url)

    def on_notice(self, payload):
        self.notices.append(payload)

    def on_connected(self, device):
        pass

    def on_acked(self, device, acked):
        self.acked += acked

    def on_said(self, device, leaf, payload):
        self.said.append((device.name, leaf, payload))

    def to_publish(self, device, payloads):
        return payloads

    def say(self, name: str = PILE, count: int = 1) -> None:
        for _ in range(count):
            self.all[name].say(METER, NOON_MS)
        self.crowd.touch(name)

    def until(self, condition, within_s: float = 8.0):
        def stepped():
            self.crowd.step(0.005)
            return condition()

        return until(stepped, within_s)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.crowd.close()


class Service:
    """Plays ingest: hears everything, acknowledges what it is told to."""

    def __init__(self, url: str) -> None:
        self.client = Client(url, "service/ingest")
        self.witness = Client(url, WITNESS)

    def __enter__(self):
        self.client.__enter__()
        self.witness.__enter__()
        self.witness.subscribe("lunchong/v1/#", 0)
        return self

    def __exit__(self, *error):
        self.client.__exit__(*error)
        self.witness.__exit__(*error)

    def heard(self, leaf: str, name: str = PILE) -> list[dict]:
        topic = f"lunchong/v1/{name}/{leaf}"
        return [json.loads(m.payload) for m in list(self.witness.heard) if m.topic == topic and m.payload]

    def acknowledge(self, lo: int, hi: int, name: str = PILE) -> None:
        ack = {"v": 1, "boot": f"boot-of-{name[-1]}", "ranges": [[lo, hi]]}
        self.client.publish(f"lunchong/v1/{name}/ack", json.dumps(ack), 0)


def seqs(messages: list[dict]) -> list[int]:
    return [message["seq"] for message in messages]


def test_each_device_says_its_status_and_telemetry_and_hears_its_acks(shared_broker):
    with Service(shared_broker.url) as service, Devices(shared_broker.url) as devices:
        devices.say(count=3)
        devices.until(lambda: seqs(service.heard("telemetry")) == [1, 2, 3])
        [status] = [s for s in service.heard("status") if s["online"]][-1:]
        assert (status["boot"], status["interval_s"]) == ("boot-of-1", 60)
        service.acknowledge(1, 2)
        devices.until(lambda: devices.acked == [Acked("boot-of-1", 1, 2)])
        assert devices.all[PILE].kept == 1


def test_a_gateway_speaks_for_every_device_of_its_site(shared_broker):
    names = ("jn-01/pile-1", "jn-01/pile-2")
    with Service(shared_broker.url) as service, Devices(shared_broker.url, names, as_gateway=True) as devices:
        for name in names:
            devices.say(name)
        devices.until(lambda: all(service.heard("telemetry", name) for name in names))


def test_a_device_that_vanishes_is_said_to_be_offline_and_comes_back(shared_broker):
    with Service(shared_broker.url) as service, Devices(shared_broker.url, [PILE]) as devices:
        devices.until(lambda: service.heard("status"))
        devices.crowd.hang_up(PILE, 0.0)
        devices.until(lambda: [s["online"] for s in service.heard("status")][-2:] == [False, True])


def test_commands_and_turns_reach_their_device(shared_broker):
    with Devices(shared_broker.url) as devices:
        devices.until(lambda: devices.crowd.connected == len(DEVICES))
        with Client(shared_broker.url, "service/scheduler") as scheduler:
            scheduler.publish(f"lunchong/v1/{PILE}/cmd", "order", 1)
            scheduler.publish(f"lunchong/v1/{PILE}/turns", "turns", 1)
        devices.until(lambda: len(devices.said) == 2)
        assert {(name, leaf) for name, leaf, _ in devices.said} == {(PILE, "cmd"), (PILE, "turns")}


def test_a_wrong_password_is_said_and_tried_again_only_after_a_while(shared_broker):
    with Devices(shared_broker.url, [PILE], password="wrong") as devices:
        devices.until(lambda: devices.crowd.troubles)
        assert devices.crowd.connected == 0


def test_no_broker_at_all_is_said():
    with Devices("mqtt://127.0.0.1:1", [PILE]) as devices:
        devices.until(lambda: any("refused" in trouble for trouble in devices.crowd.troubles))


def test_a_line_on_which_nothing_comes_any_more_is_made_anew(shared_broker):
    line = Line(shared_broker.url)
    with Service(shared_broker.url) as service, Devices(line.url, [PILE]) as devices:
        devices.say()
        devices.until(lambda: devices.all[PILE].in_flight and service.heard("telemetry"))
        line.go_silent()
        devices.later_s += 20
        devices.until(lambda: devices.all[PILE].counters.resent == 1)
        devices.later_s += 50  # longer than the keep-alive by itself: something may have been heard after the first
        devices.until(lambda: devices.crowd.troubles == ["the broker fell silent"])
        line.speak_again()
        devices.until(lambda: len(service.heard("telemetry")) > 1)
    line.close()


def test_telemetry_is_held_while_ingest_is_offline(broker):
    with Service(broker.url) as service, Devices(broker.url, [PILE]) as devices:
        service.client.publish("lunchong/v1/service/ingest", '{"v":1,"online":false}', 1, retain=True)
        devices.until(lambda: devices.notices)
        devices.say()
        devices.until(lambda: service.heard("status"))
        assert service.heard("telemetry") == []
        service.client.publish("lunchong/v1/service/ingest", ONLINE, 1, retain=True)
        devices.until(lambda: seqs(service.heard("telemetry")) == [1])


def test_what_a_killed_broker_had_taken_is_sent_again(broker):
    with Devices(broker.url, [PILE]) as devices:
        with Service(broker.url) as service:
            devices.say(count=2)
            devices.until(lambda: seqs(service.heard("telemetry")) == [1, 2])
        broker.kill()
        with Service(broker.url) as service:
            devices.until(lambda: set(seqs(service.heard("telemetry"))) == {1, 2}, within_s=20)
            service.acknowledge(1, 2)
            devices.until(lambda: devices.all[PILE].kept == 0)


def test_a_backlog_larger_than_a_window_arrives_whole_and_in_order(shared_broker):
    count = 2_500
    with Service(shared_broker.url) as service, Devices(shared_broker.url, [PILE]) as devices:
        service.client.publish("lunchong/v1/service/ingest", "", 1, retain=True)
        devices.say(count=count)

        def acknowledge_what_came():
            came = seqs(service.heard("telemetry"))
            if came and (not devices.acked or devices.acked[-1].hi < came[-1]):
                service.acknowledge(1, came[-1])
            return devices.all[PILE].kept == 0

        devices.until(acknowledge_what_came, within_s=20)
        assert seqs(service.heard("telemetry")) == list(range(1, count + 1))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) for localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days"]
    made += ["2", "-keyout", str(folder / "key"), "-out", str(folder / "cert"), "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is missing: apt-get install openssl")
    return folder / "cert", folder / "key"


def test_with_tls_the_broker_must_be_who_it_says(tmp_path, certificate):
    broker = EmbeddedBroker(tmp_path, ("127.0.0.1", 0), tls=certificate)
    users, files = [user(PILE)], {"store_dir": broker.store_dir, "log_file": broker.log_file}
    broker.start(nats_config(users, place(PILE), listen=broker.listen, tls=certificate, **files))
    try:
        url = broker.url.replace("127.0.0.1", "localhost")
        with Devices(url, [PILE], ca_file=certificate[0]) as devices:
            devices.all[PILE].say({**METER, "note": "x" * 100_000}, NOON_MS)
            devices.until(lambda: devices.crowd.connected and devices.all[PILE].in_flight)
        with Devices(url, [PILE]) as devices:
            devices.until(lambda: any("certificate" in trouble.lower() for trouble in devices.crowd.troubles))
    finally:
        broker.stop()
