"""What `broker bench` writes: everything as JSON, and the figures as CSV for a spreadsheet.

The JSON holds each raw figure, each histogram and where it was made; `from_json` reads it again, so that a page or a
table can be made of it at any later time. `schema` is 1: a reader may count on all names that are there; later
versions add names, and take a new number when one goes or changes its meaning.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broker.bench.comparison import from_dict, to_dict
from broker.bench.environment import Environment
from broker.bench.metrics import METRICS
from broker.bench.sweep import Point

if TYPE_CHECKING:
    from broker.bench.comparison import Comparison

SCHEMA: Final = 1


class BadResults(ValueError):
    """No results, or those of another schema; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What is reported: one Point without axes, or those of a sweep in their order."""

    environment: Environment
    points: list[Point] = field(default_factory=list)

    @property
    def first(self) -> Comparison:
        return self.points[0].comparison

    @property
    def axes(self) -> list[str]:
        """What was varied; empty where nothing was."""
        return list(self.points[0].at)


def of_comparison(comparison: Comparison, environment: Environment) -> Results:
    """Results of one comparison, or of one run (`broker.bench.comparison.single`)."""
    return Results(environment=environment, points=[Point({}, comparison)])


def to_json(results: Results) -> str:
    """One JSON object, ended by a newline. Times of `figures` are in seconds, those of histograms in nanoseconds."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "broker bench",
        "environment": results.environment.to_dict(),
        "points": [
            {"at": point.at, "figures": point.comparison.figures(), "comparison": to_dict(point.comparison)}
            for point in results.points
        ],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Results:
    """The reverse of `to_json`; BadResults where it is none."""
    try:
        document = json.loads(text)
        if document["kind"] != "broker bench":
            raise BadResults("these are no results of broker bench")
        if document["schema"] != SCHEMA:
            raise BadResults(f"results of schema {document['schema']}; this version reads {SCHEMA}")
        return Results(
            environment=Environment.from_dict(document["environment"]),
            points=[Point(point["at"], from_dict(point["comparison"])) for point in document["points"]],
        )
    except BadResults:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadResults("these are no results of broker bench") from error


def to_csv(results: Results) -> str:
    """One row a round of each subject, and behind them for each subject the figures over its rounds.

    `round` is a number, or `all`, or `ratio`, `ratio_low` and `ratio_high` for what is held against the first subject.
    Times are in seconds, sizes in bytes; a figure that there is not is an empty field.
    """
    names = list(METRICS)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*results.axes, "subject", "round", *names])
    for point in results.points:
        at = [f"{value:g}" for value in point.at.values()]
        comparison = point.comparison
        figures = comparison.figures()
        for run in comparison.rounds:
            writer.writerow([*at, run.subject, run.number, *(_field(METRICS[name].of(run)) for name in names)])
        for subject in comparison.subjects:
            row = figures[subject.label]
            writer.writerow([*at, subject.label, "all", *(_field(row.get(name)) for name in names)])
            if subject != comparison.baseline:
                for kind in ("ratio", "ratio_low", "ratio_high"):
                    writer.writerow([*at, subject.label, kind, *(_field(row.get(f"{name}_{kind}")) for name in names)])
    return text.getvalue()


def _field(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
