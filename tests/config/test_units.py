"""Sizes and durations as a person writes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.config.units import DURATION, SIZE, Unit


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("64KiB", 65536),
        ("64 kib", 65536),
        ("64kB", 64000),
        ("1MB", 1_000_000),
        (" 1MiB ", 1 << 20),
        ("1.5MiB", 3 << 19),
        ("2GB", 2_000_000_000),
        ("1GiB", 1 << 30),
        ("0.5B", 0.5),
    ],
)
def test_sizes(text: str, number: float) -> None:
    assert SIZE.parse(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("2.5", 2.5),
        ("500ms", 0.5),
        ("700ms", 0.7),
        ("5s", 5),
        ("10m", 600),
        ("1h", 3600),
        ("1.5 h", 5400),
        ("7d", 604800),
        ("7D", 604800),
    ],
)
def test_durations(text: str, number: float) -> None:
    assert DURATION.parse(text) == number


@pytest.mark.parametrize("unit", [SIZE, DURATION])
@pytest.mark.parametrize("text", ["", "lots", "-1", "1K", "1M2", "1e3", "0x10", "1,5", "1 2", "∞", "²"])
def test_nonsense_is_refused_with_examples(unit: Unit, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(unit.example)):
        unit.parse(text)


def test_numbers_pass() -> None:
    assert SIZE.parse(5) == 5
    assert DURATION.parse(0.25) == 0.25
    assert DURATION.parse(None) is None


@pytest.mark.parametrize(
    ("unit", "number", "shown"),
    [
        (SIZE, 0, 0),
        (SIZE, 512, 512),
        (SIZE, 1000, "1kB"),
        (SIZE, 8192, "8KiB"),
        (SIZE, 1 << 20, "1MiB"),
        (SIZE, 2_000_000, "2MB"),
        (SIZE, 268_435_455, 268_435_455),
        (DURATION, 0.0, 0),
        (DURATION, 5.0, "5s"),
        (DURATION, 0.5, "500ms"),
        (DURATION, 90, "90s"),
        (DURATION, 120, "2m"),
        (DURATION, 604800, "7d"),
    ],
)
def test_the_shortest_spelling(unit: Unit, number: float, shown: object) -> None:
    assert unit.show(number) == shown


@given(st.integers(0, 1 << 40))
def test_what_is_shown_is_read_back(number: int) -> None:
    assert SIZE.parse(SIZE.show(number)) == number
    assert DURATION.parse(DURATION.show(number)) == number


@given(st.integers(0, 10**8))
def test_milliseconds_are_read_back(number: int) -> None:
    assert DURATION.parse(DURATION.show(number / 1000)) == pytest.approx(number / 1000, rel=1e-12)


@pytest.mark.parametrize("text", ["64KiB", "1mb", "500", "1.5GiB", " 1 kB "])
def test_the_pattern_takes_what_parse_takes(text: str) -> None:
    assert re.search(SIZE.pattern, text)
    assert isinstance(SIZE.parse(text), int)


@pytest.mark.parametrize("text", ["64K", "lots", "5s", "-1"])
def test_the_pattern_refuses_what_parse_refuses(text: str) -> None:
    assert not re.search(SIZE.pattern, text)
    with pytest.raises(ValueError, match="size"):
        SIZE.parse(text)
