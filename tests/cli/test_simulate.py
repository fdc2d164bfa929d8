from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from broker.cli.simulate import describe
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Served


def test_the_scenarios_are_told(command: Command) -> None:
    result = command("simulate", "--list")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == describe()
    assert "  meter      power, energy (msgpack)" in describe()
    assert [line for line in describe() if not line.startswith(" ")] == [
        "mixed: all of these",
        "home:",
        "factory:",
        "tracker:",
        "weather:",
    ]


def test_a_fleet_for_a_while(command: Command, served: Served) -> None:
    urls = ["--url", served.mqtt, "--url", served.ws]
    result = command("simulate", "tracker", *urls, "--devices", "4", "--rate", "80", "--duration", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("Ended: 4 devices published ")
    assert result.stdout.endswith("; 4 of 4 states cleared.\n")
    left = command("sub", "-L", served.mqtt, "-t", "tracker/#", "-W", "0.3")
    assert (left.exit_code, left.stdout) == (27, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(command: Command, served: Served, number: int) -> None:
    with Process("simulate", "factory", "--url", served.ws, "--devices", "3", "--rate", "30") as process:
        words = ["-t", "factory/+/state", "-v", "-C", "3", "-W", "15"]
        births = command("sub", "-L", served.mqtt, *words).stdout.splitlines()
        assert sorted(births) == [
            "factory/motor-0001/state online",
            "factory/press-0001/state online",
            "factory/press-0002/state online",
        ]
        process.popen.send_signal(number)
        code, out, err = process.wait()
    assert (code, err) == (0, b"")
    assert out.endswith(b"3 of 3 states cleared.\n")
    left = command("sub", "-L", served.mqtt, "-t", "factory/#", "-W", "0.3")
    assert (left.exit_code, left.stdout) == (27, "")


def test_nobody_there(command: Command) -> None:
    result = command("simulate", "--url", "mqtt://127.0.0.1:1")
    assert result.exit_code == 4
    assert "Connection refused" in result.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("nowhere", "'nowhere' is not one of 'mixed', 'home'"),
        ("--devices 0", "0 is not in the range"),
        ("--rate 0", "0.0 is not in the range"),
        ("--url mqtts://h", "--url: mqtts:// is not spoken here"),
        ("--url h:1883", "--url:"),
    ],
)
def test_usage(command: Command, words: str, fault: str) -> None:
    result = command("simulate", *words.split())
    assert result.exit_code == 2
    assert fault in " ".join(result.stderr.split())
