"""What a command says when it cannot go on: one line, and the exit code that goes with it."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong; the text says what, where, and what to do."""

    exit_code = 1


class UsageError(UserError):
    """The command, a setting or a file that it was given is wrong."""

    exit_code = 2
