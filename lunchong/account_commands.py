"""`lunchong account`: who may log in. It works beside a running server, and without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lunchong.command_options import Config, Data, settings_of
from lunchong.errors import UsageError, UserError
from scheduler.accounts import Role

if TYPE_CHECKING:
    from scheduler.accounts import Account
    from scheduler.ledger_sql import SqlLedger

Named = Annotated[str, typer.Argument(metavar="NAME", help="What it logs in with.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read its password from there.")]

account = typer.Typer(help="Who may log in, and as what.", no_args_is_help=True)


@account.command("add")
def add(
    name: Annotated[str, typer.Option(help="To log in with.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    household: Annotated[str | None, typer.Option(metavar="ID", help="Whose turns it asks for.")] = None,
    password_stdin: FromStdin = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make an account; its password is the first line of standard input."""
    from scheduler.accounts import Account, AccountTaken, name_mistake

    if (mistake := name_mistake(name)) is not None:
        raise UsageError(mistake)
    if role == "resident" and household is None:
        raise UsageError("a resident has a household: say --household ID")
    hashed = _hashed(password_stdin)
    with _ledger(data, config) as ledger:
        if household is not None and ledger.household(household) is None:
            raise UserError(
                f"household {household} is not registered: staff do that with PUT /api/v1/households/{household}"
            )
        try:
            ledger.accounts.add(Account(name=name, role=role, household=household, password=hashed))
        except AccountTaken as taken:
            raise UserError(str(taken)) from None
    print(f"{name} may log in as {role}" + (f" of household {household}" if household else ""))


@account.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Every account: its name, its role, its household."""
    with _ledger(data, config) as ledger:
        found = ledger.accounts.accounts()
    if as_json:
        print(json.dumps([{"name": one.name, "role": one.role, "household": one.household} for one in found]))
        return
    for one in found:
        print(f"{one.name:24} {one.role:12} {one.household or ''}".rstrip())


@account.command("password")
def password(name: Named, password_stdin: FromStdin = False, data: Data = None, config: Config = None) -> None:
    """Give an account another password; whoever was logged in with it is no longer."""
    from msgspec.structs import replace

    hashed = _hashed(password_stdin)
    with _ledger(data, config) as ledger:
        was = _known(ledger, name)
        ledger.accounts.change(replace(was, password=hashed), was)
    print(f"{name} has a new password, and must log in again")


@account.command("remove")
def remove(
    name: Named,
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """End an account. Of the last one of a household all that says who it was is forgotten, as `DELETE /me` does."""
    from scheduler.accounts import HasTurns

    if not yes:
        raise UsageError("it cannot be undone: say --yes")
    with _ledger(data, config) as ledger:
        _known(ledger, name)
        try:
            ledger.accounts.remove(name)
        except HasTurns as live:
            raise UserError(str(live)) from None
    print(f"{name} is no more")


def _hashed(password_stdin: bool) -> str:
    """Of the first line of standard input."""
    import bcrypt

    from scheduler.accounts import password_mistake

    if not password_stdin:
        raise UsageError("pipe its password in, and say --password-stdin: arguments can be read by others")
    given = sys.stdin.readline().rstrip("\r\n")
    if (mistake := password_mistake(given)) is not None:
        raise UsageError(mistake)
    return bcrypt.hashpw(given.encode(), bcrypt.gensalt()).decode()


def _known(ledger: SqlLedger, name: str) -> Account:
    found = ledger.accounts.account(name)
    if found is None:
        raise UserError(f"there is no account {name}; `lunchong account list` has them all")
    return found


@contextmanager
def _ledger(data: Path | None, config: Path | None) -> Iterator[SqlLedger]:
    from lunchong.turns_side import open_ledger
    from scheduler.ledger import LedgerUnavailable

    settings = settings_of(data, config)
    if not settings.data_dir.exists():
        raise UserError(f"there is no {settings.data_dir}: run `lunchong init` first")
    ledger = open_ledger(settings.ledger_url)
    try:
        yield ledger
    except LedgerUnavailable as away:
        raise UserError(f"the ledger is away: {away}") from None
    finally:
        ledger.close()
