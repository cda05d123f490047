"""`lunchong dead-letters`: messages that could not be taken."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from lunchong.command_options import AsJson, Config, Data, settings_of
from lunchong.errors import UsageError

dead_letters = typer.Typer(help="Messages that could not be taken.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids as `dead-letters list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def _chosen(ids: list[str] | None, everything: bool) -> list[str] | None:
    if bool(ids) == everything:
        raise UsageError("name ids, or --all")
    return ids or None


@dead_letters.command("list")
def dead_letters_list(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this one.")] = None,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """The newest messages that could not be taken, each with its reason."""
    from lunchong.letters import as_dict, as_line
    from lunchong.offline import office

    with office(settings_of(data, config)) as desk:
        letters = desk.dead_letters(limit, after)
    if as_json:
        print(json.dumps([as_dict(letter) for letter in letters], ensure_ascii=False))
    else:
        for letter in letters:
            print(as_line(letter))


@dead_letters.command("show")
def dead_letters_show(
    wanted: Annotated[str, typer.Argument(metavar="ID")],
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """One dead letter whole, as it came."""
    from lunchong.letters import as_dict, found, plain
    from lunchong.offline import office

    with office(settings_of(data, config)) as desk:
        letter = as_dict(found(desk, wanted))
    if as_json:
        print(json.dumps(letter, ensure_ascii=False))
    else:
        for key, value in letter.items():
            print(f"{key:12} {plain(str(value))}")


@dead_letters.command("retry")
def dead_letters_retry(ids: Ids = None, everything: All = False, data: Data = None, config: Config = None) -> None:
    """Try dead letters again, say after the inventory was mended; asks the running server."""
    from lunchong.offline import office

    chosen = _chosen(ids, everything)
    with office(settings_of(data, config)) as desk:
        taken, left = desk.retry_dead(chosen)
    print(f"{taken} taken, {left} still dead")


@dead_letters.command("purge")
def dead_letters_purge(ids: Ids = None, everything: All = False, data: Data = None, config: Config = None) -> None:
    """Delete dead letters."""
    from lunchong.offline import office

    chosen = _chosen(ids, everything)
    with office(settings_of(data, config)) as desk:
        print(f"{desk.purge_dead(chosen, None)} deleted")
