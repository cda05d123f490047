"""The embedded broker as a process: where it listens, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.broker import BrokerError, EmbeddedBroker, PortInUse
from ingest.credentials import nats_config
from ingest.mqtt import Bus
from tests.brokers import DEVICES, Client, Nats, Refused, everyone, password_of, place, until

ANYWHERE = ("127.0.0.1", 0)


def config(broker: EmbeddedBroker) -> str:
    return nats_config(
        everyone(),
        place(*DEVICES),
        listen=broker.listen,
        store_dir=broker.store_dir,
        log_file=broker.log_file,
        tls=broker.tls,
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def has_ended(pid: int) -> bool:
    """Gone, or dead and not yet collected by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_port_in_use_is_one_clear_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        broker = EmbeddedBroker(tmp_path, ("127.0.0.1", port))
        with pytest.raises(PortInUse, match=rf"^port {port} on 127\.0\.0\.1 is in use[^\n]*MQTT_LISTEN$"):
            broker.start(config(broker))
    assert not broker.alive()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "example.org"])
def test_beyond_loopback_it_needs_tls(tmp_path: Path, host: str):
    with pytest.raises(BrokerError, match=rf"^the broker may not listen on {re.escape(host)} without TLS[^\n]*$"):
        EmbeddedBroker(tmp_path, (host, 1883))


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path, ("192.0.2.7", 18_830), tls=(tmp_path / "cert", tmp_path / "key"))
    with pytest.raises(BrokerError, match=r"^the broker cannot listen on 192\.0\.2\.7:18830: [^\n]+$"):
        broker.start(config(broker))


def test_a_configuration_that_it_refuses_is_one_clear_line_at_start(tmp_path: Path):
    broker = EmbeddedBroker(tmp_path, ANYWHERE)
    with pytest.raises(BrokerError, match=r"^the broker did not start: [^\n]+$"):
        broker.start("mqtt {")
    assert not broker.alive()


def test_a_configuration_that_it_refuses_later_leaves_all_as_it_was(nats: Nats):
    with Client(nats.url, DEVICES[0]) as device:
        with pytest.raises(BrokerError, match=r"^the broker refused its new configuration: [^\n]+$"):
            nats.embedded.reload("mqtt {")
        assert not device.disconnected.is_set()
    nats.kill()
    with Client(nats.url, DEVICES[0]):
        pass


def test_a_configuration_that_comes_while_it_is_down_holds_when_it_is_back(nats: Nats):
    before = nats.embedded.pid
    assert before
    os.kill(before, signal.SIGKILL)
    until(lambda: not nats.embedded.alive())
    nats.load([one for one in everyone() if one.username != DEVICES[0]], place(*DEVICES))
    until(lambda: nats.embedded.pid != before)
    nats.embedded.wait_ready(5)
    with Client(nats.url, DEVICES[1]):
        pass
    with pytest.raises(Refused), Client(nats.url, DEVICES[0]):
        pass


def test_it_may_be_stopped_while_it_is_about_to_start_again(nats: Nats):
    assert nats.embedded.pid
    os.kill(nats.embedded.pid, signal.SIGKILL)
    until(lambda: nats.embedded.restarts == 1)
    nats.embedded.stop()
    assert not nats.embedded.alive()
    nats.embedded.start(config(nats.embedded))
    with Client(nats.url, DEVICES[0]):
        pass


def test_it_starts_again_when_it_is_killed_and_not_when_it_is_stopped(nats: Nats):
    nats.kill()
    assert nats.embedded.restarts == 1
    nats.embedded.stop()
    assert not nats.embedded.alive()
    assert nats.embedded.restarts == 1


def test_its_secrets_are_its_owners_alone_and_hashed(nats: Nats):
    file = nats.embedded.log_file.with_name("nats.conf")
    assert file.stat().st_mode & 0o077 == 0
    assert password_of(DEVICES[0]) not in file.read_text()


def test_ctrl_c_in_the_terminal_is_for_us_and_does_not_reach_it(nats: Nats):
    assert nats.embedded.pid
    assert os.getpgid(nats.embedded.pid) != os.getpgid(0)


PARENT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever runs the tests ignores it
from ingest.broker import EmbeddedBroker
from ingest.credentials import nats_config
from tests.brokers import DEVICES, everyone, place
broker = EmbeddedBroker(Path(sys.argv[1]), ("127.0.0.1", 0))
broker.start(nats_config(everyone(), place(*DEVICES), listen=broker.listen, store_dir=broker.store_dir,
                         log_file=broker.log_file))
print(broker.pid, broker.listen[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_a_second_of_its_parent_however_that_ended_and_frees_the_port(
    tmp_path: Path, how: signal.Signals
):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    ) as parent:  # fmt: skip
        assert parent.stdout
        pid, port = map(int, parent.stdout.readline().split())
        assert not is_free(port)
        parent.send_signal(how)
        parent.wait(10)
        until(lambda: has_ended(pid) and is_free(port), 1)


def test_a_program_whose_parent_is_gone_already_does_not_start(tmp_path: Path):
    from ingest.tied import tied

    mark = tmp_path / "ran"
    command = tied(["/usr/bin/touch", str(mark)])
    command[command.index(str(os.getpid()))] = str(os.getppid())
    subprocess.run(command, check=True)
    assert not mark.exists()
    subprocess.run(tied(["/usr/bin/touch", str(mark)]), check=True)
    assert mark.exists()


def test_refusals_are_counted_through_the_logs_rotation(nats: Nats):
    log = nats.embedded.log_file
    with Client(nats.url, DEVICES[0]) as device:
        device.publish("not/mine")
        until(lambda: nats.embedded.refusals() == 1)
        device.publish("not/mine")
        device.subscribe("not/mine")
        log.rename(log.with_name("nats.log.2026.11.22"))
        line = '[1] 2026/11/22 10:00:00.000000 [ERR] 127.0.0.1:5 - mid:5 - "x" - Publish Violation - Subject "y"\n'
        log.write_text(line + line[:40])
        assert nats.embedded.refusals() == 4
        with log.open("a") as file:
            file.write(line[40:])
        assert nats.embedded.refusals() == 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) for localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is missing: apt-get install openssl")
    return certificate, key


def test_with_tls_it_speaks_to_who_trusts_its_certificate_and_to_nobody_without(
    tmp_path: Path, certificate: tuple[Path, Path]
):
    broker = EmbeddedBroker(tmp_path, ("0.0.0.0", 0), tls=certificate)
    broker.start(config(broker))
    name = "service/api"
    trusts = [
        (broker.url, None, certificate[0]),
        (broker.url.replace("127.0.0.1", "localhost"), certificate[0], None),
        (broker.url, certificate[0], None),  # the certificate does not name 127.0.0.1
        (broker.url, None, None),
        (broker.url.replace("mqtts", "mqtt"), None, None),
    ]
    buses = [
        Bus(
            url,
            client_id=f"{name}-{n}",
            username=name,
            password=password_of(name),
            subscriptions=[("lunchong/v1/service/+", 1)],
            on_arrival=lambda _: None,
            ca_file=ca_file,
            pinned_cert=pinned_cert,
        )
        for n, (url, ca_file, pinned_cert) in enumerate(trusts)
    ]
    try:
        for bus in buses:
            bus.start()
        until(lambda: buses[0].connected and buses[1].connected)
        until(lambda: buses[2].last_error and buses[3].last_error)
        assert [bus.connected for bus in buses] == [True, True, False, False, False]
        assert "certificate" in buses[3].last_error.lower()
    finally:
        for bus in buses:
            bus.stop()
        broker.stop()
