"""`--sweep payload=16..65536 clients=1..1000`: the same comparison at each point of a grid.

A range goes in equal steps of the logarithm, so that each point costs about as much to look at as the one before it:
five points, or as many as it says (`16..65536/9`). A list says its points itself: `payload=16,64,256`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from broker.bench.compare import CONNECTIONS, PAUSE, ROUNDS, Drive, Progress, compare
from broker.bench.compare import estimate as estimate_one
from broker.bench.driver import drive
from broker.bench.units import digits
from broker.bench.workload import SMALLEST_PAYLOAD, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.bench.comparison import Comparison, Subject

POINTS: Final = 5
MOST_POINTS: Final = 100
_FACTORS: Final = {"k": 1_000, "M": 1_000_000, "KiB": 1024, "MiB": 1024**2}

# name -> (the least it may be, the most); whole numbers but for the rate
AXES: Final[dict[str, tuple[float, float]]] = {
    "payload": (SMALLEST_PAYLOAD, 268_435_455),
    "clients": (1, 10_000_000),
    "publishers": (1, 10_000_000),
    "subscribers": (1, 10_000_000),
    "qos": (0, 2),
    "rate": (0.001, 10_000_000),
    "inflight": (1, 65_535),
}


class BadSweep(ValueError):
    """An axis that is none; the text says what would be one."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What is varied, and its values in the order in which they are run."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the grid, and what was seen there."""

    at: dict[str, float]  # name of the axis -> value
    comparison: Comparison


def parse(text: str) -> Axis:
    """The Axis that `payload=16..65536`, `clients=1..1000/4` or `qos=0,1,2` names; BadSweep where it names none."""
    name, equals, given = text.partition("=")
    name = name.strip()
    if not equals or not given.strip():
        raise BadSweep(f"'{text}' is no axis: payload=16..65536, clients=1,10,100 or rate=1k..100k/5 would be.")
    if name not in AXES:
        raise BadSweep(f"'{name}' cannot be varied; {', '.join(AXES)} can.")
    values = _range(given, name) if ".." in given else [_number(each, name) for each in given.split(",")]
    least, most = AXES[name]
    wrong = [value for value in values if not least <= value <= most]
    if wrong:
        raise BadSweep(f"{name}={wrong[0]:g} is out of bounds: {least:g} to {most:,.0f}.")
    return Axis(name, tuple(dict.fromkeys(values)))


def parse_all(texts: Sequence[str]) -> list[Axis]:
    """All axes, each text one or several of them separated by blanks. BadSweep also for an axis that comes twice, for
    more points than anybody would wait for, and for none at all.
    """
    axes = [parse(text) for given in texts for text in given.split()]
    if not axes:
        raise BadSweep("nothing to vary: payload=16..65536 would be something.")
    names = [axis.name for axis in axes]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadSweep(f"'{twice[0]}' is varied twice.")
    if "clients" in names and {"publishers", "subscribers"} & set(names):
        raise BadSweep("'clients' stands for publishers and subscribers: vary it or them.")
    count = len(points_of(axes))
    if count > MOST_POINTS:
        raise BadSweep(f"{count} points are more than {MOST_POINTS}: name fewer values, as in payload=16..65536/4.")
    return axes


def points_of(axes: Sequence[Axis]) -> list[dict[str, float]]:
    """Each combination of values, the last axis varying fastest."""
    return [
        dict(zip((axis.name for axis in axes), values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def at_text(point: Mapping[str, float]) -> str:
    """`payload 16, qos 1`; empty where nothing is varied."""
    return ", ".join(f"{name} {digits(value)}" for name, value in point.items())


def at_point(workload: Workload, point: Mapping[str, float]) -> Workload:
    """`workload` with the values of a point; `clients` are those of the larger kind, of both where they are equal."""
    changed = workload.to_dict()
    for name, value in point.items():
        for field in clients_of(workload) if name == "clients" else (name,):
            changed[field] = value if name == "rate" else int(value)
    return Workload.from_dict(changed)


def clients_of(workload: Workload) -> tuple[str, ...]:
    """The fields that `clients` stands for in this Workload."""
    if not workload.publishers and not workload.subscribers:
        return ("idle",)
    if workload.echo or workload.publishers > workload.subscribers:
        return ("publishers",)
    return ("publishers", "subscribers") if workload.publishers == workload.subscribers else ("subscribers",)


def estimate(
    workload: Workload, axes: Sequence[Axis], *, subjects: int, rounds: int, connections: int = CONNECTIONS
) -> float:
    """Seconds that the whole will take, roughly."""
    points = points_of(axes)
    memory = estimate_one(workload, subjects=subjects, rounds=rounds, connections=connections)
    plain = estimate_one(workload, subjects=subjects, rounds=rounds, connections=0)
    return memory + plain * (len(points) - 1)


async def sweep(
    subjects: Sequence[Subject],
    workload: Workload,
    axes: Sequence[Axis],
    *,
    drive: Drive = drive,
    rounds: int = ROUNDS,
    connections: int = CONNECTIONS,
    workers: int = 0,
    pause: float = PAUSE,
    progress: Callable[[Progress, Mapping[str, float]], None] | None = None,
    seen: Callable[[list[Point]], None] | None = None,
) -> list[Point]:
    """Compare at each point of the grid; connections are opened for their own sake at the first one only.

    `progress` is told where the whole is, and the point at which it is. `seen` is called after each round with all
    points until then, the last of them with its whole rounds. Raises what `compare` raises.
    """
    points = points_of(axes)
    of_each = estimate_one(workload, subjects=len(subjects), rounds=rounds, connections=0)
    found: list[Point] = []
    for number, point in enumerate(points):

        def tell(one: Progress, number: int = number, point: Mapping[str, float] = point) -> None:
            if progress is not None:
                left = (len(points) - number - 1) * of_each
                done = (number + one.done) / len(points)
                progress(replace(one, done=done, remaining=one.remaining + left), point)

        def look(so_far: Comparison, point: dict[str, float] = point) -> None:
            if seen is not None:
                seen([*found, Point(point, so_far)])

        comparison = await compare(
            subjects,
            at_point(workload, point),
            drive=drive,
            rounds=rounds,
            connections=0 if number else connections,
            workers=workers,
            pause=pause,
            progress=tell,
            seen=look,
        )
        found.append(Point(point, comparison))
        subjects = comparison.subjects  # whose processes and names are known now
    return found


def _range(given: str, name: str) -> list[float]:
    ends, _, steps = given.partition("/")
    first, _, last = ends.partition("..")
    begin, end = _number(first, name), _number(last, name)
    if begin > end:
        raise BadSweep(f"{name}={given} goes backwards: write {last}..{first}.")
    if name == "qos":
        return [float(value) for value in range(int(begin), int(end) + 1)]
    if steps and not (steps.isdigit() and 2 <= int(steps) <= MOST_POINTS):
        raise BadSweep(f"'{steps}' is no number of points: 2 to {MOST_POINTS}.")
    if begin == end:
        return [begin]
    if begin <= 0:
        raise BadSweep(f"{name}={given} begins at 0, from where no equal steps lead on: name the points.")
    count = int(steps or POINTS)
    factor = (end / begin) ** (1 / (count - 1))
    values = [*(begin * factor**step for step in range(count - 1)), end]
    return [float(f"{value:.3g}") if name == "rate" else float(round(value)) for value in values]


def _number(text: str, name: str) -> float:
    text = text.strip()
    unit = next((unit for unit in ("KiB", "MiB", "k", "M") if text.endswith(unit)), "")
    try:
        value = float(text.removesuffix(unit)) * _FACTORS.get(unit, 1)
    except ValueError:
        raise BadSweep(f"'{text}' in {name} is no number.") from None
    if name != "rate" and value != int(value):
        raise BadSweep(f"'{text}' in {name} is no whole number.")
    return value
