"""Runs one Workload against several subjects in interleaved rounds, and watches the broker's process meanwhile.

The order turns with each round: A B, B A, A B. A short round comes first and is thrown away, so that no subject pays
for what is done only once. Connections are opened for their own sake, too: a few hundred in each round for what a
connect costs, and once, before any load, all subjects' at the same time for what a connection weighs; a broker that
has given memory back to itself would otherwise seem to need none for the second subject.

The load itself is made by `drive`, which is an argument, so that tests need neither a broker nor worker processes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import trio

from broker.bench import driver
from broker.bench.comparison import Comparison, Connections, Memory, Round, Subject
from broker.bench.errors import BenchError, CannotConnect
from broker.bench.identity import software
from broker.bench.meter import Meter
from broker.bench.processes import is_here, listening_on
from broker.bench.sys_meter import SysMeter
from broker.client import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.bench.measured import Measured
    from broker.bench.processes import Usage
    from broker.bench.workload import Workload

ROUNDS: Final = 6  # the fewest that give a confidence of 95 % (broker/bench/statistics.py)
CONNECTIONS: Final = 500
PAUSE: Final = 0.2  # seconds between two runs, for what is still being closed
MEASURING: Final = "measuring"  # the phase of a run in which its seconds count

_SHORT: Final = 1.0  # seconds of the round that is thrown away, at most
_SETTLE: Final = 0.3  # seconds until memory is looked at
_FOR_EVER: Final = 86_400.0  # seconds: connections that are held until they are no longer wanted
_HOLD: Final = 0.5  # seconds that connections stay open, for at least one word of progress when all are there
_AROUND: Final = 1.5  # seconds of a run that are not measured: a first guess


class Drive(Protocol):
    """`broker.bench.driver.drive`."""

    async def __call__(
        self, workload: Workload, *, workers: int = 0, progress: Callable[[driver.Progress], None] | None = None
    ) -> Measured: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a comparison is. `run` is None between two runs."""

    stage: str  # "memory", "warm-up", "connect", "load"
    label: str  # of the subject
    round: int  # from 1; 0 before the first
    rounds: int
    done: float  # share of the whole, 0 to 1
    remaining: float  # seconds, as far as can be told
    run: driver.Progress | None = None


async def compare(
    subjects: Sequence[Subject],
    workload: Workload,
    *,
    drive: Drive = driver.drive,
    rounds: int = ROUNDS,
    connections: int = CONNECTIONS,
    workers: int = 0,
    pause: float = PAUSE,
    progress: Callable[[Progress], None] | None = None,
    seen: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """Run `workload` against each of `subjects` in each of `rounds`; with one subject and one round it is a plain run.

    `connections` are opened for what a connect costs and a connection weighs; 0 leaves that out. A subject without a
    `pid` gets that of the process that listens at its URL, where that is on this machine and can be seen; where it
    cannot, the broker is asked what it says of its process in `$SYS`. `seen` is called after each round with all whole
    rounds until then: what is there to tell when it is ended early.

    Raises what `drive` raises: BenchError and its kind, CannotConnect only for a subject that was never reached.
    ValueError for no subjects, no rounds, or two subjects of one name; NoSuchProcess for a `pid` that there is not.
    """
    if not subjects:
        raise ValueError("nothing to compare")
    if rounds < 1:
        raise ValueError("a comparison takes at least one round")
    if len({each.label for each in subjects}) < len(subjects):
        raise ValueError("two subjects have the same name")
    found = [_with_pid(each) for each in subjects]
    run = _Run(found, workload, drive, rounds, connections, workers, pause, progress, seen)
    try:
        return await run.all()
    except BaseExceptionGroup as group:
        fault = _only(group)
        if fault is None:
            raise
        raise fault from fault.__cause__  # as it was: the nurseries are our business


def _only(error: BaseException) -> BaseException | None:
    """The one error in nested groups; None where there are several."""
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) > 1:
            return None
        error = error.exceptions[0]
    return error


def estimate(workload: Workload, *, subjects: int, rounds: int, connections: int = CONNECTIONS) -> float:
    """Seconds that a comparison will take, roughly; with a `count` of messages nobody knows."""
    return sum(_plan(workload, subjects, rounds, connections).values())


def _plan(workload: Workload, subjects: int, rounds: int, connections: int) -> dict[str, float]:
    """Seconds that each stage will take."""
    a_connect = _AROUND + connections / 2000 if connections else 0.0
    times = 1 if subjects * rounds == 1 else subjects
    return {
        "memory": 2 * subjects * (a_connect + _SETTLE) if connections else 0.0,
        "warm-up": times * (_AROUND + 2 * _SHORT) if subjects * rounds > 1 else 0.0,
        "connect": subjects * rounds * a_connect,
        "load": subjects * rounds * (workload.warm_up + workload.seconds + _AROUND),
    }


def _with_pid(subject: Subject) -> Subject:
    end = parse(subject.url)
    if subject.pid is None and end.scheme != "unix" and is_here(end.host):
        return replace(subject, pid=listening_on(end.port))
    return subject


class _Run:
    """One comparison on its way."""

    def __init__(
        self,
        subjects: list[Subject],
        workload: Workload,
        drive: Drive,
        rounds: int,
        connections: int,
        workers: int,
        pause: float,
        progress: Callable[[Progress], None] | None,
        seen: Callable[[Comparison], None] | None,
    ) -> None:
        self.subjects = subjects
        self.workload = workload
        self.drive = drive
        self.rounds = rounds
        self.connections = connections
        self.workers = workers
        self.pause = pause
        self.progress = progress
        self.seen = seen
        self.result = Comparison(subjects=subjects, workload=replace(workload, url=subjects[0].url))
        self.meters: dict[str, Meter | SysMeter] = {}  # by label
        self.nursery: trio.Nursery | None = None
        self.planned = _plan(workload, len(subjects), rounds, connections)
        self.began = time.monotonic()
        self.finished: dict[str, float] = dict.fromkeys(self.planned, 0.0)  # planned seconds that are behind us
        self.round = 0
        self.reached: set[str] = set()  # labels

    async def all(self) -> Comparison:
        processes = {each.pid: Meter(each.pid) for each in self.subjects if each.pid is not None}
        await self._ask_who_they_are()
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            for meter in processes.values():
                nursery.start_soon(meter.run)
            for each in self.subjects:
                if each.pid is not None:
                    self.meters[each.label] = processes[each.pid]
                else:
                    await self._listen(each, nursery)
            if self.connections:
                await self._memory()
            if len(self.subjects) * self.rounds > 1:
                for each in self.subjects:
                    await self._warm_up(each)
            for number in range(1, self.rounds + 1):
                self.round = number
                first = (number - 1) % len(self.subjects)
                for each in (*self.subjects[first:], *self.subjects[:first]):
                    await self._one(each)
                if self.seen is not None:
                    self.seen(self._so_far())
            nursery.cancel_scope.cancel()
        return self._so_far()

    async def _listen(self, subject: Subject, nursery: trio.Nursery) -> None:
        """To what the broker says of its process, which is not seen; who did not say its name says nothing there."""
        meter = SysMeter()
        if subject.software:
            await nursery.start(meter.run, subject, self._workload(subject))
        if meter.told:
            self.meters[subject.label] = meter
            self.result.notes.append(
                f"{subject.label}: the broker's process cannot be seen from here; its CPU and memory are what it says "
                "of itself every second in $SYS/broker/process/."
            )
        else:
            self.result.notes.append(
                f"{subject.label}: the broker's process cannot be seen from here, and the broker says nothing of it in "
                "$SYS/broker/process/, so that its CPU and memory are not known; --pid names it where it runs on this "
                "machine."
            )

    async def _ask_who_they_are(self) -> None:
        for at, each in enumerate(self.subjects):
            if not each.software:
                self.subjects[at] = replace(each, software=await software(each, self.workload))

    def _so_far(self) -> Comparison:
        """Of its own, with the runs of each round in the order of the subjects."""
        order = {each.label: at for at, each in enumerate(self.subjects)}
        runs = sorted(self.result.rounds, key=lambda each: (each.number, order[each.subject]))
        return replace(self.result, rounds=runs, memory=dict(self.result.memory), notes=list(self.result.notes))

    def _meter(self, subject: Subject) -> Meter | SysMeter | None:
        return self.meters.get(subject.label)

    def _workload(self, subject: Subject) -> Workload:
        workload = replace(self.workload, url=subject.url)
        if subject.username is not None:
            workload = replace(workload, username=subject.username, password=subject.password)
        return workload

    def _idle(self, subject: Subject, connections: int, seconds: float) -> Workload:
        return replace(
            self._workload(subject),
            publishers=0,
            subscribers=0,
            echo=False,
            idle=connections,
            rate=0.0,
            count=0,
            seconds=seconds,
            warm_up=0.0,
        )

    async def _memory(self) -> None:
        """Hold the connections of all subjects at the same time, so that none lives in what another has left.

        Half as many come first: they fill what the broker has free, and pay what it pays once.
        """
        watched = [each for each in self.subjects if self._meter(each) is not None]
        async with trio.open_nursery() as nursery:
            for each in watched:
                meter = self._meter(each)
                await nursery.start(self._hold, each, max(1, self.connections // 2))
                await trio.sleep(_SETTLE)
                before = await meter.fresh() if meter is not None else None
                await nursery.start(self._hold, each, self.connections)
                await trio.sleep(_SETTLE)
                after = await meter.fresh() if meter is not None else None
                if before is not None and after is not None and before.rss and after.rss:
                    growth = max(0, after.rss - before.rss)
                    self.result.memory[each.label] = Memory(connections=self.connections, growth=growth)
            nursery.cancel_scope.cancel()
        await trio.sleep(self.pause)
        self.finished["memory"] = self.planned["memory"]

    async def _hold(self, subject: Subject, connections: int, task_status: trio.TaskStatus[None]) -> None:
        all_there = trio.Event()

        def see(run: driver.Progress) -> None:
            if run.connected >= connections:
                all_there.set()

        async def tell() -> None:
            await all_there.wait()
            task_status.started()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await self._drive("memory", subject, self._idle(subject, connections, _FOR_EVER), see)
            raise BenchError(f"{subject.label}: the broker closed connections that were only held")

    async def _warm_up(self, subject: Subject) -> None:
        short = replace(self._workload(subject), seconds=min(_SHORT, self.workload.seconds), warm_up=0.0)
        if short.count:
            short = replace(short, count=max(1, short.count // 10))
        await self._drive("warm-up", subject, short)
        self.finished["warm-up"] += self.planned["warm-up"] / len(self.subjects)

    async def _one(self, subject: Subject) -> None:
        """One round of one subject."""
        load = os.getloadavg()[0]
        opened = await self._open(subject) if self.connections else None
        meter = self._meter(subject)
        window = _Window(meter, self.nursery)
        measured = await self._drive("load", subject, self._workload(subject), window.see)
        self.finished["load"] += self.planned["load"] / (len(self.subjects) * self.rounds)
        cpu, rss = await window.cost(measured.seconds)
        self.result.rounds.append(
            Round(
                subject=subject.label,
                number=self.round,
                measured=measured,
                cpu=cpu,
                rss=rss,
                load=load,
                connections=opened,
            )
        )

    async def _open(self, subject: Subject) -> Connections:
        """Open connections and close them again."""
        meter = self._meter(subject)
        if meter is None:
            measured = await self._drive("connect", subject, self._idle(subject, self.connections, _HOLD))
            cpu = None
        else:
            measured, cpu = await self._open_seen(subject, meter)
        self.finished["connect"] += self.planned["connect"] / (len(self.subjects) * self.rounds)
        return Connections(measured=measured, cpu=cpu)

    async def _open_seen(self, subject: Subject, meter: Meter | SysMeter) -> tuple[Measured, float | None]:
        """The same, and the CPU seconds until the last is there, as soon as the meter knows them."""
        before = await meter.fresh()
        after: list[Usage | None] = []
        all_there = trio.Event()

        def see(run: driver.Progress) -> None:
            if run.connected >= self.connections:
                all_there.set()

        async def look() -> None:
            await all_there.wait()
            after.append(await meter.fresh())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            idle = self._idle(subject, self.connections, _HOLD + meter.latency)
            measured = await self._drive("connect", subject, idle, see)
            nursery.cancel_scope.cancel()
        last = after[0] if after else None
        return measured, last.cpu - before.cpu if before is not None and last is not None else None

    async def _drive(
        self, stage: str, subject: Subject, workload: Workload, see: Callable[[driver.Progress], None] | None = None
    ) -> Measured:
        self._tell(stage, subject, None)

        def hear(run: driver.Progress) -> None:
            if run.connected:
                self.reached.add(subject.label)
            if see is not None:
                see(run)
            self._tell(stage, subject, run)

        try:
            measured = await self.drive(workload, workers=self.workers, progress=hear)
        except (CannotConnect, BaseExceptionGroup) as error:
            fault = _only(error)
            if not isinstance(fault, CannotConnect) or subject.label not in self.reached:
                raise
            raise BenchError(f"{subject.label}: the broker was there and is gone: {fault}") from fault
        self.reached.add(subject.label)
        await trio.sleep(self.pause)
        return measured

    def _tell(self, stage: str, subject: Subject, run: driver.Progress | None) -> None:
        if self.progress is None:
            return
        whole = sum(self.planned.values())
        behind = sum(self.finished.values())
        if run is not None and stage == "load":
            behind += min(run.elapsed, self.workload.seconds)
        slower = max(1.0, (time.monotonic() - self.began) / behind) if behind else 1.0
        self.progress(
            Progress(
                stage=stage,
                label=subject.label,
                round=self.round,
                rounds=self.rounds,
                done=min(1.0, behind / whole) if whole else 0.0,
                remaining=max(0.0, whole - behind) * slower,
                run=run,
            )
        )


class _Window:
    """The measured seconds of one run, as the broker's process saw them."""

    def __init__(self, meter: Meter | SysMeter | None, nursery: trio.Nursery | None) -> None:
        self.meter = meter
        self.nursery = nursery
        self.began: float | None = None

    def see(self, run: driver.Progress) -> None:
        if self.meter is None or self.began is not None or run.phase != MEASURING:
            return
        self.began = time.monotonic() - run.elapsed
        self.meter.look()
        if self.nursery is not None and run.seconds:
            self.nursery.start_soon(self.meter.look_at, self.began + run.seconds)

    async def cost(self, seconds: float) -> tuple[float | None, int | None]:
        """CPU seconds, and resident bytes at the end; None where they are not known."""
        if self.meter is None or self.began is None:
            return None, None
        return await self.meter.cost(self.began, self.began + seconds)
