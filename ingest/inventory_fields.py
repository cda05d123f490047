"""Floor 1 · What each table of the inventory may hold, and the checks of its values and of what they refer to."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar, cast

from msgspec import Struct

from ingest.assets import Committee, Compound, ConnectorSpec, Device, Inventory, Name, Role, Section, Site, Workstation
from ingest.inventory_values import (
    Wrong,
    a_day,
    a_name,
    a_number,
    a_site_id,
    a_text,
    a_whole_number,
    a_window,
    an_id,
    one_of,
    plain_rules,
)
from ingest.toml_lines import Path

Draft = dict[str, object]
"""The values of one entry that were right, and `_path`, where it stands."""

Reader = Callable[["Checked", Path, object], object]
T = TypeVar("T")


class Field(NamedTuple):
    read: Reader
    required: bool = False


def _plain(check: Callable[[object], object]) -> Reader:
    return lambda _checked, _path, value: check(value)


def _list_of(check: Callable[[object], T], *, or_one: bool = False) -> Reader:
    def read(checked: Checked, path: Path, value: object) -> tuple[T, ...]:
        if or_one and not isinstance(value, list):
            return (check(value),)
        if not isinstance(value, list):
            raise Wrong(f"must be a list, not {value!r}")
        good: list[T] = []
        for number, one in enumerate(value):
            try:
                item = check(one)
            except Wrong as wrong:
                checked.mistake((*path, number), f"{path[-1]} {wrong}")
                continue
            if item in good:
                checked.mistake((*path, number), f"{path[-1]} has {one!r} twice")
            good.append(item)
        return tuple(good)

    return read


def _entries_of(table: str, kind: type[Struct]) -> Reader:
    """A list of small tables, each with an id of its own."""

    def read(checked: Checked, path: Path, value: object) -> tuple[Struct, ...]:
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise Wrong("must be a list of tables { … }")
        drafts = [checked.draft(table, (*path, number), one) for number, one in enumerate(value)]
        for number, draft in enumerate(drafts):
            if "id" in draft and any(draft["id"] == other.get("id") for other in drafts[:number]):
                checked.mistake((*path, number), f"{table} {draft['id']!r} is here twice")
        return tuple(made for draft in drafts if (made := checked.make(kind, table, draft)) is not None)

    return read


_AN_ID, _NAME, _TEXT, _KW = _plain(an_id), _plain(a_name), _plain(a_text), _plain(a_number(0, 100_000))
_LAT, _LON, _COUNT = _plain(a_number(-90, 90)), _plain(a_number(-180, 180)), _plain(a_whole_number(0, 100_000))

TABLES: dict[str, type[Struct]] = {
    "workstation": Workstation,
    "section": Section,
    "committee": Committee,
    "compound": Compound,
    "site": Site,
    "device": Device,
}
FIELDS: dict[str, dict[str, Field]] = {
    "role": {"id": Field(_AN_ID, True), "name": Field(_NAME)},
    "connector": {
        "id": Field(_plain(a_whole_number(1, 64)), True),
        "type": Field(_plain(one_of("GBT_AC", "GBT_DC"))),
        "max_kw": Field(_plain(a_number(0, 1_000, above=True))),
    },
    "workstation": {"id": Field(_AN_ID, True), "name": Field(_NAME)},
    "section": {
        "id": Field(_AN_ID, True),
        "name": Field(_NAME),
        "workstation": Field(_AN_ID, True),
        "roles": Field(_entries_of("role", Role)),
    },
    "committee": {"id": Field(_AN_ID, True), "name": Field(_NAME)},
    "compound": {
        "id": Field(_AN_ID, True),
        "name": Field(_NAME),
        "section": Field(_AN_ID, True),
        "committee": Field(_AN_ID),
        "lat": Field(_LAT, True),
        "lon": Field(_LON, True),
        "households": Field(_COUNT),
    },
    "site": {
        "id": Field(_plain(a_site_id), True),
        "name": Field(_NAME),
        "section": Field(_AN_ID),
        "mode": Field(_plain(one_of("temporary", "in_turn", "station"))),
        "lat": Field(_LAT, True),
        "lon": Field(_LON, True),
        "compounds": Field(_list_of(an_id)),
        "limit_kw": Field(_plain(a_number(0, 100_000, above=True))),
        "opening": Field(_list_of(a_window, or_one=True)),
        "initial_rules": Field(_plain(plain_rules)),
    },
    "device": {
        "site": Field(_AN_ID, True),
        "id": Field(_AN_ID, True),
        "kind": Field(_plain(one_of("pile", "station")), True),
        "placement": Field(_plain(one_of("outdoor", "indoor"))),
        "fallback_kw": Field(_KW),
        "seats": Field(_COUNT),
        "reading_seats": Field(_COUNT),
        "outlets": Field(_COUNT),
        "amenities": Field(_list_of(a_text)),
        "certificate": Field(_TEXT),
        "inspection_due": Field(_plain(a_day)),
        "connectors": Field(_entries_of("connector", ConnectorSpec)),
    },
}
PILE_ONLY = ("fallback_kw", "connectors")
STATION_ONLY = ("seats", "reading_seats", "outlets", "amenities")


class Checked:
    """One reading of an inventory: makes its values and tells `mistake` of each thing that is wrong."""

    def __init__(self, mistake: Callable[[Path, str], None], line_of: Callable[[Path], int]) -> None:
        self.mistake = mistake
        self._line_of = line_of

    def unknown(self, path: Path, what: str, said: str, known: Iterable[str]) -> None:
        near = difflib.get_close_matches(said, list(known), 1)
        self.mistake(
            path,
            f"unknown {what} {said!r}"
            + (f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"),
        )

    def draft(self, table: str, path: Path, entry: dict[str, object]) -> Draft:
        fields, draft = FIELDS[table], Draft(_path=path)
        for key, value in entry.items():
            if key not in fields:
                self.unknown((*path, key), f"key of a {table}", key, fields)
                continue
            try:
                draft[key] = fields[key].read(self, (*path, key), value)
            except Wrong as wrong:
                self.mistake((*path, key), f"{key} {wrong}")
        for key, field in fields.items():
            if field.required and key not in entry:
                self.mistake(path, f"a {table} needs {key}")
        if table == "device":
            self._suits_its_kind(path, entry)
        return draft

    def make(self, kind: type[T], table: str, draft: Draft) -> T | None:
        """The value of a draft, or None where something that it needs was missing or wrong."""
        if any(field.required and key not in draft for key, field in FIELDS[table].items()):
            return None
        values = {key: value for key, value in draft.items() if key != "_path"}
        if "name" in FIELDS[table]:
            values.setdefault("name", Name(str(draft["id"]), str(draft["id"])))
        return kind(**values)

    def inventory(self, drafts: dict[str, list[Draft]]) -> Inventory:
        """All drafts as one inventory, after the checks that look at more than one entry."""
        named = {table: self._by_name(table, drafts[table]) for table in TABLES}
        for table, key, target in (
            ("section", "workstation", "workstation"),
            ("compound", "section", "section"),
            ("compound", "committee", "committee"),
            ("site", "section", "section"),
            ("site", "compounds", "compound"),
            ("device", "site", "site"),
        ):
            for draft in drafts[table]:
                self._refers(draft, key, target, named[target])
        for draft in drafts["section"]:
            roles = cast("tuple[Role, ...]", draft.get("roles", ()))
            if roles and "head" not in {role.id for role in roles}:
                self.mistake((*cast(Path, draft["_path"]), "roles"), "roles need one with the id 'head'")
        self._fallbacks_fit(named["site"], drafts["device"])
        made = {
            table: {key: self.make(kind, table, draft) for key, draft in named[table].items()}
            for table, kind in TABLES.items()
        }
        return Inventory(**{f"{table}s": cast("dict[str, object]", entries) for table, entries in made.items()})  # type: ignore[arg-type]

    def _by_name(self, table: str, drafts: list[Draft]) -> dict[str, Draft]:
        named: dict[str, Draft] = {}
        for draft in drafts:
            if "id" not in draft or (table == "device" and "site" not in draft):
                continue
            name = f"{draft['site']}/{draft['id']}" if table == "device" else str(draft["id"])
            if name in named:
                first = self._line_of(cast(Path, named[name]["_path"]))
                self.mistake(cast(Path, draft["_path"]), f"{table} {name!r} is already on line {first}")
            else:
                named[name] = draft
        return named

    def _refers(self, draft: Draft, key: str, target: str, known: dict[str, Draft]) -> None:
        said = draft.get(key)
        path = (*cast(Path, draft["_path"]), key)
        for number, one in enumerate(said if isinstance(said, tuple) else () if said is None else (said,)):
            if one not in known:
                self.mistake((*path, number), f"there is no {target} {one!r}")

    def _suits_its_kind(self, path: Path, device: dict[str, object]) -> None:
        kind = device.get("kind")
        if kind == "pile" and not device.get("connectors"):
            self.mistake((*path, "connectors"), "a pile needs connectors")
        for key in STATION_ONLY if kind == "pile" else PILE_ONLY if kind == "station" else ():
            if key in device:
                self.mistake((*path, key), f"{key} does not belong to a {kind}")

    def _fallbacks_fit(self, sites: dict[str, Draft], devices: list[Draft]) -> None:
        for site, draft in sites.items():
            limit_kw = cast("float | None", draft.get("limit_kw"))
            together_kw = sum(
                cast(float, device.get("fallback_kw", 0.0)) for device in devices if device.get("site") == site
            )
            if limit_kw is not None and together_kw > limit_kw + 1e-9:
                self.mistake(
                    (*cast(Path, draft["_path"]), "limit_kw"),
                    f"the piles of {site!r} fall back to {together_kw:g} kW together, above its limit_kw {limit_kw:g}",
                )
