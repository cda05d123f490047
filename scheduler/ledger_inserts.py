"""Floor 3 · Inserts that leave alone what is there already, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_into(dialect: str, table: Table) -> Any:
    """The dialect's own INSERT, which knows ON CONFLICT."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


def add_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert the row if its primary key is not there yet; whether it was."""
    keys = list(table.primary_key)
    adding = insert_into(connection.dialect.name, table).on_conflict_do_nothing(index_elements=keys)
    return connection.execute(adding.returning(keys[0]), row).first() is not None


def add_missing(connection: Connection, table: Table, rows: Sequence[dict[str, Any]], by: str | None = None) -> None:
    """Insert the rows whose primary key (or column `by`) is not there yet."""
    adding = insert_into(connection.dialect.name, table)
    keys = [by] if by else list(table.primary_key)
    connection.execute(adding.on_conflict_do_nothing(index_elements=keys), rows)
