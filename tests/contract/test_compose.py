"""docker-compose.yml and what it names, as far as can be known without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from lunchong import cli
from lunchong.settings import PREFIX, Said, apart, read

ROOT = Path(__file__).resolve().parents[2]
OURS = ("init", "ingest", "api", "scheduler")
FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose():
    return YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def checked(file):
    """check-jsonschema's verdict by the schema that the makers of Compose publish."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_a_compose_file():
    said = checked(FILE)
    assert said.returncode == 0, said.stdout


def test_a_misspelt_key_would_be_found(tmp_path):
    odd = tmp_path / "docker-compose.yml"
    odd.write_text(FILE.read_text(encoding="utf-8").replace("healthcheck:", "healthchek:", 1))
    said = checked(odd)
    assert said.returncode == 1
    assert "healthchek" in said.stdout


def test_it_has_the_parts_of_an_installation(compose):
    images = {name: service["image"].partition(":")[0] for name, service in compose["services"].items()}
    assert {"eclipse-mosquitto", "influxdb", "postgres", "lunchong"} == set(images.values())
    assert {name for name, image in images.items() if image == "lunchong"} == set(OURS)
    assert compose["services"]["influxdb"]["image"] == "influxdb:2.7"


@pytest.mark.parametrize("name", OURS)
def test_what_it_tells_lunchong_is_right(compose, name, monkeypatch):
    for variable in [variable for variable in os.environ if variable.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    given = {variable: filled(str(value)) for variable, value in compose["services"][name]["environment"].items()}
    assert {variable.removeprefix(PREFIX).lower() for variable in given} <= set(Said.model_fields)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = apart(name, read())
    assert settings.http_host == "0.0.0.0"
    is_given = name in ("api", "scheduler")
    assert not is_given or settings.ledger_url == "postgresql+psycopg://lunchong:secret@postgresql:5432/lunchong"
    mounted = {volume.split(":")[1] for volume in compose["services"][name]["volumes"]}
    assert {str(settings.data_dir), str(settings.mqtt_acl_dir)} == mounted
    assert compose["services"][name]["command"][0] in getattr(get_command(cli.app), "commands", {})


def filled(text):
    """A value as Compose would fill it in, with `secret` for what has no default."""
    text = re.sub(r"\$\{\w+:\+((?:[^{}]|\$\{\w+\})*)\}", r"\1", text)  # what is said where another is set
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}", lambda found: found[1] or "secret", text)


def test_what_has_to_be_set_is_in_the_example_which_holds_no_secret():
    example = (ROOT / "deploy/env.example").read_text(encoding="utf-8")
    must = set(re.findall(r"\$\{(\w+):\?", FILE.read_text(encoding="utf-8")))
    may = set(re.findall(r"\$\{(\w+):-", FILE.read_text(encoding="utf-8")))
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == must
    assert set(re.findall(r"^#(\w+)=", example, re.MULTILINE)) == may


def test_what_its_parts_name_of_one_another_is_there(compose):
    services, volumes = compose["services"], set(compose["volumes"])
    used = set()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert "healthcheck" in service or service["command"][0] in ("init", "scheduler")
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir()
            else:
                used.add(source)
    assert used == volumes
    script, config, acl = services["mosquitto"]["command"][1:]
    assert (ROOT / "deploy/mosquitto" / Path(script).name).exists()
    assert f"include_dir {acl}" in (ROOT / "deploy/mosquitto" / Path(config).name).read_text(encoding="utf-8")


def test_only_what_keeps_the_ledger_needs_its_password(compose):
    needing = {name for name, service in compose["services"].items() if "LEDGER_PASSWORD" in str(service)}
    assert needing == {"postgresql", "scheduler", "api"}
    assert all(compose["services"][name]["profiles"] == ["ledger"] for name in needing - {"api"})


def test_nothing_is_served_beyond_this_machine_unasked(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_is_made_of_what_is_there_and_of_locked_packages(compose):
    dockerfile = (ROOT / compose["services"]["api"]["build"]["dockerfile"]).read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        word for words in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.MULTILINE) for word in words.split()
    ]
    assert {"requirements.lock", "lunchong"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert "--require-hashes --requirement requirements.lock" in dockerfile
    installs = re.findall(r"pip install.*", dockerfile)
    assert installs
    assert all("--no-index" in install for install in installs)
