"""What a comparison has seen: each round of each subject, and the figures and ratios that follow from them.

A Comparison holds nothing but raw rounds; every figure is computed from them when it is asked for, so that what is
written to a file and read again says the same. A single run is a Comparison of one subject and one round (`single`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broker.bench.histogram import Histogram
from broker.bench.measured import Measured
from broker.bench.metrics import METRICS, Metric
from broker.bench.statistics import Ratio, Spread, paired_ratio, spread
from broker.bench.workload import Workload
from broker.client import parse

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing to be compared: a URL under a short name, and the broker's process where it can be seen.

    A user name and a password that are None are those of the Workload.
    """

    label: str
    url: str
    pid: int | None = None
    username: str | None = None
    password: str | None = None
    software: str = ""  # what the broker calls itself, where it says


@dataclass(slots=True, kw_only=True)
class Connections:
    """What opening many connections has cost, in one round of one subject."""

    measured: Measured
    cpu: float | None = None  # CPU seconds of the broker from the first connect to the last CONNACK


@dataclass(slots=True, kw_only=True)
class Memory:
    """What many open connections weigh."""

    connections: int
    growth: int  # bytes of resident memory that the broker grew by

    @property
    def each(self) -> float:
        """Bytes of one connection."""
        return self.growth / self.connections if self.connections else 0.0


@dataclass(slots=True, kw_only=True)
class Round:
    """One run of the workload against one subject."""

    subject: str
    number: int  # from 1
    measured: Measured
    cpu: float | None = None  # CPU seconds of the broker in the measured seconds
    rss: int | None = None  # bytes of resident memory of the broker at their end
    load: float = 0.0  # the machine's load average when it began
    connections: Connections | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one subject: the median of its rounds, or their sum or maximum where the Metric says so."""

    metric: Metric
    value: float
    spread: Spread
    rounds: tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class Comparison:
    """All rounds of all subjects; the first subject is what the others are compared with."""

    subjects: list[Subject]
    workload: Workload  # its URL is that of the first subject
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, Memory] = field(default_factory=dict)  # by label
    notes: list[str] = field(default_factory=list)  # what a reader must know about how it was measured

    @property
    def baseline(self) -> Subject:
        return self.subjects[0]

    def rounds_of(self, label: str) -> list[Round]:
        """In the order in which they were run."""
        return [each for each in self.rounds if each.subject == label]

    def values(self, label: str, name: str) -> list[float | None]:
        """The metric `name` of each round; None where a round has no such figure. KeyError for an unknown name."""
        metric = METRICS[name]
        return [metric.of(each) for each in self.rounds_of(label)]

    def figure(self, label: str, name: str) -> Figure | None:
        """None where no round has it. KeyError for an unknown name."""
        metric = METRICS[name]
        if metric.name == "memory":
            values = [self.memory[label].each] if label in self.memory else []
        else:
            values = [value for value in self.values(label, name) if value is not None]
        if not values:
            return None
        apart = spread(values)
        value = {"median": apart.median, "sum": sum(values), "max": apart.maximum}[metric.over_rounds]
        return Figure(metric, value, apart, tuple(values))

    def ratio(self, label: str, name: str) -> Ratio | None:
        """How many times the baseline's figure this one is, paired by round; None where one of them has none."""
        if METRICS[name].over_rounds == "sum":
            return None
        if name == "memory":
            mine, base = self.memory.get(label), self.memory.get(self.baseline.label)
            return paired_ratio([mine.each], [base.each]) if mine and base else None
        of = METRICS[name].of
        by_number = {each.number: of(each) for each in self.rounds_of(self.baseline.label)}
        values, bases = [], []
        for each in self.rounds_of(label):
            value, beside = of(each), by_number.get(each.number)
            if value is not None and beside is not None:
                values.append(value)
                bases.append(beside)
        return paired_ratio(values, bases)

    @property
    def headline(self) -> str:
        """The metric that decides: the broker's CPU per message where it is known, else the messages a second."""
        return "cpu" if all(self.figure(each.label, "cpu") for each in self.subjects) else "throughput"

    def latency(self, label: str) -> Histogram:
        """Of all messages of all rounds."""
        return _sum([each.measured.latency for each in self.rounds_of(label)])

    def acknowledgement(self, label: str) -> Histogram:
        """Of all acknowledged messages of all rounds."""
        return _sum([each.measured.acknowledgement for each in self.rounds_of(label)])

    def figures(self) -> dict[str, dict[str, float]]:
        """Label -> name -> figure, with `NAME_ratio`, `NAME_ratio_low` and `NAME_ratio_high`, for conditions."""
        found: dict[str, dict[str, float]] = {}
        for subject in self.subjects:
            row = found[subject.label] = {}
            for name in METRICS:
                figure = self.figure(subject.label, name)
                if figure is not None:
                    row[name] = figure.value
                ratio = self.ratio(subject.label, name) if subject != self.baseline else None
                if ratio is not None:
                    row[f"{name}_ratio"] = ratio.value
                    row[f"{name}_ratio_low"] = ratio.low
                    row[f"{name}_ratio_high"] = ratio.high
        return found


_NAMES: Final = {"mqtt": "tcp", "mqtts": "tls"}  # scheme -> label


def single(workload: Workload, measured: Measured, *, pid: int | None = None, cpu: float | None = None) -> Comparison:
    """One run by itself, for the reports that a comparison has."""
    (subject,) = subjects_of([workload.url], pids=[pid])
    only = Round(subject=subject.label, number=1, measured=measured, cpu=cpu)
    return Comparison(subjects=[subject], workload=workload, rounds=[only])


def subjects_of(
    urls: Sequence[str], *, pids: Sequence[int | None] = (), labels: Sequence[str | None] = ()
) -> list[Subject]:
    """A Subject for each URL, named by what is spoken (`tcp`, `tls`, `ws`, `wss`, `unix`), and by host and port where
    that is not enough.

    ValueError for a URL that is none, and for two subjects of the same name.
    """
    ends = [parse(url) for url in urls]
    schemes = [_NAMES.get(end.scheme, end.scheme) for end in ends]
    made: list[Subject] = []
    for at, (url, end, scheme) in enumerate(zip(urls, ends, schemes, strict=True)):
        name = scheme if schemes.count(scheme) == 1 else f"{scheme} {end.path if scheme == 'unix' else end.authority}"
        given = labels[at] if at < len(labels) else None
        made.append(Subject(label=given or name, url=url, pid=pids[at] if at < len(pids) else None))
    names = [each.label for each in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two subjects are called {twice[0]!r}: give each a name of its own")
    return made


def _sum(histograms: Sequence[Histogram]) -> Histogram:
    whole = Histogram()
    for each in histograms:
        whole.add(each)
    return whole


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """All raw figures, for JSON; user names, passwords and where certificates lie are left out."""
    workload = comparison.workload.to_dict()
    for private in ("username", "password", "ca_file", "certificate", "key"):
        workload[private] = None
    return {
        "subjects": [
            {"label": each.label, "url": _public(each.url), "pid": each.pid, "software": each.software}
            for each in comparison.subjects
        ],
        "workload": {**workload, "url": _public(comparison.workload.url)},
        "rounds": [_round_to_dict(each) for each in comparison.rounds],
        "memory": {
            label: {"connections": each.connections, "growth": each.growth} for label, each in comparison.memory.items()
        },
        "notes": list(comparison.notes),
    }


def from_dict(values: dict[str, Any]) -> Comparison:
    """The reverse of `to_dict`. ValueError, KeyError or TypeError where it is none."""
    return Comparison(
        subjects=[Subject(**each) for each in values["subjects"]],
        workload=Workload.from_dict(values["workload"]),
        rounds=[_round_from_dict(each) for each in values["rounds"]],
        memory={label: Memory(**each) for label, each in values["memory"].items()},
        notes=list(values["notes"]),
    )


def _public(url: str) -> str:
    """Without user name and password."""
    return str(parse(url))


def _round_to_dict(each: Round) -> dict[str, Any]:
    return {
        "subject": each.subject,
        "number": each.number,
        "cpu": each.cpu,
        "rss": each.rss,
        "load": each.load,
        "measured": each.measured.to_dict(),
        "connections": each.connections
        and {"cpu": each.connections.cpu, "measured": each.connections.measured.to_dict()},
    }


def _round_from_dict(values: dict[str, Any]) -> Round:
    opening = values["connections"]
    return Round(
        subject=values["subject"],
        number=values["number"],
        cpu=values["cpu"],
        rss=values["rss"],
        load=values["load"],
        measured=Measured.from_dict(values["measured"]),
        connections=opening and Connections(cpu=opening["cpu"], measured=Measured.from_dict(opening["measured"])),
    )
