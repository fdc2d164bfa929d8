from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys

import pytest

from broker.cli import demo, version_text
from tests.cli.conftest import Command, Process


@pytest.fixture
def _taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both usual ports are taken."""
    monkeypatch.setattr(demo, "_is_free", lambda port: False)


@pytest.mark.usefixtures("_taken")
def test_a_broker_a_fleet_and_lines_to_paste(command: Command) -> None:
    result = command("demo", "--duration", "1", "--no-table", "--devices", "9", "--rate", "50")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Port 1883 is taken; tcp listens on another one.",
        "Port 8080 is taken; ws listens on another one.",
    ]
    version, *lines = result.stdout.splitlines()
    assert version == version_text()
    found = re.fullmatch(
        r"Broker at mqtt://127\.0\.0\.1:(\d+) and (ws://127\.0\.0\.1:\d+/mqtt), for this machine only\. .*", lines[0]
    )
    assert found is not None
    assert lines[1] == f"  broker sub -L {found[2]} -t 'home/#' -o pretty"
    assert lines[2] == f"  mosquitto_sub -p {found[1]} -t '#' -v"
    assert f"mqtt.connect('{found[2]}')" in lines[3]
    assert lines[-1].endswith("; 9 of 9 states cleared.")


def test_somebody_who_was_quicker(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(demo, "PORTS", {"tcp": port, "ws": 0})
        monkeypatch.setattr(demo, "_is_free", lambda port: True)
        result = command("demo", "--duration", "0.5", "--no-table", "--devices", "2")
    assert result.exit_code == 0
    assert f"Cannot listen on tcp://127.0.0.1:{port}" in result.stderr
    assert f"127.0.0.1:{port} " not in result.stdout
    assert result.stdout.endswith("; 2 of 2 states cleared.\n")


def test_a_free_port_is_known_from_a_taken_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        assert not demo._is_free(port)
    assert demo._is_free(port)


def test_ctrl_c_ends_it_in_order() -> None:
    with Process("demo", "--no-table", "--devices", "4") as process:
        assert process.popen.stdout is not None
        while b"in a page with MQTT.js" not in process.popen.stdout.readline():
            assert process.popen.poll() is None
        process.popen.send_signal(signal.SIGINT)
        code, out, _ = process.wait()
    assert code == 0
    assert b"Ended: 4 devices" in out


def test_a_live_table_where_a_person_watches() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    words = ["demo", "--duration", "2", "--devices", "4"]
    with subprocess.Popen(
        [sys.executable, "-m", "broker", *words], stdout=theirs, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 65536):
                seen += data
        except OSError:  # Linux says EIO when the other side is closed
            pass
        os.close(ours)
        assert process.wait(20) == 0
    assert b"4 of 4 devices connected" in seen
    assert b"home/thermostat/climate" in seen
    assert b"Ctrl-C ends it; nothing is left behind." in seen
    assert b"4 of 4 states cleared." in seen
