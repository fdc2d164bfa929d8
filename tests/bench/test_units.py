"""Figures as people read them."""

from __future__ import annotations

import pytest

from broker.bench.units import digits, shown


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (2.5, "s", "2.50 s"),
        (0.0012345, "s", "1.23 ms"),
        (0.0123, "s", "12.3 ms"),
        (0.9996, "s", "1.00 s"),
        (4.2e-6, "s", "4.20 µs"),
        (35e-9, "s", "35 ns"),
        (6.0, "B", "6 B"),
        (0.8, "B", "0.8 B"),
        (82.25, "B", "82.2 B"),
        (6_291.4, "B", "6,291 B"),
        (50_000_000, "B", "47.7 MiB"),
        (-4096.5, "B", "-4,096 B"),
        (123_456.7, "/s", "123,457/s"),
        (0.0731, "share", "7.31 %"),
        (1.2999, "", "1.30"),
        (5.0, "", "5"),
    ],
)
def test_shown(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(99.96, "100"), (9.996, "10.0"), (0.99, "0.99"), (0.00001234, "1.2e-05"), (1e6, "1,000,000")]
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text
