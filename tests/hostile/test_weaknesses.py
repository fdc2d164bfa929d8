"""docs/security/weaknesses.md: all 88 rows are there, and each has a test that exists, a reason, or what is open."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.build("plain")  # it reads files and runs nothing of the broker

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs" / "security" / "weaknesses.md"
COUNTS: Final = {"A": 9, "B": 12, "C": 10, "D": 9, "E": 10, "F": 9, "G": 11, "H": 3, "I": 6, "J": 4, "K": 5}
ROW: Final = re.compile(r"^\| ([A-K]\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
CITED: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DEFINED: Final = re.compile(r"^ *(?:async )?def (\w+)", re.MULTILINE)
WORDS: Final = 6  # of a reason


@cache
def names_in(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.exists():
        return frozenset()
    return frozenset(DEFINED.findall(path.read_text("utf-8")))


def faults(answer: str) -> list[str]:
    """What the last cell of a row lacks."""
    cited = CITED.findall(answer)
    problems = [
        f"there is no {file}::{name}"
        for file, name in cited
        if name not in names_in(file) or not name.startswith("test_") or not file.rpartition("/")[2].startswith("test_")
    ]
    words = len(CITED.sub("", answer).split())
    if not cited and not (answer.startswith(("Open: ", "Cannot occur: ")) and words > WORDS):
        problems.append("neither a test nor a reason")
    if re.search(r"\bopen\b", answer, re.IGNORECASE) and "Open: " not in answer:
        problems.append("what is open is said as `Open: …`")
    return problems


def test_every_row_has_a_test_or_a_reason() -> None:
    rows = ROW.findall(PAGE.read_text("utf-8"))
    assert [number for number, _, _ in rows] == [
        f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)
    ]
    assert sum(COUNTS.values()) == 88
    wrong = {number: faults(answer) for number, _, answer in rows if faults(answer)}
    assert wrong == {}
    assert all(len(seen.split()) > 4 for _, seen, _ in rows)


def test_every_test_that_is_named_anywhere_on_the_page_exists() -> None:
    cited = CITED.findall(PAGE.read_text("utf-8"))
    assert len(cited) > 100
    assert [f"{file}::{name}" for file, name in cited if name not in names_in(file)] == []


def test_a_row_without_either_is_seen() -> None:
    assert faults("") == ["neither a test nor a reason"]
    assert faults("nothing") == ["neither a test nor a reason"]
    assert faults("Open: soon") == ["neither a test nor a reason"]
    assert faults("Open: there is no administration over HTTP yet") == []
    gone = "tests/hostile/test_weaknesses.py::test_that_is_gone"
    assert faults(f"`{gone}`") == [f"there is no {gone}"]
    assert faults("`tests/hostile/test_weaknesses.py::test_a_row_without_either_is_seen`") == []
