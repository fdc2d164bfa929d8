"""`--fail-if`: what a run must not be. `p99>50ms`, `ratio>1.5`, `lost>0`, `ws.throughput<100k`.

On the left stands a figure of `broker/bench/metrics.py`, with a subject before it where only that one is meant, or one
with `_ratio`, `_ratio_low`, `_ratio_high` behind it: how many times the first subject's it is, and the ends of the
interval. `ratio` alone is that of the broker's CPU per message, or where that is not known how many times slower the
subject is. Times have a unit (ns, us, ms, s), others may have one (k, M, KiB, MiB, %).
"""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.bench.metrics import METRICS
from broker.bench.units import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.bench.comparison import Comparison

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM: Final = re.compile(r"\s*(.+?)\s*(>=|<=|>|<)\s*([\d.]+(?:[eE][+-]?\d+)?)\s*([A-Za-zµ%]*)\s*")
_TIMES: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_AMOUNTS: Final = {"": 1.0, "k": 1e3, "M": 1e6, "%": 0.01, "B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2}
_RATIOS: Final = ("_ratio", "_ratio_low", "_ratio_high")
_SHORT: Final = {"p999": "p99.9", "latency": "p50", "ratio": "ratio"}


class BadCondition(ValueError):
    """A condition that nobody can judge; the text says what is known."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`subject` is empty where each of them is meant."""

    text: str
    subject: str
    figure: str
    comparison: str
    bound: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a condition at one subject. `value` is None where there is no such figure."""

    condition: Condition
    subject: str
    value: float | None
    holds: bool

    def __str__(self) -> str:
        name = self.condition.figure
        unit = METRICS[name].unit if name in METRICS else ""
        if self.value is None:
            return f"{self.condition.text}: {self.subject} has no such figure"
        return f"{self.condition.text}: {self.subject} has {shown(self.value, unit)}"


def parse(text: str, subjects: tuple[str, ...] = ()) -> Condition:
    """BadCondition for what is none, for an unknown figure, and for a subject that is none of `subjects`."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadCondition(f"'{text}' is no condition: p99>50ms, ratio>1.5, lost>0 or ws.throughput<100k would be.")
    left, comparison, number, unit = match.groups()
    subject, figure = _split(left, subjects)
    is_time = figure in METRICS and METRICS[figure].unit == "s"
    units = _TIMES if is_time else _AMOUNTS
    if unit not in units:
        known = ", ".join(each for each in units if each)
        raise BadCondition(f"'{text}': {figure} is told in {known}" + (", as in 50ms." if is_time else "."))
    try:
        bound = float(number) * units[unit]
    except ValueError:
        raise BadCondition(f"'{text}': '{number}' is no number.") from None
    return Condition(text.strip(), subject, figure, comparison, bound)


def _split(left: str, subjects: tuple[str, ...]) -> tuple[str, str]:
    """Subject and figure; the names of both may hold dots."""
    names = sorted({*METRICS, *_SHORT, *(name + end for name in METRICS for end in _RATIOS)}, key=len, reverse=True)
    for name in names:
        if left == name:
            return "", _SHORT.get(name, name)
        if left.endswith("." + name):
            subject = left.removesuffix("." + name)
            if subjects and subject not in subjects:
                raise BadCondition(f"'{left}': there is no subject '{subject}' here, but {', '.join(subjects)}.")
            return subject, _SHORT.get(name, name)
    near = difflib.get_close_matches(left.rpartition(".")[2], names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise BadCondition(
        f"'{left}' is no figure.{hint} Known are ratio, {', '.join(METRICS)}, each of them with _ratio behind it, and "
        "with a subject before it, as in ws.p99."
    )


def judge(condition: Condition, comparison: Comparison) -> list[Verdict]:
    """What became of it at each subject that is meant; one that has no such figure is told with a `value` of None.

    A ratio is judged at all subjects but the first, and has no value where there is no other.
    """
    figures = comparison.figures()
    found: list[Verdict] = []
    of_ratio = "ratio" in condition.figure
    labels = [condition.subject] if condition.subject else [each.label for each in comparison.subjects]
    if of_ratio and not condition.subject and len(labels) > 1:
        labels = labels[1:]
    for label in labels:
        value = _value(condition.figure, label, figures, comparison)
        holds = value is not None and _OPERATORS[condition.comparison](value, condition.bound)
        found.append(Verdict(condition, label, value, holds))
    return found


def _value(figure: str, label: str, figures: Mapping[str, Mapping[str, float]], comparison: Comparison) -> float | None:
    row = figures.get(label, {})
    if figure != "ratio":
        return row.get(figure)
    value = row.get(f"{comparison.headline}_ratio")
    return 1 / value if value and METRICS[comparison.headline].better == "more" else value
