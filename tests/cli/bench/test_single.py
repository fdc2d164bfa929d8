from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.bench.processes import Processes
from broker.bench.results import from_json
from tests.cli.conftest import Process
from tests.interop import brokers, tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command, Served
    from tests.interop.brokers import RunningBroker

QUIET = ("--no-progress", "--workers", "1")


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with brokers.mosquitto(tmp_path_factory.mktemp("mosquitto"), tools.program("mosquitto", "mosquitto")) as running:
        yield running


def children(pid: int) -> dict[int, str]:
    """The processes that `pid` has started, with their command lines."""
    found = " ".join(each.read_text() for each in (Path("/proc") / str(pid) / "task").glob("*/children")).split()
    children: dict[int, str] = {}
    for child in found:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            children[int(child)] = (Path("/proc") / child / "cmdline").read_text().replace("\0", " ")
    return children


def wait_for_load(pid: int) -> dict[int, str]:
    """Until a worker of the process `pid` has used more CPU than its start takes; the children of `pid`."""
    for _ in range(1200):
        found = children(pid)
        for child, words in found.items():
            if "broker.bench.worker" in words and Processes(child).read().cpu > 0.8:
                return found
        time.sleep(0.05)
    raise AssertionError("no worker came to work")


@pytest.mark.parametrize("door", ["mqtt", "ws", "unix"])
def test_what_was_sent_has_arrived(command: Command, served: Served, door: str) -> None:
    url = getattr(served, door)
    result = command("bench", "pub", "-L", url, "-n", "200", "-c", "2", "-q", "1", *QUIET)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.startswith("2 publishers to 2 subscribers, QoS 1, 64 bytes of payload, MQTT 5.0, ")
    for line in ("sent          200 messages", "received      200 messages", "acknowledged  200 messages, p50 "):
        assert f"\n  {line}" in result.stdout
    assert "\n  checks        all 200 messages arrived once, in order and whole\n" in result.stdout
    framing = "of them WebSocket framing" if door == "ws" else "no framing beside MQTT's own"
    assert framing in result.stdout


@pytest.mark.parametrize("version", ["3.1.1", "5.0"])
def test_another_broker(command: Command, mosquitto: RunningBroker, version: str) -> None:
    words = ["-L", mosquitto.tcp.url, "-n", "100", "-q", "2", "--version", version]
    result = command("bench", "pub", *words, *QUIET)
    assert result.exit_code == 0, result.stderr
    assert f"MQTT {version}" in result.stdout
    assert "all 100 messages arrived once, in order and whole" in result.stdout


def test_an_open_loop_as_json(command: Command, served: Served, tmp_path: Path) -> None:
    file = tmp_path / "run.csv"
    words = ["-L", served.mqtt, "--rate", "400", "-d", "500ms", "--warm-up", "0", "--json", "--csv", str(file)]
    result = command("bench", "pub", *words, *QUIET)
    assert result.exit_code == 0
    results = from_json(result.stdout)
    assert results.first.workload.rate == 400
    assert results.first.figures()["tcp"]["throughput"] == pytest.approx(400, rel=0.5)
    assert "checks        all " in result.stderr
    assert file.read_text().splitlines()[1].startswith("tcp,1,")


def test_fan_out_and_fan_in(command: Command, served: Served) -> None:
    out = command("bench", "fanout", "-L", served.mqtt, "--subscribers", "7", "-n", "20", *QUIET)
    assert "all 140 messages arrived once" in out.stdout
    into = command("bench", "pub", "-L", served.mqtt, "-c", "7", "--subscribers", "1", "-n", "70", *QUIET)
    assert "all 70 messages arrived once" in into.stdout


def test_there_and_back(command: Command, mosquitto: RunningBroker) -> None:
    result = command("bench", "rtt", "-L", mosquitto.ws.url, "-n", "50", *QUIET)
    assert result.exit_code == 0, result.stderr
    assert "\n  latency       p50 " in result.stdout
    assert "all 50 messages arrived once" in result.stdout


def test_nobody_is_there_to_receive(command: Command, served: Served) -> None:
    result = command("bench", "pub", "-L", served.mqtt, "--subscribers", "0", "-n", "50", "-q", "1", *QUIET)
    assert result.exit_code == 0
    assert "received" not in result.stdout
    assert "nobody was there to check what arrives" in result.stdout


def test_idle_connections(command: Command, served: Served) -> None:
    result = command("bench", "conn", "-L", served.ws, "-c", "30", "-d", "0.3", "--json", *QUIET)
    assert result.exit_code == 0
    figures = json.loads(result.stdout)["points"][0]["figures"]["ws"]
    assert figures["connects"] > 1
    assert figures["connect_cpu"] > 0
    assert "memory" in figures
    assert "all 30 connections stood to the end" in result.stderr


def test_who_only_receives(served: Served, command: Command) -> None:
    with Process("bench", "sub", "-L", served.mqtt, "-t", "only/#", "-n", "40", "-d", "60", *QUIET) as process:
        words = ["-L", served.ws, "-t", "only/%i", "--subscribers", "0", "-q", "1", "--rate", "100", "-d", "60"]
        sender = Process("bench", "pub", *words, *QUIET)
        with sender:
            code, out, err = process.wait()
            assert sender.popen.poll() is None
    assert (code, err) == (0, b"")
    assert b"\n  latency       p50 " in out
    assert b"whether all arrived that was sent, only its sender could know" in out


def test_a_condition_that_holds(command: Command, served: Served) -> None:
    words = ["-L", served.mqtt, "-n", "20", *QUIET, "--fail-if", "p99>1ns", "--fail-if", "lost>0"]
    result = command("bench", "pub", *words)
    assert result.exit_code == 3
    assert result.stderr.startswith("--fail-if p99>1ns: tcp has ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("pub -L mqtt://127.0.0.1:1", 4, "Error: cannot connect: mqtt://127.0.0.1:1: Connection refused."),
        ("rtt -L unix:/nowhere/at/all", 4, "Error: cannot connect: unix:/nowhere/at/all: No such file"),
        ("conn -L ws://nobody.invalid", 4, "Error: cannot connect: ws://nobody.invalid:80/mqtt: "),
        (
            "pub -L http://127.0.0.1",
            2,
            "'http://127.0.0.1' begins with none of mqtt://, mqtts://, ws://, wss:// and unix:",
        ),
        ("pub -L mqtts://127.0.0.1:1", 4, "Error: cannot connect: mqtts://127.0.0.1:1: Connection refused."),
        ("pub -L mqtt://127.0.0.1 --insecure", 2, "mqtt://127.0.0.1:1883 is without it: say mqtts://."),
        ("pub -L mqtt://a -L mqtt://b", 2, "One URL at a time; there are 2. 'broker bench compare'"),
        ("pub --rate 1e12", 2, "'1e12' is no rate that can be kept"),
        ("pub --rate 5 --inflight 5", 2, "(an open loop)"),
        ("pub -c 0", 2, "'0' is no number of Clients"),
        ("pub -c 1000000", 2, "2,000,000 Clients need as many sockets"),
        ("pub --json /nowhere/x", 2, "there is no folder '/nowhere'"),
        ("pub --fail-if p98>1", 2, "'p98' is no figure"),
        ("pub --pid 1", 2, "--pid is of a broker that is there: say where with -L."),
        ("sub", 2, "Where others publish: -L mqtt://127.0.0.1:1883, say."),
    ],
)
def test_what_does_not_run(command: Command, words: str, code: int, said: str) -> None:
    result = command("bench", *words.split(), *QUIET)
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_who_refuses(command: Command, served: Served) -> None:
    result = command("bench", "pub", "-L", served.ws.replace("/mqtt", "/elsewhere"), "-n", "5", *QUIET)
    assert result.exit_code == 5
    assert "the broker refused the WebSocket" in result.stderr
    result = command("bench", "pub", "-L", served.mqtt, "-s", "2MiB", "-n", "5", *QUIET)
    assert result.exit_code == 5
    assert "the broker takes packets of at most 1048576 bytes: use a smaller payload" in result.stderr
    assert result.stderr.count("\n") == 1


def test_who_says_nothing(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        result = command("bench", "conn", "-L", url, "-c", "2", "--timeout", "0.3", *QUIET)
    assert result.exit_code == 4
    assert "no answer to " in result.stderr


def test_a_broker_that_dies(tmp_path: Path) -> None:
    with Process("serve", "--bind", "tcp://127.0.0.1:0", "--log-format", "json") as dying:
        (*_, line) = dying.error_lines(b'"listening"')
        words = ["-L", json.loads(line)["url"], "-q", "1", "-d", "30", "--warm-up", "0"]
        file = tmp_path / "run.json"
        with Process("bench", "pub", *words, *QUIET, "--json", str(file)) as process:
            wait_for_load(process.popen.pid)
            dying.popen.kill()
            code, out, err = process.wait()
    assert (code, err) == (1, b"")
    assert b" ended unasked\n" in out
    assert b"arrived once" not in out
    assert from_json(file.read_text()).first.rounds[0].measured.disconnected in (1, 2)  # the end of one ends the run


def test_ctrl_c_tells_what_was_seen_and_leaves_nothing_behind() -> None:
    with Process("bench", "pub", "-d", "60", "--warm-up", "0", "-q", "1", *QUIET) as process:
        started = wait_for_load(process.popen.pid)
        assert sum(" serve " in words for words in started.values()) == 1
        process.popen.send_signal(signal.SIGINT)
        code, out, err = process.wait()
    assert (code, err) == (130, b"")
    assert b"messages arrived once, in order and whole\n" in out
    assert out.endswith(b"Ended by a signal, before its time.\n")
    assert not [pid for pid in started if (Path("/proc") / str(pid)).exists()]


def test_ctrl_c_before_anything_was_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(10)
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        with Process("bench", "pub", "-L", url, *QUIET) as process, silent.accept()[0]:
            process.popen.send_signal(signal.SIGINT)
            code, out, err = process.wait()
    assert (code, out, err) == (130, b"", b"Ended before anything was measured.\n")
