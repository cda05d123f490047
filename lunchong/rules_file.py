"""A site's rules as a file: read for `lunchong rules check`, beside the inventory where there is one."""

from __future__ import annotations

from pathlib import Path

from ingest.workdays import is_announced
from lunchong.errors import UsageError
from lunchong.inventory_file import InventoryFile
from lunchong.settings import Settings
from scheduler.rules_file import RulesError, load


def check(path: Path, settings: Settings, year: int) -> list[str]:
    """Lines that say that the rules are right, and what is not known of this year and the next.

    Raises UsageError with a line for each mistake.
    """
    inventory = InventoryFile(settings.inventory).read() if settings.inventory.exists() else None
    try:
        rules = load(path.read_text(encoding="utf-8"), settings.timezone, inventory)
    except OSError as error:
        raise UsageError(f"cannot read the rules {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"the rules {path} are not UTF-8: {error.reason}") from None
    except RulesError as error:
        raise UsageError("\n".join(f"{path} {mistake}" for mistake in error.mistakes)) from None
    said = [f"{path} is right: rules of {rules.site}"]
    if inventory is None:
        said.append(f"not looked at beside an inventory: there is no {settings.inventory}")
    windows = (*rules.opening, *(window for quota in rules.quotas for window in quota.hours))
    if any(window.days != "all" for window in windows):
        said += [
            f"provisional for {one}: China's adjusted working days of that year are not announced"
            for one in (year, year + 1)
            if not is_announced(one)
        ]
    return said
