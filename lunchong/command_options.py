"""Options that many commands have, and the settings that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lunchong.settings import Settings

Data = Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default="./data")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file.", show_default="DATA/lunchong.toml")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def settings_of(data: Path | None, config: Path | None, **options: object) -> Settings:
    from lunchong.settings import read  # when a command runs: help and mistakes answer at once

    return read(data_dir=data, config=config, options=options)
