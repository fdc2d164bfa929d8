"""Tables of settings, one below another."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from broker.config.table import Table, below, path_of, plain, walk


class Inner(Table):
    number: int = 1


class Middle(Table):
    inner: Inner | None = None
    names: tuple[str, ...] = ()


class Outer(Table):
    middle: Middle = Field(default_factory=Middle)
    several: list[Inner] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)


def test_what_a_field_holds() -> None:
    assert below(Outer.model_fields["middle"]) == (Middle, False)
    assert below(Outer.model_fields["several"]) == (Inner, True)
    assert below(Middle.model_fields["inner"]) == (Inner, False)
    assert below(Outer.model_fields["words"]) is None
    assert below(Inner.model_fields["number"]) is None


def test_all_tables_with_their_paths() -> None:
    assert list(walk(Outer)) == [
        (("middle",), (Middle, False)),
        (("middle", "inner"), (Inner, False)),
        (("several",), (Inner, True)),
    ]


def test_plain_settings() -> None:
    assert list(plain(Outer)) == ["words"]
    assert list(plain(Middle)) == ["names"]


def test_paths_have_no_indices() -> None:
    assert path_of(("several", 3, "number")) == ("several", "number")
    assert path_of(()) == ()


def test_a_table_knows_its_keys_and_does_not_change() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Inner.model_validate({"nummer": 1})
    with pytest.raises(ValidationError, match="frozen"):
        Inner().number = 2
