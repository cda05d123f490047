"""Floor 1 · The inventory as a TOML text: read with every mistake named by its line, and written back."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import Struct

from ingest.assets import Inventory, Name, Window
from ingest.inventory_fields import TABLES, Checked, Draft
from ingest.toml_lines import Path, lines_of


@dataclass(frozen=True, order=True)
class Mistake:
    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class InventoryError(ValueError):
    """The text is no inventory. `mistakes` holds all that is wrong with it, by line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def load(text: str) -> Inventory:
    """The inventory that a TOML text describes. Raises InventoryError naming every mistake in it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InventoryError([syntax_mistake(text, str(error))]) from None
    lines = lines_of(text)
    found: list[tuple[Path, str]] = []
    checked = Checked(lambda path, what: found.append((path, what)), lambda path: line_of(lines, path))
    for table in document:
        if table not in TABLES:
            checked.unknown((table,), "table", table, TABLES)
    drafts = {table: _drafts(checked, table, document.get(table, [])) for table in TABLES}
    inventory = checked.inventory(drafts)
    if found:
        raise InventoryError(Mistake(line_of(lines, path), what) for path, what in found)
    return inventory


def _drafts(checked: Checked, table: str, entries: object) -> list[Draft]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        checked.mistake((table,), f"write each {table} under its own [[{table}]]")
        return []
    return [checked.draft(table, (table, number), entry) for number, entry in enumerate(entries)]


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a value, or of the nearest thing around it."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)


def syntax_mistake(text: str, said: str) -> Mistake:
    what, _, place = said.partition(" (at ")
    line = re.match(r"line (\d+)", place)
    return Mistake(int(line[1]) if line else len(text.rstrip().splitlines()) or 1, f"not TOML: {what}")


def dump(inventory: Inventory) -> str:
    """The inventory as TOML that loads back equal."""
    entries = ((table, entry) for table in TABLES for entry in getattr(inventory, f"{table}s").values())
    return "\n".join(
        f"[[{table}]]\n" + "".join(f"{key} = {text}\n" for key, text in _pairs(entry)) for table, entry in entries
    )


def _pairs(entry: Struct) -> Iterable[tuple[str, str]]:
    for key in entry.__struct_fields__:
        value = getattr(entry, key)
        if key == "opening":
            value = [window_text(window) for window in value]
        if value is not None and value not in ((), [], {}):
            yield key, _toml(value)


def window_text(window: Window) -> str:
    """`workday 07:00-22:00`; a window that passes midnight ends at the next day's time."""
    end_min = window.end_min - 1440 if window.end_min > 1440 else window.end_min
    hours = f"{window.start_min // 60:02d}:{window.start_min % 60:02d}-{end_min // 60:02d}:{end_min % 60:02d}"
    return hours if window.days == "all" else f"{window.days} {hours}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _quoted(value)
        case Name(zh=zh, en=en):
            return _quoted(zh) if zh == en else f"{{ zh = {_quoted(zh)}, en = {_quoted(en)} }}"
        case list() | tuple():
            return f"[{', '.join(_toml(one) for one in value)}]"
        case dict():
            return f"{{ {', '.join(f'{_quoted(str(key))} = {_toml(one)}' for key, one in value.items())} }}"
        case Struct():
            return f"{{ {', '.join(f'{key} = {text}' for key, text in _pairs(value))} }}"
        case _:
            raise TypeError(f"an inventory holds no {type(value).__name__}")


_ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", **{code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F)}}


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
