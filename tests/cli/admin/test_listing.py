"""Tables and documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broker.cli.admin import listing
from broker.cli.admin.listing import Column, field, fit, lines, members, shown, size, span

if TYPE_CHECKING:
    from broker.cli.admin.api import Item

COLUMNS = (
    Column("NAME", field("name")),
    Column("MORE", field("more"), optional=True),
    Column("N", field("n"), right=True),
)


def test_cells_are_aligned_by_what_a_terminal_shows() -> None:
    items: list[Item] = [{"name": "日本", "n": 1}, {"name": "x", "n": 12345}]
    assert lines(COLUMNS, items) == ["NAME       N", "日本       1", "x     12,345"]


def test_a_column_that_nobody_fills_is_left_out_with_its_alignment() -> None:
    assert lines(COLUMNS, [{"name": "x", "more": "y", "n": 1}]) == ["NAME  MORE  N", "x     y     1"]
    columns = (Column("A", field("a"), optional=True), Column("NUMBER", field("n"), right=True))
    assert lines(columns, [{"n": 7}]) == ["NUMBER", "     7"]


def test_nothing_moves_the_cursor() -> None:
    assert shown("a\x1b[2J\n\tb\u202e") == "a\\x1b[2J\\n\\tb\\u202e"


def test_values() -> None:
    assert [shown(each) for each in (None, True, False, 1234, 1.25, "x")] == ["", "yes", "no", "1,234", "1.2", "x"]


def test_json_is_one_document_and_nothing_is_said_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    for items in ([], [{"a": "ü"}], [{"a": 1}, {"a": 2}]):
        listing.show("json", COLUMNS, items, "none")
        said = capsys.readouterr()
        assert json.loads(said.out) == items
        assert not said.err
    listing.show("table", COLUMNS, [], "none")
    assert capsys.readouterr() == ("", "none\n")


def test_members_without_a_text_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    members([("a", "1"), ("none", ""), ("long", "2")])
    assert capsys.readouterr().out == "a     1\nlong  2\n"


@pytest.mark.parametrize(("text", "width", "seen"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 4, "日…")])
def test_a_line_is_cut_to_the_terminal(text: str, width: int, seen: str) -> None:
    assert fit(text, width) == seen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3605, "1h"), (90061, "1d 1h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (123_456, "123 kB"),
        (5e6, "5.0 MB"),
        (2e12, "2000.0 GB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text
