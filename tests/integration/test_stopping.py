"""A command that is asked to end does so, whatever it was doing at that moment."""

from __future__ import annotations

import subprocess
import sys

ASKED_WHILE_IT_LOOKS = """
import os, signal
from lunchong.stopping import asked_to_stop
asked = asked_to_stop()
with asked._cond:  # as `asked.wait()` holds it, many times a second
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(100_000):
        pass
print(asked.wait(10), flush=True)
"""

ASKED_TWICE = """
import os, signal, time
from lunchong.stopping import asked_to_stop
asked = asked_to_stop()
os.kill(os.getpid(), signal.SIGTERM)
asked.wait(10)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(10)
"""


def ended(program: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def test_a_signal_that_comes_while_it_looks_for_one_is_heard():
    assert ended(ASKED_WHILE_IT_LOOKS) == (0, "True")


def test_a_second_signal_ends_it_at_once():
    assert ended(ASKED_TWICE) == (128 + 15, "")
