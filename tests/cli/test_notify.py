from __future__ import annotations

import os
import time

import pytest

from broker.cli.notify import ServiceManager
from tests.cli.conftest import Manager


def test_what_is_told(manager: Manager) -> None:
    told = ServiceManager({"NOTIFY_SOCKET": manager.address})
    told.ready("Listening on mqtt://a\nREADY=0")
    assert manager.hear() == ["READY=1", "STATUS=Listening on mqtt://a READY=0"], "a status is one line"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    told.reloading()
    first, second = manager.hear()
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    told.beat()
    assert manager.hear() == ["WATCHDOG=1"]
    told.stopping()
    assert manager.hear() == ["STOPPING=1", "STATUS=Shutting down"]
    told.close()
    told.ready("gone")
    assert manager.silent()


def test_a_socket_with_a_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("n") / "s"
    listening = Manager(str(path))
    told = ServiceManager({"NOTIFY_SOCKET": str(path)})
    told.beat()
    assert listening.hear() == ["WATCHDOG=1"]
    listening.close()
    path.unlink()
    told.beat()  # nobody listens any more, and that is nobody's end
    told.close()


@pytest.mark.parametrize(
    "address", ["", "vsock:2:1234", "relative", "/nobody/is/here", "@" + "x" * 200, "/" + "x" * 200]
)
def test_without_somebody_to_tell(address: str) -> None:
    told = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert told.beat_every == 0.0
    told.ready("all is well")
    told.close()


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "another", 0.0),  # it is meant for somebody else
        ("", "", 0.0),
        ("0", "", 0.0),
        ("-5", "", 0.0),
        ("soon", "", 0.0),
    ],
)
def test_half_of_the_watchdogs_patience(manager: Manager, usec: str, pid: str, expected: float) -> None:
    pids = {"ours": str(os.getpid()), "another": str(os.getpid() + 1)}
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pids.get(pid, pid)}
    told = ServiceManager(environment)
    assert told.beat_every == expected
    told.close()
