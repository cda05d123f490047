"""Floor 3 · Run a program that the kernel kills when its parent ends, whatever ended the parent.

This file is the program's launcher too: started as a script it ties itself to its parent, then becomes the program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def tied(command: Sequence[str]) -> list[str]:
    """`command`, to be started with subprocess by a thread that lives as long as the program shall.

    The kernel sends the signal when the *thread* that started the child ends, not only the process.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def _become(parent_pid: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent_pid:  # else it was gone before we were tied to it
        os.execv(command[0], command)  # noqa: S606 - to become it, no shell between


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
