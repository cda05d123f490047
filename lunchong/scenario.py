"""What a demo shows: the options of the command and the keys of a scenario file, checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from lunchong.errors import UsageError

RIGHT = {
    "speed": "a number from 0.1 to 3600",
    "piles": "a whole number from 1 to 5000",
    "stations": "a whole number from 0 to 500",
    "seed": "a whole number",
    "weather": "a date in quotes, as '2013-08-06'",
    "inventory": "the path of a file",
    "faults": "text, as 'duplicate=0.01'",
}


class Place(Struct, frozen=True):
    """What is shown: the keys of a scenario file, by the names of the options. A scenario may also name an inventory of
    its own, and faults as `lunchong simulate --faults` takes them."""

    speed: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    piles: Annotated[int, Meta(ge=1, le=5000)] = 120
    stations: Annotated[int, Meta(ge=0, le=500)] = 10
    seed: int = 1
    weather: str | None = None
    inventory: str | None = None
    faults: str | None = None

    @property
    def signature(self) -> str:
        """The first line of the inventory that a demo makes: one that was made otherwise is made anew."""
        return f"# Made by `lunchong demo --piles {self.piles} --stations {self.stations} --seed {self.seed}`\n"


def read_scenario(file: Path | None, **options: object) -> Place:
    """The place of a scenario file, with the `options` that were given in its stead. Raises UsageError in one line."""
    given = {key: value for key, value in options.items() if value is not None}
    try:
        kept = msgspec.toml.decode(file.read_bytes()) if file else {}
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"scenario {file}: {error}") from None
    if unknown := sorted(kept.keys() - RIGHT.keys()):
        raise UsageError(f"scenario {file}: unknown key {unknown[0]!r}; there are {', '.join(RIGHT)}")
    said = {**kept, **given}
    try:
        place = msgspec.convert(said, Place)
    except msgspec.ValidationError as error:
        key = str(error).rpartition("$.")[2].rstrip("`")
        where = f"--{key}" if key in given else f"scenario {file}: {key}"
        raise UsageError(f"{where} must be {RIGHT[key]}, not {_shown(said[key])}") from None
    if place.weather is not None:
        date_of(place.weather)
    return place


def date_of(weather: str) -> date:
    """The day whose weather was asked for. Raises UsageError."""
    try:
        return date.fromisoformat(weather)
    except ValueError:
        raise UsageError(f"the weather's date must be like 2013-08-06, not {weather!r}") from None


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else str(value)
