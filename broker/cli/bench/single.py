"""`broker bench conn`, `pub`, `sub`, `fanout` and `rtt`: one load, one broker, one summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broker.cli import errors
from broker.cli.bench.options import BenchCommand, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.bench.compare import Progress

_EXIT_CODES = """\b
Exit codes: 0 done, 1 something was lost that must not be, or the broker died, 2 usage, 3 a --fail-if condition held,
4 cannot connect, 5 refused by the broker, 130 Ctrl-C (what was seen until then is told).
"""


def _command(name: str, examples: str) -> Callable[[Callable[..., None]], click.Command]:
    epilog = f"\b\nExamples:\n{examples}\n\n{_EXIT_CODES}"

    def made(function: Callable[..., None]) -> click.Command:
        return click.command(name, cls=BenchCommand, epilog=epilog)(options_of(name)(function))

    return made


@_command(
    "conn",
    """\
  broker bench conn -L mqtt://127.0.0.1:1883 -c 5000
  broker bench conn -L ws://127.0.0.1:8080/mqtt -c 1000 --connect-rate 200 -d 60""",
)
def conn(**options: Any) -> None:
    """Open connections, hold them, and say how fast they came and what each weighs.

    Memory is told where the broker runs on this machine and its process can be seen, or is named with --pid; or where
    the broker tells it itself in $SYS/broker/process/.
    """
    run("conn", options)


@_command(
    "pub",
    """\
  broker bench pub -L mqtt://127.0.0.1:1883                          (as many messages as it takes)
  broker bench pub -L mqtt://127.0.0.1:1883 --rate 5000 -d 1m        (how long each takes at that rate)
  broker bench pub -L ws://127.0.0.1:8080/mqtt -c 50 -q 1 -s 1KiB --fail-if 'p99>50ms'
  broker bench pub -L mqtt://127.0.0.1:1883 -c 100 --subscribers 1   (fan-in)
  broker bench pub -L mqtt://127.0.0.1:1883 -n 100000 --subscribers 0 -t 'plant/%i/state'""",
)
def pub(**options: Any) -> None:
    """Publish, each publisher to a subscriber of its own, and see what arrives.

    Each message is checked where it arrives: lost, repeated, out of order, corrupted. With --subscribers 0 nobody of
    ours receives, and at QoS 0 nothing can be known of what the broker did.
    """
    run("pub", options)


@_command(
    "sub",
    """\
  broker bench sub -L mqtt://127.0.0.1:1883 -t 'plant/#' -d 1m
  broker bench sub -L ws://127.0.0.1:8080/mqtt -c 20""",
)
def sub(**options: Any) -> None:
    """Subscribe and receive what others publish; latency is known of what 'broker bench pub' sends on this machine."""
    run("sub", options)


@_command(
    "fanout",
    """\
  broker bench fanout -L ws://127.0.0.1:8080/mqtt --subscribers 1000
  broker bench fanout -L mqtt://127.0.0.1:1883 --subscribers 500 --rate 20 -q 1""",
)
def fanout(**options: Any) -> None:
    """Publish to many subscribers, each of whom gets everything."""
    run("fanout", options)


@_command(
    "rtt",
    """\
  broker bench rtt -L mqtt://127.0.0.1:1883
  broker bench rtt -L ws://127.0.0.1:8080/mqtt -c 10 -q 1 -n 1000""",
)
def rtt(**options: Any) -> None:
    """Send one message at a time to oneself through the broker: how long is there and back?"""
    run("rtt", options)


def run(kind: str, options: Mapping[str, Any]) -> None:
    """Run the load of `broker bench KIND` and report it."""
    from broker.bench.environment import cores
    from broker.bench.results import of_comparison
    from broker.cli.bench import running
    from broker.cli.bench.progress import display
    from broker.cli.bench.reports import Report
    from broker.cli.bench.summary import summary, wrong
    from broker.cli.bench.workloads import Place, check, cpu_of, pids_of, places, workload_of

    found = places(options)
    if kind == "sub" and not found:
        raise click.UsageError("Where others publish: -L mqtt://127.0.0.1:1883, say.")
    workers = options["workers"] or max(1, cores() - 1)
    workload = workload_of(kind, options, found[0] if found else Place(username=options["username"]))
    check(workload, workers)
    pids = pids_of(found, [options["pid"]] if options["pid"] else [])
    cpu = cpu_of(found, options.get("broker_cpu"))
    report = Report(options, found, [subject.label for subject in running.named(found)][:1])

    async def work() -> int:
        comparison = None
        async with running.interruptible() as interruption:
            with display(not options["no_progress"]) as shown:

                def tell(progress: Progress) -> None:
                    if progress.run is not None:
                        shown.show(progress.run)

                async with running.subjects(found, pids, cpu) as (subject, *_):
                    comparison = await running.run_one(
                        subject, workload, workers=workers, progress=tell, interruption=interruption
                    )
        if comparison is None:
            click.echo(running.NOTHING, err=True)
            return interruption.code
        report.say(summary(comparison))
        report.write(of_comparison(comparison, report.environment))
        if interruption.code:
            return interruption.code
        return errors.FAILURE if wrong(comparison.rounds[0].measured) else report.judge([comparison])

    running.perform(work)
