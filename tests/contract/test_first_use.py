"""What a process meets first, many threads may meet at once."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.processes import ROOT

PACKAGES = ("ingest", "api", "scheduler", "lunchong", "simulators")
AT_ONCE = """
import sys, threading
from scheduler.rules import RuleSet
from tests.ledgers import opened

ledger = opened(sys.argv[1])
ledger.adopt(RuleSet(site="jn-01", compounds=("c-01",)), after=0, by="init", now_ms=1)
sys.setswitchinterval(1e-6)
go = threading.Barrier(8)

def reads():
    go.wait()
    assert ledger.rules("jn-01").version == 1

threads = [threading.Thread(target=reads) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("again", range(5))
def test_rules_that_many_ask_for_first_end_no_process(tmp_path, again):
    command = [sys.executable, "-c", AT_ONCE, f"sqlite:///{tmp_path / 'ledger.db'}"]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 0, again


def test_what_is_decoded_is_known_before_any_thread_meets_it():
    found = []
    for file in [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]:
        for call in [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name == "decode" and any(keyword.arg == "type" for keyword in call.keywords):
                found.append(f"{file.relative_to(ROOT)}:{call.lineno}")
    assert found == [], "make a decoder where the module is imported (ingest/prepared.py says why)"
