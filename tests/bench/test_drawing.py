"""Drawings are SVG that needs nothing else, in the colours of the page."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

import pytest

from broker.bench.drawing import COLOURS, NARROW, WIDE, ChartsMissing, Spec, both, colour, legend, log_ticks, svg
from tests.bench.parts import comparison

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC: Spec = {
    "data": {"values": [{"x": 1, "y": 2, "subject": "tcp"}, {"x": 2, "y": 3, "subject": "ws"}]},
    "height": 100,
    "mark": "point",
    "encoding": {
        "x": {"field": "x", "type": "quantitative"},
        "y": {"field": "y", "type": "quantitative"},
        "color": colour(comparison(1)),
    },
}


def without(*names: str) -> Callable[..., Any]:
    """An `import` that does not find some modules."""
    there = builtins.__import__

    def look(name: str, *arguments: Any, **options: Any) -> Any:
        if name in names:
            raise ImportError(name)
        return there(name, *arguments, **options)

    return look


@pytest.mark.parametrize(("at", "width"), [(0, WIDE), (1, NARROW)])
def test_a_drawing(at: int, width: int) -> None:
    text = svg(both(SPEC)[at])
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width", "0")) == pytest.approx(width, abs=2)
    assert "var(--s0)" in text
    assert "var(--s1)" in text
    assert "var(--line)" in text
    assert "url(" not in text
    assert "<script" not in text


def test_each_subject_has_its_colour() -> None:
    found = comparison(1)
    assert legend(found) == (("tcp", "var(--s0)"), ("ws", "var(--s1)"))
    found.subjects = found.subjects * 4
    assert legend(found)[COLOURS][1] == "var(--s0)"


@pytest.mark.parametrize(
    ("least", "most", "ticks"),
    [
        (0.9, 12, [1, 2, 5, 10]),
        (0.15, 1.1, [0.2, 0.5, 1]),
        (3, 4, []),
        (1, 1, [1]),
        (0.5, 20_000, [1, 10, 100, 1000, 10_000]),
    ],
)
def test_ticks(least: float, most: float, ticks: list[float]) -> None:
    assert log_ticks(least, most) == ticks


def test_what_draws_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "__import__", without("vl_convert"))
    with pytest.raises(ChartsMissing, match=r"pip install 'triomq\[report\]'"):
        svg(SPEC)
