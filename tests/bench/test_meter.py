"""What a span of time has cost a process, between samples and at them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from broker.bench.meter import Meter
from broker.bench.processes import NoSuchProcess, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator


def with_samples(*samples: Usage) -> Meter:
    meter = Meter(os.getpid())
    meter._samples = list(samples)
    return meter


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        yield made


def test_cost_is_taken_to_grow_evenly_between_samples() -> None:
    meter = with_samples(Usage(10.0, 1.0, 100), Usage(11.0, 1.5, 200), Usage(12.0, 1.5, 300))
    assert meter.cpu_between(10.0, 12.0) == 0.5
    assert meter.cpu_between(10.5, 11.0) == pytest.approx(0.25)
    assert meter.cpu_between(10.5, 11.5) == pytest.approx(0.25)
    assert meter.cpu_between(11.0, 12.0) == 0.0
    assert meter.cpu_between(9.0, 11.0) is None
    assert meter.cpu_between(11.0, 12.5) is None


def test_memory_is_that_of_the_last_sample() -> None:
    meter = with_samples(Usage(10.0, 1.0, 100), Usage(11.0, 1.5, 200), Usage(12.0, 1.5, 300))
    assert [meter.rss_at(at) for at in (9.0, 10.5, 11.5, 13.0)] == [100, 100, 200, 300]


async def test_it_watches() -> None:
    meter = Meter(os.getpid())
    begin = time.monotonic()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        nursery.start_soon(meter.look_at, begin + 0.1)
        before = time.process_time()
        burn(0.06)
        end = time.monotonic() + 0.2
        await trio.sleep(0.25)
        meter.look()
        after = time.process_time()
        nursery.cancel_scope.cancel()
    spent = meter.cpu_between(begin, end)
    assert spent is not None
    assert 0.05 < spent < after - before + 0.05


async def test_it_ends_with_the_process(process: subprocess.Popen[bytes]) -> None:
    meter = Meter(process.pid)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)
    with trio.fail_after(20):
        await meter.run()
    assert meter.look() is None
    with pytest.raises(NoSuchProcess):
        Meter(process.pid)
