"""From a Workload to a Measured: worker processes, started, kept in step, heard, added up and ended.

The workers do everything that is counted; here it is decided when they begin, whether all has arrived, and when to give
up. Nothing waits without a bound, and no worker outlives the run, however it ends.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgpack
import trio

from broker.bench.errors import BenchError, CannotConnect
from broker.bench.limits import check_descriptors, sources_for
from broker.bench.measured import Measured
from broker.bench.worker import COUNTER_BYTES, ERRORS
from broker.client.url import Endpoint, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.bench.workload import Workload

SECOND: Final = 1_000_000_000
ASKING: Final = 2.0  # seconds for each of several addresses of a host
SETTLE: Final = 0.1  # seconds between the last CONNACK and the first message
QUIET: Final = 1.5  # seconds without any arrival after which nothing more is expected
SILENT: Final = 30.0  # seconds without a word after which a worker is given up
GOODBYE: Final = 1.0  # seconds for a worker to disconnect its Clients when the run is cancelled
PROGRESS: Final = 0.25  # seconds between two calls of `progress` within a phase
SOURCES: Final = 1 << 32  # numbers that a payload can name its publisher by


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `sent`, `received` and `elapsed` count from the beginning of the phase."""

    phase: str  # "connecting", "warm-up", "measuring" or "draining"
    connected: int
    of: int  # connections in all
    sent: int
    received: int
    elapsed: float
    seconds: float  # that the phase takes, or at most takes; 0.0 where nobody knows


async def drive(
    workload: Workload,
    *,
    workers: int = 0,
    progress: Callable[[Progress], None] | None = None,
    stop: trio.Event | None = None,
) -> Measured:
    """Run `workload` in `workers` processes (0 is one less than the cores) and give what they saw.

    `progress` is called about four times a second, and when a phase begins. `stop` ends the run early, as though its
    time were up.

    Raises `CannotConnect` or `Refused` where the Clients do not come to be connected, and `BenchError` for what has no
    sense or the machine does not grant. What happens afterwards is counted: a broker that dies ends the run at once,
    with `disconnected` above 0.
    """
    if workers <= 0:
        workers = max(1, (os.cpu_count() or 1) - 1)
    try:
        workload.check()
        endpoint = parse(workload.url)
    except ValueError as error:
        raise BenchError(str(error)) from None
    clients = workload.publishers + workload.subscribers + workload.idle
    workers = min(workers, clients)
    check_descriptors(math.ceil(clients / workers))
    family, address = await _resolve(endpoint)
    run = _Run(workload, workers, progress, trio.Event() if stop is None else stop)
    return await run.run(endpoint, family, address)


async def _resolve(endpoint: Endpoint) -> tuple[int, Any]:
    """The socket family and address to connect to: of several, the first that somebody listens at."""
    if endpoint.scheme == "unix":
        return socket.AF_UNIX, endpoint.path
    try:
        found = await trio.socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotConnect(f"{endpoint}: {error.strerror or error}") from error
    if len(found) > 1:
        for family, kind, protocol, _, address in found:
            with trio.move_on_after(ASKING), trio.socket.socket(family, kind, protocol) as asking:
                try:
                    await asking.connect(address)
                except OSError:
                    continue
                return family, address
    return found[0][0], found[0][4]


class _Worker:
    """The parent's end of a worker process."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.status: dict[str, Any] = {}
        self.report: dict[str, Any] | None = None
        self.heard = trio.current_time()

    async def say(self, **word: object) -> None:
        """Tell it something; where it is gone already, that is found out by who hears it."""
        assert self.process.stdin is not None
        with suppress(trio.BrokenResourceError):
            await self.process.stdin.send_all(msgpack.packb(word))

    def total(self, name: str) -> int:
        value: int = self.status.get(name, 0)
        return value


class _Run:
    """One run: `connecting`, then `warm-up`, `measuring`, `draining`; `failure` is what it ends with instead."""

    def __init__(
        self, workload: Workload, workers: int, progress: Callable[[Progress], None] | None, stop: trio.Event
    ) -> None:
        self._workload = workload
        self._count = workers
        self._progress = progress
        self._stop = stop
        self._workers: list[_Worker] = []
        self._failure: BenchError | None = None
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._begun = trio.current_time()
        self._phase = "connecting"
        self._phase_start = trio.current_time()
        self._phase_seconds = 0.0
        self._base = (0, 0)
        self._arrived = (0, 0)  # deliveries when somebody last looked, and ns: when the last of them was new

    async def run(self, endpoint: Endpoint, family: int, address: Any) -> Measured:
        measured: Measured | None = None
        with tempfile.TemporaryFile() as counters:
            counters.truncate(max(1, self._count * self._workload.publishers) * COUNTER_BYTES)
            try:
                async with trio.open_nursery() as nursery:
                    with self._scope:
                        await self._start(nursery, endpoint, family, address, counters.fileno())
                        if self._progress is not None:
                            nursery.start_soon(self._keep_telling)
                        measured = await self._follow()
                    nursery.cancel_scope.cancel()
            finally:
                await self._end()
        if self._failure is not None:
            raise self._failure
        assert measured is not None
        return measured

    # -- Processes

    async def _start(self, nursery: trio.Nursery, endpoint: Endpoint, family: int, address: Any, counters: int) -> None:
        workload = self._workload
        root = str(Path(__file__).parent.parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        clients = workload.publishers + workload.subscribers + workload.idle
        user_name = workload.username if workload.username is not None else endpoint.user_name
        password = workload.password if workload.password is not None else endpoint.password
        order = {
            "workload": workload.to_dict(),
            "workers": self._count,
            "token": secrets.token_hex(2),
            "first_source": secrets.randbelow(SOURCES - workload.publishers),
            "family": int(family),
            "address": address,
            "shown": str(endpoint),
            "sources": sources_for(clients, family, address),
            "websocket": endpoint.websocket,
            "secure": endpoint.secure,
            "host": endpoint.host,
            "port": endpoint.port,
            "path": endpoint.path,
            "user_name": user_name,
            "password": None if password is None else password.encode(),
            "counters": counters if self._count > 1 else -1,
        }
        for number in range(self._count):
            process = await trio.lowlevel.open_process(
                [sys.executable, "-P", "-m", "broker.bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[counters],
                env=environment,
                process_group=0,  # Ctrl-C in a terminal is for a whole group, and there is more to do than to die of it
            )
            worker = _Worker(process)
            self._workers.append(worker)
            nursery.start_soon(self._hear, worker)
            await worker.say(**order, worker=number)

    async def _hear(self, worker: _Worker) -> None:
        """All that a worker says, until it ends."""
        assert worker.process.stdout is not None
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        async for data in worker.process.stdout:
            unpacker.feed(data)
            worker.heard = trio.current_time()
            for word in unpacker:
                if "error" in word:
                    self._fail(ERRORS[word["error"]](word["text"]))
                elif "report" in word:
                    worker.report = word
                else:
                    worker.status = word
            self._changed.set()
            self._changed = trio.Event()
        if worker.report is None:
            assert worker.process.stderr is not None
            said = bytes(await worker.process.stderr.receive_some()).decode(errors="replace").strip()
            self._fail(BenchError(f"a worker process ended: {said.splitlines()[-1] if said else 'it said nothing'}"))

    def _fail(self, error: BenchError) -> None:
        self._failure = self._failure or error
        self._scope.cancel()

    async def _end(self) -> None:
        """End all workers: they disconnect when their stdin closes, and are killed where they do not."""
        with trio.CancelScope(shield=True):
            for worker in self._workers:
                assert worker.process.stdin is not None
                await worker.process.stdin.aclose()
            with trio.move_on_after(GOODBYE):
                for worker in self._workers:
                    await worker.process.wait()
            for worker in self._workers:
                if worker.process.returncode is None:
                    worker.process.kill()
                    await worker.process.wait()
                for pipe in (worker.process.stdout, worker.process.stderr):
                    assert pipe is not None
                    await pipe.aclose()

    # -- The run

    async def _follow(self) -> Measured:
        workload = self._workload
        await self._until(lambda: self._stop.is_set() or self._all("ready"))
        start = monotonic_ns() + int(SETTLE * SECOND)
        warm_up = 0.0 if workload.count else workload.warm_up
        window_start = start + int(warm_up * SECOND)
        window_end = window_start + int(workload.seconds * SECOND)
        counted = workload.count > 0 and workload.publishers > 0
        if not self._stop.is_set():
            self._enter("warm-up", SETTLE + warm_up)
            await self._say(start=start, window_start=window_start, window_end=0 if counted else window_end)
            await self._until(lambda: self._over() or monotonic_ns() >= window_start, window_start)
            self._enter("measuring", 0.0 if counted else workload.seconds)
            if counted:
                await self._until(lambda: self._over() or self._complete() or self._stalled(start))
            else:
                await self._until(lambda: self._over() or self._all("measured") or self._enough(), window_end)
            await self._drain(counted)
        await self._say(finish=True)
        await self._until(lambda: all(worker.report is not None for worker in self._workers))
        return self._add_up(start if counted else 0)

    async def _drain(self, counted: bool) -> None:
        """Wait for what is under way, where somebody is there to bring it."""
        stopped = self._stop.is_set()
        if self._broken() or (counted and not stopped):
            return
        if stopped:
            await self._say(end=True)
            await self._until(lambda: self._broken() or self._all("measured"))
        self._enter("draining", self._workload.timeout if self._workload.publishers else 0.0)
        await self._until(lambda: self._broken() or self._complete() or self._quiet())

    async def _say(self, **word: object) -> None:
        for worker in self._workers:
            await worker.say(**word)

    async def _until(self, done: Callable[[], bool], instant: int = 0) -> None:
        """Wait until `done`, looking at it at every word of a worker and at `instant`."""
        while not done():
            left = (instant - monotonic_ns()) / SECOND
            with trio.move_on_after(left if left > 0 else PROGRESS):
                await self._changed.wait()
            silence = trio.current_time() - min(worker.heard for worker in self._workers)
            if silence > SILENT:
                self._fail(BenchError("a worker process does not answer any more"))
                await trio.lowlevel.checkpoint()

    def _enter(self, phase: str, seconds: float) -> None:
        self._phase = phase
        self._phase_start = trio.current_time()
        self._phase_seconds = seconds
        self._base = (self._total("sent"), self._total("received"))
        self._tell()

    def _total(self, name: str) -> int:
        return sum(worker.total(name) for worker in self._workers)

    def _over(self) -> bool:
        """Whether the run is to end before its time."""
        return self._stop.is_set() or self._broken()

    def _broken(self) -> bool:
        return any(worker.status.get("broken") for worker in self._workers)

    def _all(self, name: str) -> bool:
        return all(worker.status.get(name) for worker in self._workers)

    def _enough(self) -> bool:
        """Whether as many messages as wanted have come in the window, where nobody here sends any."""
        workload = self._workload
        return not workload.publishers and 0 < workload.count <= self._total("counted")

    def _complete(self) -> bool:
        """Whether all that was sent has arrived and was acknowledged, and nothing that is to be sent is left."""
        if (self._total("unsent") and not self._stop.is_set()) or self._total("unacknowledged"):
            return False
        return self._total("unique") >= self._total("expected")

    def _last_event(self) -> int:
        return max(worker.total("last_event") for worker in self._workers)

    def _quiet(self) -> bool:
        """Whether to give up waiting for what is under way after the last message."""
        elapsed = trio.current_time() - self._phase_start
        since = min(elapsed, (monotonic_ns() - self._last_event()) / SECOND)
        return elapsed > self._workload.timeout or since > min(QUIET, self._workload.timeout)

    def _stalled(self, start: int) -> bool:
        """The same where a count is to be sent: while there is something to send, patience is longer.

        Where subscribers are, only what arrives counts: a broker that drops everything would take the rest for ever.
        """
        workload = self._workload
        unique = self._total("unique")
        if unique != self._arrived[0] or not self._total("expected"):
            self._arrived = (unique, self._last_event())
        since = max(start, self._arrived[1])
        if workload.rate:
            since = max(since, start + int(workload.count / workload.rate * SECOND))
        patience = workload.timeout if self._total("unsent") else min(QUIET, workload.timeout)
        return monotonic_ns() - since > patience * SECOND

    def _add_up(self, start: int) -> Measured:
        measured = Measured()
        unique = missing = 0
        first = last = last_event = 0
        for worker in self._workers:
            report = worker.report
            assert report is not None
            measured.add(Measured.from_dict(report["report"]))
            unique += report["unique"]
            missing += report["unacknowledged"]
            first = min(first or report["first_connect"], report["first_connect"] or first)
            last = max(last, report["last_connect"])
            last_event = max(last_event, report["last_event"])
        measured.connect_seconds = max(0, last - first) / SECOND
        measured.lost = max(0, measured.expected - unique)
        if start:
            measured.seconds = max(0, last_event - start) / SECOND
        self._judge(measured, missing)
        return measured

    def _judge(self, measured: Measured, missing: int) -> None:
        """What the QoS promises and the broker did not keep."""
        qos = self._workload.qos
        unsent = self._total("unsent") if self._workload.count and not self._stop.is_set() else 0
        if unsent and not measured.disconnected:
            measured.trouble["a message that was not sent, as what was sent before did not come through"] = unsent
        if missing and not measured.disconnected:
            measured.trouble["a message that was never acknowledged"] = missing
        if qos and measured.lost and not measured.disconnected:
            measured.trouble[f"a message lost at QoS {qos}"] = measured.lost
        if qos != 1 and measured.repeated:
            measured.trouble[f"a message that came twice at QoS {qos}"] = measured.repeated

    # -- Progress

    async def _keep_telling(self) -> None:
        while True:
            self._tell()
            await trio.sleep(PROGRESS)

    def _tell(self) -> None:
        if self._progress is None:
            return
        workload = self._workload
        self._progress(
            Progress(
                self._phase,
                self._total("connected"),
                workload.publishers + workload.subscribers + workload.idle,
                self._total("sent") - self._base[0],
                self._total("received") - self._base[1],
                trio.current_time() - self._phase_start,
                self._phase_seconds,
            )
        )
