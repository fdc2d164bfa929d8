"""`--html FILE`: one page that holds everything, is read without a network and without JavaScript, and can be printed.

The answer comes first, then what must be known before it is believed, then charts, then all figures, and at the end
where and by which command they were made. The look is in `templates/comparison.html.jinja`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from broker.bench import charts, sweep_charts
from broker.bench.drawing import Chart, ChartsMissing, svg
from broker.bench.findings import all_warnings, answers, describe, interval, over, spoken
from broker.bench.metrics import METRICS
from broker.bench.sweep import at_text
from broker.bench.tables import is_better, ratio_of, rows
from broker.bench.theory import predictions
from broker.bench.units import digits, shown, size

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison
    from broker.bench.environment import Environment
    from broker.bench.results import Results
    from broker.bench.statistics import Ratio

_TEMPLATES: Final = Path(__file__).parent / "templates"
_TILES: Final = (
    ("cpu", "CPU per message"),
    ("throughput", "Messages a second"),
    ("p50", "Median latency"),
    ("p99", "99th percentile"),
    ("sent_bytes", "Bytes per message sent"),
    ("memory", "Memory per connection"),
    ("connect_cpu", "CPU per connect"),
    ("connect_bytes", "Bytes per connect"),
)


def check() -> None:
    """Raise ChartsMissing, which says how to get them, where what the page needs is not installed: before a run."""
    try:
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError:
        raise ChartsMissing(
            "--html needs two libraries more; install them with: pip install 'triomq[report]'"
        ) from None


def render(results: Results) -> str:
    """The whole page. ChartsMissing where the extra `report` is not installed."""
    check()
    from jinja2 import Environment as Templates
    from jinja2 import FileSystemLoader, StrictUndefined

    templates = Templates(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("comparison.html.jinja").render(**_context(results))


def _context(results: Results) -> dict[str, Any]:
    first = results.first
    several = bool(results.axes)
    labels = [subject.label for subject in first.subjects]
    return {
        "title": _title([spoken(label) for label in labels], results.axes),
        "load": describe(first.workload, [point.at for point in results.points] if several else ()),
        "rounds": len(first.rounds_of(labels[0])),
        "answers": _sweep_answers(results) if several else answers(first),
        "tiles": [] if several else _tiles(first),
        "warnings": all_warnings([(at_text(point.at), point.comparison) for point in results.points]),
        "sections": _sections(results),
        "tables": [_table(point.comparison, at_text(point.at)) for point in results.points],
        "theory": [row for point in results.points for row in _theory(point.comparison, at_text(point.at))],
        "environment": results.environment,
        "facts": _facts(results.environment, first),
    }


def _title(names: list[str], axes: list[str]) -> str:
    *others, last = names
    subject = f"{', '.join(others)} and {last} compared" if others else f"MQTT with {last} measured"
    return f"{subject} by {' and '.join(axes)}" if axes else subject


def _sections(results: Results) -> list[dict[str, Any]]:
    if not results.axes:
        return [{"title": "Seen from several sides", "charts": _drawn(charts.of_comparison(results.first))}]
    found = [{"title": title, "charts": _drawn(made)} for title, made in sweep_charts.of_sweep(results)]
    last = results.points[-1]
    closer = _drawn(charts.of_comparison(last.comparison, without=("overhead",)))
    return [*found, {"title": f"More closely at the last point: {at_text(last.at)}", "charts": closer}]


def _drawn(made: list[Chart]) -> list[dict[str, Any]]:
    from markupsafe import Markup

    return [
        {
            "title": chart.title,
            "caption": chart.caption,
            "wide": Markup(svg(chart.specs[0])),
            "narrow": Markup(svg(chart.specs[1])),
            "header": chart.header,
            "rows": chart.rows,
            "legend": chart.subjects,
            "full": chart.full,
        }
        for chart in made
    ]


def _tiles(comparison: Comparison) -> list[dict[str, str]]:
    """The figures that most look for, large; with several subjects the ratios of the second."""
    found = []
    base = comparison.baseline.label
    label = comparison.subjects[1].label if len(comparison.subjects) > 1 else base
    if len(comparison.subjects) > 2:
        return []
    for name, what in _TILES:
        figure, beside = comparison.figure(label, name), comparison.figure(base, name)
        if figure is None or beside is None:
            continue
        value = shown(figure.value, figure.metric.unit)
        if label == base:
            found.append({"what": what, "figure": value, "unit": "", "detail": "", "style": ""})
            continue
        ratio = comparison.ratio(label, name)
        if ratio is not None:
            detail = f"{value} against {shown(beside.value, beside.metric.unit)}"
            if ratio.apart:
                detail += f" · {interval(ratio)}"
            found.append(
                {
                    "what": what,
                    "figure": digits(ratio.value),
                    "unit": f"times {spoken(base)}",
                    "detail": detail,
                    "style": _style(ratio, figure.metric.better),
                }
            )
    return found


def _style(ratio: Ratio, better: str) -> str:
    return {True: "better", False: "worse", None: ""}[is_better(ratio, better)]


def _sweep_answers(results: Results) -> list[str]:
    """How the ratio goes from the first point to the last, and where it is greatest."""
    found = []
    name = results.first.headline
    what = "a message's CPU" if name == "cpu" else "messages a second"
    for subject in results.first.subjects[1:]:
        seen = [(point, point.comparison.ratio(subject.label, name)) for point in results.points]
        known = [(point, ratio) for point, ratio in seen if ratio is not None]
        if not known:
            continue
        least = min(known, key=lambda one: one[1].value)
        most = max(known, key=lambda one: one[1].value)
        base = over(results.first.baseline.label)
        where = over(subject.label)
        found.append(
            f"{where[0].upper()}{where[1:]}, {what} is {digits(least[1].value)} to {digits(most[1].value)} times what "
            f"it is {base}: least at {at_text(least[0].at)}, most at {at_text(most[0].at)}."
        )
    return found


def _table(comparison: Comparison, at: str) -> dict[str, Any]:
    made = []
    before = ""
    for name in rows(comparison):
        metric = METRICS[name]
        ratios = []
        for subject in comparison.subjects[1:]:
            ratio = ratio_of(comparison, subject.label, name)
            if ratio is None:
                ratios.append(("", "", ""))
            else:
                detail = f"{digits(ratio.low)} to {digits(ratio.high)}" if ratio.apart else ""
                ratios.append((digits(ratio.value), detail, _style(ratio, metric.better)))
        made.append(
            {
                "title": metric.title,
                "first": bool(before) and metric.group != before,
                "cells": [_value(comparison, subject.label, name) for subject in comparison.subjects],
                "ratios": ratios,
            }
        )
        before = metric.group
    return {
        "title": f"All figures at {at}" if at else "All figures",
        "subjects": [subject.label for subject in comparison.subjects],
        "rows": made,
    }


def _value(comparison: Comparison, label: str, name: str) -> tuple[str, str]:
    figure = comparison.figure(label, name)
    if figure is None:
        return "-", ""
    apart = figure.metric.over_rounds == "median" and figure.spread.relative >= 0.005
    return shown(figure.value, figure.metric.unit), f"±{50 * figure.spread.relative:.0f} %" if apart else ""


def _theory(comparison: Comparison, at: str) -> list[dict[str, Any]]:
    directions = {"sent_framing": "sent", "received_framing": "received"}
    return [
        {
            "what": f"{subject.label}, {directions[each.name]}{f' ({at})' if at else ''}",
            "measured": f"{digits(round(each.measured, 3))} B",
            "theory": f"{digits(round(each.theory, 3))} B",
            "how": each.how,
            "agrees": each.agrees,
        }
        for subject in comparison.subjects
        for each in predictions(comparison, subject.label)
    ]


def _facts(environment: Environment, comparison: Comparison) -> list[tuple[str, str]]:
    loads = [run.load for run in comparison.rounds]
    facts = [("Measured", _date(environment.date)), ("By", environment.version)]
    facts += [
        (subject.label, " · ".join(filter(None, (subject.url, subject.software)))) for subject in comparison.subjects
    ]
    facts += [
        (
            "Machine",
            ", ".join(filter(None, (environment.cpu, f"{environment.cores} cores" if environment.cores else ""))),
        ),
        ("Memory", size(environment.memory) if environment.memory else ""),
        ("System", environment.system),
        ("Python", environment.python),
        ("Workers", str(max((run.measured.workers for run in comparison.rounds), default=0) or "")),
        ("Load average", f"{min(loads):.2f} to {max(loads):.2f} when the rounds began" if loads else ""),
    ]
    return [(name, value) for name, value in facts if value]


def _date(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%-d %B %Y, %H:%M %Z")
    except ValueError:
        return text
