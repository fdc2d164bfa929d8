"""Where each key and value of a TOML document stands.

`tomllib` keeps no positions. `positions` walks a document that `tomllib` has already accepted, so it may believe the
grammar and check nothing; it answers with a place for every path that the parsed data has: ("listeners", 0, "port").
Offsets are characters from the start; `line_and_column` counts both from 1, as editors do.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final, NamedTuple

Loc = tuple[str | int, ...]


class Place(NamedTuple):
    """The characters of a key and of its value: [start, end). For tables and array items both are the same."""

    key: tuple[int, int]
    value: tuple[int, int]


_BLANK: Final = re.compile(r"[ \t]*")
_BLANK_LINES: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# The closing delimiter of a multi-line string may be preceded by one or two quotes that belong to the string.
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\r\n]*")


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a character, both from 1."""
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - start + 1


def positions(text: str) -> dict[Loc, Place]:
    """The place of every key, table and array item in `text`, a valid TOML document."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Loc, Place] = {}
        self.array_lengths: dict[Loc, int] = {}  # of arrays of tables

    def document(self) -> None:
        table: Loc = ()
        while self.skip(_BLANK_LINES) < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.at

    def header(self) -> Loc:
        """`[table]` or `[[array of tables]]`; the path of the table that begins here."""
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        parts = self.key()
        self.at += brackets
        loc: Loc = ()
        for number, (name, span) in enumerate(parts, 1):
            loc = (*loc, name)
            self.places.setdefault(loc, Place(span, span))
            if brackets == 2 and number == len(parts):
                self.array_lengths[loc] = self.array_lengths.get(loc, 0) + 1
            if loc in self.array_lengths:
                # Only the last item of an array of tables can be meant, here and in every `[array.table]` that follows.
                loc = (*loc, self.array_lengths[loc] - 1)
                self.places.setdefault(loc, Place(span, span))
        # The header itself is a better place than a mention in an earlier `[table.below]`.
        self.places[loc] = Place(parts[-1][1], parts[-1][1])
        return loc

    def key(self) -> list[tuple[str, tuple[int, int]]]:
        """A key with its dotted parts, each with its place."""
        parts: list[tuple[str, tuple[int, int]]] = []
        while True:
            start = self.skip(_BLANK)
            quoted = self.text[start] in "\"'"
            end = self.skip(_STRING if quoted else _BARE_KEY)
            raw = self.text[start:end]
            parts.append((tomllib.loads(f"key = {raw}")["key"] if quoted else raw, (start, end)))
            if self.text[self.skip(_BLANK)] != ".":
                return parts
            self.at += 1

    def pair(self, table: Loc) -> None:
        """`key = value`."""
        parts = self.key()
        self.at += 1  # the "="
        loc = table
        for name, span in parts:
            loc = (*loc, name)
            self.places.setdefault(loc, Place(span, span))
        self.skip(_BLANK)
        self.places[loc] = Place(parts[-1][1], self.value(loc))

    def value(self, loc: Loc) -> tuple[int, int]:
        start = self.at
        first = self.text[start]
        if first in "\"'":
            self.skip(_STRING)
        elif first == "[":
            self.array(loc)
        elif first == "{":
            self.inline_table(loc)
        else:
            self.skip(_SCALAR)
            return start, start + len(self.text[start : self.at].rstrip())
        return start, self.at

    def array(self, loc: Loc) -> None:
        self.at += 1
        index = 0
        while self.text[self.skip(_BLANK_LINES)] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            item = (*loc, index)
            span = self.value(item)
            self.places[item] = Place(span, span)
            index += 1
        self.at += 1

    def inline_table(self, loc: Loc) -> None:
        self.at += 1
        while self.text[self.skip(_BLANK_LINES)] != "}":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.pair(loc)
        self.at += 1
