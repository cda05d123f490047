"""Floor 3 · Brings the ledger's tables to this version, or back to an older one."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import text
from sqlalchemy.engine import Engine

STEPS = Path(__file__).with_name("migrations")
NEWEST = "head"
NOTHING = "base"
ONE_AT_A_TIME = 0x6C756E63
"""A number of our own, by which processes that migrate one database wait for each other."""

_ONE_IN_THIS_PROCESS = threading.Lock()
"""Alembic keeps what it works on in its modules: two threads at once would make tables in one another's ledger."""


class LedgerTooNew(Exception):
    """The ledger was made by a newer version of the service; one line that says so."""


def version_of(engine: Engine) -> str | None:
    """The step at which the tables stand; None where there are none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """The step of this version."""
    config = Config()
    config.set_main_option("script_location", str(STEPS))
    return ScriptDirectory.from_config(config).get_current_head()


def migrate(engine: Engine, to: str = NEWEST) -> None:
    """All steps up (or down) to that one, together or none; of several processes one at a time. Raises LedgerTooNew."""
    logging.getLogger("alembic").setLevel(logging.WARNING)  # at each start it tells what it is going to assume
    config = Config()
    config.set_main_option("script_location", str(STEPS))
    with _ONE_IN_THIS_PROCESS, engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite's transactions that write take its one lock as they begin
            for wait in ("statement_timeout", "lock_timeout"):
                connection.execute(text(f"SET LOCAL {wait} = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        config.attributes["connection"] = connection
        found = MigrationContext.configure(connection).get_current_revision()
        try:
            if found is not None:
                ScriptDirectory.from_config(config).get_revision(found)
        except CommandError as unknown:
            raise LedgerTooNew(
                f"the ledger stands at step {found!r}, which this version does not know: use the version that made it"
            ) from unknown
        steps = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]  # the newest first
        if to == NEWEST or found is None or (to in steps and steps.index(to) < steps.index(found)):
            command.upgrade(config, to)
        else:
            command.downgrade(config, to)
