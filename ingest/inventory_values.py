"""Floor 0 · The kinds of values of the inventory's TOML, each read strictly or refused with what it should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time

from ingest.assets import Name, Window
from ingest.topics import SERVICE

_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_WINDOW = re.compile(r"(?:(all|workday|restday) +)?(\d{1,2}):(\d\d) *- *(\d{1,2}):(\d\d)")


class Wrong(ValueError):
    """A value is not what its key asks for; the text says what it should be."""


def an_id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Wrong(f"must be 1 to 32 of the letters A-Z a-z 0-9 _ -, not {value!r}")
    return value


def a_site_id(value: object) -> str:
    if value == SERVICE:
        raise Wrong(f"must not be {SERVICE!r}: that name is the service's own")
    return an_id(value)


def a_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"must be a text, not {value!r}")
    return value


def a_name(value: object) -> Name:
    if isinstance(value, dict):
        if extra := set(value) - {"zh", "en"}:
            raise Wrong(f"may hold zh and en, not {', '.join(sorted(extra))}")
        if not value:
            raise Wrong("needs zh or en")
        said = {language: a_text(text) for language, text in value.items()}
        zh = said.get("zh") or said["en"]
        return Name(zh, said.get("en") or zh)
    if not isinstance(value, str) or not value.strip():
        raise Wrong(f"must be a text or {{ zh = …, en = … }}, not {value!r}")
    return Name(value, value)


def a_number(lo: float, hi: float, *, above: bool = False) -> Callable[[object], float]:
    span = f"above {lo:g} and up to {hi:g}" if above else f"from {lo:g} to {hi:g}"

    def check(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not lo <= value <= hi:
            raise Wrong(f"must be a number {span}, not {value!r}")
        if above and value == lo:
            raise Wrong(f"must be a number {span}, not {value!r}")
        return float(value)

    return check


def a_whole_number(lo: int, hi: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lo <= value <= hi:
            raise Wrong(f"must be a whole number from {lo} to {hi}, not {value!r}")
        return value

    return check


def one_of(*known: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise Wrong(f"must be {' or '.join(known)}, not {value!r}")
        return value

    return check


def a_day(value: object) -> str:
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            return str(value)
        return str(date.fromisoformat(a_text(value)))
    except ValueError:
        raise Wrong(f"must be a day such as 2027-03-31, not {value!r}") from None


def a_window(value: object) -> Window:
    match = _WINDOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Wrong(f'must be like "workday 07:00-22:00", "restday 00:00-24:00" or "06:00-23:00", not {value!r}')
    start_min, end_min = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    if start_min >= 1440 or end_min > 1440 or int(match[3]) > 59 or int(match[5]) > 59:
        raise Wrong(f"must use times from 00:00 to 24:00, not {value!r}")
    if start_min == end_min:
        raise Wrong(f"ends when it begins in {value!r}; a whole day is 00:00-24:00")
    days = match[1] or "all"
    return Window(days, start_min, end_min if end_min > start_min else end_min + 1440)  # type: ignore[arg-type]


def plain_rules(value: object) -> dict[str, object]:
    def plain(one: object) -> bool:
        match one:
            case dict():
                return all(plain(inner) for inner in one.values())
            case list():
                return all(plain(inner) for inner in one)
            case _:
                return not isinstance(one, date | datetime | time)

    if not isinstance(value, dict):
        raise Wrong(f"must be a table of rules, not {value!r}")
    if not plain(value):
        raise Wrong("must write its days and times as texts")
    return value
