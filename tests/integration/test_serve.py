"""`lunchong serve` as a process: how it starts, stops, dies, and what can be done beside it while it runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from lunchong.setting_up import EXAMPLE
from tests.brokers import Client, Refused, until
from tests.processes import Server, alive, children, lunchong, lunchong_here
from tests.talking import (
    PILE,
    TELEMETRY,
    a_place,
    as_device,
    beside,
    doctor,
    enrolled,
    let_in,
    message,
    own_mosquitto,
    ready,
    say,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that every test of this file leaves as it was."""
    with Server(a_place(tmp_path_factory.mktemp("serve"))) as running:
        yield running


def test_it_says_where_it_is_and_answers_there(server):
    assert set(server.ready) == {"pid", "http", "mqtt", "mqtt_port"}
    assert server.ready["pid"] == server.pid
    until(lambda: ready(server))  # its line comes when it listens; the broker lets ingest in a moment later
    [site] = server.get("/api/v1/availability")["sites"]
    assert site["summary"]["total"] == 2


def test_what_an_enrolled_device_says_is_acknowledged_and_counted(server):
    with as_device(server) as device:
        say(device, message(1, "boot-one"), message(2, "boot-one"))

    def counted():
        accounts = {item["device"]: item["messages"] for item in server.get("/api/v1/devices")["items"]}
        return accounts["pile-0001"] and accounts["pile-0001"]["received"] >= 2

    until(counted)


def test_a_new_password_ends_the_old_one(server):
    old = enrolled(server)
    new = enrolled(server)
    with Client(new["url"], new["username"], password=new["password"]):
        pass
    with pytest.raises(Refused), Client(old["url"], old["username"], password=old["password"]):
        pass


def test_refused_logins_are_counted_where_the_doctor_sees_them(server):
    with pytest.raises(Refused), Client(server.mqtt, PILE, password="wrong"):
        pass
    until(lambda: f'the last: authentication error - User "{PILE}"' in doctor(server).get("broker", ""))


def test_the_doctor_tells_what_devices_suffer_from(server):
    smoke = {"v": 1, "boot": "boot-smoke", "ts": datetime.now(UTC).isoformat(), "kind": "smoke"}
    with as_device(server) as device:
        device.publish(TELEMETRY, json.dumps(smoke | {"seq": 1, "alarm": True}))
        until(lambda: doctor(server).get("devices") == f"smoke at {PILE}")
        device.publish(TELEMETRY, json.dumps(smoke | {"seq": 2, "alarm": False}))
        until(lambda: "devices" not in doctor(server))


def beside_unwell(server, *arguments):
    return lunchong_here(*arguments, "--data", server.data, env=server.env).stdout


def test_a_client_reads_states_and_no_telemetry(server):
    key = enrolled(server, "client", "enroll", "board")
    with Client(key["url"], key["username"], password=key["password"]) as board:
        assert board.subscribe("lunchong/v1/+/+/state") < 128
        assert board.subscribe("lunchong/v1/+/+/telemetry") >= 128


def test_a_dead_letter_is_listed_shown_and_purged_beside_the_server(server):
    with as_device(server) as device:
        device.publish(TELEMETRY, "{never closed")
    letters = until(lambda: json.loads(beside(server, "dead-letters", "list", "--json")))
    [letter] = [letter for letter in letters if letter["payload"] == "{never closed"]
    assert letter["reason"] == "not_json"
    assert "{never closed" in beside(server, "dead-letters", "show", letter["id"])
    assert beside(server, "dead-letters", "purge", letter["id"]) == "1 deleted\n"
    assert lunchong("dead-letters", "show", letter["id"], "--data", server.data).returncode == 1
    for gone in (["retry", letter["id"]], ["purge", letter["id"]], ["list", "--after", letter["id"]]):
        run = lunchong("dead-letters", *gone, "--data", server.data)
        assert run.returncode in (1, 2)
        assert run.stderr.startswith("lunchong: there is no dead letter"), run.stderr


def test_what_a_device_wrote_does_nothing_to_the_terminal(server):
    evil = "a\x1b[2J\nb"
    with as_device(server) as device:
        device.publish(TELEMETRY, message(1, f"boot-{evil}", kind=evil))
        [letter] = until(lambda: json.loads(beside(server, "dead-letters", "list", "--json")))
        fault = {"kind": "fault", "code": evil, "severity": "critical", "note": evil}
        device.publish(TELEMETRY, message(1, "boot-evil", cleared=False, **fault))
        said = until(lambda: (text := beside_unwell(server, "doctor")) and "fault:" in text and text)
        device.publish(TELEMETRY, message(2, "boot-evil", cleared=True, **fault))
        until(lambda: "fault:" not in beside_unwell(server, "doctor"))
    said += beside(server, "dead-letters", "list") + beside(server, "dead-letters", "show", letter["id"])
    assert evil in letter["reason"]
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.count("a\\x1b[2J\\nb") >= 3
    beside(server, "dead-letters", "purge", "--all")


def test_a_mended_inventory_is_used_without_a_restart_and_takes_dead_letters_that_it_explains(server):
    inventory = server.data / "inventory.toml"
    with as_device(server) as device:
        say(device, message(1, "boot-two", connector=3))
    [letter] = until(lambda: json.loads(beside(server, "dead-letters", "list", "--json")))
    assert letter["reason"] == "unknown_connector"
    inventory.write_text(EXAMPLE.replace("{ id = 1,", "{ id = 3 }, { id = 1,"))
    until(lambda: server.get("/api/v1/availability")["sites"][0]["summary"]["total"] == 3)
    assert beside(server, "dead-letters", "retry", letter["id"]) == "1 taken, 0 still dead\n"
    assert json.loads(beside(server, "dead-letters", "list", "--json")) == []
    inventory.write_text(EXAMPLE)
    until(lambda: server.get("/api/v1/availability")["sites"][0]["summary"]["total"] == 2)


def test_a_bad_edit_keeps_the_inventory_before_and_the_doctor_names_the_mistake(server):
    inventory = server.data / "inventory.toml"
    inventory.write_text(EXAMPLE.replace("lat = 31", "lat = 131"))
    until(lambda: "line 7: lat must be" in doctor(server)["inventory"])
    assert server.get("/api/v1/availability")["sites"][0]["summary"]["total"] == 2
    assert lunchong("doctor", "--data", server.data).returncode == 1
    inventory.write_text(EXAMPLE)
    until(lambda: "2 devices" in doctor(server)["inventory"])


def test_a_second_process_on_the_same_folder_is_told_who_holds_it(server):
    run = lunchong("serve", "--data", server.data)
    assert run.returncode == 1
    assert run.stderr == (
        f"lunchong: the data folder {server.data} is in use by process {server.pid}: "
        "stop it, or name another with --data\n"
    )


@pytest.mark.parametrize("setting", ["HTTP_PORT", "MQTT_LISTEN"])
def test_a_port_in_use_is_one_line(tmp_path, setting):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        free = {"LUNCHONG_HTTP_PORT": "0", "LUNCHONG_MQTT_LISTEN": "127.0.0.1:0"}
        used = {f"LUNCHONG_{setting}": port if setting == "HTTP_PORT" else f"127.0.0.1:{port}"}
        run = lunchong("serve", "--data", a_place(tmp_path), env={**free, **used})
    assert run.returncode == 1
    assert run.stderr.splitlines() == [run.stderr.strip()]
    assert f"port {port} on 127.0.0.1 is in use" in run.stderr
    assert setting in run.stderr


def test_a_book_of_troubles_that_is_none_is_one_line(tmp_path):
    place = a_place(tmp_path)
    (place / "trouble.db").write_text("junk" * 200)
    run = lunchong("serve", "--data", place, env={"LUNCHONG_HTTP_PORT": "0", "LUNCHONG_MQTT_LISTEN": "127.0.0.1:0"})
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (f"lunchong: {place / 'trouble.db'} cannot be opened: file is not a database")
    assert "Traceback" not in run.stderr


def test_what_runs_deep_below_can_be_reached_by_the_commands_beside_it(tmp_path):
    deep = a_place(tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6))
    assert len(str(deep)) > 150
    with Server(deep) as server:
        assert enrolled(server)["username"] == PILE


def test_asked_to_end_it_ends_in_order_and_leaves_nothing_running(tmp_path):
    with Server(a_place(tmp_path)) as server:
        below = children(server.pid)
        assert below
        assert server.stop(signal.SIGTERM, within_s=5) == 0
        assert not any(map(alive, below))
        assert not (server.data / "ready.json").exists()
        assert "Traceback" not in server.errors


def test_killed_its_broker_ends_with_it_and_the_next_start_goes_on_where_it_was(tmp_path):
    with Server(a_place(tmp_path)) as server:
        first = message(1, "boot-one")
        with as_device(server) as device:
            say(device, first)
        below = children(server.pid)
        server.kill()
        until(lambda: not any(map(alive, below)), 1)
    ports = {
        "LUNCHONG_MQTT_LISTEN": server.mqtt.removeprefix("mqtt://"),
        "LUNCHONG_HTTP_PORT": server.http.rpartition(":")[2],
    }
    with Server(tmp_path, env=ports) as again:
        assert again.mqtt == server.mqtt
        with as_device(again) as device:
            say(device, first, message(2, "boot-one"))
        accounts = {item["device"]: item["messages"] for item in again.get("/api/v1/devices")["items"]}
        assert {name: accounts["pile-0001"][name] for name in ("received", "duplicate", "lost")} == {
            "received": 2, "duplicate": 1, "lost": 0
        }  # fmt: skip


def test_a_broker_that_dies_is_started_again(tmp_path):
    with Server(a_place(tmp_path)) as server:
        [broker] = children(server.pid)
        os.kill(broker, signal.SIGKILL)
        until(lambda: children(server.pid) not in ([], [broker]), 10)
        until(lambda: ready(server))
        with as_device(server) as device:
            say(device, message(1, "boot-one"))


def test_it_works_with_a_mosquitto_of_one_s_own(tmp_path):
    with (
        own_mosquitto(tmp_path / "broker", tmp_path / "data") as broker,
        Server(tmp_path / "data", env=broker.env) as server,
        let_in(server, broker) as device,
    ):
        say(device, message(1, "boot-one"))
        assert server.mqtt == broker.url
        assert children(server.pid) == []


def the_broker(server):
    """(level, what is said) of the broker by the doctor."""
    run = lunchong_here("doctor", "--json", "--data", server.data, env=server.env)
    found = [one for one in json.loads(run.stdout)["findings"] if one["what"] == "broker"]
    assert run.returncode == any(one["level"] == "bad" for one in found), run
    return found[-1]["level"], found[-1]["said"]


def bad_broker(server):
    level, said = the_broker(server)
    return said if level == "bad" else ""


def test_the_doctor_says_that_a_broker_is_away_and_that_it_does_not_know_us(tmp_path):
    with (
        own_mosquitto(tmp_path / "broker", tmp_path / "data") as broker,
        Server(tmp_path / "data", env=broker.env) as server,
    ):
        until(lambda: the_broker(server) == ("good", f"{broker.url} lets ingest in"))
        broker.stop()
        until(lambda: "Connection refused: start it, or mend LUNCHONG_MQTT_URL" in the_broker(server)[1])
        assert bad_broker(server)
        (tmp_path / "broker" / "acl" / "passwd").write_text("")
        broker.start()
        until(lambda: "refused us" in bad_broker(server))
        assert bad_broker(server) == (
            f"{broker.url}, the broker refused us: Not authorized: let it include lunchong.conf of"
            " LUNCHONG_MQTT_ACL_DIR, and reload it (docs/brokers.md)"
        )


def test_the_doctor_says_that_what_stands_at_the_broker_s_address_is_none(tmp_path, server):
    addresses = {
        f"mqtt://{server.http.removeprefix('http://')}": "no MQTT: is it an MQTT broker? Look at LUNCHONG_MQTT_URL",
        "mqtt://no-such-host.invalid": "start it, or mend LUNCHONG_MQTT_URL",
    }
    for number, (address, said) in enumerate(addresses.items()):
        with Server(a_place(tmp_path / str(number)), env={"LUNCHONG_MQTT_URL": address}) as lost:
            assert until(partial(bad_broker, lost)).startswith(f"{address}, ")
            assert bad_broker(lost).endswith(said)


@pytest.fixture
def small_disk(tmp_path):
    """A server whose data folder lies on a disk of 32 MB that only it has mounted."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("a small disk needs root and mount namespaces")
    (tmp_path / "inventory.toml").write_text(EXAMPLE)
    (tmp_path / "disk").mkdir()
    script = (
        'mount -t tmpfs -o size=32m tmpfs "$0" && mkdir "$0/data" && cp "$0/../inventory.toml" "$0/data/" && exec "$@"'
    )
    data = tmp_path / "disk" / "data"
    with Server(
        data,
        prefix=["unshare", "-m", "sh", "-c", script, str(tmp_path / "disk")],
        seen_as=lambda pid: Path(f"/proc/{pid}/root{data}"),
    ) as server:
        yield server


def test_a_full_disk_is_said_and_readings_are_taken_again_when_there_is_space(small_disk):
    filler = small_disk.data / "filler"
    held_back = [message(seq, "boot-one", note="x" * 5_000) for seq in range(2, 40)]
    with as_device(small_disk) as device:
        say(device, message(1, "boot-one"))
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        for one in held_back:
            device.publish(TELEMETRY, one, qos=0)
        until(lambda: "accepts nothing" in doctor(small_disk).get("ingest", ""))
        assert "disk" in doctor(small_disk)["condition"]
    filler.unlink()
    until(lambda: "ingest" not in doctor(small_disk))
    until(lambda: "started again" in doctor(small_disk).get("broker", ""))
    until(lambda: ready(small_disk))
    with as_device(small_disk) as device:
        say(device, *held_back)
