"""What a reader of docs/ would miss: anything that the code has and the docs do not name."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from msgspec.structs import fields
from typer.main import get_command

from api import problems, routes
from ingest import accounts, conditions, inventory, topics
from ingest.inventory_fields import TABLES
from ingest.messages import Command, Message
from lunchong import cli
from lunchong.settings import PREFIX, Said, Settings
from scheduler import alone, dispatch, post, turns
from tools.faults.matrix import ROWS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def table_rows(text):
    """The cells of each row of every Markdown table in a text."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def named(text):
    """Everything that a text sets in code type."""
    return set(re.findall(r"`([^`\n]+)`", text))


def section(text, heading):
    """The part of a page from the heading that begins so to the next heading of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}.*?(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {heading!r}"
    return found[0]


def test_every_setting_is_in_the_docs_and_no_other():
    documented = {row[0].strip("`") for row in table_rows(page("settings.md")) if row[0].startswith("`")}
    assert documented == {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}


def test_every_default_of_a_setting_is_in_the_docs():
    rows = {row[0].strip("`"): row[1] for row in table_rows(page("settings.md"))}
    defaults = {PREFIX + name.upper(): field.default for name, field in Said.model_fields.items() if field.default}
    assert {name for name, default in defaults.items() if f"`{default}`" not in rows[name]} == set()


def test_every_topic_is_in_the_docs():
    documented = " ".join(named(section(page("contracts/mqtt.md"), "2. Topics")))
    leaves = [*topics.DEVICE_WRITES, *topics.DEVICE_READS, *(topic.rsplit("/", 1)[-1] for topic in topics.READER_READS)]
    assert [leaf for leaf in leaves if leaf != "+" and f"{{site}}/{{device}}/{leaf}" not in documented] == []
    assert topics.ROOT in page("contracts/mqtt.md")


@pytest.mark.parametrize("kind", Message.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_field_of_a_message_is_in_the_docs(kind):
    envelope = {field.name for field in fields(Message)}
    [row] = [
        row
        for row in table_rows(section(page("contracts/mqtt.md"), "3. Telemetry"))
        if len(row) == 3 and row[0] == f"`{kind.__struct_config__.tag}`"
    ]
    documented = {name.rstrip("?") for name in named(row[2])}
    assert {field.name for field in fields(kind)} - envelope <= documented


def test_every_command_to_a_device_is_in_the_docs():
    rows = {row[0].strip("`"): named(row[1]) for row in table_rows(section(page("contracts/mqtt.md"), "7. Commands"))}
    envelope = {field.name for field in fields(Command)}
    for command in Command.__subclasses__():
        own = {field.name for field in fields(command)} - envelope
        assert own <= {name.rstrip("?") for name in rows[str(command.__struct_config__.tag)]}


def test_every_condition_is_in_the_docs():
    documented = {row[0].strip("`").split(":")[0] for row in table_rows(page("contracts/conditions.md"))}
    of_the_scheduler = {*dispatch.CODES, alone.FAILED, *post.WAITING.values()}
    assert documented - {"code", "---"} == {*conditions.CODES, *accounts.SERVICE_CODES, *of_the_scheduler}


def test_every_reason_of_a_dead_letter_is_in_the_docs():
    documented = {row[0].strip("`").split(":")[0] for row in table_rows(page("contracts/dead-letters.md"))}
    assert reasons_in_the_code() | reasons_in_the_golden_file() <= documented


def reasons_in_the_golden_file():
    lines = (ROOT / "tests/contract/golden.jsonl").read_text(encoding="utf-8").splitlines()
    return {letter["reason"].split(":")[0] for line in lines for letter in json.loads(line)["dead"]}


def reasons_in_the_code():
    """First words of the reasons that ingest gives to `Refused` and `DeadLetter`."""
    found = set()
    for path in (ROOT / "ingest").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Refused", "DeadLetter"):
                given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "reason")]
                texts = [getattr(one, "values", [one])[0] for one in given]
                words = [text.value for text in texts if isinstance(text, ast.Constant)]
                found |= {word.split(":")[0] for word in words if isinstance(word, str)}
    assert found, "no reasons found: did Refused change its name?"
    return found


def commands(group, path="lunchong"):
    """Every command of the command line by its name, with its options."""
    for name, command in getattr(group, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", {long for said in command.params for long in said.opts if long.startswith("--")}


@pytest.mark.parametrize(("command", "options"), list(commands(get_command(cli.app))))
def test_every_command_and_its_options_are_in_the_docs(command, options):
    if command == "lunchong simulate":  # takes its options apart by itself
        sources = [ROOT / "lunchong" / name for name in ("simulate.py", "replay.py")]
        options = {
            found for path in sources for found in re.findall(r"(?<=[`\s\[\"])--[a-z][a-z-]+", path.read_text("utf-8"))
        }
    text = page("contracts/cli.md") + "\n##"
    parts = re.findall(rf"^### [^\n]*`{command}\b.*?(?=^##)", text, re.MULTILINE | re.DOTALL)
    assert parts, "no heading"
    documented = set(re.findall(r"--[a-z-]+", " ".join(parts))) | {"--data", "--config", "--help"}
    assert options <= documented


def openapi():
    """What the routes say of themselves, as in /openapi.json."""
    app = FastAPI()
    for module in pkgutil.iter_modules(routes.__path__, f"{routes.__name__}."):
        app.include_router(importlib.import_module(module.name).router)
    return app.openapi()


def documented_paths():
    """`GET /path` and the names in its query, from the tables of the page."""
    found = {}
    for said in named(page("contracts/http.md")):
        if shape := re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) (/[^?\s]*)(?:\?(\S*))?", said):
            found[f"{shape[1]} {shape[2]}"] = set(re.findall(r"(\w+)=", shape[3] or ""))
    return found


def test_every_path_and_its_query_is_in_the_docs():
    documented = documented_paths()
    for path, methods in openapi()["paths"].items():
        for method, route in methods.items():
            query = {asked["name"] for asked in route.get("parameters", []) if asked["in"] == "query"}
            assert query <= documented[f"{method.upper()} {path}"], path


def test_every_problem_is_in_the_docs():
    rows = table_rows(section(page("contracts/http.md"), "Errors"))
    documented = {(slug, row[1]) for row in rows for slug in named(row[0])}
    assert {(problem.slug, str(problem.status)) for problem in problems.ALL} == documented


def test_every_metric_is_in_the_docs_and_no_other():
    sources = [path for package in ("api", "ingest", "lunchong") for path in (ROOT / package).rglob("*.py")]
    texts = [text for path in sources if "prometheus_client" in (text := path.read_text(encoding="utf-8"))]
    counted = {name for text in texts for name in re.findall(r'"(lunchong_\w+)"', text)}
    documented = {row[0].strip("`").removesuffix("_total") for row in table_rows(page("metrics.md"))}
    assert counted == {name for name in documented if name.startswith("lunchong_")}


def test_the_inventory_on_its_page_is_one():
    [example] = re.findall(r"```toml\n(.*?)```", page("contracts/inventory.md"), re.DOTALL)
    assert set(inventory.load(example).devices) == {"jn-01/pile-0001", "jn-01/station-01"}


def test_every_key_of_the_inventory_is_in_the_docs():
    documented = {row[0].strip("`[]"): named(row[1]) for row in table_rows(page("contracts/inventory.md"))}
    for table, keys in TABLES.items():
        own = {field.name for field in fields(keys)}
        assert own <= {key.rstrip("?") for key in documented[table]}, table


def test_every_target_of_the_makefile_has_a_help_line_and_is_in_the_docs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## \S", makefile, re.MULTILINE))
    told = " ".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md"))
    told += page("performance.md")
    assert targets == helped
    assert {target for target in targets - {"help"} if f"make {target}" not in told} == set()


def test_every_row_of_the_fault_matrix_says_in_the_docs_on_what_it_runs():
    rows = [row for row in table_rows(page("faults.md")) if len(row) == 5 and row[0].isdigit()]
    shown = {int(row[0]): row[4] for row in rows}
    parts = {"embedded": "N", "production": "M"}
    assert {number: ", ".join(parts[one] for one in row.on) for number, row in ROWS.items()} == {
        number: on for number, on in shown.items() if set(on.split(", ")) <= set(parts.values())
    }


def markdown_pages():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


def anchors(path):
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", markdown_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_the_table_of_a_turns_life_is_the_code_s():
    rows = {row[0].strip("`"): row for row in table_rows(section(page("turns.md"), "The life of a turn"))[2:]}
    assert set(rows) == set(turns.STATES)
    for state, row in rows.items():
        assert row[2] == ("yes" if state in turns.HOLDING else "no")
        assert row[3] == turns.OCPI[state]
        assert dict(re.findall(r"`(\w+)` → `(\w+)`", row[4])) == turns.STEPS.get(state, {})
