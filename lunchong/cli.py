"""The command line. Each command imports what it needs when it runs, so that help and mistakes answer at once."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lunchong.account_commands import account
from lunchong.command_options import AsJson, Config, Data, settings_of
from lunchong.errors import UsageError, UserError
from lunchong.letter_commands import dead_letters

if TYPE_CHECKING:
    from lunchong.office import EnrolKind
    from lunchong.settings import Settings

app = typer.Typer(
    help="Shares a neighbourhood's few charging piles in turn, and says where a plug, a seat or a cool room is free.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
device = typer.Typer(help="Devices that may speak on the bus.", no_args_is_help=True)
client = typer.Typer(help="Programs that may listen on the bus.", no_args_is_help=True)
inventory = typer.Typer(help="The things of the place.", no_args_is_help=True)
rules = typer.Typer(help="How the bays of a site are shared.", no_args_is_help=True)
for name, group in (
    ("account", account), ("device", device), ("client", client), ("inventory", inventory), ("rules", rules),
    ("dead-letters", dead_letters),
):  # fmt: skip
    app.add_typer(group, name=name)

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> NoReturn:
    """Run the command that the arguments name; every error is said in one line and has its exit code."""
    others_may = os.umask(0o077)  # what lies in a data folder, stores and their journals too, is its owner's alone
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        said = error.format_message()
        if said.startswith("Usage: "):  # no command was named: this is the help
            print(said, file=sys.stderr)
            sys.exit(UsageError.exit_code)
        _fail(_in_plain_words(said), UsageError.exit_code)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except typer.Exit as ended:
        code = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    finally:
        os.umask(others_may)
    sys.exit(code or 0)


def _in_plain_words(said: str) -> str:
    """What is wrong with an option, without the words of the library that checks it."""
    return re.sub("Value error, |, unable to parse .*", "", said).replace("Input should be", "must be")


def _fail(what: str, code: int) -> NoReturn:
    print(f"lunchong: {what}", file=sys.stderr)
    sys.exit(code)


@app.command()
def demo(
    port: Annotated[int | None, typer.Option(help="Port of the page and the API.", show_default="8080")] = None,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0.1, help="End by itself after so many seconds, with a tally.")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Service seconds in one of the wall.", show_default="60")] = None,
    piles: Annotated[int | None, typer.Option(help="How many piles.", show_default="120")] = None,
    stations: Annotated[int | None, typer.Option(help="How many stations.", show_default="10")] = None,
    seed: Annotated[int | None, typer.Option(help="The same is the same place.", show_default="1")] = None,
    weather: Annotated[str | None, typer.Option(metavar="DATE", help="That day's; 2013-08-06 is a heat wave.")] = None,
    scenario: Annotated[Path | None, typer.Option(help="TOML file with values for these options.")] = None,
    as_json: AsJson = False,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder.", show_default="./data/demo")] = None,
    config: Config = None,
) -> None:
    """A living neighbourhood: broker, ingest, API and a simulated street in one command."""
    from lunchong.scenario import read_scenario

    place = read_scenario(scenario, speed=speed, piles=piles, stations=stations, seed=seed, weather=weather)
    from lunchong.demo import Run, play

    play(Run(place, for_s, as_json), data_dir=data, config=config, port=port)


Speed = Annotated[float, typer.Option(min=0.1, max=3600, help="Service seconds in a second of the wall.")]
Driver = Annotated[Literal["wall", "messages"], typer.Option("--clock", help="What drives service time.")]


@app.command()
def serve(speed: Speed = 1, clock: Driver = "wall", data: Data = None, config: Config = None) -> None:
    """Broker, ingest, store and API in one process, for real or simulated devices outside it."""
    settings = settings_of(data, config)
    from lunchong.logs import to_terminal
    from lunchong.process import run
    from lunchong.serve import Installation
    from lunchong.timing import Timing

    to_terminal()
    run(Installation(settings, Timing(speed=speed, messages=clock == "messages")))


@app.command()
def ingest(speed: Speed = 1, clock: Driver = "wall", data: Data = None, config: Config = None) -> None:
    """Ingest alone, over InfluxDB and a broker of your own; `api` shows what it takes."""
    settings = settings_of(data, config)
    from lunchong.ingest_process import IngestProcess
    from lunchong.logs import to_terminal
    from lunchong.process import run
    from lunchong.timing import Timing

    to_terminal()
    run(IngestProcess(settings, Timing(speed=speed, messages=clock == "messages")))


@app.command()
def api(data: Data = None, config: Config = None) -> None:
    """HTTP alone, beside `ingest` and on its data folder."""
    settings = settings_of(data, config)
    from lunchong.api_process import ApiProcess
    from lunchong.logs import to_terminal
    from lunchong.process import run

    to_terminal()
    run(ApiProcess(settings))


@app.command()
def scheduler(data: Data = None, config: Config = None) -> None:
    """Turns alone, beside `ingest` and on its data folder; a second one stands by and takes over."""
    settings = settings_of(data, config)
    from lunchong.logs import to_terminal
    from lunchong.process import run
    from lunchong.scheduler_process import SchedulerProcess

    to_terminal()
    run(SchedulerProcess(settings))


@app.command(context_settings=PASSED_ON)
def simulate(context: typer.Context) -> None:
    """Simulated devices against any installation, or with --replay a file of real sessions."""
    if any(argument.split("=")[0] == "--replay" for argument in context.args):
        from lunchong import replay

        raise typer.Exit(replay.main(context.args))
    from lunchong import simulate as street

    raise typer.Exit(street.main(context.args))


@app.command()
def study(
    seeds: Annotated[int, typer.Option(min=1, help="So many times, each with other people.")] = 20,
    days: Annotated[int, typer.Option(min=1, max=56, help="Service days of each.")] = 28,
    site: Annotated[
        list[int] | None, typer.Option(help="Number of plugs; again for more.", show_default="8 16")
    ] = None,
    people: Annotated[list[str] | None, typer.Option(help="Behaviour set; again for more.", show_default="all")] = None,
    real: Annotated[bool, typer.Option("--real/--no-real", help="Needs of real sessions too.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One seed, seven days, 8 plugs, one set.")] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Seeds lived at a time.")] = 2,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write the report and its figures.")] = None,
    as_json: AsJson = False,
) -> None:
    """What charging in turn is worth beside first come first served and rotation, on the same demand."""
    from lunchong.study import QUICK, as_text, chosen
    from lunchong.study import study as lived

    found = lived(QUICK if quick else chosen(seeds, days, site, people, real, processes), out)
    print(json.dumps(found) if as_json else as_text(found))


@app.command()
def init(data: Data = None, config: Config = None) -> None:
    """Make the data folder with its secrets, and an example of an inventory where there is none."""
    from lunchong.setting_up import set_up

    for line in set_up(settings_of(data, config)):
        print(line)


@app.command()
def doctor(
    as_json: AsJson = False,
    devices: Annotated[bool, typer.Option("--devices", help="What became of each device's messages.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Say what is wrong here and what to do about it; exit code 1 when anything is."""
    from lunchong.doctor import examine

    found = examine(settings_of(data, config))
    if as_json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        for line in [*found.findings, *(found.table() if devices else ())]:
            print(line)
    raise typer.Exit(not found.well)


@device.command("enroll")
def enroll_device(
    site: Annotated[str, typer.Argument(metavar="SITE")],
    device: Annotated[str | None, typer.Argument(metavar="[DEVICE]")] = None,
    gateway: Annotated[bool, typer.Option("--gateway", help="A gateway that speaks for every device of SITE.")] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a device, or a site's gateway, a new password, and print it this once."""
    if gateway == (device is not None):
        raise UsageError("name SITE and DEVICE, or SITE with --gateway")
    _enroll("gateway" if gateway else "device", site, device or "", as_json, settings_of(data, config))


@client.command("enroll")
def enroll_client(name: str, as_json: AsJson = False, data: Data = None, config: Config = None) -> None:
    """Give a program that reads states and sessions a new password, and print it this once."""
    _enroll("client", "", name, as_json, settings_of(data, config))


def _enroll(what: EnrolKind, site: str, name: str, as_json: bool, settings: Settings) -> None:
    import msgspec

    from lunchong.offline import office

    with office(settings) as desk:
        enrolled = desk.enroll(what, site, name)
    if as_json:
        print(msgspec.json.encode(enrolled).decode())
    else:
        print(f"username {enrolled.username}\npassword {enrolled.password}\nurl      {enrolled.url}")


@inventory.command("check")
def inventory_check(
    file: Annotated[Path | None, typer.Argument(help="Another file than the one of the settings.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Name every mistake of an inventory with its line."""
    from lunchong.inventory_file import InventoryFile

    path = file or settings_of(data, config).inventory
    found = InventoryFile(path).read()
    print(f"{path} is right: {len(found.sites)} sites, {len(found.devices)} devices")


@inventory.command("export")
def inventory_export(data: Data = None, config: Config = None) -> None:
    """Print the inventory in use."""
    from lunchong.offline import office

    with office(settings_of(data, config)) as desk:
        print(desk.inventory_text(), end="")


@rules.command("check")
def rules_check(file: Annotated[Path, typer.Argument()], data: Data = None, config: Config = None) -> None:
    """Name every mistake of a site's rules with its line; with an inventory in place, what does not fit it too."""
    from lunchong.rules_file import check

    print("\n".join(check(file, settings_of(data, config), datetime.now(UTC).year)))
