"""How the charts of a page are drawn: Vega-Lite specifications, and `vl-convert`, which makes SVG of them.

Colours are CSS variables of the page (`var(--s0)`, `var(--ink)`, ...), which SVG inside HTML may use, so that one
drawing is right in light, in dark and on paper. Nothing is drawn by script: what is in the page is what is seen.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison

Spec = dict[str, Any]

WIDE: Final = 440  # pixels of a chart in a column of the page
NARROW: Final = 320  # and on a telephone
FULL: Final = 960  # of one that has the page's whole width
COLOURS: Final = 6  # that the page has for subjects; then they begin anew
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


class ChartsMissing(Exception):
    """What draws the charts is not installed; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One drawing in two widths, and the numbers behind it for those who do not see it."""

    name: str
    title: str
    caption: str
    specs: tuple[Spec, Spec]  # wide and narrow
    header: list[str]
    rows: list[list[str]]
    subjects: tuple[tuple[str, str], ...]  # of the legend: name and colour
    full: bool = False


def svg(spec: Spec) -> str:
    """Draw it; ChartsMissing where the extra `report` is not installed."""
    try:
        import vl_convert
    except ImportError:
        raise ChartsMissing(
            "the page needs two libraries more; install them with: pip install 'triomq[report]'"
        ) from None
    return str(vl_convert.vegalite_to_svg(json.dumps(spec)))


def log_ticks(least: float, most: float) -> list[float]:
    """1, 2, 5, 10, ... from `least` to `most`; powers of ten alone where that is more than three decades."""
    steps = (1, 2, 5) if most / least < 1000 else (1,)
    decades = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [tick for tick in ticks if least <= tick <= most]


def colour(comparison: Comparison) -> Spec:
    """The page has the legend."""
    names, colours = zip(*legend(comparison), strict=True)
    scale = {"domain": list(names), "range": list(colours)}
    return {"field": "subject", "type": "nominal", "scale": scale, "legend": None}


def legend(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    return tuple((subject.label, f"var(--s{at % COLOURS})") for at, subject in enumerate(comparison.subjects))


def both(spec: Spec, wide: int = WIDE) -> tuple[Spec, Spec]:
    return _finished(spec, wide), _finished(spec, NARROW)


def _finished(spec: Spec, width: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": None,
        "padding": 4,
        **spec,
        "config": {
            "font": _FONT,
            "view": {"stroke": None},
            "axis": {
                "labelColor": "var(--muted)",
                "titleColor": "var(--muted)",
                "gridColor": "var(--line)",
                "domain": False,
                "ticks": False,
                "labelFontSize": 11.5,
                "titleFontSize": 11.5,
                "titleFontWeight": "normal",
                "labelOverlap": "greedy",
                "labelSeparation": 6,
                "labelPadding": 6,
                "titlePadding": 8,
            },
            "legend": {
                "labelColor": "var(--ink)",
                "labelFontSize": 12,
                "orient": "bottom",
                "symbolStrokeColor": "var(--ink)",
            },
            "text": {"fontSize": 12},
            "line": {"strokeCap": "round", "strokeJoin": "round"},
        },
    }
