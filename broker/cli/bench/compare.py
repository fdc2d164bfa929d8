"""`broker bench compare`: the same load over several doors, in rounds that take turns, and what the difference is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from broker.cli import errors
from broker.cli.bench.options import BenchCommand, options_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.bench.compare import Progress
    from broker.bench.sweep import Axis, Point
    from broker.bench.workload import Workload
    from broker.cli.bench.workloads import Place

SECONDS: Final = 5.0  # that are measured of a run
SWEEP_SECONDS: Final = 2.0  # the same in a sweep, which has many runs
SWEEP_ROUNDS: Final = 3
FAN: Final = 100  # subscribers of fanout
PAIRS: Final = 10  # enough that neither side waits for the other
_STAGES: Final = {
    "memory": "what a connection weighs",
    "warm-up": "a first run that does not count",
    "connect": "what a connect costs",
    "load": "the load",
}


@click.command(
    "compare",
    cls=BenchCommand,
    epilog="""\b
Examples:
  broker bench compare                                            (a broker of its own: TCP and WebSocket)
  broker bench compare -L mqtt://127.0.0.1:1883 -L ws://127.0.0.1:8080/mqtt --html report.html
  broker bench compare -L old=mqtt://127.0.0.1:1884 -L new=mqtt://127.0.0.1:1883 --workload fanout
  broker bench compare --rate 2000 -c 50 -q 1 --fail-if 'ratio>1.5' --fail-if 'ws.p99>50ms'
  broker bench compare --sweep payload=16..65536 clients=1,10,100 --json sweep.json

\b
Rounds take turns, A B, B A, A B; each ratio is taken inside a round, and the interval is a bootstrap over the rounds.
Exit codes: 0 done, 1 something was lost that must not be, or a broker died, 2 usage, 3 a --fail-if condition held,
4 cannot connect, 5 refused by the broker, 130 Ctrl-C (the rounds that were complete are told).
""",
)
@options_of("compare")
def compare(**options: Any) -> None:
    """Run the same load over TCP and WebSocket, or at several brokers, and say what the difference is.

    Messages a second, latency, bytes on the wire, what connecting costs; and the broker's CPU per message and memory
    per connection where its process can be seen, or the broker tells them in $SYS/broker/process/.
    """
    from broker.bench.compare import ROUNDS
    from broker.bench.environment import cores
    from broker.bench.results import Results
    from broker.bench.sweep import at_point, estimate, points_of
    from broker.cli.bench import running
    from broker.cli.bench.collecting import Collector
    from broker.cli.bench.progress import display
    from broker.cli.bench.reports import Report
    from broker.cli.bench.summary import wrong
    from broker.cli.bench.workloads import check, cpu_of, pids_of, places

    found = places(options, several=True)
    axes = axes_of(options["sweeps"], options["more_axes"])
    rounds = options["rounds"] or (SWEEP_ROUNDS if axes else ROUNDS)
    workload = workload_for(options, found, SWEEP_SECONDS if axes else SECONDS)
    workers = options["workers"] or max(1, cores() - 1)
    for point in points_of(axes):
        check(at_point(workload, point), workers)
    names = running.named(found)
    pids = pids_of(found, options["pids"])
    cpu = cpu_of(found, options["broker_cpu"])
    report = Report(options, found, [subject.label for subject in names])
    seconds = estimate(workload, axes, subjects=len(names), rounds=rounds, connections=options["connections"])
    records = options["json_progress"]
    if not (options["no_progress"] or records):
        click.echo(announcement([subject.label for subject in names], rounds, axes, seconds), file=sys.stderr)

    async def work() -> int:
        points: list[Point] = []
        async with running.interruptible() as interruption:
            with display(not options["no_progress"], records=records) as shown:

                def tell(progress: Progress, at: Mapping[str, float]) -> None:
                    if progress.run is not None:
                        shown.show(progress.run, heading(progress, at), progress.done)

                async with running.subjects(found, pids, cpu) as subjects:
                    points = await Collector(subjects, workload, axes, interruption, tell).run(
                        rounds=rounds, connections=options["connections"], workers=workers
                    )
        if not points:
            click.echo(running.NOTHING, err=True)
            return interruption.code
        results = Results(environment=report.environment, points=points)
        report.show(results)
        report.write(results)
        if interruption.code:
            return interruption.code
        comparisons = [point.comparison for point in points]
        if any(wrong(each.measured) for comparison in comparisons for each in comparison.rounds):
            return errors.FAILURE
        return report.judge(comparisons)

    running.perform(work)


def workload_for(options: Mapping[str, Any], found: Sequence[Place], seconds: float) -> Workload:
    """That of the command `--workload` names, `seconds` long where nobody said how long."""
    from broker.cli.bench.workloads import Place, workload_of

    kind = options["kind"]
    meant = dict(options)
    if meant["clients"] is None:
        meant["clients"] = PAIRS if kind == "pub" else 1
    if kind == "rtt":
        wrong = [name for name in ("rate", "inflight", "subscribers", "topic_filter") if options[name] is not None]
        if wrong:
            name = {"topic_filter": "filter"}.get(wrong[0], wrong[0])
            raise click.UsageError(
                f"--{name} says nothing of --workload rtt, where each Client waits for its own echo."
            )
    elif kind == "fanout":
        meant["publishers"] = meant["clients"]
        meant["subscribers"] = FAN if options["subscribers"] is None else options["subscribers"]
    if not options["duration"] and not options["count"]:
        meant["duration"] = seconds
    return workload_of(kind, meant, found[0] if found else Place(username=options["username"]))


def axes_of(sweeps: Sequence[str], more: Sequence[str]) -> list[Axis]:
    """The axes of all `--sweep`s and of the words behind them. Raises click.UsageError."""
    from broker.bench.sweep import BadSweep, parse_all

    if not sweeps:
        if more:
            raise click.UsageError(f"'{more[0]}' stands alone: URLs are given with -L, axes with --sweep.")
        return []
    try:
        return parse_all([*sweeps, *more])
    except BadSweep as error:
        raise click.UsageError(f"--sweep: {error}") from error


def announcement(labels: Sequence[str], rounds: int, axes: Sequence[Axis], seconds: float) -> str:
    """What is about to be done, and how long that takes."""
    from broker.bench.sweep import points_of

    parts = [f"{' and '.join(labels)} in {rounds} round{'' if rounds == 1 else 's'}"]
    if axes:
        parts.append(f"at {len(points_of(axes))} points")
    return f"Comparing {' '.join(parts)}: about {_span(seconds)}. Ctrl-C ends it and tells what was seen until then."


def heading(progress: Progress, at: Mapping[str, float]) -> str:
    """Which run it is, and how much is left of the whole."""
    parts = [f"{name} {value:,g}" for name, value in at.items()]
    if progress.round:
        parts.append(f"round {progress.round} of {progress.rounds}")
    parts += [progress.label, _STAGES.get(progress.stage, progress.stage)]
    return f"{', '.join(parts)}; {progress.done:.0%} done, {_span(progress.remaining)} left"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
