"""CPU and memory of processes that these tests start themselves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from broker.bench.processes import NoSuchProcess, Processes, check_cpus, is_here, listening_on, off, pin, read_ps

if TYPE_CHECKING:
    from collections.abc import Iterator

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

BUSY = "import time; end = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
# says "done" when it has used its CPU time, and waits to be ended
WORKER = BUSY + "print('done', flush=True); input()"
# the same in a process below it
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # ends input() in the process itself, and in one below it
            process.wait(10)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_cpu_and_memory_of_a_process() -> None:
    with started(WORKER.format(seconds=0.15)) as process:
        assert line_of(process) == "done"
        before = time.monotonic()
        seen = Processes(process.pid).read()
        assert before <= seen.at <= time.monotonic()
        assert 0.15 <= seen.cpu < 2
        assert 1_000_000 < seen.rss < 1_000_000_000


def test_what_descends_counts_too() -> None:
    with started(PARENT.format(worker=WORKER.format(seconds=0.15))) as process:
        assert line_of(process) == "done"
        whole = Processes(process.pid).read()
        assert whole.cpu > 0.15


@LINUX
def test_a_descendant_that_has_ended_is_not_forgotten() -> None:
    code = PARENT.format(worker=WORKER.format(seconds=0.15)) + "\nprint('ended', flush=True); sys.stdin.read()"
    with started(code) as process:
        assert line_of(process) == "done"
        processes = Processes(process.pid)
        before = processes.read().cpu
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert line_of(process) == "ended"
        assert processes.read().cpu >= before


def test_a_process_that_is_not_there() -> None:
    with started("pass") as process:
        process.wait(10)
    with pytest.raises(NoSuchProcess, match=f"there is no process {process.pid}"):
        Processes(process.pid)


def test_reading_ps() -> None:
    text = "  1     0  2048 01:02:03\n 20     1  1000 00:01\n 30    20   500 1-00:00:01\n 40     2     8 0:07.25\n"
    assert read_ps(text, 20) == {20: (1.0, 1_024_000), 30: (86_401.0, 512_000)}
    assert read_ps(text, 40) == {40: (7.25, 8192)}
    assert read_ps(text, 1)[1] == (3723.0, 2_097_152)
    assert set(read_ps(text, 1)) == {1, 20, 30}
    assert read_ps(text, 99) == {}


def test_ps_is_understood_here() -> None:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,rss=,time="], check=True, capture_output=True, text=True)
    assert os.getpid() in read_ps(listed.stdout, os.getpid())


@LINUX
def test_pinning() -> None:
    cpu = max(os.sched_getaffinity(0))
    with started("input()") as process:
        pin(process.pid, {cpu})
        assert os.sched_getaffinity(process.pid) == {cpu}
    with pytest.raises(NoSuchProcess):
        pin(process.pid, {cpu})
    with pytest.raises(ValueError, match="CPU 4000 is not among those that may be used"):
        pin(0, {4000})
    with pytest.raises(ValueError, match="CPU none"):
        pin(0, set())


@LINUX
def test_pinning_is_of_all_threads_that_are_there() -> None:
    before = os.sched_getaffinity(0)
    cpu = min(before)
    go, told = threading.Event(), []

    def start() -> None:
        go.wait(20)
        done = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            check=True,
            capture_output=True,
            text=True,
        )
        told.append(done.stdout.strip())

    thread = threading.Thread(target=start)
    thread.start()
    try:
        pin(0, {cpu})
        go.set()
        thread.join()
    finally:
        for each in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(each), before)
    assert told == [f"{{{cpu}}}"]


@LINUX
def test_keeping_off_a_cpu() -> None:
    before = os.sched_getaffinity(0)
    cpu = min(before)
    with off(cpu):
        assert os.sched_getaffinity(0) == (before - {cpu} or before)
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ZeroDivisionError), off(cpu):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ValueError, match="CPU 4000 is not among"), off(4000):
        pass


def test_cpus_are_bound_on_linux_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.bench.processes.sys.platform", "darwin")
    with pytest.raises(ValueError, match="on Linux only"):
        check_cpus({0})


@LINUX
def test_who_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listening_on(port) == os.getpid()
    assert listening_on(port) is None


@LINUX
def test_workers_that_share_a_socket_count_for_their_parent() -> None:
    code = (
        "import os, socket, sys\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "if os.fork(): print(server.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with started(code) as process:
        assert listening_on(int(line_of(process))) == process.pid


def test_where_a_host_is() -> None:
    assert is_here("127.0.0.1")
    assert is_here("localhost")
    assert is_here("::1")
    assert not is_here("192.0.2.1")
