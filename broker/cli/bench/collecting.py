"""A comparison on its way: what it has seen is kept here too, so that Ctrl-C loses no round that was complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.bench.compare import compare
from broker.bench.comparison import Comparison, Round
from broker.bench.sweep import Point, at_point, sweep
from broker.cli.bench.running import Ended, drive_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.bench.compare import Progress
    from broker.bench.comparison import Subject
    from broker.bench.driver import Progress as RunProgress
    from broker.bench.measured import Measured
    from broker.bench.sweep import Axis
    from broker.bench.workload import Workload
    from broker.cli.bench.running import Interruption

LOAD: Final = "load"  # the stage whose runs are the rounds


class Collector:
    """Compares, at each point of `axes` where there are any, until all is done or a signal comes.

    `progress` is told where the whole is, and the point at which it is.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        workload: Workload,
        axes: Sequence[Axis],
        interruption: Interruption,
        progress: Callable[[Progress, Mapping[str, float]], None],
    ) -> None:
        self._subjects = list(subjects)
        self._workload = workload
        self._axes = axes
        self._interruption = interruption
        self._progress = progress
        self._now: Progress | None = None
        self._at: Mapping[str, float] = {}
        self._seen: list[tuple[dict[str, float], Round]] = []

    async def run(self, *, rounds: int, connections: int, workers: int) -> list[Point]:
        """All points; after a signal those with a round that every subject has run, without what the broker used."""
        points: list[Point] = []
        try:
            if self._axes:
                points = await sweep(
                    self._subjects,
                    self._workload,
                    self._axes,
                    drive=self._drive,
                    rounds=rounds,
                    connections=connections,
                    workers=workers,
                    progress=self._hear,
                )
            else:
                found = await compare(
                    self._subjects,
                    self._workload,
                    drive=self._drive,
                    rounds=rounds,
                    connections=connections,
                    workers=workers,
                    progress=lambda progress: self._hear(progress, {}),
                )
                points = [Point({}, found)]
        except* Ended:
            points = self._until_now()
        return points

    def _hear(self, progress: Progress, at: Mapping[str, float]) -> None:
        self._now, self._at = progress, at
        self._progress(progress, at)

    async def _drive(
        self, workload: Workload, *, workers: int = 0, progress: Callable[[RunProgress], None] | None = None
    ) -> Measured:
        measured = await drive_until(self._interruption, workload, workers=workers, progress=progress, partly=False)
        now = self._now
        if now is not None and now.stage == LOAD:
            self._seen.append((dict(self._at), Round(subject=now.label, number=now.round, measured=measured)))
        return measured

    def _until_now(self) -> list[Point]:
        points = []
        ats = [at for at, _ in self._seen]
        for at in [at for number, at in enumerate(ats) if at not in ats[:number]]:
            runs = [run for where, run in self._seen if where == at]
            numbers = [run.number for run in runs]
            complete = [run for run in runs if numbers.count(run.number) == len(self._subjects)]
            if complete:
                order = [subject.label for subject in self._subjects]
                comparison = Comparison(
                    subjects=self._subjects,
                    workload=replace(at_point(self._workload, at), url=self._subjects[0].url),
                    rounds=sorted(complete, key=lambda run: (run.number, order.index(run.subject))),
                    notes=["Ended by a signal: what the broker used is told of whole comparisons only."],
                )
                points.append(Point(at, comparison))
        return points
