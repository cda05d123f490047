"""Enrolment: secrets are shown once, kept hashed, and put into the files of both brokers."""

from __future__ import annotations

import base64
import hashlib
import stat

import bcrypt
import pytest

from ingest.credentials import admitted, credential, mosquitto_files, nats_config
from ingest.enrolments import EnrolmentError, Enrolments, write_broker_files
from tests.brokers import place


def test_a_device_enrolled_again_has_only_its_new_password(tmp_path):
    enrolments = Enrolments(tmp_path / "credentials.json")
    name, first = enrolments.enroll_device("jn-01", "pile-1")
    assert enrolments.enroll_device("jn-01", "pile-1")[0] == name == "jn-01/pile-1"
    [kept] = enrolments.credentials
    assert not bcrypt.checkpw(first.encode(), kept.bcrypt.encode())


def test_what_is_enrolled_is_there_after_a_restart(tmp_path):
    path = tmp_path / "new folder" / "credentials.json"
    enrolments = Enrolments(path)
    enrolments.enroll_gateway("jn-01")
    enrolments.enroll_reader("board")
    enrolments.enroll_devices(["jn-01/pile-1", "jn-01/pile-2"])
    key = enrolments.service("ingest")
    again = Enrolments(path)
    assert again.credentials == enrolments.credentials
    assert again.service("ingest") == key
    assert {(one.username, one.kind) for one in again.credentials} == {
        ("jn-01/+", "gateway"),
        ("board", "reader"),
        ("jn-01/pile-1", "device"),
        ("jn-01/pile-2", "device"),
        ("service/ingest", "service"),
    }


def test_a_removed_user_is_gone(tmp_path):
    enrolments = Enrolments(tmp_path / "credentials.json")
    enrolments.enroll_reader("board")
    assert enrolments.remove("board")
    assert not enrolments.remove("board")
    assert Enrolments(enrolments.path).credentials == []


def test_client_ids_of_services_cannot_be_guessed(tmp_path):
    ids = {Enrolments(tmp_path / f"{n}.json").service("ingest").client_id for n in range(3)}
    assert len(ids) == 3
    assert all(len(one) >= 32 for one in ids)


def test_the_file_is_its_owners_alone_and_holds_no_devices_password(tmp_path):
    enrolments = Enrolments(tmp_path / "credentials.json")
    _, password = enrolments.enroll_device("jn-01", "pile-1")
    assert stat.S_IMODE(enrolments.path.stat().st_mode) == 0o600
    assert password not in enrolments.path.read_text()


def test_an_unknown_service_has_no_key(tmp_path):
    with pytest.raises(ValueError, match="telegraf"):
        Enrolments(tmp_path / "credentials.json").service("telegraf")


@pytest.mark.parametrize(
    ("site", "device"),
    [
        ("service", "ingest"),
        ("jn-01", "+"),
        ("+", "pile-1"),
        ("jn-01", "#"),
        ("jn/01", "x"),
        ("", "x"),
        ("x", "y" * 33),
    ],
)
def test_a_name_that_would_reach_beyond_itself_is_refused(tmp_path, site, device):
    enrolments = Enrolments(tmp_path / "credentials.json")
    with pytest.raises(EnrolmentError, match=r"^[^\n]+$"):
        enrolments.enroll_device(site, device)
    with pytest.raises(EnrolmentError, match=r"^[^\n]+$"):
        enrolments.enroll_devices([f"{site}/{device}"])


@pytest.mark.parametrize("name", ["service/ingest", "jn-01/pile-1", "a:b", "a\nuser b", "a b", "読者", ""])
def test_a_readers_name_cannot_pass_for_another_user(tmp_path, name):
    enrolments = Enrolments(tmp_path / "credentials.json")
    with pytest.raises(EnrolmentError, match=r"^[^\n]+$"):
        enrolments.enroll_reader(name)
    with pytest.raises(EnrolmentError, match=r"^[^\n]+$"):
        enrolments.enroll_gateway(name)
    assert enrolments.credentials == []


@pytest.mark.parametrize("text", ["", "{", '{"v":2}', '{"v":1,"credentials":[{"username":"x"}]}'])
def test_a_damaged_file_is_one_clear_line_and_is_not_overwritten(tmp_path, text):
    path = tmp_path / "credentials.json"
    path.write_text(text)
    with pytest.raises(EnrolmentError, match=r"^[^\n]*credentials\.json is not a file of enrolments[^\n]*$"):
        Enrolments(path)
    assert path.read_text() == text


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "data").write_text("")
    with pytest.raises(EnrolmentError, match=r"^cannot (read|write) [^\n]+$"):
        Enrolments(tmp_path / "data" / "credentials.json").enroll_reader("board")


def test_who_left_the_inventory_is_in_neither_brokers_files(tmp_path):
    users = [
        credential("jn-01/pile-1", "device", "a"),
        credential("jn-01/gone", "device", "b"),
        credential("jn-01/+", "gateway", "c"),
        credential("gone/+", "gateway", "d"),
        credential("board", "reader", "e"),
    ]
    inventory = place("jn-01/pile-1")
    assert [one.username for one in admitted(users, inventory)] == ["board", "jn-01/+", "jn-01/pile-1"]
    nats = nats_config(users, inventory, listen=("127.0.0.1", 1883), store_dir=tmp_path, log_file=tmp_path / "log")
    files = mosquitto_files(users, inventory, tmp_path)
    for text in (nats, files["passwd"], files["acl"]):
        assert "gone" not in text
        assert "jn-01/pile-1" in text


def test_mosquittos_passwords_are_the_hash_that_it_documents():
    _, kind, rounds, salt, key = credential("x", "reader", "secret").pbkdf2.split("$")
    assert kind == "7"
    derived = hashlib.pbkdf2_hmac("sha512", b"secret", base64.b64decode(salt), int(rounds))
    assert base64.b64decode(key) == derived


def test_mosquittos_files_may_be_read_by_its_group_and_by_nobody_else(tmp_path):
    write_broker_files(tmp_path / "acl", mosquitto_files([], place(), tmp_path / "acl"))
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "acl").iterdir()} == {
        "passwd": 0o640,
        "acl": 0o640,
        "lunchong.conf": 0o640,
    }
