"""`tools/tests`, which runs all tests in two parts, over a small tree of tests of its own."""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import until

ROOT = Path(__file__).resolve().parents[2]
PASSES = "def test_a(): pass\n"
FAILS = "def test_b(): assert 1 == 2\n"
STAYS = """
import pathlib, time, pytest
@pytest.fixture
def held():
    pathlib.Path(__file__).with_suffix(".began").touch()
    yield
    pathlib.Path(__file__).with_suffix(".cleared").touch()
def test_stays(held):
    time.sleep(60)
"""
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib"]
pythonpath = ["."]
[tool.coverage.run]
parallel = true
source_pkgs = ["ours"]
data_file = "build/coverage/data"
[tool.coverage.report]
fail_under = {least}
"""
HALVES = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"


@pytest.fixture
def checkout(tmp_path):
    """Where each part calls one of two functions."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "tests", tmp_path / "tools" / "tests")
    (tmp_path / "pyproject.toml").write_text(SETTINGS.format(least=100))
    (tmp_path / "ours.py").write_text(HALVES)
    written(tmp_path, "integration/test_one", "import ours\ndef test_one(): ours.one()\n")
    written(tmp_path, "unit/test_two", "import ours\ndef test_two(): ours.two()\n")
    return tmp_path


def written(checkout, name, text):
    file = checkout / "tests" / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    (checkout / "tests" / "e2e").mkdir(exist_ok=True)


def begun(checkout):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    return subprocess.Popen(
        [sys.executable, checkout / "tools" / "tests", "-p", "pytest_cov"],
        cwd=checkout,
        env={**env, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # half of a second for each part
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(checkout):
    with begun(checkout) as run:
        said, _ = run.communicate(timeout=60)
    return run.returncode, said


def test_what_either_part_covers_counts_and_each_says_how_many_tests_it_had(checkout):
    written(checkout, "a_new_folder/test_more", PASSES)
    code, said = ended(checkout)
    assert code == 0, said
    assert "processes: 1 tests in" in said
    assert "the-rest: 2 tests in" in said


def test_stories_that_fill_a_core_are_told_beside_those_with_deadlines(checkout):
    files = runpy.run_path(str(ROOT / "tools" / "tests"))["FILL_A_CORE"]
    stories = [file.removeprefix("tests/").removesuffix(".py") for file in files]
    assert stories
    for story in stories:
        assert (ROOT / "tests" / f"{story}.py").exists()
        written(checkout, story, PASSES)
    code, said = ended(checkout)
    assert code == 0, said
    assert "processes: 1 tests in" in said
    assert f"the-rest: {1 + len(stories)} tests in" in said


def test_what_neither_part_covers_fails_the_run(checkout):
    written(checkout, "unit/test_two", PASSES)
    code, said = ended(checkout)
    assert code == 1, said
    assert "fail-under" in said


def test_what_fails_in_either_part_is_named_at_the_end(checkout):
    for folder in ("integration", "unit"):
        written(checkout, f"{folder}/test_more", FAILS)
    code, said = ended(checkout)
    assert code == 1
    assert said.count("def test_b(): assert 1 == 2") == 2
    for folder in ("integration", "unit"):
        assert f"  FAILED tests.{folder}.test_more::test_b" in said.splitlines()


@pytest.mark.parametrize(("folder", "part"), [("integration", "processes"), ("unit", "the-rest")])
def test_a_part_without_tests_fails_the_run(checkout, folder, part):
    for file in (checkout / "tests" / folder).iterdir():
        file.unlink()
    (checkout / "pyproject.toml").write_text(SETTINGS.format(least=0))
    code, said = ended(checkout)
    assert code == 1
    assert f"{part}: 0 tests" in said


def test_an_interrupt_ends_both_parts_and_lets_them_clear_up(checkout):
    for folder in ("integration", "unit"):
        written(checkout, f"{folder}/test_stays", STAYS)
    with begun(checkout) as run:
        until(lambda: len(list(checkout.rglob("*.began"))) == 2, 30)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert len(list(checkout.rglob("*.cleared"))) == 2
