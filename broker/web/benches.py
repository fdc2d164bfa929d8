"""`broker bench compare`, started by somebody who looks at this broker: one at a time, beside us, and gone before us.

It is a process of its own, with a broker of its own, so that nobody who is connected here is measured or disturbed,
but for the machine's CPUs, which it gets after us (`nice`). It tells how far it is on its stderr, and its report on its
stdout; of both a bounded amount is read. It ends by itself when nobody reads that any more: if we are killed, nothing
stays behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from broker.transport.complaints import log
from broker.web.reports import (
    DONE,
    FAILED,
    FOLDER,
    KEPT,
    REPORT_BYTES,
    RUNNING,
    STOPPED,
    STOPPING,
    Comparison,
    Reports,
    check,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.web.system import System

# name -> what it does
WORKLOADS: Final[dict[str, str]] = {
    "pub": "10 publishers, each to a subscriber of its own",
    "fanout": "1 publisher to 100 subscribers",
    "rtt": "1 message at a time, there and back",
}
SHORTEST: Final = 0.2  # seconds of a run
LONGEST: Final = 60.0
ROUNDS: Final = 6  # the fewest that give an interval of 95 %
MOST_ROUNDS: Final = 12
CONNECTIONS: Final = 500  # opened for what a connect costs and a connection weighs

_NICE: Final = 10
_FIRST_TO_GO: Final = "800\n"  # where memory is short the kernel takes it, and not us
_ENDING: Final = 20.0  # seconds until one that was stopped is killed
_GOODBYE: Final = 5.0  # the same where the broker ends
_LINE_CHARACTERS: Final = 300
_LINE_BYTES: Final = 64 * 1024
_LINES: Final = 10
_SOURCE: Final = Path(__file__).parents[2]  # this program's, wherever it is started
_OURS: Final = ("BROKER_", "NOTIFY_", "WATCHDOG_", "LISTEN_")  # settings and a service manager that are not for it


class Busy(Exception):
    """One runs already."""

    def __init__(self, running: Comparison) -> None:
        super().__init__(running.id)
        self.running = running


class Benches:
    """See the module. Without a `nursery`, or where `system` has no command for it, none is run."""

    def __init__(self, system: System, nursery: trio.Nursery | None) -> None:
        self._system = system
        self._nursery = nursery
        self._reports = Reports(system.folder / FOLDER if system.folder is not None else None)
        self._known: list[Comparison] = []  # the newest first
        self._loading = trio.Lock()
        self._loaded = False
        self._ending = False
        self._process: trio.Process | None = None
        self._scope = trio.CancelScope()
        self.running: Comparison | None = None

    @property
    def possible(self) -> bool:
        """Whether one can be run."""
        return self._nursery is not None and self._system.compare is not None and not self._ending

    async def all(self) -> list[Comparison]:
        """Those that are known, the newest first."""
        async with self._loading:
            if not self._loaded:
                found = await trio.to_thread.run_sync(self._reports.found)
                self._known = [*self._known, *found][:KEPT]
                self._loaded = True
        return list(self._known)

    async def one(self, identifier: str) -> Comparison | None:
        return next((each for each in await self.all() if each.id == identifier), None)

    async def report(self, comparison: Comparison) -> str | None:
        """As JSON; None where there is none."""
        return await trio.to_thread.run_sync(self._reports.report, comparison.id)

    async def start(self, workload: str, seconds: float, rounds: int, connections: int) -> Comparison:
        """Begin one; it has to be `possible`. Raises Busy."""
        await self.all()
        assert self._nursery is not None
        if self.running is not None:
            raise Busy(self.running)
        now = self._system.clock()
        identifier = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{os.urandom(2).hex()}"
        comparison = self.running = Comparison(identifier, workload, seconds, rounds, connections, now)
        self._known.insert(0, comparison)
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._run, comparison)
        return comparison

    def stop(self) -> None:
        """Ask the one that runs to end; asked twice, it ends at once. Whole rounds until then are its report."""
        if self.running is not None:
            self.running.state = STOPPING
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + _ENDING)
            if self._process is not None:
                self._process.terminate()

    def close(self) -> None:
        """The broker ends."""
        self._ending = True
        self.stop()

    async def remove(self, comparison: Comparison) -> None:
        """Forget one that is over, and its report."""
        with suppress(ValueError):  # somebody else was quicker
            self._known.remove(comparison)
        await trio.to_thread.run_sync(self._reports.remove, comparison.id)

    async def _run(self, comparison: Comparison) -> None:
        try:
            await self._measure(comparison)
        except Exception as error:  # MQTT goes on without it
            log.error("a comparison cannot be run", exc_info=error)
            comparison.state, comparison.error = FAILED, f"It cannot be run: {error}"
        finally:
            self.running = None
        said = f": {comparison.error}" if comparison.error else ""
        log.info("the comparison %s is over, %s%s", comparison.id, comparison.state, said)
        for old in (await self.all())[KEPT:]:
            await self.remove(old)

    async def _measure(self, comparison: Comparison) -> None:
        assert self._system.compare is not None
        command = [*self._system.compare, "--workload", comparison.workload, "-d", f"{comparison.seconds:g}"]
        command += ["--rounds", str(comparison.rounds), "--connections", str(comparison.connections)]
        process = await trio.lowlevel.open_process(
            [*command, "--json=-", "--json-progress"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(os.environ),
            process_group=0,  # Ctrl-C is for us to hear: we end it
        )
        report = bytearray()
        said: deque[str] = deque(maxlen=_LINES)
        longest = longest_seconds(comparison)
        try:
            _come_after_us(process.pid)
            self._process = process
            if comparison.state != RUNNING:
                self.stop()
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + longest)
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_hear, process, comparison, said)
                    nursery.start_soon(_read, process, report, self._scope)
                    await process.wait()
        finally:
            self._process = None
            with trio.CancelScope(shield=True):
                await _end(process)
        if self._scope.cancelled_caught and comparison.state == RUNNING:
            too_long = len(report) > REPORT_BYTES
            comparison.state = FAILED
            comparison.error = "Its report is too long." if too_long else f"It was not over after {longest:.0f} s."
            return
        await self._conclude(comparison, process.returncode, bytes(report), said)

    async def _conclude(self, comparison: Comparison, code: int | None, report: bytes, said: deque[str]) -> None:
        try:
            text = await trio.to_thread.run_sync(check, report)
        except ValueError:
            text = ""
        if comparison.state == STOPPING:
            comparison.state = STOPPED
            comparison.error = "It was stopped before its end."
        elif not text:
            comparison.state = FAILED
            comparison.error = said[-1].removeprefix("Error: ") if said else f"It ended without a word ({code})."
        else:
            comparison.state = DONE
            if code:
                comparison.error = "Not every message arrived once, whole and in order, as the report says."
        if text:
            comparison.progress = 1.0
            await trio.to_thread.run_sync(self._reports.keep, comparison, text)


def longest_seconds(comparison: Comparison) -> float:
    """After which it is hopeless: three times what it takes on a quiet machine, and a minute."""
    run = comparison.seconds + min(1.0, comparison.seconds / 5) + 1.5
    connects = 1.5 + comparison.connections / 2000 if comparison.connections else 0.0
    return 60 + 3 * 2 * ((comparison.rounds + 1) * run + (comparison.rounds + 2) * connects)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Of the process, which is to find this program, and nothing that was meant for us."""
    found = {name: value for name, value in given.items() if not name.startswith(_OURS)}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_SOURCE), given.get("PYTHONPATH", ""))))
    return found


def _come_after_us(pid: int) -> None:
    """What it starts inherits this. A sandbox may forbid it; it runs as well without."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_TO_GO)


async def _hear(process: trio.Process, comparison: Comparison, said: deque[str]) -> None:
    """How far it is, and other lines, of which the last may be what is wrong."""
    assert process.stderr is not None
    left = b""
    async for data in process.stderr:
        *lines, left = (left + data).split(b"\n")
        left = left[:_LINE_BYTES]
        for line in lines:
            _take(line, comparison, said)
    _take(left, comparison, said)


def _take(line: bytes, comparison: Comparison, said: deque[str]) -> None:
    text = line.decode(errors="replace").strip()
    if text.startswith("{"):
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            done = float(json.loads(text)["done"])
            if comparison.progress < done <= 1:
                comparison.progress = done
            return
    if text:
        said.append(text[:_LINE_CHARACTERS])


async def _read(process: trio.Process, report: bytearray, scope: trio.CancelScope) -> None:
    assert process.stdout is not None
    async for data in process.stdout:
        report += data
        if len(report) > REPORT_BYTES:
            scope.cancel()


async def _end(process: trio.Process) -> None:
    """It, its workers and its broker: they end when it does."""
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        await pipe.aclose()
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(_GOODBYE):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
