"""The map of statements is whole: none missing, none unknown, none without a proof or a reason."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.conformance.generate import PAGE, page
from tests.conformance.statements import proofs, statements

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.build("plain")  # it reads files and runs nothing of the broker


def test_counts_are_those_of_the_standards() -> None:
    counts = Counter(one.standard for one in statements().values())
    assert counts == {"MQTT5": 252, "MQTT311": 141, "RFC6455": 27}


def test_chapters_are_those_of_the_standards() -> None:
    chapters = Counter(f"{one.standard} {one.number.split('.')[0]}" for one in statements().values())
    assert chapters == {
        "MQTT5 1": 5,
        "MQTT5 2": 7,
        "MQTT5 3": 175,
        "MQTT5 4": 61,
        "MQTT5 6": 4,
        "MQTT311 1": 3,
        "MQTT311 2": 9,
        "MQTT311 3": 95,
        "MQTT311 4": 26,
        "MQTT311 6": 4,
        "MQTT311 7": 4,
        "RFC6455 4": 4,
        "RFC6455 5": 10,
        "RFC6455 6": 2,
        "RFC6455 7": 6,
        "RFC6455 8": 1,
        "RFC6455 9": 1,
        "RFC6455 10": 3,
    }


def test_each_statement_is_said_once_in_a_few_words() -> None:
    for one in statements().values():
        assert one.who in ("Server", "Client", "both"), one.id
        assert 2 <= len(one.says.split()) <= 16, one.id


def test_no_test_cites_an_unknown_statement() -> None:
    known = statements()
    unknown = {one: tests for one, tests in proofs().items() if one not in known}
    assert not unknown


def test_each_statement_has_a_test_or_a_reason() -> None:
    proved = proofs()
    gaps = [f"{one.id}: {one.says}" for one in statements().values() if one.id not in proved and not one.reason]
    assert not gaps, "\n".join(gaps)


def test_a_reason_is_not_given_where_there_is_a_test() -> None:
    proved = proofs()
    both = [one.id for one in statements().values() if one.who != "Client" and one.reason and one.id in proved]
    assert not both


def test_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make conformance`"


def test_decorators_are_read_from_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "core"
    folder.mkdir(parents=True)
    (folder / "test_x.py").write_text(
        '@statement("A-1", *("A-2",))\n@statement("B-1")\nasync def test_one(): ...\n'
        'class TestMore:\n    @statement("A-1")\n    def test_two(self): ...\n'
        "def test_three(): ...\n"
    )
    assert proofs(tmp_path / "tests") == {
        "A-1": ["tests/core/test_x.py::TestMore::test_two", "tests/core/test_x.py::test_one"],
        "A-2": ["tests/core/test_x.py::test_one"],
        "B-1": ["tests/core/test_x.py::test_one"],
    }
