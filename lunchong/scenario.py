"""What a demo shows: the options of the command and the keys of a scenario file, checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from lunchong.errors import UsageError


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """What is shown: the keys of a scenario file, by the names of the options. A scenario may also name an inventory of
    its own, and faults as `lunchong simulate --faults` takes them."""

    speed: Annotated[float, Meta(ge=0.1, le=3600)] = 60.0
    piles: Annotated[int, Meta(ge=0, le=5000)] = 120
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
        said = msgspec.toml.decode(file.read_bytes(), type=dict[str, object]) if file else {}
        place = msgspec.convert({**said, **given}, Place)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{f'scenario {file}' if file else 'bad option'}: {error}") from None
    if place.weather is not None:
        try:
            date.fromisoformat(place.weather)
        except ValueError:
            raise UsageError(f"the weather's date must be like 2013-08-06, not {place.weather!r}") from None
    return place
