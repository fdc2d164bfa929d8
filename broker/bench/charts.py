"""The charts of one comparison: ratios, latency, messages over time, CPU, and what is no payload."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final

from broker.bench.drawing import FULL, Chart, Spec, both, colour, legend, log_ticks
from broker.bench.findings import spoken
from broker.bench.measured import SERIES_STEP
from broker.bench.metrics import METRICS
from broker.bench.theory import overhead
from broker.bench.units import digits, duration
from broker.client import parse

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison
    from broker.bench.workload import Workload

_RATIOS: Final = (
    ("cpu", "CPU per message"),
    ("throughput", "Messages a second"),
    ("p50", "Latency, median"),
    ("p99", "Latency, 99 %"),
    ("sent_bytes", "Bytes, sent"),
    ("received_bytes", "Bytes, received"),
    ("connect_cpu", "CPU per connect"),
    ("connect_bytes", "Bytes per connect"),
    ("memory", "Memory per connection"),
)
_PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_LAST: Final = 99.9999  # percent: where the curve ends
_PAYLOADS: Final = (16, 32, 64, 125, 126, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_535, 65_536)


def of_comparison(comparison: Comparison, without: tuple[str, ...] = ()) -> list[Chart]:
    """All that there is something to show for, but those that are named."""
    made = [
        _ratios(comparison),
        _latency(comparison),
        _throughput(comparison),
        _cpu(comparison),
        overhead_by_payload(comparison.workload, [comparison]),
    ]
    return [chart for chart in made if chart is not None and chart.name not in without]


def _ratios(comparison: Comparison) -> Chart | None:
    values: list[Spec] = []
    rows: list[list[str]] = []
    for subject in comparison.subjects[1:]:
        for name, title in _RATIOS:
            ratio = comparison.ratio(subject.label, name)
            if ratio is None:
                continue
            text = digits(ratio.value)
            values.append(
                {
                    "what": title,
                    "subject": subject.label,
                    "value": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "text": text,
                }
            )
            bounds = [digits(ratio.low), digits(ratio.high)] if ratio.rounds > 1 else ["", ""]
            rows.append([subject.label, title, text, *bounds])
    if not values:
        return None
    order = [title for _, title in _RATIOS if any(value["what"] == title for value in values)]
    several = len(comparison.subjects) > 2
    least = min(0.8, *(value["low"] for value in values))
    most = max(1.25, *(value["high"] for value in values))
    x = {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [least * 0.9, most * 2.4], "nice": False},
        "axis": {
            "title": f"times {spoken(comparison.baseline.label)} (log)",
            "values": log_ticks(least * 0.9, most * 2.4),
            "format": "~g",
        },
    }
    y: Spec = {
        "field": "what",
        "type": "nominal",
        "sort": order,
        "axis": {"title": None, "labelLimit": 170, "minExtent": 165, "labelFontSize": 12.5, "labelColor": "var(--ink)"},
    }
    offset: Spec = {"yOffset": {"field": "subject"}} if several else {}
    shade = colour(comparison)
    layers: list[Spec] = [
        {
            "data": {"values": [{"one": 1}]},
            "mark": {"type": "rule", "color": "var(--ink)", "strokeWidth": 1},
            "encoding": {"x": {**x, "field": "one"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 6, "opacity": 0.28, "strokeCap": "round"},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "y": y, **offset, "color": shade},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {"x": {**x, "field": "value"}, "y": y, **offset, "color": shade},
        },
    ]
    if not several:
        layers.append(
            {
                "mark": {"type": "text", "align": "left", "dx": 8, "color": "var(--ink)", "fontWeight": 600},
                "encoding": {"x": {**x, "field": "high"}, "y": y, "text": {"field": "text"}},
            }
        )
    step = {"step": 14 if several else 26}
    others = ", ".join(spoken(subject.label) for subject in comparison.subjects[1:])
    return Chart(
        "ratios",
        f"{others} against {spoken(comparison.baseline.label)}",
        "Each dot is the median of the rounds' ratios, the bar its confidence interval. A bar that touches 1 shows no "
        "difference.",
        both({"data": {"values": values}, "height": step, "layer": layers}, FULL),
        ["subject", "figure", "ratio", "low", "high"],
        rows,
        legend(comparison)[1:] if several else (),
        True,
    )


def _latency(comparison: Comparison) -> Chart | None:
    values: list[Spec] = []
    rows: list[list[str]] = []
    for subject in comparison.subjects:
        histogram = comparison.latency(subject.label)
        if not histogram.count:
            continue
        last = min(_LAST, 100 * (1 - 1 / histogram.count))  # beyond it there is but the longest
        before = 0.0
        for percent, value in histogram.curve():
            if before <= last:
                values.append({"subject": subject.label, "x": _nines(before), "y": value / 1e6})
            before = percent
        values.append({"subject": subject.label, "x": _nines(last), "y": histogram.maximum / 1e6})
        shown = [duration(histogram.percentile(percent) / 1e9) for percent in _PERCENTILES]
        rows.append([subject.label, *shown, duration(histogram.maximum / 1e9)])
    if not values:
        return None
    most = max(value["x"] for value in values)
    ticks = [_nines(percent) for percent in _PERCENTILES if _nines(percent) <= most]
    labels = " : ".join(
        f"abs(datum.value - {_nines(percent):.6f}) < 0.001 ? '{percent:g} %'" for percent in _PERCENTILES
    )
    low = 0.9 * min(value["y"] for value in values)
    high = 1.15 * max(value["y"] for value in values)
    spec: Spec = {
        "data": {"values": _thinned(values)},
        "height": 260,
        "mark": {"type": "line", "strokeWidth": 2, "interpolate": "step-after"},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "scale": {"domain": [0, most], "nice": False},
                "axis": {
                    "title": "share of all messages",
                    "values": ticks,
                    "labelExpr": f"{labels} : ''",
                },
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "scale": {"type": "log", "domain": [low, high], "nice": False},
                "axis": {"title": "not later than, ms (log)", "format": "~g", "values": log_ticks(low, high)},
            },
            "color": colour(comparison),
        },
    }
    return Chart(
        "latency",
        "Latency by percentile",
        "Of all messages of all rounds, from when a message was due to its arrival. Read: so many per cent arrived not "
        "later than this. Each step to the right is a tenth of the messages before it.",
        both(spec),
        ["subject", *(f"{percent:g} %" for percent in _PERCENTILES), "longest"],
        rows,
        legend(comparison),
    )


def _throughput(comparison: Comparison) -> Chart | None:
    lines: list[Spec] = []
    middles: list[Spec] = []
    rows: list[list[str]] = []
    for subject in comparison.subjects:
        series = [_rates(run.measured.series) for run in comparison.rounds_of(subject.label)]
        series = [each for each in series if each]
        if not series:
            continue
        for number, each in enumerate(series):
            lines += [
                {"subject": subject.label, "round": f"{subject.label} {number}", "t": t, "rate": rate / 1e3}
                for t, rate in each
            ]
        shortest = min(len(each) for each in series)
        middle = [(series[0][at][0], median(each[at][1] for each in series)) for at in range(shortest)]
        middles += [{"subject": subject.label, "t": t, "rate": rate / 1e3} for t, rate in middle]
        rates = [rate for each in series for _, rate in each]
        rows.append([subject.label, digits(min(rates)), digits(median(rates)), digits(max(rates))])
    if not lines or len(middles) < 2 * len(rows):
        return None
    x: Spec = {"field": "t", "type": "quantitative", "axis": {"title": "seconds of the round"}}
    y: Spec = {
        "field": "rate",
        "type": "quantitative",
        "scale": {"zero": True},
        "axis": {"title": "thousand messages a second"},
    }
    shade = colour(comparison)
    several = len(lines) > len(middles)
    layer: list[Spec] = [
        {
            "data": {"values": middles},
            "mark": {"type": "line", "strokeWidth": 2.5},
            "encoding": {"x": x, "y": y, "color": shade},
        }
    ]
    if several:
        layer.insert(
            0,
            {
                "data": {"values": lines},
                "mark": {"type": "line", "strokeWidth": 1, "opacity": 0.3},
                "encoding": {"x": x, "y": y, "color": shade, "detail": {"field": "round"}},
            },
        )
    return Chart(
        "throughput",
        "Messages over time",
        f"Each {SERIES_STEP:g} s of each round"
        + (", thin; their median, thick. A line that falls or waves is a run that was disturbed." if several else "."),
        both({"height": 260, "layer": layer}),
        ["subject", "least a second", "median", "most"],
        rows,
        legend(comparison),
    )


def _rates(series: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """(seconds, messages a second) in the middle of each step."""
    return [((at + 0.5) * SERIES_STEP, (received or sent) / SERIES_STEP) for at, (sent, received) in enumerate(series)]


def _cpu(comparison: Comparison) -> Chart | None:
    metric = METRICS["cpu"]
    values: list[Spec] = []
    rows: list[list[str]] = []
    for subject in comparison.subjects:
        for run in comparison.rounds_of(subject.label):
            cost = metric.of(run)
            if cost is not None:
                values.append({"subject": subject.label, "round": run.number, "cpu": cost * 1e6})
                rows.append([subject.label, str(run.number), duration(cost)])
    if len(values) <= len(comparison.subjects):
        return None
    shade = colour(comparison)
    y: Spec = {"field": "cpu", "type": "quantitative", "scale": {"zero": True}, "axis": {"title": "µs of CPU"}}
    x: Spec = {"field": "round", "type": "ordinal", "axis": {"title": "round", "labelAngle": 0, "grid": False}}
    return Chart(
        "cpu",
        "The broker's CPU per message",
        "Each round; the two runs of a round stand next to each other in time, so that a machine that grows slower "
        "lifts both.",
        both(
            {
                "data": {"values": values},
                "height": 260,
                "encoding": {"x": x, "y": y, "color": shade},
                "layer": [
                    {"mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.5}},
                    {"mark": {"type": "point", "filled": True, "size": 55, "opacity": 1}},
                ],
            }
        ),
        ["subject", "round", "CPU per message"],
        rows,
        legend(comparison),
    )


def overhead_by_payload(workload: Workload, comparisons: list[Comparison]) -> Chart | None:
    """What is no payload, by theory as lines and as measured as dots; None where nothing was sent."""
    subjects = comparisons[0].subjects
    if not workload.publishers:
        return None
    lines: list[Spec] = []
    dots: list[Spec] = []
    rows: list[list[str]] = []
    for subject in subjects:
        websocket = parse(subject.url).websocket
        for payload in _PAYLOADS:
            needed = overhead(workload, payload)
            extra = needed.mqtt + (needed.to_broker if websocket else 0)
            share = 100 * extra / (payload + extra)
            lines.append({"subject": subject.label, "payload": payload, "share": share})
        for comparison in comparisons:
            sent = comparison.figure(subject.label, "sent_bytes")
            if sent is None or comparison.workload.qos:
                continue
            payload = comparison.workload.payload
            share = 100 * (sent.value - payload) / sent.value
            dots.append({"subject": subject.label, "payload": payload, "share": share})
            rows.append([subject.label, f"{payload:,}", digits(round(sent.value, 2)), f"{share:.2f} %"])
    x: Spec = {
        "field": "payload",
        "type": "quantitative",
        "scale": {"type": "log", "base": 2, "domain": [16, 65_536]},
        "axis": {
            "title": "bytes of payload (log)",
            "values": [16, 64, 256, 1024, 4096, 16_384, 65_536],
            "labelExpr": "datum.value < 1024 ? datum.value : datum.value / 1024 + ' Ki'",
        },
    }
    y: Spec = {"field": "share", "type": "quantitative", "axis": {"title": "% of the bytes that are no payload"}}
    shade = colour(comparisons[0])
    encoding = {"x": x, "y": y, "color": shade}
    layer: list[Spec] = [
        {"data": {"values": lines}, "mark": {"type": "line", "strokeWidth": 2}, "encoding": encoding},
    ]
    if dots:
        layer.append(
            {
                "data": {"values": dots},
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "stroke": "var(--card)"},
                "encoding": encoding,
            }
        )
    return Chart(
        "overhead",
        "What is no payload, by payload",
        "Of a message sent to the broker: MQTT's own header, and over WebSocket a frame around it. Lines by the "
        "standards, dots as measured.",
        both({"height": 260, "layer": layer}),
        ["subject", "payload", "bytes a message", "no payload"],
        rows,
        legend(comparisons[0]),
    )


def _nines(percent: float) -> float:
    """0 % is 0, 90 % 1, 99 % 2, 99.9 % 3."""
    return -math.log10(1 - min(percent, _LAST) / 100)


def _thinned(values: list[Spec]) -> list[Spec]:
    """Without points that lie on the one before, and without those of one height but the first and the last."""
    kept: list[Spec] = []
    for value in values:
        last = kept[-1] if kept else None
        if last and last["subject"] == value["subject"] and value["x"] - last["x"] < 0.002 and value is not values[-1]:
            continue
        kept.append({**value, "x": round(value["x"], 4), "y": float(f"{value['y']:.4g}")})
    return kept
