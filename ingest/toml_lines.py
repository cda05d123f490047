"""Floor 0 · On which line of a TOML text each of its values stands."""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""Where a value stands: `("device", 3, "connectors", 0, "max_kw")`."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|\n|[\[\]{},=.]|[^\s\[\]{},=.#\"']+",
    re.DOTALL,
)


def lines_of(text: str) -> dict[Path, int]:
    """The first line of each table, key and array element of a TOML text that a parser has found well-formed."""
    scan = _Scan(text)
    scan.document()
    return scan.lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens = self._numbered(text)
        self._arrays: dict[Path, int] = {}
        self._token, self._line = next(self._tokens)

    @staticmethod
    def _numbered(text: str) -> Iterator[tuple[str, int]]:
        line, at = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", at, match.start())
            at = match.start()
            if not match[0].startswith("#"):
                yield match[0], line
        yield "", line + text.count("\n", at)

    def _take(self) -> str:
        token = self._token
        if token:
            self._token, self._line = next(self._tokens)
        return token

    def _skip_newlines(self) -> None:
        while self._token == "\n":
            self._take()

    def document(self) -> None:
        table: Path = ()
        while self._token:
            self._skip_newlines()
            if self._token == "[":
                table = self._header()
            elif self._token:
                self._pair(table)

    def _header(self) -> Path:
        line = self._line
        self._take()
        of_array = self._token == "["
        if of_array:
            self._take()
        keys = self._keys("]")
        table: Path = ()
        for key in keys[:-1]:
            table = self._latest((*table, key))
        table = (*table, keys[-1])
        if of_array:
            self._take()
            self.lines.setdefault(table, line)
            self._arrays[table] = self._arrays.get(table, -1) + 1
            table = self._latest(table)
        self.lines.setdefault(table, line)
        return table

    def _latest(self, table: Path) -> Path:
        return (*table, self._arrays[table]) if table in self._arrays else table

    def _keys(self, until: str) -> list[str]:
        keys = []
        while self._token and self._token != until:
            token = self._take()
            if token != ".":
                keys.append(token[1:-1] if token[0] in "\"'" else token)
        self._take()
        return keys

    def _pair(self, table: Path) -> None:
        line = self._line
        path = table
        for key in self._keys("="):
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._value(path)

    def _value(self, path: Path) -> None:
        self.lines.setdefault(path, self._line)
        if self._token == "[":
            self._members("]", path)
        elif self._token == "{":
            self._members("}", path)
        else:
            while self._token and self._token not in ("\n", ",", "]", "}"):
                self._take()

    def _members(self, closing: str, path: Path) -> None:
        self._take()
        element = 0
        while self._token and self._token != closing:
            if self._token in ("\n", ","):
                element += self._take() == ","
            elif closing == "]":
                self._value((*path, element))
            else:
                self._pair(path)
        self._take()
