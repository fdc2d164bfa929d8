"""One run of `broker bench`, from what the options ask for to what was seen, and how it ends when it is ended early.

The first Ctrl-C ends the load and tells what was seen until then; the second ends everything at once. Either way no
worker and no broker of our own outlives the command.
"""

from __future__ import annotations

import signal
import time
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
import trio

from broker.bench.compare import MEASURING, compare
from broker.bench.comparison import Comparison, Connections, Memory, Subject, subjects_of
from broker.bench.driver import drive
from broker.bench.errors import BenchError, CannotConnect, Refused
from broker.bench.meter import Meter
from broker.bench.own_broker import own_broker
from broker.bench.processes import NoSuchProcess, is_here, listening_on, off
from broker.bench.sys_meter import SysMeter
from broker.cli import errors
from broker.client import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from broker.bench.compare import Progress
    from broker.bench.driver import Progress as RunProgress
    from broker.bench.measured import Measured
    from broker.bench.workload import Workload
    from broker.cli.bench.workloads import Place

OWN: Final = ("tcp", "ws")  # the doors of our own broker
LOOK: Final = 0.1  # seconds: who was ended sooner has seen nothing
FIRST: Final = 32  # connections that pay what a broker pays once
PATIENCE: Final = 5.0  # seconds more than the workload's timeout for a run to end in order
NOTHING: Final = "Ended before anything was measured."


class Interruption:
    """Whether a signal came. The first one sets `stop`, which ends the load in order; the second ends everything."""

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.number = 0

    @property
    def code(self) -> int:
        """The exit code that it calls for; 0 where no signal came."""
        return 128 + self.number if self.number else 0


@asynccontextmanager
async def interruptible() -> AsyncIterator[Interruption]:
    """Hear SIGINT and SIGTERM as long as the block lasts."""
    found = Interruption()

    async def listen(everything: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as numbers:
            task_status.started()
            async for number in numbers:
                if found.number:
                    everything.cancel()
                found.number = found.number or number
                found.stop.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(listen, nursery.cancel_scope)
        yield found
        nursery.cancel_scope.cancel()


def perform(work: Callable[[], Awaitable[int]]) -> None:
    """Run `work` in Trio and leave the command with its exit code, or that of what went wrong."""
    from broker.cli.running import run

    async def told() -> int:
        failure: click.ClickException | None = None
        try:
            return await work()
        except* (BenchError, NoSuchProcess) as group:
            failure = as_failure(_first(group))
        assert failure is not None
        raise failure

    run(told, signals=False)


def as_failure(error: Exception) -> click.ClickException:
    """The click exception, and so the exit code, that tells why a run did not come about."""
    if isinstance(error, CannotConnect):
        return errors.CannotConnect(f"cannot connect: {error}")
    return (errors.Refused if isinstance(error, Refused) else errors.Failure)(str(error))


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error


def named(places: Sequence[Place]) -> list[Subject]:
    """What the load goes to, each under its name. Raises click.UsageError for two of one name."""
    if not places:
        return [Subject(label=label, url="") for label in OWN]
    try:
        found = subjects_of([place.url for place in places], labels=[place.label or None for place in places])
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    return [
        replace(subject, username=place.username, password=place.password)
        for subject, place in zip(found, places, strict=True)
    ]


@asynccontextmanager
async def subjects(
    places: Sequence[Place], pids: Sequence[int | None], cpu: int | None = None
) -> AsyncIterator[list[Subject]]:
    """The same, running: a broker of our own, where there are no `places`, lives as long as the block.

    It runs on `cpu`, where that is given, and what the block starts keeps off it. Another's broker is left where it is.
    """
    if not places:
        async with own_broker(cpu=cpu) as own:
            with off(cpu) if cpu is not None else nullcontext():
                yield own.subjects()
    else:
        yield [
            replace(subject, pid=pid or process_at(subject.url))
            for subject, pid in zip(named(places), pids, strict=True)
        ]


def process_at(url: str) -> int | None:
    """The process of this machine that listens there, where it can be seen."""
    end = parse(url)
    return listening_on(end.port) if end.scheme != "unix" and is_here(end.host) else None


def anything(measured: Measured) -> bool:
    """Whether it came to the seconds that count."""
    return bool(measured.sent or measured.received or (measured.connected and measured.seconds > LOOK))


class Ended(Exception):
    """A signal came, and nothing is left to be told of the run that it ended."""


async def drive_until(
    interruption: Interruption,
    workload: Workload,
    *,
    workers: int,
    progress: Callable[[RunProgress], None] | None,
    partly: bool,
) -> Measured:
    """`drive` until a signal comes; then Ended, or where `partly` will do what was measured until then.

    What is under way then has the workload's `timeout` to arrive. A worker that the signal has hit as well is no error.
    """
    counting = False

    def hear(state: RunProgress) -> None:
        nonlocal counting
        counting = counting or state.phase == MEASURING
        if progress is not None:
            progress(state)

    async def give_up(scope: trio.CancelScope) -> None:
        await interruption.stop.wait()
        if partly and counting:
            await trio.sleep(workload.timeout + PATIENCE)
        scope.cancel()

    measured: Measured | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up, nursery.cancel_scope)
            measured = await drive(workload, workers=workers, progress=hear, stop=interruption.stop if partly else None)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if interruption.number and group.split(BenchError)[1] is None:
            raise Ended from None
        raise
    if measured is None or (interruption.number and not partly):
        raise Ended
    return measured


class Watched:
    """`drive_until` that sees what idle connections cost the broker."""

    def __init__(self, interruption: Interruption, meter: Meter | SysMeter | None) -> None:
        self.growth: int | None = None  # bytes that the broker grew by while they were opened
        self.cpu: float | None = None  # seconds that it took
        self._interruption = interruption
        self._meter = meter

    async def __call__(
        self, workload: Workload, *, workers: int = 0, progress: Callable[[RunProgress], None] | None = None
    ) -> Measured:
        before = await self._meter.fresh() if self._meter is not None and workload.idle else None
        complete = 0.0  # time.monotonic() at which all were there

        def weigh(state: RunProgress) -> None:
            nonlocal complete
            if before is not None and self._meter is not None and state.connected == state.of:
                complete = complete or time.monotonic()
                after = self._meter.look()
                if after is not None and after.at >= complete:
                    if before.rss and after.rss:
                        self.growth = max(0, after.rss - before.rss)
                    self.cpu = self.cpu or after.cpu - before.cpu
            if progress is not None:
                progress(state)

        return await drive_until(self._interruption, workload, workers=workers, progress=weigh, partly=True)


@asynccontextmanager
async def watching(subject: Subject, workload: Workload) -> AsyncIterator[Meter | SysMeter | None]:
    """What sees the broker's process while connections are only held; None where they are not, or nothing does."""
    if not workload.idle:
        yield None
    elif subject.pid is not None:
        yield Meter(subject.pid)
    else:
        meter = SysMeter()
        async with trio.open_nursery() as nursery:
            await nursery.start(meter.run, subject, workload)
            yield meter if meter.told else None
            nursery.cancel_scope.cancel()


async def run_one(
    subject: Subject,
    workload: Workload,
    *,
    workers: int,
    progress: Callable[[Progress], None],
    interruption: Interruption,
) -> Comparison | None:
    """Run `workload` once, or as much of it as there was until a signal came; None where that is nothing."""
    workload = replace(workload, url=subject.url)
    growth: int | None = None
    cpu: float | None = None
    comparison: Comparison | None = None
    try:
        async with watching(subject, workload) as meter:
            if meter is not None:
                first = replace(workload, idle=min(FIRST, workload.idle), seconds=0.1, connect_rate=0.0)
                await drive_until(interruption, first, workers=1, progress=None, partly=False)
            watched = Watched(interruption, meter)
            comparison = await compare(
                [subject], workload, drive=watched, rounds=1, connections=0, workers=workers, progress=progress
            )
            growth, cpu = watched.growth, watched.cpu
    except* Ended:
        pass
    if comparison is None or (interruption.number and not anything(comparison.rounds[0].measured)):
        return None
    if cpu is not None:
        (run,) = comparison.rounds
        run.connections = Connections(measured=run.measured, cpu=cpu)
    if growth is not None:
        comparison.memory[subject.label] = Memory(connections=workload.idle, growth=growth)
    if interruption.number:
        comparison.notes.append("Ended by a signal, before its time.")
    return comparison
