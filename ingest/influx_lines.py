"""Floor 3 · Rows as InfluxDB's line protocol, made by hand: this is the hot path of every stored reading.

A line leaves out what is the usual: fields without a value, `skewed` when false, and `ts_ms` when it is the time of the
point, since the server's work goes by fields. `misdated` marks a row whose time is not its own (see influx_reads).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from ingest.facts import Row
from ingest.rows import NANOS, Measurement

CACHED = 20_000
"""Tag sets and boots remembered as text; forgetting them costs a moment, nothing else."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_TAGS = re.compile(r"[\x00-\x1f\x7f\\%]")
_SPECIAL_IN_TAGS = re.compile(r"([,= ])")
_NO_TEXT = "%"

_Cells = tuple[Any, ...]
"""A row whose columns have their types by their names; checking each by itself would cost more than the line."""


def tag(text: str) -> str:
    """A tag's value in a line. What the protocol cannot carry (no text, controls, backslashes) is percent-encoded."""
    return _SPECIAL_IN_TAGS.sub(r"\\\1", tag_value(text))


def tag_value(text: str) -> str:
    """The value of a tag as the server keeps it."""
    return _NOT_IN_TAGS.sub(lambda found: f"%{ord(found[0]):02X}", text) or _NO_TEXT


def tag_text(value: str) -> str:
    """What `tag_value` was made of."""
    if "%" not in value:
        return value
    return "" if value == _NO_TEXT else re.sub("%([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), value)


def quoted(text: str) -> str:
    """A string field in a line."""
    return '"' + field_value(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def field_value(text: str) -> str:
    """A string field as the server keeps it. Text with controls is JSON: answers in CSV would change its line ends."""
    return json.dumps(text) if _CONTROL.search(text) or text.startswith('"') else text


def field_text(value: str) -> str:
    """What `field_value` was made of."""
    return str(json.loads(value)) if value.startswith('"') else value


class _Texts(dict[float, str]):
    """Numbers as text. Instruments say the same rounded values over and over, and making text of one is slow."""

    def __missing__(self, value: float) -> str:
        if len(self) >= CACHED:
            self.clear()
        text = self[value] = repr(value)
        return text


class Lines:
    """Makes lines of rows. One at a time: it remembers tag sets, boots and numbers."""

    def __init__(self) -> None:
        self._texts = _Texts()
        self._heads: dict[tuple[object, ...], str] = {}
        self._boots: dict[str, str] = {}

    def of(self, measurement: Measurement, rows: Iterable[Row]) -> list[str]:
        """A line for each row. Raises ValueError for a row that has not the columns of its measurement."""
        make: dict[Measurement, Callable[[Iterable[_Cells]], list[str]]] = {
            "pile": self._pile,
            "station": self._station,
            "event": self._event,
        }
        return make[measurement](rows)

    def _pile(self, rows: Iterable[_Cells]) -> list[str]:
        heads, boots, texts, lines = self._heads, self._boots, self._texts, list[str]()
        for (
            ns, site, device, kind, boot, seq, ts_ms, skewed, connector,
            power_kw, energy_kwh, current_a, voltage_v, temp_c, soc_pct,
            state, suspended_by, bay_occupied, token, error,
        ) in rows:  # fmt: skip
            head = heads.get((site, device, kind, connector)) or self._head(
                ("pile", site, device, kind, connector), (site, device, kind, connector), connector=connector
            )
            named = boots.get(boot) or self._boot(boot)
            said = "" if ts_ms == ns // NANOS and not skewed else _odd(ns, ts_ms, skewed)
            if kind == "meter":
                lines.append(
                    f"{head}{seq}i,{named}"
                    f"{'' if power_kw is None else f',power_kw={texts[power_kw]}'}"
                    f"{'' if energy_kwh is None else f',energy_kwh={energy_kwh}'}"
                    f"{'' if current_a is None else f',current_a={texts[current_a]}'}"
                    f"{'' if voltage_v is None else f',voltage_v={texts[voltage_v]}'}"
                    f"{'' if temp_c is None else f',temp_c={texts[temp_c]}'}"
                    f"{'' if soc_pct is None else f',soc_pct={texts[soc_pct]}'}{said} {ns}"
                )
            else:
                lines.append(
                    f"{head}{seq}i,{named}{_text('state', state)}{_text('suspended_by', suspended_by)}"
                    f"{'' if bay_occupied is None else f',bay_occupied={bay_occupied}'}"
                    f"{_text('token', token)}{_text('error', error)}{said} {ns}"
                )
        return lines

    def _station(self, rows: Iterable[_Cells]) -> list[str]:
        heads, boots, lines = self._heads, self._boots, list[str]()
        for (
            ns, site, device, kind, boot, seq, ts_ms, skewed,
            indoor_c, indoor_rh_pct, outdoor_c, outdoor_rh_pct, pm25, co2_ppm,
            people, seats_used, reading_seats_used, entries, groups, outlets_used, energy_wh,
        ) in rows:  # fmt: skip
            head = heads.get((site, device, kind)) or self._head(("station", site, device, kind), (site, device, kind))
            named = boots.get(boot) or self._boot(boot)
            said = "" if ts_ms == ns // NANOS and not skewed else _odd(ns, ts_ms, skewed)
            if kind == "climate":
                fields = (
                    f"{'' if indoor_c is None else f',indoor_c={indoor_c}'}"
                    f"{'' if indoor_rh_pct is None else f',indoor_rh_pct={indoor_rh_pct}'}"
                    f"{'' if outdoor_c is None else f',outdoor_c={outdoor_c}'}"
                    f"{'' if outdoor_rh_pct is None else f',outdoor_rh_pct={outdoor_rh_pct}'}"
                    f"{'' if pm25 is None else f',pm25={pm25}'}{'' if co2_ppm is None else f',co2_ppm={co2_ppm}'}"
                )
            elif kind == "presence":
                fields = (
                    f"{'' if people is None else f',people={people}i'}"
                    f"{'' if seats_used is None else f',seats_used={seats_used}i'}"
                    f"{'' if reading_seats_used is None else f',reading_seats_used={reading_seats_used}i'}"
                    f"{'' if entries is None else f',entries={entries}i'}{_text('groups', groups)}"
                )
            else:
                fields = (
                    f"{'' if outlets_used is None else f',outlets_used={outlets_used}i'}"
                    f"{'' if energy_wh is None else f',energy_wh={energy_wh}'}"
                )
            lines.append(f"{head}{seq}i,{named}{fields}{said} {ns}")
        return lines

    def _event(self, rows: Iterable[_Cells]) -> list[str]:
        lines = list[str]()
        for (
            ns, site, device, kind, boot, seq, ts_ms, skewed, name, ok, code, severity, cleared, note, alarm, temp_c,
        ) in rows:  # fmt: skip
            key = ("event", site, device, kind, name, code)
            head = self._heads.get(key) or self._head(key, key, name=name, code=code)
            named = self._boots.get(boot) or self._boot(boot)
            said = "" if ts_ms == ns // NANOS and not skewed else _odd(ns, ts_ms, skewed)
            lines.append(
                f"{head}{seq}i,{named}{'' if ok is None else f',ok={ok}'}{_text('severity', severity)}"
                f"{'' if cleared is None else f',cleared={cleared}'}{_text('note', note)}"
                f"{'' if alarm is None else f',alarm={alarm}'}{'' if temp_c is None else f',temp_c={temp_c}'}"
                f"{said} {ns}"
            )
        return lines

    def _head(self, of: tuple[object, ...], key: tuple[object, ...], **more: object) -> str:
        measurement, site, device, kind, *_ = of
        tags = {"device": device, "kind": kind, "site": site, **more}
        named = ",".join(f"{name}={tag(str(value))}" for name, value in sorted(tags.items()) if value is not None)
        if len(self._heads) >= CACHED:
            self._heads.clear()
        head = self._heads[key] = f"{measurement},{named} seq="
        return head

    def _boot(self, boot: str) -> str:
        if len(self._boots) >= CACHED:
            self._boots.clear()
        named = self._boots[boot] = f"boot={quoted(boot)}"
        return named


def _text(name: str, text: object) -> str:
    return "" if text is None else f",{name}={quoted(str(text))}"


def _odd(ns: int, ts_ms: int, skewed: bool) -> str:
    own_ms = ns // NANOS
    said = "" if ts_ms == own_ms else f",ts_ms={ts_ms}i"
    if skewed:
        said += ",skewed=true,misdated=true" if ts_ms == own_ms else ",skewed=true"
    return said
