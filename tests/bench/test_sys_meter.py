"""What a broker says of itself: who says it, what a span has cost by it, and that silence keeps nobody waiting."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from broker.bench.comparison import Subject
from broker.bench.processes import Processes, Usage
from broker.bench.sys_meter import CPU, MEMORY, SysMeter
from broker.config import Config, ListenerConfig
from broker.server import Server, serve
from tests.bench.parts import TCP, WORKLOAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(Config(listeners=[ListenerConfig(type="tcp", port=0)])) as here:
        yield here


def subject_of(server: Server) -> Subject:
    return Subject(label="here", url=server.listeners[0].url)


def with_samples(*samples: Usage) -> SysMeter:
    meter = SysMeter()
    meter._samples = list(samples)
    meter._ended = True  # nothing more comes
    return meter


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


EVEN = [Usage(10.0 + second, 5.0 + 0.5 * second, 1000 + second) for second in range(6)]


async def test_figures_from_within_speak_for_the_whole() -> None:
    meter = with_samples(*EVEN, Usage(16.0, 99.0, 9000))
    for begin in (10.0, 10.5):
        cpu, rss = await meter.cost(begin, begin + 5)
        assert cpu == pytest.approx(2.5)
        assert rss == 1005


async def test_of_a_short_span_the_next_figure_tells_the_rest() -> None:
    """The load ends half-way between two figures: the second has nothing more than it to tell."""
    meter = with_samples(Usage(10.0, 5.0, 1000), Usage(11.0, 5.8, 1100), Usage(12.0, 6.2, 1200))
    cpu, rss = await meter.cost(10.5, 11.5)
    assert cpu == pytest.approx(0.8)
    assert rss == 1100


@pytest.mark.parametrize(
    ("begin", "end", "rss"),
    [(10.1, 10.9, None), (14.8, 15.1, 1005), (10.7, 11.2, 1001), (20.0, 25.0, None)],
    ids=["between two", "none behind", "too little of it", "when nothing came"],
)
async def test_what_cannot_be_told(begin: float, end: float, rss: int | None) -> None:
    assert await with_samples(*EVEN).cost(begin, end) == (None, rss)


async def test_a_broker_that_tells_no_memory() -> None:
    meter = with_samples(*(Usage(each.at, each.cpu, 0) for each in EVEN))
    cpu, rss = await meter.cost(10.0, 15.0)
    assert cpu == pytest.approx(2.5)
    assert rss is None


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes for certain may take its time on a busy machine."""
    monkeypatch.setattr("broker.bench.sys_meter.PATIENCE", 20.0)
    monkeypatch.setattr("broker.bench.sys_meter.NEXT", 20.0)


@pytest.mark.usefixtures("patient")
async def test_our_own_broker_agrees_with_its_process(server: Server) -> None:
    meter = SysMeter()
    seen = Processes(os.getpid())
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            await nursery.start(meter.run, subject_of(server), WORKLOAD)
            assert meter.told
            assert meter.look() is None  # the retained figures are of an unknown moment
            before, truth = await meter.fresh(), seen.read()
            burn(0.2)
            after, truth_after = await meter.fresh(), seen.read()
        nursery.cancel_scope.cancel()
    assert before is not None
    assert after is not None
    assert meter.look() == after
    assert 0.5 < after.at - before.at < 10
    assert after.cpu - before.cpu == pytest.approx(truth_after.cpu - truth.cpu, rel=0.2)
    assert after.rss == (pytest.approx(truth_after.rss, rel=0.1) if sys.platform == "linux" else 0)


async def test_one_that_says_nothing_of_itself(server: Server) -> None:
    server.broker.process = None
    for topic in (CPU, MEMORY):
        server.publish(topic, b"", retain=True)
    meter = SysMeter()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(meter.run, subject_of(server), WORKLOAD)
    assert not meter.told


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("payload", [b"", b"much", b"nan", b"inf", b"-1", b"\xff"])
async def test_what_is_no_figure_is_passed_over(server: Server, payload: bytes) -> None:
    server.broker.process = None
    server.publish(CPU, b"1", retain=True)
    meter = SysMeter()
    async with trio.open_nursery() as nursery:
        await nursery.start(meter.run, subject_of(server), WORKLOAD)
        server.publish(CPU, payload)
        server.publish(MEMORY, b"4096")
        server.publish(CPU, b"2.5")
        with trio.fail_after(20):
            await meter.fresh()
        nursery.cancel_scope.cancel()
    assert [(each.cpu, each.rss) for each in meter._samples] == [(2.5, 4096)]


async def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Subject(label="mute", url=f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        for subject in (TCP, mute):
            meter = SysMeter()
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    await nursery.start(meter.run, subject, WORKLOAD)
            assert not meter.told


async def test_one_that_goes_away_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bench.sys_meter.NEXT", 3600.0)
    meter = SysMeter()
    async with trio.open_nursery() as nursery:
        async with serve(Config(listeners=[ListenerConfig(type="tcp", port=0)])) as server:
            await nursery.start(meter.run, subject_of(server), WORKLOAD)
        with trio.fail_after(20):
            assert await meter.fresh() is None
