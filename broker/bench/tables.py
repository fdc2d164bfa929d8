"""The comparison as text for a terminal: the answer, the figures side by side, and what must be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.bench.findings import all_warnings, answers, describe
from broker.bench.metrics import METRICS
from broker.bench.sweep import at_text
from broker.bench.theory import predictions
from broker.bench.units import digits, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from broker.bench.comparison import Comparison
    from broker.bench.results import Results
    from broker.bench.statistics import Ratio

_SMALL: Final = 0.01
# groups of Metrics in the order of the table; a figure that no subject has is left out
GROUPS: Final = ("speed", "latency", "acknowledgement", "broker", "wire", "connect", "generator", "checks")


def text_of(results: Results) -> RenderableType:
    """All of it: one comparison, or a sweep as a table of its points."""
    if results.axes:
        return Group(
            Text(describe(results.first.workload, [point.at for point in results.points])),
            Padding(_sweep(results), (1, 0)),
            _notes(results),
        )
    comparison = results.first
    parts: list[RenderableType] = [Text(describe(comparison.workload), style="dim")]
    parts += [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in answers(comparison)]
    parts.append(Padding(figures(comparison), (1, 0)))
    parts.append(_theory(comparison))
    parts.append(_notes(results))
    return Group(*parts)


def figures(comparison: Comparison) -> Table:
    """One row a figure: each subject's median with the range of its rounds, and the ratios."""
    table = Table(
        box=None,
        pad_edge=False,
        header_style="bold",
        caption="medians of the rounds ± half of their range; ratios are medians of those of each round"
        if len(comparison.rounds) > len(comparison.subjects)
        else None,
        caption_justify="left",
    )
    table.add_column("")
    for subject in comparison.subjects:
        table.add_column(subject.label, justify="right")
    for subject in comparison.subjects[1:]:
        table.add_column(f"{subject.label} / {comparison.baseline.label}", justify="right")
    before = ""
    for name in rows(comparison):
        metric = METRICS[name]
        if before and metric.group != before:
            table.add_row()
        before = metric.group
        table.add_row(
            metric.title,
            *(_value(comparison, subject.label, name) for subject in comparison.subjects),
            *(_ratio(ratio_of(comparison, subject.label, name), metric.better) for subject in comparison.subjects[1:]),
        )
    return table


def ratio_of(comparison: Comparison, label: str, name: str) -> Ratio | None:
    """The ratio where it says something to a reader: not of what is neither good nor bad."""
    return None if METRICS[name].better == "neither" else comparison.ratio(label, name)


def rows(comparison: Comparison) -> list[str]:
    """The figures that any subject has, in the order of GROUPS; checks that found nothing are one row less."""
    found = []
    for group in GROUPS:
        for name, metric in METRICS.items():
            if metric.group != group:
                continue
            values = [comparison.figure(subject.label, name) for subject in comparison.subjects]
            there = [figure for figure in values if figure is not None]
            if there and (any(figure.value for figure in there) or name == "lost"):
                found.append(name)
    return found


def _value(comparison: Comparison, label: str, name: str) -> Text:
    figure = comparison.figure(label, name)
    if figure is None:
        return Text("-", style="dim")
    text = Text(shown(figure.value, figure.metric.unit))
    if figure.metric.group == "checks" and figure.value:
        text.stylize("bold red")
    elif figure.metric.over_rounds == "median" and figure.spread.relative >= 0.005:
        text.append(f" ±{50 * figure.spread.relative:.0f} %".rjust(8), style="dim")
    return text


def _ratio(ratio: Ratio | None, better: str) -> Text:
    if ratio is None:
        return Text("")
    style = {True: "green", False: "yellow", None: ""}[is_better(ratio, better)]
    text = Text(digits(ratio.value), style=style)
    if ratio.apart:
        text.append(f"  {digits(ratio.low)} to {digits(ratio.high)}", style="dim")
    return text


def is_better(ratio: Ratio, better: str) -> bool | None:
    """Whether a subject is better than the first one; None where no difference was shown, or none worth a colour."""
    if not ratio.clear or better == "neither" or abs(ratio.value - 1) < _SMALL:
        return None
    return (ratio.value < 1) == (better == "less")


def _theory(comparison: Comparison) -> RenderableType:
    lines = []
    for subject in comparison.subjects:
        for each in predictions(comparison, subject.label):
            if each.theory or each.measured:
                direction = "sent" if each.name == "sent_framing" else "received"
                lines.append(
                    f"{subject.label}: framing of a message {direction}: {digits(round(each.measured, 3))} B measured, "
                    f"{digits(round(each.theory, 3))} B by RFC 6455 ({each.how})"
                )
    return Group(*(Text(line, style="dim") for line in lines))


def _notes(results: Results) -> RenderableType:
    said = all_warnings([(at_text(point.at), point.comparison) for point in results.points])
    return Group(*(Text.assemble(("! ", "bold yellow"), text) for text in said))


def _sweep(results: Results) -> Table:
    """One row a point and subject."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for axis in results.axes:
        table.add_column(axis, justify="right")
    table.add_column("")
    headline = results.first.headline
    names = [name for name in ("throughput", "p50", "p99", "cpu", "framing") if _any(results, name)]
    for name in names:
        table.add_column(METRICS[name].title, justify="right")
    table.add_column(f"ratio ({'CPU' if headline == 'cpu' else 'messages a second'})", justify="right")
    for point in results.points:
        for number, subject in enumerate(point.comparison.subjects):
            cells = [Text("" if number else digits(value)) for value in point.at.values()]
            cells.append(Text(subject.label))
            cells += [_value(point.comparison, subject.label, name) for name in names]
            ratio = point.comparison.ratio(subject.label, headline) if number else None
            cells.append(_ratio(ratio, METRICS[headline].better))
            table.add_row(*cells)
    return table


def _any(results: Results, name: str) -> bool:
    return any(
        point.comparison.figure(subject.label, name) is not None
        for point in results.points
        for subject in point.comparison.subjects
    )
