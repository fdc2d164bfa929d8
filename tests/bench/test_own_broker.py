"""A broker of our own starts, is reached, and never stays behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest
import trio

from broker.bench.errors import BenchError
from broker.bench.own_broker import OwnBroker, own_broker, read_log
from broker.cli import beacon
from broker.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def ends_with_the_block() -> Iterator[list[OwnBroker]]:
    """Whatever broker is put into the list is gone afterwards."""
    seen: list[OwnBroker] = []
    yield seen
    assert seen
    assert not any(is_there(each.pid) for each in seen)


async def test_it_runs_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_LISTENERS", "nonsense")  # settings of the caller's are not the child's
    with ends_with_the_block() as seen:
        async with own_broker() as running:
            seen.append(running)
            assert [each.label for each in running.subjects()] == ["tcp", "ws"]
            assert {each.pid for each in running.subjects()} == {running.pid}
            assert running.pid not in beacon.running()
            for url in running.urls:
                async with connect(url) as client:
                    await client.publish("a", b"b", qos=1)


@pytest.mark.skipif(sys.platform != "linux", reason="CPUs are bound on Linux")
async def test_it_runs_where_it_is_told_to() -> None:
    cpu = min(os.sched_getaffinity(0))
    with ends_with_the_block() as seen:
        async with own_broker(cpu=cpu) as running:
            seen.append(running)
            assert os.sched_getaffinity(running.pid) == {cpu}
    with pytest.raises(ValueError, match="CPU 4000 is not among"):
        async with own_broker(cpu=4000):
            pass


async def test_it_ends_when_the_block_is_cancelled() -> None:
    with ends_with_the_block() as seen, trio.CancelScope() as scope:
        async with own_broker() as running:
            seen.append(running)
            scope.cancel()
            await trio.sleep_forever()


async def test_it_ends_when_the_block_fails() -> None:
    async def fail() -> None:
        async with own_broker() as running:
            seen.append(running)
            raise ZeroDivisionError

    with ends_with_the_block() as seen, pytest.raises(ZeroDivisionError):
        await fail()


PARENT: Final = """
import trio
from broker.bench.own_broker import own_broker

async def main():
    async with own_broker() as running:
        print(running.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_it_ends_itself_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_there(pid)
        parent.kill()
    for _ in range(200):
        if not is_there(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} stayed behind")


def test_reading_its_log() -> None:
    listening = '{"message": "listening", "url": "mqtt://127.0.0.1:1"}\n'
    assert read_log(listening * 2) == (("mqtt://127.0.0.1:1",) * 2, "listening")
    assert read_log(listening + '{"message": "lis') == (("mqtt://127.0.0.1:1",), '{"message": "lis')
    assert read_log("Traceback\n\n[]\n") == ((), "[]")
    assert read_log("") == ((), "")


async def test_it_says_why_it_does_not_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BenchError, match=f"did not start: .*cannot listen on .*{port}"):
            async with own_broker([f"tcp://127.0.0.1:{port}"]):
                pass


async def test_one_that_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bench.own_broker._STOP", 0.1)
    stubborn = tmp_path / "stubborn.py"
    stubborn.write_text(
        "import json, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(json.dumps({'message': 'listening', 'url': 'mqtt://127.0.0.1:1'}), file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    with ends_with_the_block() as seen:
        async with own_broker(["tcp://127.0.0.1:0"], command=[sys.executable, str(stubborn)]) as running:
            seen.append(running)
            assert urlsplit(running.urls[0]).port == 1
