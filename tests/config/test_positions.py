"""Where each key and value stands.

The oracle: the scanner's paths are exactly those of the parsed data, and the characters of a value, read by
themselves, give that value.
"""

from __future__ import annotations

import json
import string
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config.positions import line_and_column, positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.config.positions import Loc


def paths(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, Any]]:
    if loc:
        yield loc, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*loc, key))


def check(text: str) -> None:
    found = positions(text)
    expected = dict(paths(tomllib.loads(text)))
    assert set(found) == set(expected)
    for loc, place in found.items():
        value = text[slice(*place.value)]
        if place.value != place.key:
            assert tomllib.loads(f"v = {value}")["v"] == expected[loc]
        name = loc[-1]
        if isinstance(name, str):
            assert tomllib.loads(f"{text[slice(*place.key)]} = 1") == {name: 1}


DOCUMENTS = {
    "empty": "",
    "comment only": "# nothing\n",
    "no last newline": "a = 1",
    "spaces": "  a  =  1  # comment\n\tb=2",
    "table": "[a]\nb = 1\n[c]\nd = 2\n",
    "dotted table": "[a.b.c]\nd = 1\n",
    "table after its child": "[a.b]\nc = 1\n[a]\nd = 2\n",
    "spaced header": "[ a . b ] # comment\nc = 1\n",
    "dotted key": "a.b.c = 1\na.b.d = 2\n",
    "spaced dotted key": "a . b . c = 1\n",
    "dotted key in table": "[x]\na.b = 1\n",
    "quoted keys": '"a b" = 1\n\'c.d\' = 2\n"" = 3\n"e\\"f".g = 4\n["h i".\'j\']\nk = 5\n',
    "escaped key": '"\\u0061\\tb" = 1\n',
    "number keys": "1234 = 1\n1.2 = 3\n-_- = 4\n",
    "strings": 'a = "x # y"\nb = \'C:\\path\'\nc = "q\\"\\\\"\nd = \'\'\ne = ""\n',
    "multi-line basic": 'a = """\none = 1\n[no]\n\\"""\n"""\nb = 2\n',
    "multi-line literal": "a = '''\n[no]\nb = \\'''\nb = 2\n",
    "quotes at the end": 'a = """x""""\nb = """x"""""\nc = \'\'\'x\'\'\'\'\nd = """"""\ne = """a"b""c"""\n',
    "continued line": 'a = """x \\\n   y"""\nb = 1\n',
    "array": "a = [1, 2, 3]\n",
    "array of many lines": "a = [\n  1, # one\n  # ] two\n  2,\n]\nb = 3\n",
    "nested arrays": "a = [[1, 2], [], ['x]', \"y,\"]]\n",
    "empty array": "a = []\nb = [ ]\n",
    "inline table": "a = { b = 1, c.d = 'x', \"e f\" = [1, {g = 2}] }\n",
    "empty inline table": "a = {}\nb = { }\n",
    "arrays of tables": "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3\n[[a]]\n",
    "nested arrays of tables": "[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\n[[a]]\n[[a.b]]\nc = 2\n[a.b.d]\ne = 3\n",
    "array of tables deep": "[[a.b]]\nc = 1\n[[a.b]]\nc = 2\n",
    "spaced array header": "[[ a ]]\nb = 1\n",
    "scalars": "a = true\nb = -1_000\nc = 0x1F\nd = 1e-3\ne = inf\nf = 1979-05-27T07:32:00Z\ng = 1979-05-27 07:32:00\n"
    "h = 07:32:00\ni = 0o660 # mode\n",
    "windows lines": '[a]\r\nb = 1\r\nc = "x" # y\r\n\r\nd = [\r\n 1,\r\n]\r\n',
    "beyond ASCII": '# ä\na = "ü€😀"\n"ключ" = 1\n',
    "comment between": "[a] # x\n# [b]\n# c = 1\nd = 1 # e = 2\n",
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_documents(text: str) -> None:
    check(text)


def place(text: str, *loc: str | int) -> tuple[tuple[int, int], tuple[int, int]]:
    found = positions(text)[loc]
    return line_and_column(text, found.key[0]), line_and_column(text, found.value[0])


def test_lines_and_columns() -> None:
    text = "# first\n[limits]\n  maximum_qos  =  3\n\n[[listeners]]\nport = 1\n[[listeners]]\nport = 2\n"
    assert place(text, "limits") == ((2, 2), (2, 2))
    assert place(text, "limits", "maximum_qos") == ((3, 3), (3, 19))
    assert place(text, "listeners", 0) == ((5, 3), (5, 3))
    assert place(text, "listeners", 1) == ((7, 3), (7, 3))
    assert place(text, "listeners", 1, "port") == ((8, 1), (8, 8))


def test_a_table_stands_at_its_own_header() -> None:
    text = "[a.b]\nc = 1\n[a]\nd = 2\n"
    assert place(text, "a") == ((3, 2), (3, 2))
    assert place(text, "a", "b") == ((1, 4), (1, 4))


def test_places_inside_values() -> None:
    text = "a = [1,\n  22]\nb = { c = 3 }\nd.e = 4\n"
    assert place(text, "a", 1) == ((2, 3), (2, 3))
    assert place(text, "b", "c") == ((3, 7), (3, 11))
    assert place(text, "d") == ((4, 1), (4, 1))
    assert place(text, "d", "e") == ((4, 3), (4, 7))


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, (1, 1)), (1, (1, 2)), (2, (1, 3)), (3, (2, 1)), (4, (3, 1)), (5, (3, 2))]
)
def test_line_and_column(offset: int, expected: tuple[int, int]) -> None:
    assert line_and_column("ab\n\nc", offset) == expected


BARE = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=4)
KEYS = BARE | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=4)
SCALARS = (
    st.integers(-(10**6), 10**6)
    | st.booleans()
    | st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
TABLES = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=3),
    lambda inner: st.dictionaries(KEYS, VALUES | inner | st.lists(inner, min_size=1, max_size=3), max_size=3),
    max_leaves=5,
)


def write_key(key: str) -> str:
    bare = key and all(character in string.ascii_letters + string.digits + "_-" for character in key)
    return key if bare else json.dumps(key, ensure_ascii=False)


def write_value(draw: st.DrawFn, value: Any) -> str:
    if isinstance(value, list):
        blank = draw(st.sampled_from(["", " ", "\n", " # ]\n"]))
        return f"[{blank}{f',{blank}'.join(write_value(draw, item) for item in value)}{blank}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{write_key(key)} = {write_value(draw, item)}" for key, item in value.items()) + " }"
    if isinstance(value, str) and "\n" in value and "'''" not in value and draw(st.booleans()):
        safe = not value.endswith("'") and all(character in "\t\n" or character >= " " for character in value)
        if safe:
            return f"'''\n{value}'''"
    return json.dumps(value, ensure_ascii=False)


def write_table(draw: st.DrawFn, table: dict[str, Any], header: str) -> Iterator[str]:
    later = {}
    for key, value in table.items():
        is_tables = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
        if (isinstance(value, dict) or is_tables) and draw(st.booleans()):
            later[key] = value
        else:
            yield f"{write_key(key)} = {write_value(draw, value)}{draw(st.sampled_from(['', ' # [x]', '   ']))}"
    for key, value in later.items():
        path = f"{header}.{write_key(key)}" if header else write_key(key)
        for item in [value] if isinstance(value, dict) else value:
            yield f"[{path}]" if isinstance(value, dict) else f"[[{path}]]"
            yield from write_table(draw, item, path)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    data = draw(TABLES)
    return "\n".join(write_table(draw, data, "")), data


@given(documents())
def test_any_document(document: tuple[str, dict[str, Any]]) -> None:
    text, data = document
    assert tomllib.loads(text) == data
    check(text)
