"""The floors are kept by a tool: here it is shown to notice what it is there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
SETTINGS = """[tool.importlinter]
root_packages = ["ingest", "api", "scheduler", "simulators", "lunchong"]
include_external_packages = true

# BEGIN tools/floors
# END tools/floors
"""


@pytest.fixture
def project(tmp_path):
    """A project of our shape: a pure file, a port, an adapter."""
    for package in ("ingest", "api", "scheduler", "simulators", "lunchong"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/floors", tmp_path / "tools/floors")
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    module(tmp_path, "ingest/pure.py", 0)
    module(tmp_path, "ingest/port.py", 1, "import ingest.pure")
    module(tmp_path, "ingest/adapter.py", 3, "import sqlite3, ingest.port")
    module(tmp_path, "simulators/pile.py", 0, "import ingest.pure")
    return tmp_path


def module(project, name, floor, imports=""):
    (project / name).write_text(f'"""Floor {floor} · Does one thing."""\n{imports}\n')


def floors(project, *arguments):
    command = [sys.executable, str(project / "tools/floors"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def broken(project):
    """The contracts that the imports of a project break."""
    assert floors(project).returncode == 0
    run = subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=project, env={"PYTHONPATH": str(project)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Contracts:" in run.stdout, run.stdout + run.stderr
    return [line.removesuffix(" BROKEN") for line in run.stdout.splitlines() if line.endswith(" BROKEN")]


def test_a_project_that_keeps_to_its_floors_passes(project):
    assert broken(project) == []


@pytest.mark.parametrize(
    ("name", "floor", "imports", "contract"),
    [
        ("ingest/climber.py", 1, "import ingest.adapter", "Floors of ingest"),
        ("ingest/impure.py", 0, "import socket", "Floor 0 is pure"),
        ("simulators/nosy.py", 3, "import ingest.adapter", "Simulators are the outside world"),
        ("ingest/upward.py", 4, "import lunchong", "Packages"),
    ],
)
def test_an_import_that_may_not_be_is_named(project, name, floor, imports, contract):
    module(project, name, floor, imports)
    [found] = broken(project)
    assert found.startswith(contract)


def test_a_module_that_does_not_say_its_floor_is_named(project):
    (project / "ingest/lost.py").write_text('"""Does one thing."""\n')
    run = floors(project, "--check")
    assert run.returncode == 1
    assert "ingest/lost.py" in run.stderr


def test_a_new_module_asks_for_tools_floors(project):
    floors(project)
    assert floors(project, "--check").returncode == 0
    module(project, "ingest/new.py", 2)
    assert floors(project, "--check").returncode == 1
