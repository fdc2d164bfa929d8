from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click
import pytest
import trio

from broker.bench import errors as bench_errors
from broker.bench.comparison import Subject
from broker.bench.measured import Measured
from broker.bench.processes import NoSuchProcess
from broker.bench.workload import Workload
from broker.cli import errors
from broker.cli.bench.running import (
    Interruption,
    anything,
    as_failure,
    interruptible,
    named,
    perform,
    process_at,
    run_one,
    subjects,
)
from broker.cli.bench.workloads import Place

if TYPE_CHECKING:
    from broker.bench.compare import Progress
    from tests.cli.conftest import Served

HERE = Place(url="mqtt://127.0.0.1:1883")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (bench_errors.CannotConnect("mqtt://h: nobody"), errors.CannotConnect, "cannot connect: mqtt://h: nobody"),
        (bench_errors.Refused("no"), errors.Refused, "no"),
        (bench_errors.BenchError("too few ports"), errors.Failure, "too few ports"),
        (NoSuchProcess("there is no process 1"), errors.Failure, "there is no process 1"),
    ],
)
def test_why_no_run_came_about(error: Exception, kind: type[click.ClickException], text: str) -> None:
    failure = as_failure(error)
    assert type(failure) is kind
    assert failure.message == text

    async def work() -> int:
        async with trio.open_nursery():
            raise error

    with pytest.raises(kind):
        perform(work)


def test_the_code_of_the_work() -> None:
    async def work() -> int:
        return 3

    async def bug() -> int:
        raise KeyError("bug")

    with pytest.raises(click.exceptions.Exit) as left:
        perform(work)
    assert left.value.exit_code == 3
    with pytest.raises(KeyError):
        perform(bug)


async def test_the_first_signal_asks_and_the_second_ends() -> None:
    went_on = False
    async with interruptible() as interruption:
        assert interruption.code == 0
        os.kill(os.getpid(), signal.SIGINT)
        with trio.fail_after(20):
            await interruption.stop.wait()
        went_on = True
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep(20)
        raise AssertionError("it went on after the second")
    assert went_on
    assert interruption.code == 130  # of the first


async def test_nothing_listens_any_more_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    async with interruptible() as interruption:
        assert signal.getsignal(signal.SIGINT) != before
    assert interruption.code == 0
    assert signal.getsignal(signal.SIGINT) == before


def test_names() -> None:
    assert [subject.label for subject in named([])] == ["tcp", "ws"]
    two = named([HERE, Place(url="ws://h:1/mqtt", label="far", username="me", password="secret")])
    assert [(subject.label, subject.url, subject.username) for subject in two] == [
        ("tcp", HERE.url, None),
        ("far", "ws://h:1/mqtt", "me"),
    ]
    with pytest.raises(click.UsageError, match="two subjects are called 'x': give each a name of its own"):
        named([replace(HERE, label="x"), replace(HERE, label="x")])


async def test_the_process_is_found_where_it_is_not_named(served: Served) -> None:
    assert process_at(served.mqtt) == os.getpid()
    assert process_at(served.unix) is None
    async with subjects([Place(url=served.mqtt)], [None]) as (subject,):
        assert subject.pid == os.getpid()
    async with subjects([Place(url=served.mqtt)], [1]) as (subject,):
        assert subject.pid == 1


async def test_a_broker_of_our_own_lives_as_long_as_the_block() -> None:
    async with subjects([], []) as found:
        assert [subject.label for subject in found] == ["tcp", "ws"]
        port = int(found[0].url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="CPUs are bound on Linux")
async def test_a_broker_of_our_own_has_a_cpu_for_itself() -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    async with subjects([], [], cpu) as (subject, *_):
        assert subject.pid is not None
        assert os.sched_getaffinity(subject.pid) == {cpu}
        done = await trio.run_process(
            [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"], capture_stdout=True
        )
        assert set(map(int, done.stdout.split())) == (before - {cpu} or before)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (Measured(seconds=1.0), False),
        (Measured(sent=1), True),
        (Measured(received=1), True),
        (Measured(connected=5, seconds=0.01), False),
        (Measured(connected=5, seconds=1.0), True),
    ],
)
def test_whether_anything_was_measured(measured: Measured, said: bool) -> None:
    assert anything(measured) is said


async def test_idle_connections_are_weighed(served: Served) -> None:
    told: list[Progress] = []
    async with subjects([Place(url=served.ws)], [None]) as (subject,):
        comparison = await run_one(
            subject,
            Workload(url=served.ws, idle=40, seconds=0.3, warm_up=0.0),
            workers=1,
            progress=told.append,
            interruption=Interruption(),
        )
    assert comparison is not None
    (run,) = comparison.rounds
    assert run.measured.connected == 40
    assert comparison.memory["ws"].connections == 40
    assert run.connections is not None
    assert run.connections.cpu is not None
    assert 0 < run.connections.cpu < 5
    assert {progress.run.of for progress in told if progress.run is not None} == {40}
    assert comparison.notes == []


async def test_a_broker_that_is_not_seen_weighs_them_itself(served: Served) -> None:
    comparison = await run_one(
        Subject(label="unix", url=served.unix),
        Workload(url=served.unix, idle=40, seconds=1.4, warm_up=0.0),
        workers=1,
        progress=lambda progress: None,
        interruption=Interruption(),
    )
    assert comparison is not None
    (run,) = comparison.rounds
    assert run.connections is not None
    assert run.connections.cpu is not None
    assert 0 < run.connections.cpu < 5
    assert comparison.memory["unix"].connections == 40
    (note,) = comparison.notes
    assert note.endswith("its CPU and memory are what it says of itself every second in $SYS/broker/process/.")


async def test_a_signal_ends_a_run_with_what_was_seen(served: Served) -> None:
    interruption = Interruption()

    def see(progress: Progress) -> None:
        if progress.run is not None and progress.run.phase == "measuring" and progress.run.received:
            interruption.number = signal.SIGINT
            interruption.stop.set()

    async with subjects([Place(url=served.mqtt)], [None]) as (subject,):
        comparison = await run_one(
            subject,
            Workload(url=served.mqtt, publishers=1, subscribers=1, qos=1, seconds=60, warm_up=0.0),
            workers=1,
            progress=see,
            interruption=interruption,
        )
    assert comparison is not None
    (run,) = comparison.rounds
    assert 0 < run.measured.seconds < 50
    assert run.measured.received > 0
    assert run.measured.latency.count > 0
    assert run.measured.ok
    assert comparison.notes == ["Ended by a signal, before its time."]


async def test_a_signal_while_all_are_connecting_ends_it_at_once() -> None:
    interruption = Interruption()

    def see(progress: Progress) -> None:
        if progress.run is not None and progress.run.phase == "connecting":
            interruption.number = signal.SIGINT
            interruption.stop.set()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        subject = Subject(label="tcp", url=f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        with trio.fail_after(20):
            comparison = await run_one(
                subject,
                Workload(url=subject.url, publishers=1, timeout=60),
                workers=1,
                progress=see,
                interruption=interruption,
            )
    assert comparison is None
