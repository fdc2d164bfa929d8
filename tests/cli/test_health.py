from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from broker.cli import beacon
from broker.cli.beacon import Told
from broker.cli.health import configured, parse
from broker.packets.encode import encode
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Connack, Connect, Disconnect, Pingreq
from tests.cli.conftest import Scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command, Served
    from tests.secured import Secured

PINGRESP = b"\xd0\x00"


def connack(reason: ReasonCode) -> bytes:
    return encode(Connack(reason), MQTT_5_0)


class Web:
    """What is answered for each path; else 404."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies = bodies

    def answer(self, request: bytes) -> bytes:
        path = request.split(b" ")[1].decode().removeprefix("/")
        return self.bodies.get(path, b"HTTP/1.1 404 Not Found\r\n\r\nThere is nothing here.\n")


@contextmanager
def answering(said: bytes | Web, *, drip: float = 0.0, close: bool = True) -> Iterator[int]:
    """The port of a server that says this to everybody, whatever he says; with `drip` a byte at a time."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                with accepted, suppress(OSError):
                    asked = accepted.recv(1000)
                    data = said if isinstance(said, bytes) else said.answer(asked)
                    for each in [data[at : at + 1] for at in range(len(data))] if drip else [data]:
                        accepted.sendall(each)
                        stopped.wait(drip)
                    accepted.settimeout(20)
                    while not close and accepted.recv(1000):  # until he closes
                        pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        stopped.set()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        listening.close()
        assert not thread.is_alive()


def test_a_broker_that_lives(command: Command, served: Served) -> None:
    for url, said in (
        (served.mqtt, "CONNACK and PINGRESP"),
        (served.unix, "CONNACK and PINGRESP"),
        (served.ws, "ok"),
        (served.ws.replace("ws://", "http://"), "ok"),
    ):
        result = command("health", url)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith("healthy: ")
        assert f": {said}" in result.stdout
        told = json.loads(command("health", url, "--json").stdout)
        assert told["healthy"] is True
        assert told["said"].startswith(said)
        assert 0 < told["milliseconds"] < 3000


def test_no_session_is_left_and_no_credentials_are_sent(command: Command) -> None:
    with Scripted(connack(ReasonCode.SUCCESS), PINGRESP, b"") as scripted:
        url = f"mqtt://ann:secret@127.0.0.1:{scripted.port}"
        result = command("health", url)
    assert result.exit_code == 0
    assert "secret" not in result.output
    connect, ping, bye = scripted.received
    assert isinstance(connect, Connect)
    assert (connect.client_identifier, connect.user_name, connect.password) == ("", None, None)
    assert connect.clean_start
    assert connect.properties.session_expiry_interval is None
    assert isinstance(ping, Pingreq)
    assert isinstance(bye, Disconnect)
    assert bye.reason == ReasonCode.SUCCESS


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (connack(ReasonCode.NOT_AUTHORIZED), True),
        (connack(ReasonCode.BAD_USER_NAME_OR_PASSWORD), True),
        (connack(ReasonCode.CONNECTION_RATE_EXCEEDED), True),
        (b"\x20\x02\x00\x01", True),  # 3.1.1 only
        (connack(ReasonCode.SUCCESS) + b"\x30\x04\x00\x01a\x00" + PINGRESP, True),  # a message before it
        (connack(ReasonCode.SERVER_UNAVAILABLE), False),
        (connack(ReasonCode.SERVER_BUSY), False),
        (connack(ReasonCode.SUCCESS), False),  # and then it closes
        (PINGRESP, False),
        (b"", False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"SSH-2.0-x\r\n", False),
    ],
)
def test_what_is_a_sign_of_life_in_mqtt(command: Command, answer: bytes, healthy: bool) -> None:
    with answering(answer, close=not healthy) as port:
        result = command("health", f"mqtt://127.0.0.1:{port}")
    assert result.exit_code == (0 if healthy else 1), result.output
    assert ("not healthy: " in result.stderr) is not healthy


def test_an_answer_in_single_bytes(command: Command) -> None:
    with answering(connack(ReasonCode.SUCCESS) + PINGRESP, drip=0.001, close=False) as port:
        assert command("health", f"mqtt://127.0.0.1:{port}").exit_code == 0


@pytest.mark.parametrize(
    ("answer", "healthy", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok\n", True, "ok; /readyz: ok"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1b[2Jall is well\r\n", True, "[2Jall is well"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\nthe store is full\n", False, "answers 503: the store is full"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "answers 404"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False, "answers 2000"),
        (b"HTTP/1.1\r\n\r\n", False, "does not speak HTTP"),
        (b"\x20\x02\x00\x01", False, "does not speak HTTP"),
        (b"", False, "does not speak HTTP"),
        (b"x" * 200_000, False, "does not speak HTTP"),
    ],
)
def test_what_is_a_sign_of_life_in_http(command: Command, answer: bytes, healthy: bool, said: str) -> None:
    with answering(answer) as port:
        told = json.loads(command("health", f"http://127.0.0.1:{port}", "--json").stdout)
    assert told["healthy"] is healthy
    assert said in told["said"]


@pytest.mark.parametrize(
    ("ready", "healthy", "said"),
    [
        (
            b'HTTP/1.1 200 OK\r\n\r\n{"status":"ready","store":"full"}',
            True,
            'ok; /readyz: {"status":"ready","store":"full"}',
        ),
        (
            b'HTTP/1.1 503 No\r\n\r\n{"status":"failed","store":"failed"}',
            False,
            '/readyz: {"status":"failed","store":"failed"}',
        ),
        (b"HTTP/1.1 404 Not Found\r\n\r\nThere is nothing here.\n", True, "ok"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", True, "ok"),
        (b"HTTP/1.1 200 OK\r\nContent-length: 5\r\n\r\nready", True, "ok; /readyz: ready"),
    ],
)
def test_what_is_told_of_the_store(command: Command, ready: bytes, healthy: bool, said: str) -> None:
    lives = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
    with answering(Web(healthz=lives, readyz=ready), close=b"ength" not in ready) as port:
        result = command("health", f"ws://127.0.0.1:{port}/mqtt", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code == 0, told["healthy"], told["said"]) == (healthy, healthy, said)


@pytest.mark.parametrize("scheme", ["mqtt", "http", "mqtts", "wss"])
def test_the_time_is_for_all_of_it(command: Command, scheme: str) -> None:
    began = time.monotonic()
    for data, drip in ((b"", 0.0), (b"HTTP/1.1 200 " * 100, 0.02)):
        with answering(data, drip=drip, close=False) as port:
            result = command("health", f"{scheme}://127.0.0.1:{port}", "--timeout", "0.2")
        assert result.exit_code == 1
    assert time.monotonic() - began < 3


def test_nobody_answers(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    for url in (f"mqtt://127.0.0.1:{port}", f"https://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        result = command("health", url)
        assert result.exit_code == 1
        assert result.stderr.startswith("not healthy: ")
        assert "Traceback" not in result.output


def test_tls(command: Command, behind_tls: Secured) -> None:
    papers = behind_tls.papers
    ours = ("--cert", str(papers.client_certificate), "--key", str(papers.client_key))
    for url in (behind_tls.mqtts, behind_tls.wss):
        assert command("health", url, "--cafile", str(papers.ca), *ours).exit_code == 0
        result = command("health", url, "--cafile", str(papers.ca))
        assert (result.exit_code, "wants a certificate of ours" in result.stdout) == (0, True)
        result = command("health", url, *ours)
        assert result.exit_code == 1
        assert "name its CA with --cafile" in result.stderr


def test_tls_that_is_none(command: Command, served: Served) -> None:
    result = command("health", served.mqtt.replace("mqtt://", "mqtts://"))
    assert result.exit_code == 1
    assert "does it speak TLS" in result.stderr or "does not speak TLS" in result.stderr
    assert command("health", served.mqtt, "--insecure").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("tcp://127.0.0.1",),
        ("127.0.0.1:1883",),
        ("mqtt://",),
        ("mqtt://a:b:c",),
        ("mqtt://a:99999",),
        ("unix:",),
        ("mqtt://a", "-c", "b.toml"),
        ("mqtt://a", "--timeout", "0"),
        ("mqtts://a", "--cafile", "/none"),
        ("-c", "/none/broker.toml"),
    ],
)
def test_what_makes_no_sense(command: Command, words: tuple[str, ...]) -> None:
    result = command("health", *words)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_the_ports_of_a_url() -> None:
    assert [parse(f"{each}://[::1]").port for each in ("mqtt", "mqtts", "ws", "wss", "http", "https")] == [
        *(1883, 8883, 80, 443, 80, 443),
    ]
    assert parse("unix:///run/x").host == parse("unix:/run/x").host == "/run/x"
    assert parse("mqtt://ann:secret@[::1]:7/topic").url == "mqtt://[::1]:7"


def test_the_broker_that_runs_here(command: Command, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[int, Told] = {}
    monkeypatch.setattr(beacon, "running", lambda: found)
    result = command("health")
    assert result.exit_code == 1
    assert "no broker of this user runs here" in result.stderr
    tcp, ws = {"type": "tcp", "url": served.mqtt}, {"type": "ws", "url": served.ws}
    found[7] = Told(listeners=[tcp, ws], config="/a/b.toml")
    assert "/mqtt" not in command("health").stdout
    assert command("health").stdout.startswith("healthy: ws://")
    found[7].listeners = [tcp]
    assert command("health").stdout.startswith("healthy: mqtt://")
    assert command("health", "-c", "/a/b.toml").stdout.startswith("healthy: mqtt://")
    found[8] = Told(listeners=[ws], config="/c.toml")
    assert command("health").exit_code == 2
    assert command("health", "-c", "/c.toml").stdout.startswith("healthy: ws://")
    found[8].listeners = []
    result = command("health", "-c", "/c.toml")
    assert (result.exit_code, "no listener that can be asked" in result.stderr) == (2, True)


def test_the_listeners_of_a_file(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(beacon, "running", dict)
    file = tmp_path / "broker.toml"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    file.write_text(
        'listeners = [{ type = "tcp", port = 1, proxy_protocol = true, allow_anonymous = true,'
        'trusted_proxies = ["10.0.0.0/8"] },'
        f'{{ type = "tcp", port = 0 }}, {{ type = "auto", host = "::1", port = {port} }},'
        f'{{ type = "tcp", host = "0.0.0.0", port = {port}, allow_anonymous = true }},'
        '{ type = "unix", path = "/run/x" }]'
    )
    assert configured(file) == [
        ("auto", f"mqtt://[::1]:{port}"),
        ("tcp", f"mqtt://localhost:{port}"),
        ("unix", "unix:/run/x"),
    ]
    result = command("health", "-c", str(file))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"not healthy: ws://[::1]:{port}: ")
