from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack
from broker.probe.checks import CHECKS, GROUPS
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Command, Served
    from tests.secured import Secured

QUICK = ("--skip", "keep-alive,message-expiry")  # what takes seconds with the best of brokers


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port at which each connection gets one of `answers` behind what came first, the last one for ever."""
    listening = socket.create_server(("127.0.0.1", 0))
    left = list(answers)

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(20)
                try:
                    accepted.recv(65_536)
                    accepted.sendall(left.pop(0) if len(left) > 1 else left[0])
                    accepted.shutdown(socket.SHUT_WR)
                    while accepted.recv(65_536):
                        pass
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listening.close()


def test_our_own_broker_passes_over_tcp(command: Command, served: Served) -> None:
    result = command("probe", served.mqtt, *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == served.mqtt
    assert [line for line in lines if line in {group.name for group in GROUPS}] == [
        group.name for group in GROUPS if group.name != "websocket"
    ]
    assert any(line.startswith("ok      qos-2 ") and "3.1.1: " in line for line in lines)
    assert any(line.startswith("no      response-information ") for line in lines)
    assert "TrioMQ version" in lines[-1]
    assert " 0 wrong, 0 skipped, in " in lines[-1]


def test_our_own_broker_passes_over_websocket(command: Command, served: Served) -> None:
    result = command("probe", served.ws, *QUICK)
    assert (result.exit_code, result.stderr) == (0, "")
    assert any(line.startswith("ok      subprotocol ") and "mqtt" in line for line in result.stdout.splitlines())


def test_our_own_broker_passes_over_a_unix_socket(command: Command, served: Served) -> None:
    result = command("probe", served.unix, "--only", "network,connect,messages", *QUICK)
    assert result.exit_code == 0, result.output
    assert "resolve" not in result.stdout


def test_a_broker_that_takes_few_connections(command: Command, served: Served) -> None:
    result = command("probe", served.mqtt, "--at-once", "1", "--only", "subscriptions", "--timeout", "2")
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_is_announced_as_not_available_is_no_fault(command: Command, served: Served) -> None:
    result = command("probe", served.strict, "--only", "shared,shared-available")
    assert result.exit_code == 0
    assert "no      shared-available           announced as not available" in result.stdout
    assert "0x9E shared subscriptions not supported" in result.stdout


def test_json(command: Command, served: Served) -> None:
    result = command("probe", served.mqtt, "--json", "--only", "qos-1", "--only", "system-topics,limits")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["url"] == served.mqtt
    assert told["broker"].startswith("TrioMQ version")
    assert told["versions"] == ["5.0", "3.1.1", "3.1"]
    assert told["left_behind"] == []
    names = [check["name"] for check in told["checks"]]
    assert names[-2:] == ["qos-1", "system-topics"]
    assert told["summary"] == {"ok": len(names) - 1, "no": 1, "wrong": 0, "skipped": 0}
    assert told["checks"][-2].keys() == {
        *("name", "group", "title", "outcome", "text", "expected", "statement", "advice", "because", "milliseconds")
    }
    assert told["checks"][-2]["outcome"] == "ok"
    assert told["checks"][-2]["milliseconds"] > 0


def test_quiet_says_the_summary_alone(command: Command, served: Served) -> None:
    result = command("probe", served.mqtt, "-q", "--only", "network")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith("2 ok, 0 no, 0 wrong, 0 skipped, in ")


def test_the_url_of_the_environment(command: Command, served: Served) -> None:
    result = command("probe", "--only", "port", env={"BROKER_URL": served.mqtt})
    assert result.exit_code == 0
    assert result.stdout.startswith(served.mqtt)


def test_list(command: Command) -> None:
    result = command("probe", "--list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == len(CHECKS) + len(GROUPS)
    assert "network" in lines
    assert any(line.startswith("  retained-kept ") for line in lines)


def test_something_wrong(command: Command) -> None:
    with answering(encode(Connack(ReasonCode.SUCCESS, session_present=True), MQTT_5_0)) as port:
        result = command("probe", f"mqtt://127.0.0.1:{port}", "--only", "mqtt-5.0")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[2].startswith("wrong   mqtt-5.0  ")
    text = " ".join(result.stdout.split())
    assert "Session Present 1 for a Client that wanted a new Session" in text
    assert "expected: Session Present 0 (MQTT5-3.2.2-2)" in text
    assert "1 wrong (mqtt-5.0)" in lines[-1]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            b"\x20\x03\x00\x86\x00",
            5,
            "the broker refused: mqtt://127.0.0.1:%d: refused: 0x86 bad user name or password",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            4,
            "the answer is not MQTT: 'HTTP/1.1 400 Bad Request'. This port speaks HTTP",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x46", 4, "the answer is not MQTT: a TLS record. This port speaks TLS"),
        (b"\x1b]0;owned\x07garbage", 4, "the answer is not MQTT: bytes 1b 5d"),
        (b"", 4, "no CONNACK: the Server closed the Network Connection"),
    ],
)
def test_who_does_not_let_us_in(command: Command, answer: bytes, code: int, words: str) -> None:
    with answering(answer) as port:
        result = command("probe", f"mqtt://127.0.0.1:{port}", "--timeout", "5")
    assert result.exit_code == code
    assert result.stderr.count("\n") == 1
    assert (words % port if "%" in words else words) in result.stderr
    assert "more checks were left out: no version is accepted" in result.stdout
    assert "\x1b" not in result.output


def test_a_broker_that_says_nothing(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        began = time.monotonic()
        result = command("probe", f"mqtt://127.0.0.1:{listening.getsockname()[1]}", "--timeout", "0.3")
    assert result.exit_code == 4
    assert "nothing within 0.3 s" in result.stderr
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://127.0.0.1:1", "127.0.0.1: Connection refused. Nobody listens at that port"),
        ("ws://127.0.0.1:1/mqtt", "127.0.0.1: Connection refused"),
        ("unix:/nowhere/at/all", "No such file or directory"),
    ],
)
def test_nobody_there(command: Command, url: str, words: str) -> None:
    result = command("probe", url)
    assert result.exit_code == 4
    assert result.stderr.startswith(f"Error: cannot connect: {url}")
    assert words in result.stderr


def test_behind_tls(command: Command, behind_tls: Secured) -> None:
    papers = behind_tls.papers
    words = ["probe", behind_tls.wss, "--only", "tls,ping", "--cafile", str(papers.ca)]
    ours = ["--cert", str(papers.client_certificate), "--key", str(papers.client_key)]
    result = command(*words, *ours)
    assert result.exit_code == 0
    assert "the certificate has 824 days left" in " ".join(result.stdout.split())
    result = command(*words[:-2], *ours)
    assert result.exit_code == 4
    assert "an authority that is unknown here" in " ".join(result.stdout.split())
    result = command(*words)
    assert result.exit_code == 4
    assert "the Server wants a certificate of ours: --cert and --key" in " ".join(result.stdout.split())


def test_a_path_without_a_websocket(command: Command, served: Served) -> None:
    result = command("probe", served.ws.replace("/mqtt", "/nothing"), "--only", "websocket")
    assert result.exit_code == 4
    assert "HTTP 404 Not Found at /nothing" in result.stdout
    assert f"A WebSocket opens at {served.ws}" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("mqtt://127.0.0.1 --insecure", "mqtt://127.0.0.1:1883 is without it: say mqtts://."),
        (f"mqtts://127.0.0.1 --cafile {__file__}", "test_probe.py holds no certificate in PEM."),
        ("gopher://127.0.0.1", "begins with none of"),
        ("mqtt://", "names no host"),
        ("mqtt://127.0.0.1:99999", "is no port"),
        ("mqtt://127.0.0.1 --only qos-7", "There is no check 'qos-7': did you mean"),
        ("mqtt://127.0.0.1 --only ping --skip ping", "Nothing is left to be asked"),
        ("mqtt://127.0.0.1 --skip mqtt-5.0,mqtt-3.1.1,mqtt-3.1", "Every version is left out"),
        ("mqtt://127.0.0.1 --only websocket", "is not for mqtt: URLs"),
        ("mqtt://127.0.0.1 -t a/#", "is no topic to publish below"),
        ("mqtt://127.0.0.1 -t $SYS/x", "is no topic to publish below"),
        ("mqtt://127.0.0.1/a+b", "is no topic to publish below"),
        ("mqtt://127.0.0.1 --id-prefix \x01", "may not"),
        ("mqtt://127.0.0.1 -P secret", "needs a user name"),
        ("mqtt://127.0.0.1 --at-once 0", "not in the range"),
        ("mqtt://127.0.0.1 --timeout 0", "from 0.1 to 30"),
        ("mqtt://127.0.0.1 --timeout nan", "from 0.1 to 30"),
        ("mqtt://127.0.0.1 --password-file /nowhere", "does not exist"),
        ("mqtt://127.0.0.1 mqtt://127.0.0.2", "unexpected extra argument"),
    ],
)
def test_usage(command: Command, words: str, fault: str) -> None:
    result = command("probe", *words.split(" "))
    assert result.exit_code == 2, result.output
    assert fault in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_topic_and_names_of_ones_own(command: Command, served: Served) -> None:
    result = command("probe", served.mqtt, "-t", "site/meter/", "-I", "meter-", "--only", "permission,no-client-id")
    assert result.exit_code == 0
    assert "below site/meter/" in result.stdout
    result = command("probe", f"{served.mqtt}/in/the/url", "--only", "permission")
    assert "below in/the/url/" in result.stdout


def retained(served: Served) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "broker", "sub", "-L", served.mqtt, "-t", "triomq-probe/#", "-v", "-W", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 27
    return ended.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_midst_leaves_nothing(served: Served, number: int, code: int) -> None:
    with Process("probe", served.mqtt) as process:
        assert process.popen.stdout is not None
        for line in process.popen.stdout:  # behind it the retained messages and Sessions are made
            if b"mqtt-3.1 " in line:
                break
        time.sleep(0.15)
        process.popen.send_signal(number)
        returned, _, err = process.wait()
    assert (returned, err) == (code, b"")
    assert retained(served) == ""


def test_a_broker_that_dies_in_the_midst() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Process("serve", "--bind", f"tcp://127.0.0.1:{port}") as broker:
        broker.error_lines(b"listening")
        with Process("probe", f"mqtt://127.0.0.1:{port}") as process:
            assert process.popen.stdout is not None
            for line in process.popen.stdout:
                if b"mqtt-3.1 " in line:
                    break
            time.sleep(0.15)
            broker.popen.kill()
            code, out, err = process.wait()
    assert code == 1
    assert b"more checks were left out: " in out
    assert b" 0 wrong" not in out
    assert all(line.startswith(b"Warning: could not be taken away: ") for line in err.splitlines())
