"""The command line over a data folder on which nothing runs: what it makes, and one line for each mistake."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from contextlib import closing

import bcrypt
import pytest

from lunchong import cli
from lunchong.turns_side import open_ledger
from scheduler.ledger import Household
from tests import processes
from tests.ledgers import ask
from tests.processes import environment


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder after `init`."""
    folder = tmp_path_factory.mktemp("place") / "data"
    assert processes.lunchong("init", "--data", folder).returncode == 0
    return folder


@pytest.fixture
def lunchong(monkeypatch, capsys):
    """Run a command in this process, which is quicker, as if it had one of its own."""
    for variable in [variable for variable in os.environ if variable.startswith("LUNCHONG_")]:
        monkeypatch.delenv(variable)

    def run(*arguments, env=()):
        for variable, value in dict(env).items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setattr(sys, "argv", ["lunchong", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code), out, err)

    return run


def refusal(run, code):
    """The one line that a command said before it ended with `code`."""
    assert run.returncode == code, run
    [line] = run.stderr.splitlines()
    assert line.startswith("lunchong: ")
    assert run.stdout == ""
    return line.removeprefix("lunchong: ")


def test_help_answers_without_loading_what_only_a_server_needs(lunchong):
    heavy = {"duckdb", "fastapi", "pydantic", "paho", "uvicorn", "rich"}
    script = f"import sys, lunchong.cli; print(sorted({heavy!r} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
    help_text = lunchong("--help").stdout
    for command in ("demo", "serve", "simulate", "init", "doctor", "device", "client", "inventory", "dead-letters"):
        assert f"  {command} " in help_text


@pytest.mark.parametrize("words", [[], ["device"], ["dead-letters"]])
def test_without_a_command_the_help_is_shown_as_it_is(lunchong, words):
    run = lunchong(*words)
    assert run.returncode == 2
    assert run.stderr.startswith("Usage: ")


def test_init_makes_private_secrets_and_an_inventory_that_is_right(lunchong, place):
    for name in ("admin-token", "secret", "credentials.json"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert "2 devices" in lunchong("inventory", "check", "--data", place).stdout


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_whatever_init_makes_on_the_way_to_its_folder_is_private_too(lunchong, tmp_path):
    umask = os.umask(0o022)
    try:
        assert lunchong("init", "--data", tmp_path / "one" / "two" / "data").returncode == 0
    finally:
        assert os.umask(umask) == 0o022
    assert [mode(tmp_path / path) for path in ("one", "one/two", "one/two/data")] == [0o700] * 3


def test_init_shuts_others_out_of_a_folder_of_ours_and_says_so_of_another(lunchong, tmp_path):
    tmp_path.chmod(0o755)
    said = lunchong("init", "--data", tmp_path).stdout
    assert f"data folder  {tmp_path}, which others may enter: `chmod 700 {tmp_path}`" in said
    assert mode(tmp_path) == 0o755
    said = lunchong("init", "--data", tmp_path).stdout
    assert f"data folder  {tmp_path}, which others may enter no more" in said
    assert mode(tmp_path) == 0o700
    assert f"data folder  {tmp_path}\n" in lunchong("init", "--data", tmp_path).stdout


def test_the_broker_s_folder_and_files_are_readable_by_its_group(lunchong, tmp_path):
    acl = tmp_path / "acl"
    for _ in range(2):
        run = lunchong("init", "--data", tmp_path / "data", env={"LUNCHONG_MQTT_ACL_DIR": str(acl)})
        assert run.returncode == 0
        assert mode(acl) == 0o750
        assert {path.name: mode(path) for path in acl.iterdir()} == dict.fromkeys(
            ("passwd", "acl", "lunchong.conf"), 0o640
        )


def test_a_data_folder_with_the_broker_s_folder_in_it_stays_open(lunchong, tmp_path):
    data, acl = tmp_path / "data", tmp_path / "data" / "mosquitto"
    assert lunchong("init", "--data", data).returncode == 0
    data.chmod(0o755)
    said = lunchong("init", "--data", data, env={"LUNCHONG_MQTT_ACL_DIR": str(acl)}).stdout
    assert f"which others may enter to read {acl}: better have that elsewhere" in said
    assert (mode(data), mode(acl)) == (0o755, 0o750)


def test_folders_on_the_way_to_what_others_read_let_them_pass(lunchong, tmp_path):
    acl, inventory = tmp_path / "srv" / "broker" / "acl", tmp_path / "etc" / "lunchong" / "inventory.toml"
    env = {"LUNCHONG_MQTT_ACL_DIR": str(acl), "LUNCHONG_INVENTORY": str(inventory)}
    assert lunchong("init", "--data", tmp_path / "data", env=env).returncode == 0
    assert [mode(path) for path in (acl, acl.parent, acl.parent.parent)] == [0o750, 0o755, 0o755]
    assert [mode(path) for path in (inventory, inventory.parent, inventory.parent.parent)] == [0o644, 0o755, 0o755]


def test_init_again_changes_nothing(lunchong, place):
    before = {path.name: path.read_bytes() for path in place.glob("[!l]*")}
    assert lunchong("init", "--data", place).returncode == 0
    assert {path.name: path.read_bytes() for path in place.glob("[!l]*")} == before


def test_a_device_is_enrolled_with_a_password_shown_once_and_kept_nowhere(lunchong, place):
    run = lunchong("device", "enroll", "gate-01", "pile-0001", "--json", "--data", place)
    shown = json.loads(run.stdout)
    assert shown["username"] == "gate-01/pile-0001"
    assert shown["url"] == "mqtt://127.0.0.1:1883"
    assert shown["password"] not in (place / "credentials.json").read_text()


def test_a_gateway_and_a_client_are_enrolled(lunchong, place):
    gateway = lunchong("device", "enroll", "gate-01", "--gateway", "--json", "--data", place)
    assert json.loads(gateway.stdout)["username"] == "gate-01/+"
    client = lunchong("client", "enroll", "board", "--data", place)
    assert client.stdout.startswith("username board\npassword ")


@pytest.fixture
def typed(monkeypatch):
    """What stands at standard input."""

    def type_it(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return type_it


def test_an_account_is_added_with_a_password_from_standard_input(lunchong, tmp_path, typed):
    place = tmp_path / "data"
    lunchong("init", "--data", place)
    add = ("account", "add", "--name", "li", "--role", "staff", "--password-stdin", "--data", place)
    typed("correct horse\n")
    assert lunchong(*add).stdout == "li may log in as staff\n"
    typed("correct horse\n")
    assert refusal(lunchong(*add), 1) == "there is an account li"
    with closing(open_ledger(f"sqlite:///{place / 'ledger.db'}")) as ledger:
        kept = ledger.accounts.account("li")
        assert bcrypt.checkpw(b"correct horse", kept.password.encode())
        ledger.register(Household(id="h-17", compound="k-01", dwelling="3-502"))
    resident = ("account", "add", "--name", "wang", "--role", "resident", "--password-stdin", "--data", place)
    typed("correct horse\n")
    assert lunchong(*resident, "--household", "h-17").returncode == 0
    typed("correct horse\n")
    assert "household h-18 is not registered" in refusal(lunchong(*resident, "--household", "h-18"), 1)


@pytest.mark.parametrize(
    ("more", "password", "said"),
    [
        ((), "", "--password-stdin"),
        (("--password-stdin",), "short", "at least 10 characters"),
        (("--password-stdin", "--name", "a b"), "correct horse", "a name has 1 to 64 letters"),
        (("--password-stdin", "--role", "resident"), "correct horse", "a resident has a household"),
        (("--password-stdin", "--role", "king"), "correct horse", "king"),
    ],
)
def test_an_account_that_nobody_could_use_is_wrong_use(lunchong, place, typed, more, password, said):
    typed(f"{password}\n")
    run = lunchong("account", "add", "--name", "sun", "--role", "staff", "--data", place, *more)
    assert said in refusal(run, 2)


def test_accounts_are_listed_get_another_password_and_end(lunchong, tmp_path, typed):
    place = tmp_path / "data"
    lunchong("init", "--data", place)
    with closing(open_ledger(f"sqlite:///{place / 'ledger.db'}")) as ledger:
        ledger.register(Household(id="h-17", compound="k-01", dwelling="3-502"))
    for name, more in (("li", ("--role", "staff")), ("wang", ("--role", "resident", "--household", "h-17"))):
        typed("correct horse\n")
        lunchong("account", "add", "--name", name, *more, "--password-stdin", "--data", place)
    li = {"name": "li", "role": "staff", "household": None}
    wang = {"name": "wang", "role": "resident", "household": "h-17"}
    assert json.loads(lunchong("account", "list", "--json", "--data", place).stdout) == [li, wang]
    assert "wang" in lunchong("account", "list", "--data", place).stdout

    typed("battery staple\n")
    assert lunchong("account", "password", "wang", "--password-stdin", "--data", place).returncode == 0
    typed("battery staple\n")
    run = lunchong("account", "password", "zhao", "--password-stdin", "--data", place)
    assert "there is no account zhao" in refusal(run, 1)
    with closing(open_ledger(f"sqlite:///{place / 'ledger.db'}")) as ledger:
        assert bcrypt.checkpw(b"battery staple", ledger.accounts.account("wang").password.encode())
        turn = ask(ledger, household="h-17")

    run = lunchong("account", "remove", "wang", "--yes", "--data", place)
    assert f"turns that are not over: {turn.id}" in refusal(run, 1)
    assert "it cannot be undone: say --yes" in refusal(lunchong("account", "remove", "li", "--data", place), 2)
    assert lunchong("account", "remove", "li", "--yes", "--data", place).stdout == "li is no more\n"
    assert json.loads(lunchong("account", "list", "--json", "--data", place).stdout) == [wang]


def test_an_exported_inventory_can_be_checked_again(lunchong, place, tmp_path):
    file = tmp_path / "copy.toml"
    file.write_text(lunchong("inventory", "export", "--data", place).stdout)
    assert lunchong("inventory", "check", file).returncode == 0


def test_without_a_server_there_are_no_dead_letters_to_list_and_none_can_be_tried_again(lunchong, place):
    assert json.loads(lunchong("dead-letters", "list", "--json", "--data", place).stdout) == []
    run = lunchong("dead-letters", "retry", "--all", "--data", place)
    assert "start `lunchong serve` or `ingest` first" in refusal(run, 1)
    assert lunchong("dead-letters", "purge", "--all", "--data", place).stdout == "0 deleted\n"
    run = lunchong("dead-letters", "purge", "nope", "--data", place)
    assert "there is no dead letter nope" in refusal(run, 1)


def test_the_doctor_finds_a_fresh_place_well(lunchong, place):
    run = lunchong("doctor", "--json", "--data", place)
    assert run.returncode == 0
    findings = {finding["what"]: finding["level"] for finding in json.loads(run.stdout)["findings"]}
    well = {"data folder": "good", "inventory": "good", "broker": "good", "ledger": "note", "server": "note"}
    assert findings == well


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--foo"], "No such option: --foo"),
        (["surf"], "No such command 'surf'."),
        (["device", "enroll", "gate-01"], "name SITE and DEVICE, or SITE with --gateway"),
        (["device", "enroll", "gate-01", "pile-9"], "the inventory has no device gate-01/pile-9"),
        (["device", "enroll", "gate-09", "--gateway"], "the inventory has no site gate-09"),
        (["client", "enroll", "a/b"], "'a/b' is no name: use 1 to 32 letters, digits, _ or -"),
        (["dead-letters", "purge"], "name ids, or --all"),
        (["dead-letters", "list", "--after", "nope"], "there is no dead letter 'nope' to go on after"),
        (["ingest"], "DuckDB is for the all-in-one process alone: use `lunchong serve` instead of `ingest`"),
        (["api"], "DuckDB is for the all-in-one process alone: use `lunchong serve` instead of `api`"),
        (["demo", "--weather", "yesterday"], "the weather's date must be like 2013-08-06, not 'yesterday'"),
        (["demo", "--speed", "0"], "--speed must be a number from 0.1 to 3600, not 0.0"),
        (["demo", "--piles", "0"], "--piles must be a whole number from 1 to 5000, not 0"),
        (["demo", "--for", "0"], "Invalid value for '--for': must be greater than or equal to 0.1"),
        (["serve", "--clock", "sun"], "Invalid value for '--clock': 'sun' is not one of 'wall', 'messages'."),
        (["serve", "--speed", "fast"], "Invalid value for '--speed': must be a valid number"),
        (["demo", "--for", "-5"], "Invalid value for '--for': must be greater than or equal to 0.1"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(lunchong, place, arguments, said):
    more = [] if arguments[0] in ("surf", "demo") else ["--data", place]
    line = refusal(lunchong(*arguments, *more), 2)
    assert said in line
    assert "Value error" not in line


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"LUNCHONG_HTTP_PROT": "1"}, "unknown setting LUNCHONG_HTTP_PROT, did you mean LUNCHONG_HTTP_PORT?"),
        ({"LUNCHONG_HTTP_PORT": "many"}, "LUNCHONG_HTTP_PORT must be a valid integer"),
        ({"LUNCHONG_INFLUX_TOKEN": "geheim é"}, "LUNCHONG_INFLUX_TOKEN must be printable ASCII without spaces"),
        ({"LUNCHONG_STORE": "influxdb"}, "set LUNCHONG_INFLUX_URL and LUNCHONG_INFLUX_TOKEN too"),
    ],
)
def test_a_bad_setting_is_one_line_and_exit_code_2(lunchong, place, env, said):
    assert said in refusal(lunchong("serve", "--data", place, env=env), 2)


def test_a_bad_inventory_names_every_mistake_with_its_line(lunchong, tmp_path):
    (tmp_path / "inventory.toml").write_text('[[site]]\nid = "a b"\nlat = 99\nlon = 121.4\n')
    for command in (["inventory", "check"], ["serve"]):
        run = lunchong(*command, "--data", tmp_path)
        assert run.returncode == 2
        first, second = run.stderr.splitlines()
        assert first.startswith(f"lunchong: {tmp_path}/inventory.toml line 2: id must be 1 to 32 of the letters")
        assert second == f"{tmp_path}/inventory.toml line 3: lat must be a number from -90 to 90, not 99"


def test_a_place_without_an_inventory_says_how_to_get_one(lunchong, tmp_path):
    assert "let `lunchong init` write an example" in refusal(lunchong("serve", "--data", tmp_path), 2)


def test_a_data_folder_that_cannot_be_is_one_line(lunchong, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["serve"], ["init"], ["device", "enroll", "a", "b"]):
        line = refusal(lunchong(*command, "--data", tmp_path / "file" / "data"), 1)
        assert line == f"cannot write to the data folder {tmp_path}/file/data: Not a directory"
