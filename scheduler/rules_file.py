"""Floor 1 · A set of rules as a TOML text: read with every mistake named by its line. Its schema is its manual too."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from msgspec.structs import replace

from ingest.assets import Inventory, Site, Window
from ingest.inventory import Mistake, line_of, syntax_mistake
from ingest.inventory_values import Wrong, a_day, a_number, a_site_id, a_text, a_whole_number, a_window, an_id, one_of
from ingest.toml_lines import Path, lines_of
from scheduler.quiet import QuietHours
from scheduler.rules import GUESTS, NIGHT, Basis, Quota, RuleSet

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
DAY_MIN = 1_440


class Field(NamedTuple):
    """A key of a table: what its value must be, and what it means."""

    form: str
    means: str
    read: Callable[[object], object]
    required: bool = False


class RulesError(ValueError):
    """The text is no set of rules. `mistakes` holds all that is wrong with it, by line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {value!r}")
    return value


def _quiet(value: object) -> tuple[int, int]:
    """Minutes after midnight of the start and the end."""
    if value == "none":
        return 0, 0
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    start, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 0)
    if match is None or max(start, end) >= DAY_MIN or int(match[2]) > 59 or int(match[4]) > 59 or start == end:
        raise Wrong(f'must be hours such as "22:00-07:00", or "none", not {value!r}')
    return start, end


def _windows(value: object) -> tuple[Window, ...]:
    return tuple(a_window(one) for one in (value if isinstance(value, list) else [value]))


def _several(read: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    def read_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Wrong(f"must be a list, not {value!r}")
        found = tuple(read(one) for one in value)
        if len(set(found)) < len(found):
            raise Wrong("has something twice")
        return found

    return read_all


def _a_compound(value: object) -> str:
    if value == GUESTS:
        raise Wrong(f"must not be {GUESTS!r}: that name stands for those who are of no compound here")
    return an_id(value)


_MINUTES, _COUNT = a_whole_number(0, 1_440), a_whole_number(0, 64)

FIELDS: dict[str, dict[str, Field]] = {
    "rules": {
        "site": Field("id", "the site that they are for", a_site_id, True),
        "compounds": Field("list of ids", "households of these compounds may ask", _several(_a_compound), True),
        "guests": Field(
            "0 to 64", "connectors that all others together may hold at a time; 0: nobody else may ask", _COUNT
        ),
        "opening": Field(
            "one window or a list",
            'when the site serves charging, such as `"workday 08:00-18:00"`; always without it',
            _windows,
        ),
        "quota": Field("tables", "how many connectors a compound may hold at a time, see below", lambda value: value),
        "quiet": Field('`"22:00-07:00"` or `"none"`', "no time to answer or to come runs in these hours", _quiet),
        "longest_turn_min": Field("15 to 1440", "a request that charges longer is refused", a_whole_number(15, 1_440)),
        "overstay_grace_min": Field("0 to 1440", "minutes after the end of charging before overstay counts", _MINUTES),
        "accessibility_min": Field(
            "0 to 600", "minutes of standing that accessibility is worth", a_whole_number(0, 600)
        ),
        "essential_min": Field(
            "0 to 600", "minutes of standing that an essential vehicle is worth", a_whole_number(0, 600)
        ),
        "move_margin_min": Field(
            "0 to 1440", "a published place moves only where somebody gains so many minutes by it", _MINUTES
        ),
        "stay_until_morning": Field(
            "true or false", "who is charged in quiet hours may stay to their end and a quarter of an hour", _yes_or_no
        ),
        "service_fee_yuan_kwh": Field("0 to 10", "the fee for the service, beside the energy", a_number(0, 10)),
        "basis": Field("table", "what allows guests and a fee, see below", lambda value: value),
        "parties": Field(
            "list of texts", "the public bodies that are party to a street site's charter", _several(a_text)
        ),
    },
    "quota": {
        "compound": Field("id", "one of `compounds`", _a_compound, True),
        "connectors": Field("0 to 64", "no more than these at a time", _COUNT, True),
        "hours": Field("one window or a list", "at these times; always without it", _windows),
    },
    "basis": {
        "kind": Field("`owners_vote` or `charter`", "", one_of("owners_vote", "charter"), True),
        "date": Field("day", "when it was decided, such as 2026-05-31", a_day, True),
        "document": Field("text", "where the decision can be read", a_text, True),
    },
}
"""What each table may hold: the file's own keys, those of each `[[quota]]`, and those of `[basis]`."""


def load(text: str, timezone: str = NIGHT.timezone, inventory: Inventory | None = None) -> RuleSet:
    """The rules that a TOML text describes, for a site of the inventory where one is given.

    Raises RulesError naming every mistake in it.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError([syntax_mistake(text, str(error))]) from None
    lines = lines_of(text)
    reading = _Reading()
    rules = reading.rules(document, timezone)
    if rules is not None:
        reading.fits(rules, inventory)
    if reading.found or rules is None:
        raise RulesError(Mistake(line_of(lines, path), what) for path, what in reading.found)
    return rules


def initial(site: Site, timezone: str = NIGHT.timezone) -> RuleSet:
    """The rules that a site begins with: its `initial_rules` of the inventory, for its compounds and opening hours.

    Raises RulesError, whose mistakes have no line of their own.
    """
    document: dict[str, Any] = {"site": site.id, "compounds": list(site.compounds), **site.initial_rules}
    reading = _Reading()
    rules = reading.rules(document, timezone)
    if reading.found or rules is None:
        raise RulesError(Mistake(0, f"initial_rules: {what}") for _, what in reading.found)
    return rules if "opening" in site.initial_rules else replace(rules, opening=site.opening)


class _Reading:
    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []

    def rules(self, document: dict[str, Any], timezone: str) -> RuleSet | None:
        """None where something is missing without which there are no rules."""
        said = self._table("rules", document, ())
        tables = document.get("quota", [])
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            self.found.append((("quota",), "write each quota under its own [[quota]]"))
            tables = []
        drafts = [self._table("quota", one, ("quota", number)) for number, one in enumerate(tables)]
        said["quotas"] = tuple(Quota(**draft) for draft in drafts if self._whole("quota", draft))
        basis = document.get("basis")
        if basis is not None and not isinstance(basis, dict):
            self.found.append((("basis",), "write the basis as a table [basis]"))
        elif basis is not None:
            draft = self._table("basis", basis, ("basis",))
            said["basis"] = Basis(**draft) if self._whole("basis", draft) else None
        start, end = said.get("quiet", (NIGHT.start_min, NIGHT.end_min))
        said["quiet"] = QuietHours(start, end, timezone)
        said.pop("quota", None)
        return RuleSet(**said) if self._whole("rules", said) else None

    def fits(self, rules: RuleSet, inventory: Inventory | None) -> None:
        """What is right by itself, and wrong beside the rest."""
        for number, quota in enumerate(rules.quotas):
            if quota.compound not in rules.compounds:
                self.found.append((("quota", number, "compound"), f"{quota.compound!r} is none of the compounds"))
        for key, is_so in (("guests", rules.guests > 0), ("service_fee_yuan_kwh", rules.service_fee_yuan_kwh > 0)):
            if is_so and rules.basis is None:
                self.found.append(((key,), f"{key} needs a [basis]: the owners' vote, or the charter, that allows it"))
        if not rules.compounds and not rules.guests:
            self.found.append((("compounds",), "nobody may ask: name compounds, or let guests in"))
        if inventory is not None:
            self._fits_inventory(rules, inventory)

    def _fits_inventory(self, rules: RuleSet, inventory: Inventory) -> None:
        site = inventory.sites.get(rules.site)
        if site is None:
            self.found.append((("site",), f"the inventory has no site {rules.site!r}"))
            return
        for compound in rules.compounds:
            if compound not in inventory.compounds:
                self.found.append((("compounds",), f"the inventory has no compound {compound!r}"))
        if site.mode == "station":
            self.found.append((("site",), f"{rules.site!r} is a station: nothing is charged in turn there"))
        if site.mode == "in_turn" and not rules.parties:
            self.found.append((("parties",), "a street site names the public bodies that are party to its charter"))

    def _table(self, name: str, entry: dict[str, Any], path: Path) -> dict[str, Any]:
        """The values of a table that are right."""
        fields, good = FIELDS[name], {}
        for key, value in entry.items():
            if key not in fields:
                near = difflib.get_close_matches(key, list(fields), 1)
                hint = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(fields)}"
                self.found.append(((*path, key), f"unknown key {key!r}{hint}"))
                continue
            try:
                good[key] = fields[key].read(value)
            except Wrong as wrong:
                self.found.append(((*path, key), f"{key} {wrong}"))
        for key, field in fields.items():
            if field.required and key not in entry:
                self.found.append((path, f"{'a set of rules' if name == 'rules' else name} needs {key}"))
        return good

    @staticmethod
    def _whole(name: str, draft: dict[str, Any]) -> bool:
        return all(key in draft for key, field in FIELDS[name].items() if field.required)
