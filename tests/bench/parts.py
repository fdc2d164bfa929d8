"""Runs that never were: figures for the reports, and a `drive` that makes them up."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from broker.bench.comparison import Comparison, Connections, Memory, Round, Subject
from broker.bench.driver import Progress
from broker.bench.histogram import Histogram
from broker.bench.measured import SERIES_STEP, Measured
from broker.bench.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable


# Ports at which nobody listens, whose process could be seen
TCP = Subject(label="tcp", url="mqtt://127.0.0.1:1")
WS = Subject(label="ws", url="ws://127.0.0.1:2/mqtt")
WORKLOAD = Workload(url=TCP.url, publishers=10, subscribers=10, seconds=2.0, payload=64)


def histogram(median: float, count: int = 500, seed: int = 1) -> Histogram:
    """Latencies around `median` seconds, with a long tail."""
    generator = random.Random(seed)
    made = Histogram()
    for _ in range(count):
        made.record(round(median * 1e9 * math.exp(generator.gauss(0, 0.5))))
    return made


def measured(
    *, websocket: bool = False, rate: float = 50_000, latency: float = 0.001, seconds: float = 2.0, seed: int = 1
) -> Measured:
    """A run without a fault: 10 publishers, 10 subscribers, 64 bytes, MQTT 5.0, QoS 0."""
    count = int(rate * seconds)
    packet = 76
    steps = int(seconds / SERIES_STEP)
    return Measured(
        seconds=seconds,
        sent=count,
        received=count,
        bytes_sent=count * (packet + (6 if websocket else 0)),
        bytes_received=count * packet + (count // 5 * 4 if websocket else 0),
        mqtt_bytes_sent=count * packet,
        mqtt_bytes_received=count * packet,
        frames_received=count // 5 if websocket else 0,
        latency=histogram(latency, seed=seed),
        series=[(count // steps, count // steps) for _ in range(steps)],
        connected=20,
        connect=histogram(0.002 if websocket else 0.001, 20, seed),
        connect_seconds=0.01,
        connect_bytes_sent=20 * (230 if websocket else 30),
        connect_bytes_received=20 * (140 if websocket else 20),
        expected=count,
        generator_cpu=0.5 * seconds,
        workers=1,
        busiest=0.5,
    )


def comparison(rounds: int = 6, *, ratio: float = 1.3) -> Comparison:
    """TCP and WebSocket; over WebSocket a message costs `ratio` times the CPU."""
    made = Comparison(subjects=[TCP, WS], workload=WORKLOAD)
    for number in range(1, rounds + 1):
        drift = 1 + 0.1 * (number % 3)
        for subject in (TCP, WS):
            websocket = subject is WS
            one = measured(websocket=websocket, latency=0.0011 if websocket else 0.001, seed=number + 10 * websocket)
            cost = drift * (ratio if websocket else 1) * (1 + 0.002 * (number % 2) * websocket)
            opened = measured(websocket=websocket, seed=number)
            made.rounds.append(
                Round(
                    subject=subject.label,
                    number=number,
                    measured=one,
                    cpu=4e-6 * cost * one.received,
                    rss=50_000_000,
                    load=0.5,
                    connections=Connections(measured=opened, cpu=20 * (3e-4 if websocket else 1e-4)),
                )
            )
    made.memory = {"tcp": Memory(connections=500, growth=3_000_000), "ws": Memory(connections=500, growth=4_000_000)}
    return made


@dataclass
class FakeDrive:
    """Stands for `broker.bench.driver.drive`: asks nobody, and remembers for what it was called."""

    make: Callable[[Workload], Measured] = lambda workload: measured(
        websocket=workload.url.startswith("ws"), seconds=workload.seconds
    )
    faults: dict[int, Exception] = field(default_factory=dict)  # number of the call, from 0 -> what it raises
    hold: float = 0.01  # seconds that idle connections take instead of theirs
    forever: float = 3600.0  # and those that are held until they are no longer wanted
    burn: float = 0.0  # CPU seconds that this process uses up in the measured seconds
    calls: list[Workload] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    async def __call__(
        self, workload: Workload, *, workers: int = 0, progress: Callable[[Progress], None] | None = None
    ) -> Measured:
        self.calls.append(workload)
        fault = self.faults.get(len(self.calls) - 1)
        clients = workload.publishers + workload.subscribers + workload.idle
        self.open += clients
        self.most_open = max(self.most_open, self.open)
        try:
            if fault is not None:
                raise fault
            if progress is not None:
                progress(Progress("connecting", 0, clients, 0, 0, 0.0, 0.0))
                progress(Progress("connecting", clients, clients, 0, 0, 0.0, 0.0))
                progress(Progress("measuring", clients, clients, 0, 0, 0.0, workload.seconds))
            end = time.process_time() + self.burn
            while time.process_time() < end:
                pass
            if workload.idle:
                await trio.sleep(self.hold if workload.seconds < 60 else self.forever)
            else:
                await trio.sleep(workload.seconds)
            return replace(self.make(workload), seconds=workload.seconds)
        finally:
            self.open -= clients
