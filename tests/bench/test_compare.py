"""In which order subjects are run, what is measured around the runs, and what becomes of errors."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from itertools import pairwise

import pytest
import trio

from broker.bench.compare import Progress, compare, estimate
from broker.bench.comparison import Comparison, Subject
from broker.bench.errors import BenchError, CannotConnect, Refused
from broker.bench.processes import NoSuchProcess
from broker.bench.sys_meter import CPU, MEMORY, SysMeter
from broker.config import Config, ListenerConfig
from broker.server import Server, serve
from tests.bench.parts import TCP, WORKLOAD, WS, FakeDrive

SHORT = replace(WORKLOAD, seconds=0.01, warm_up=0.0)


async def test_rounds_are_interleaved_and_the_order_turns() -> None:
    drive = FakeDrive()
    found = await compare([TCP, WS], SHORT, drive=drive, rounds=3, connections=0, pause=0)
    urls = [call.url for call in drive.calls]
    warm_up, rounds = urls[:2], urls[2:]
    assert warm_up == [TCP.url, WS.url]
    assert rounds == [TCP.url, WS.url, WS.url, TCP.url, TCP.url, WS.url]
    assert [(each.number, each.subject) for each in found.rounds] == [
        *((1, "tcp"), (1, "ws"), (2, "tcp"), (2, "ws"), (3, "tcp"), (3, "ws"))
    ]
    assert found.workload == replace(SHORT, url=TCP.url)


async def test_one_subject_and_one_round_is_a_plain_run() -> None:
    drive = FakeDrive()
    found = await compare([WS], SHORT, drive=drive, rounds=1, connections=0, pause=0)
    assert [call.url for call in drive.calls] == [WS.url]
    assert len(found.rounds) == 1
    assert found.workload.url == WS.url


async def test_the_round_that_is_thrown_away_is_short() -> None:
    drive = FakeDrive()
    await compare([TCP, WS], replace(SHORT, count=1000), drive=drive, rounds=1, connections=0, pause=0)
    assert [call.count for call in drive.calls] == [100, 100, 1000, 1000]


async def test_who_a_subject_is() -> None:
    drive = FakeDrive()
    named = replace(WS, username="anna", password="pw")
    workload = replace(SHORT, username="bob", password="secret")
    await compare([TCP, named], workload, drive=drive, rounds=1, connections=0, pause=0)
    seen = {(call.url, call.username, call.password) for call in drive.calls}
    assert seen == {(TCP.url, "bob", "secret"), (WS.url, "anna", "pw")}


async def test_cpu_of_the_measured_seconds() -> None:
    drive = FakeDrive(burn=0.05)
    seen = replace(TCP, pid=os.getpid())
    found = await compare([seen, WS], replace(SHORT, seconds=0.2), drive=drive, rounds=1, connections=0, pause=0)
    first, second = found.rounds
    assert first.cpu is not None
    assert 0.02 < first.cpu < 0.15  # a busy machine may stretch it beyond the measured seconds
    assert first.rss is not None
    assert first.rss > 1_000_000
    assert second.cpu is None
    assert second.rss is None
    (note,) = found.notes
    assert note.startswith("ws: the broker's process cannot be seen from here, and the broker says nothing of it in ")


async def test_connections_are_opened_in_each_round_and_held_together_once() -> None:
    drive = FakeDrive()
    both = [replace(TCP, pid=os.getpid()), replace(WS, pid=os.getpid())]
    found = await compare(both, SHORT, drive=drive, rounds=2, connections=100, pause=0)
    assert drive.open == 0
    assert drive.most_open == 300
    assert set(found.memory) == {"tcp", "ws"}
    assert found.memory["ws"].connections == 100
    for each in found.rounds:
        assert each.connections is not None
        assert each.connections.cpu is not None
    idle = [call for call in drive.calls if call.idle == 100]
    assert len(idle) == 2 + 4
    assert all(call.publishers == call.subscribers == 0 for call in idle)


async def test_memory_is_left_out_where_the_process_is_not_seen() -> None:
    drive = FakeDrive()
    found = await compare([TCP, WS], SHORT, drive=drive, rounds=1, connections=100, pause=0)
    assert found.memory == {}
    assert all(each.connections is not None and each.connections.cpu is None for each in found.rounds)


async def say(server: Server, cpu: float, memory: int, task_status: trio.TaskStatus[None]) -> None:
    """What a broker says of itself, quicker than ours does: `cpu` of a core, and `memory` bytes more each time."""
    began = trio.current_time()
    rss = 1 << 20
    server.publish(CPU, "0", retain=True)
    task_status.started()
    while True:
        server.publish(MEMORY, str(rss), retain=True)
        server.publish(CPU, str(cpu * (trio.current_time() - began)), retain=True)
        rss += memory
        await trio.sleep(0.05)


async def test_a_process_that_is_not_seen_tells_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bench.compare.listening_on", lambda port: None)
    monkeypatch.setattr(SysMeter, "latency", 0.2)
    async with serve(Config(listeners=[ListenerConfig(type="tcp", port=0)])) as server, trio.open_nursery() as nursery:
        server.broker.process = None
        await nursery.start(say, server, 0.5, 4096)
        telling = Subject(label="telling", url=server.listeners[0].url)
        drive = FakeDrive(hold=0.3)
        workload = replace(SHORT, seconds=0.5)
        found = await compare([telling], workload, drive=drive, rounds=1, connections=100, pause=0)
        nursery.cancel_scope.cancel()
    (first,) = found.rounds
    assert first.cpu == pytest.approx(0.25, rel=0.6)  # told every 50 ms, where nothing holds it up
    assert first.rss is not None
    assert first.rss > 1 << 20
    assert first.connections is not None
    assert first.connections.cpu is not None
    assert 0 < first.connections.cpu < 0.2
    assert found.memory["telling"].growth % 4096 == 0
    assert found.memory["telling"].growth > 0
    assert found.notes == [
        "telling: the broker's process cannot be seen from here; its CPU and memory are what it says of itself every "
        "second in $SYS/broker/process/."
    ]


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="reads /proc")
async def test_a_process_that_listens_here_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = Subject(label="here", url=f"mqtt://127.0.0.1:{server.getsockname()[1]}")
        found = await compare([here], SHORT, drive=FakeDrive(), rounds=1, connections=0, pause=0)
    assert found.subjects[0].pid == os.getpid()
    assert found.rounds[0].cpu is not None


async def test_progress_goes_forward_to_the_end() -> None:
    told: list[Progress] = []
    await compare([TCP, WS], SHORT, drive=FakeDrive(), rounds=2, connections=10, pause=0, progress=told.append)
    assert all(earlier.done <= later.done for earlier, later in pairwise(told))
    assert [each.stage for each in told if each.run is None] == [
        *("warm-up", "warm-up"),
        *("connect", "load") * 4,
    ]
    assert told[-1].round == told[-1].rounds == 2
    assert told[0].remaining > told[-1].remaining
    assert told[-1].done > 0.7


async def test_whole_rounds_are_there_when_it_is_ended_early() -> None:
    seen: list[Comparison] = []
    drive = FakeDrive(faults={7: CannotConnect("gone")})
    with pytest.raises(BenchError, match="gone"):
        await compare([TCP, WS], SHORT, drive=drive, rounds=4, connections=0, pause=0, seen=seen.append)
    assert [len(each.rounds) for each in seen] == [2, 4]
    assert [each.subject for each in seen[-1].rounds] == ["tcp", "ws", "tcp", "ws"]


@pytest.mark.parametrize("subject", [0, 1])
async def test_one_that_cannot_be_reached(subject: int) -> None:
    drive = FakeDrive(faults={subject: CannotConnect("nobody there")})
    with pytest.raises(CannotConnect, match="nobody there"):
        await compare([TCP, WS], SHORT, drive=drive, rounds=2, connections=0, pause=0)
    assert len(drive.calls) == subject + 1


@pytest.mark.parametrize("grouped", [False, True], ids=["as it is", "out of a nursery"])
async def test_one_that_is_gone_in_the_middle(grouped: bool) -> None:
    fault = CannotConnect("nobody there")
    drive = FakeDrive(faults={3: ExceptionGroup("", [fault]) if grouped else fault})
    with pytest.raises(BenchError, match="ws: the broker was there and is gone: nobody there") as raised:
        await compare([TCP, WS], SHORT, drive=drive, rounds=2, connections=0, pause=0)
    assert not isinstance(raised.value, CannotConnect)


async def test_what_drive_raises_while_connections_are_held_comes_through() -> None:
    both = [replace(TCP, pid=os.getpid()), replace(WS, pid=os.getpid())]
    drive = FakeDrive(faults={3: Refused("enough")})
    with pytest.raises(Refused, match="enough"):
        await compare(both, SHORT, drive=drive, rounds=1, connections=10, pause=0)
    assert drive.open == 0


async def test_connections_that_are_closed_while_they_are_held_are_no_hang() -> None:
    drive = FakeDrive(forever=0.05)
    with pytest.raises(BenchError, match="tcp: the broker closed connections that were only held"), trio.fail_after(20):
        await compare([replace(TCP, pid=os.getpid())], SHORT, drive=drive, rounds=1, connections=10, pause=0)
    assert drive.open == 0


async def test_cancelling_ends_all_runs() -> None:
    drive = FakeDrive()
    with trio.move_on_after(0.1) as scope:
        await compare([TCP, WS], replace(SHORT, seconds=60), drive=drive, rounds=2, connections=0, pause=0)
    assert scope.cancelled_caught
    assert drive.open == 0


async def test_what_cannot_be_compared() -> None:
    drive = FakeDrive()
    with pytest.raises(ValueError, match="nothing to compare"):
        await compare([], SHORT, drive=drive)
    with pytest.raises(ValueError, match="at least one round"):
        await compare([TCP], SHORT, drive=drive, rounds=0)
    with pytest.raises(ValueError, match="the same name"):
        await compare([TCP, TCP], SHORT, drive=drive)
    with pytest.raises(NoSuchProcess, match="no process 4194999"):
        await compare([replace(TCP, pid=4194999)], SHORT, drive=drive)
    assert drive.calls == []


def test_the_estimate_grows_with_all_that_is_done() -> None:
    plain = estimate(WORKLOAD, subjects=2, rounds=6, connections=0)
    assert 36 < plain < 90
    assert estimate(WORKLOAD, subjects=2, rounds=12, connections=0) > 1.7 * plain
    assert estimate(WORKLOAD, subjects=2, rounds=6, connections=500) > plain
    assert estimate(WORKLOAD, subjects=1, rounds=1, connections=0) < 6
