"""A worker process: `python -m broker.bench.worker` drives its share of the Clients and tells the parent how it is.

Both speak msgpack maps, the parent on our stdin, we on our stdout. The parent gives the instants at which things are to
happen, in nanoseconds of the monotonic clock, which is one for all processes. A worker ends when it is told to, or when
its stdin does; Ctrl-C is the parent's affair.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import signal
import socket
import sys
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import msgpack

from broker.bench.engine.client import Network
from broker.bench.engine.loop import BROKEN, CONNECTED, CONTROL, SECOND, Loop
from broker.bench.engine.plan import Plan
from broker.bench.engine.tally import NEVER, Tally
from broker.bench.engine.upgrade import Opening
from broker.bench.errors import BenchError, CannotConnect, Refused
from broker.bench.measured import SERIES_STEP, Measured
from broker.bench.workload import Workload
from broker.packets.types import MQTT_3_1
from broker.transport.poller import Poller

if TYPE_CHECKING:
    import ssl

WORD: Final = SECOND // 10  # between two words to the parent
SHORT_WORD: Final = SECOND // 50  # where it waits for the last message
COUNTER_BYTES: Final = 8
PR_SET_TIMERSLACK: Final = 29
TIMER_SLACK: Final = 1000  # nanoseconds

ERRORS: Final[dict[str, type[BenchError]]] = {
    "bench": BenchError,
    "cannot connect": CannotConnect,
    "refused": Refused,
}


class Parent:
    """The two pipes."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self._writing = writing
        self._unpacker = msgpack.Unpacker()
        self._words: list[dict[str, Any]] = []

    def say(self, **word: object) -> None:
        """Write, all of it; EOFError where nobody listens any more."""
        left = memoryview(msgpack.packb(word))
        try:
            while left:
                left = left[os.write(self._writing, left) :]
        except OSError:
            raise EOFError from None

    @property
    def speaks(self) -> bool:
        """Whether a word is here already, so that the pipe says nothing of it."""
        return bool(self._words)

    def hear(self) -> dict[str, Any]:
        """The next word; waits for it. EOFError when there will be none."""
        while not self._words:
            data = os.read(self.reading, 64 * 1024)
            if not data:
                raise EOFError
            self._unpacker.feed(data)
            self._words.extend(self._unpacker)
        return self._words.pop(0)


def _waited() -> int:
    """Nanoseconds in which this process could have run and did not, as others had the core; 0 where nobody counts."""
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


class Snapshot:
    """The counters at one instant."""

    def __init__(self, tally: Tally) -> None:
        self.at = monotonic_ns()
        self.cpu = time.process_time()
        self.waited = _waited()
        self.sent = tally.sent
        self.received = tally.received
        self.acknowledged = tally.acknowledged
        self.bytes_sent = tally.bytes_sent
        self.bytes_received = tally.bytes_received
        self.mqtt_bytes_sent = tally.mqtt_bytes_sent
        self.mqtt_bytes_received = tally.mqtt_bytes_received
        self.frames_received = tally.frames_received

    def count_from(self, earlier: Snapshot) -> None:
        """Take the counters of `earlier`; the clocks stay those of now."""
        for name in COUNTERS:
            setattr(self, name, getattr(earlier, name))


COUNTERS: Final = tuple(name for name in vars(Snapshot(Tally())) if name not in ("at", "cpu", "waited"))


class Worker:
    """One run, from connecting to the report."""

    def __init__(self, parent: Parent, loop: Loop) -> None:
        self._parent = parent
        self._loop = loop
        self._tally = loop.tally
        self._connect_busiest = 0.0
        self._ready = False  # all are connected
        self._measured = False  # the window is over
        self._broken = False
        self._ended = False  # the parent ended the window
        self._finished = False  # the parent wants the report
        self._connected = Snapshot(self._tally)  # what there was when all had connected
        self._window: Snapshot | None = None  # the beginning of the window
        self._series: list[tuple[int, int]] = []

    def run(self) -> None:
        """All of it; EOFError where the parent is gone."""
        loop = self._loop
        before = after = Snapshot(self._tally)
        word = self._wait_for_start() if self._connect() else {}
        if "start" in word:
            loop.start(word["start"], word["window_start"], word["window_end"] or NEVER)
            before, after = self._measure(word["window_start"], word["window_end"])
            loop.drain()
            self._measured = True
            self._status()
            while not self._finished:
                self._go_on(monotonic_ns() + SHORT_WORD)
                self._status()
        loop.end()
        self._report(before, after)

    def _status(self) -> None:
        tally = self._tally
        loop = self._loop
        self._parent.say(
            connected=loop.network.ready,
            sent=tally.sent,
            received=tally.received,
            counted=tally.received - self._window.received if self._window is not None else 0,
            expected=tally.expected,
            unique=tally.unique,
            unacknowledged=loop.unacknowledged,
            unsent=loop.unsent,
            last_event=tally.last_event,
            ready=self._ready,
            measured=self._measured,
            broken=self._broken,
        )

    def _go_on(self, until: int) -> None:
        """Run the loop until then, or until the parent has something to say."""
        why = self._turn(until)
        if why == BROKEN:
            self._broken = True
        elif why == CONTROL:
            self._finished = "finish" in self._parent.hear()
            self._ended = True

    def _turn(self, until: int) -> int:
        return CONTROL if self._parent.speaks else self._loop.run(until)

    def _connect(self) -> bool:
        """Connect all; whether the parent let us."""
        start, cpu = monotonic_ns(), time.process_time()
        while True:
            why = self._turn(monotonic_ns() + WORD)
            if why == CONTROL:
                self._parent.hear()
                return False
            if why == CONNECTED:
                self._connect_busiest = (time.process_time() - cpu) * SECOND / max(1, monotonic_ns() - start)
                self._ready = True
                self._connected = Snapshot(self._tally)
                self._status()
                return True
            self._status()

    def _wait_for_start(self) -> dict[str, Any]:
        while True:
            why = self._turn(monotonic_ns() + WORD)
            if why == CONTROL:
                return self._parent.hear()
            if why == BROKEN:
                self._broken = True
            self._status()

    def _measure(self, window_start: int, window_end: int) -> tuple[Snapshot, Snapshot]:
        """From the start to the end of the window, or of a count, which the parent sees; in the middle if it breaks."""
        while not self._ended and not self._broken and monotonic_ns() < window_start:
            self._go_on(min(window_start, monotonic_ns() + WORD))
            self._status()
        before = last = self._window = Snapshot(self._tally)
        if not window_end:  # of a count nothing came before its start, and others began without us if we are late
            before.count_from(self._connected)
        step = int(SERIES_STEP * SECOND)
        point = window_start + step
        word = WORD if window_end else SHORT_WORD
        end = window_end or NEVER
        while not self._ended and not self._broken and monotonic_ns() < end:
            self._go_on(min(point, end, monotonic_ns() + word))
            while point <= min(end, monotonic_ns()):  # of a worker that was held up, each point has its place still
                now = Snapshot(self._tally)
                self._series.append((now.sent - last.sent, now.received - last.received))
                last = now
                point += step
            self._status()
        after = Snapshot(self._tally)
        if end == NEVER or self._ended or self._broken:
            self._series.append((after.sent - last.sent, after.received - last.received))
            self._tally.window_end = after.at
        return before, after

    def _report(self, before: Snapshot, after: Snapshot) -> None:
        tally = self._tally
        seconds = (after.at - before.at) / SECOND
        cpu = after.cpu - before.cpu
        measured = Measured(
            seconds=seconds,
            latency=tally.latency,
            acknowledgement=tally.acknowledgement,
            series=self._series,
            connected=tally.connected,
            connect=tally.connect,
            connect_busiest=self._connect_busiest,
            connect_bytes_sent=tally.connect_bytes_sent,
            connect_bytes_received=tally.connect_bytes_received,
            expected=tally.expected,
            repeated=tally.repeated,
            disordered=tally.disordered,
            corrupted=tally.corrupted,
            refused=tally.refused,
            disconnected=tally.disconnected,
            trouble=tally.trouble,
            generator_cpu=cpu,
            workers=1,
            busiest=cpu / seconds if seconds else 0.0,
            starved=(after.waited - before.waited) / SECOND / seconds if seconds else 0.0,
            latest=tally.latest / SECOND,
        )
        for name in COUNTERS:
            setattr(measured, name, getattr(after, name) - getattr(before, name))
        self._parent.say(
            report=measured.to_dict(),
            unique=tally.unique,
            unacknowledged=self._loop.unacknowledged,
            first_connect=tally.first_connect,
            last_connect=tally.last_connect,
            last_event=tally.last_event,
        )


def _counters(fd: int) -> memoryview:
    size = os.fstat(fd).st_size
    return memoryview(mmap.mmap(fd, size)).cast("Q")


def _sharpen_timers() -> None:
    """Linux lets a sleep end 50 microseconds late, to save energy; to an open loop that is late by as much."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0)


def _context(workload: Workload) -> ssl.SSLContext:
    from broker.bench.trust import trust_of  # with it comes Trio, which nothing else needs here

    try:
        trust = trust_of(workload.url, workload)
    except ValueError as error:
        raise BenchError(str(error)) from error
    assert trust is not None
    assert trust.context is not None
    return trust.context


def _build(order: dict[str, Any], control: int) -> Loop:
    workload = Workload.from_dict(order["workload"])
    address = order["address"]
    network = Network(
        Tally(),
        Poller(),
        order["family"],
        tuple(address) if order["family"] != socket.AF_UNIX else address,
        order["shown"],
        workload.version,
        workload.keep_alive,
    )
    network.sources = order["sources"]
    if order["websocket"]:
        subprotocol = "mqttv3.1" if workload.version == MQTT_3_1 else "mqtt"  # [MQTT-6.0.0-3]
        network.opening = Opening(order["host"], order["port"], order["path"], subprotocol, order["secure"])
    if order["secure"]:
        network.context = _context(workload)
        network.server_name = order["host"]
    network.user_name = order["user_name"]
    network.password = order["password"]
    network.qos = workload.qos
    plan = Plan(workload, order["user_name"] or "", order["token"], order["workers"], order["first_source"])
    shared = _counters(order["counters"]) if order["counters"] >= 0 else None
    return Loop(workload, network, plan, order["worker"], order["workers"], shared, control)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writing = os.dup(1)
    os.dup2(2, 1)  # what prints must not print into the pipe
    parent = Parent(0, writing)
    try:
        loop = _build(parent.hear(), parent.reading)
        _sharpen_timers()
        gc.freeze()
        gc.disable()  # nothing here makes cycles, and a collection is a pause that looks like the broker's
        try:
            Worker(parent, loop).run()
        except EOFError:
            loop.end()
    except BenchError as error:
        kind = next(name for name, known in ERRORS.items() if type(error) is known)
        parent.say(error=kind, text=str(error))


if __name__ == "__main__":
    main()
