"""Floor 3 · A turn as a row of the ledger, and back."""

from __future__ import annotations

from typing import Any

from msgspec import json
from msgspec.structs import asdict
from sqlalchemy import RowMapping

from scheduler.buckets import Place
from scheduler.turns import Turn

_watts = json.Decoder(tuple[int, ...])


def row_of(turn: Turn) -> dict[str, Any]:
    """Columns of the table `turn`; its place is spread over three."""
    row = asdict(turn)
    place = row.pop("place")
    row["connector"] = place and place.connector
    row["first_bucket"] = place and place.first
    row["watts"] = place and json.encode(place.watts).decode()
    return row


def turn_of(row: RowMapping) -> Turn:
    said: dict[str, Any] = {str(name): value for name, value in row.items()}
    connector, first, watts = said.pop("connector"), said.pop("first_bucket"), said.pop("watts")
    place = None if connector is None else Place(connector, first, _watts.decode(watts))
    return Turn(**said, place=place)
