"""`lunchong account`: who may log in. It works beside a running server, and without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lunchong.command_options import Config, Data, settings_of
from lunchong.errors import UsageError, UserError
from scheduler.accounts import Role

account = typer.Typer(help="Who may log in, and as what.", no_args_is_help=True)


@account.command("add")
def add(
    name: Annotated[str, typer.Option(help="To log in with.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    household: Annotated[str | None, typer.Option(metavar="ID", help="Whose turns it asks for.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read its password from there.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make an account; its password is the first line of standard input."""
    from scheduler.accounts import name_mistake, password_mistake

    if not password_stdin:
        raise UsageError("pipe its password in, and say --password-stdin: arguments can be read by others")
    if (mistake := name_mistake(name)) is not None:
        raise UsageError(mistake)
    if role == "resident" and household is None:
        raise UsageError("a resident has a household: say --household ID")
    password = sys.stdin.readline().rstrip("\r\n")
    if (mistake := password_mistake(password)) is not None:
        raise UsageError(mistake)
    _keep(name, role, household, password, data, config)
    print(f"{name} may log in as {role}" + (f" of household {household}" if household else ""))


def _keep(name: str, role: Role, household: str | None, password: str, data: Path | None, config: Path | None) -> None:
    import bcrypt

    from lunchong.turns_side import open_ledger
    from scheduler.accounts import Account, AccountTaken
    from scheduler.ledger import LedgerUnavailable

    settings = settings_of(data, config)
    if not settings.data_dir.exists():
        raise UserError(f"there is no {settings.data_dir}: run `lunchong init` first")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt()).decode()
    ledger = open_ledger(settings.ledger_url)
    try:
        if household is not None and ledger.household(household) is None:
            raise UserError(
                f"household {household} is not registered: staff do that with PUT /api/v1/households/{household}"
            )
        ledger.accounts.add(Account(name=name, role=role, household=household, password=hashed))
    except AccountTaken as taken:
        raise UserError(str(taken)) from None
    except LedgerUnavailable as away:
        raise UserError(f"the ledger is away: {away}") from None
    finally:
        ledger.close()
