from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from broker.cli.beacon import read
from broker.cli.errors import ConfigurationMistake
from broker.cli.overseeing import PidFile
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Manager


@pytest.mark.skipif(sys.platform != "linux", reason="the socket's name is abstract")
def test_a_service_manager_is_told_all_of_it(manager: Manager, tmp_path: Path) -> None:
    file, pid_file = tmp_path / "broker.toml", tmp_path / "pid"
    file.write_text('[[listeners]]\ntype = "tcp"\nport = 0\n')
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with Process("serve", "-c", str(file), "--pid-file", str(pid_file), env=environment) as process:
        ready, status = manager.hear()
        assert ready == "READY=1"
        assert status.startswith("STATUS=Listening on mqtt://127.0.0.1:")
        told = read(process.popen.pid)
        assert told is not None
        assert [status.removeprefix("STATUS=Listening on ")] == [each["url"] for each in told.listeners]
        assert told.config == str(file)
        assert pid_file.read_text() == f"{process.popen.pid}\n"
        assert [manager.hear() for _ in range(3)] == [["WATCHDOG=1"]] * 3
        file.write_text("nonsense = 1\n")
        process.popen.send_signal(signal.SIGHUP)
        heard = [manager.hear()]
        while heard[-1][0] != "READY=1":
            heard.append(manager.hear())
        names = [words[0] for words in heard if words != ["WATCHDOG=1"]]
        assert names == ["RELOADING=1", "READY=1"], "it serves on, though the reload was refused"
        assert "a reload was refused" in heard[-1][1]
        process.popen.send_signal(signal.SIGTERM)
        while (last := manager.hear()) == ["WATCHDOG=1"]:
            pass
        assert last[0] == "STOPPING=1"
        assert process.wait()[0] == 0
    assert not pid_file.exists()


def test_a_pid_file_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    result = command("serve", "--bind", "tcp://127.0.0.1:0", "--pid-file", str(tmp_path / "none" / "pid"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_pid_file_of_another_broker_stays(tmp_path: Path) -> None:
    written = PidFile(tmp_path / "pid")
    written.write()
    written.path.write_text("1\n")
    written.remove()
    assert written.path.read_text() == "1\n"
    written.write()
    written.remove()
    assert not written.path.exists()
    written.remove()
    with pytest.raises(ConfigurationMistake, match="Is a directory"):
        PidFile(tmp_path).write()
