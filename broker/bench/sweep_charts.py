"""The charts of a sweep: how the ratio and each figure grow along each axis, and with two axes the grid of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.bench.charts import overhead_by_payload
from broker.bench.drawing import FULL, Chart, Spec, both, colour, legend, log_ticks
from broker.bench.findings import spoken
from broker.bench.metrics import METRICS
from broker.bench.units import digits

if TYPE_CHECKING:
    from broker.bench.results import Results

# figure, what a unit of the chart is of its own, the unit
_SWEPT: Final = (("cpu", 1e6, "µs"), ("throughput", 1, "a second"), ("p99", 1e3, "ms"), ("framing", 100, "%"))
_FAR: Final = 12.0  # from the smallest to the largest: beyond it a chart is logarithmic
_DASHES: Final = ((1, 0), (7, 4), (2, 3), (10, 3, 2, 3))  # of the values of the other axes


def of_sweep(results: Results) -> list[tuple[str, list[Chart]]]:
    """The charts of each section, under its title."""
    found: list[tuple[str, list[Chart]]] = []
    grid = _grid(results) if len(results.axes) == 2 else None
    if grid is not None:
        found.append((f"By {' and '.join(results.axes)}", [grid]))
    for axis in results.axes:
        if len({point.at[axis] for point in results.points}) < 2:
            continue
        made = [_ratio(results, axis), *(_figure(results, axis, *each) for each in _SWEPT)]
        if axis == "payload":
            made.append(overhead_by_payload(results.first.workload, [point.comparison for point in results.points]))
        found.append((f"By {axis}", [chart for chart in made if chart is not None]))
    return found


def _figure(results: Results, axis: str, name: str, factor: float, unit: str) -> Chart | None:
    metric = METRICS[name]
    values: list[Spec] = []
    rows: list[list[str]] = []
    for point in results.points:
        for subject in point.comparison.subjects:
            figure = point.comparison.figure(subject.label, name)
            if figure is not None:
                low, high = figure.spread.minimum, figure.spread.maximum
                values.append(_value(subject.label, point.at, axis, factor, figure.value, low, high))
                rows.append([subject.label, *_cells(point.at), f"{digits(figure.value * factor)} {unit}"])
    if not values:
        return None
    smallest, largest = min(value["low"] for value in values), max(value["high"] for value in values)
    far = smallest > 0 and largest / smallest > _FAR
    bounds = (0.8 * smallest, 1.25 * largest)
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "scale": {"type": "log", "domain": bounds, "nice": False} if far else {"zero": True},
        "axis": {
            "title": f"{unit} (log)" if far else unit,
            **({"values": log_ticks(*bounds)} if far else {}),
        },
    }
    return Chart(
        f"{axis}-{name}",
        metric.title,
        "Medians of the rounds; the bars are their range.",
        both({"data": {"values": values}, "height": 240, "layer": _layers(results, axis, y, values)}),
        ["subject", *results.axes, metric.title],
        rows,
        legend(results.first),
    )


def _ratio(results: Results, axis: str) -> Chart | None:
    values: list[Spec] = []
    rows: list[list[str]] = []
    for point in results.points:
        for subject in point.comparison.subjects[1:]:
            ratio = point.comparison.ratio(subject.label, results.first.headline)
            if ratio is not None:
                values.append(_value(subject.label, point.at, axis, 1, ratio.value, ratio.low, ratio.high))
                rows.append([subject.label, *_cells(point.at), *map(digits, (ratio.value, ratio.low, ratio.high))])
    if not values:
        return None
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": f"times {spoken(results.first.baseline.label)}"},
    }
    one: Spec = {
        "data": {"values": [{"one": 1}]},
        "mark": {"type": "rule", "color": "var(--ink)", "strokeWidth": 1},
        "encoding": {"y": {**y, "field": "one"}},
    }
    return Chart(
        f"{axis}-ratio",
        f"{_what(results)}, held against {spoken(results.first.baseline.label)}",
        "Medians of the rounds' ratios; the bars are their confidence intervals.",
        both({"data": {"values": values}, "height": 240, "layer": [one, *_layers(results, axis, y, values)]}),
        ["subject", *results.axes, "ratio", "low", "high"],
        rows,
        legend(results.first)[1:],
    )


def _grid(results: Results) -> Chart | None:
    """The ratio of the second subject at each point of two axes."""
    if len(results.first.subjects) != 2:
        return None
    label = results.first.subjects[1].label
    down, across = sorted(results.axes, key=lambda axis: len({point.at[axis] for point in results.points}))
    values: list[Spec] = []
    rows: list[list[str]] = []
    for point in results.points:
        ratio = point.comparison.ratio(label, results.first.headline)
        if ratio is not None:
            text = digits(ratio.value)
            values.append({"x": point.at[across], "y": point.at[down], "ratio": ratio.value, "text": text})
            rows.append([*_cells(point.at), text, digits(ratio.low), digits(ratio.high)])
    if not values:
        return None
    axis: Spec = {"labelAngle": 0, "grid": False, "format": ","}
    encoding = {
        "x": {"field": "x", "type": "ordinal", "axis": {**axis, "title": across}},
        "y": {"field": "y", "type": "ordinal", "axis": {**axis, "title": down}},
    }
    most = max(abs(value["ratio"] - 1) for value in values)
    shade: Spec = {
        "field": "ratio",
        "type": "quantitative",
        "scale": {"domain": [1, 1 + most], "range": [0.05, 0.75], "clamp": True},
        "legend": None,
    }
    tile: Spec = {"type": "rect", "color": "var(--s1)", "cornerRadius": 4, "stroke": "var(--card)", "strokeWidth": 3}
    text_mark: Spec = {"type": "text", "color": "var(--ink)", "fontWeight": 600}
    layers: list[Spec] = [
        {"mark": tile, "encoding": {**encoding, "opacity": shade}},
        {"mark": text_mark, "encoding": {**encoding, "text": {"field": "text"}}},
    ]
    return Chart(
        "grid",
        f"{_what(results)}: how many times {spoken(results.first.baseline.label)}",
        f"The median of the rounds' ratios of {spoken(label)} at each point; the deeper, the farther above 1.",
        both({"data": {"values": values}, "height": {"step": 42}, "layer": layers}, FULL),
        [*results.axes, "ratio", "low", "high"],
        rows,
        (),
        True,
    )


def _what(results: Results) -> str:
    return "CPU per message" if results.first.headline == "cpu" else "Messages a second"


def _value(label: str, at: dict[str, float], axis: str, factor: float, value: float, low: float, high: float) -> Spec:
    return {
        "subject": label,
        "x": at[axis],
        "y": value * factor,
        "low": low * factor,
        "high": high * factor,
        "rest": ", ".join(f"{name} {digits(other)}" for name, other in at.items() if name != axis),
    }


def _cells(at: dict[str, float]) -> list[str]:
    return [digits(value) for value in at.values()]


def _layers(results: Results, axis: str, y: Spec, values: list[Spec]) -> list[Spec]:
    """A line with dots and ranges for each subject, dashed by where the other axes stand."""
    encoding: Spec = {"x": _x(results, axis), "color": colour(results.first)}
    rests = list(dict.fromkeys(value["rest"] for value in values))
    dash: Spec = {}
    if len(rests) > 1:
        dashes = [list(_DASHES[at % len(_DASHES)]) for at in range(len(rests))]
        scale = {"domain": rests, "range": dashes}
        dash = {
            "strokeDash": {
                "field": "rest",
                "scale": scale,
                "legend": {"title": None, "columns": 2, "columnPadding": 24, "symbolSize": 900},
            }
        }
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.25},
            "encoding": {**encoding, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 2, "strokeCap": "butt"}, "encoding": {**encoding, "y": y, **dash}},
        {"mark": {"type": "point", "filled": True, "size": 50, "opacity": 1}, "encoding": {**encoding, "y": y}},
    ]


def _x(results: Results, name: str) -> Spec:
    values = sorted({point.at[name] for point in results.points})
    if name == "qos":
        return {"field": "x", "type": "ordinal", "axis": {"title": "QoS", "labelAngle": 0, "grid": False}}
    wide = values[0] > 0 and values[-1] / values[0] >= 8
    return {
        "field": "x",
        "type": "quantitative",
        "scale": {"type": "log"} if wide else {"zero": False},
        "axis": {"title": f"{name} (log)" if wide else name, "values": values, "format": ","},
    }
