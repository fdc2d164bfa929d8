from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import trio

from broker.auth.hashing import Argon2id
from broker.auth.passwords import User
from broker.cli import beacon
from broker.cli.beacon import Beacon, Told
from broker.cli.reload import plain
from broker.client import ConnectRefused, Tls
from broker.client import connect as client
from tests.authority import NAME, authority
from tests.cli.conftest import Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a broker is found by /proc")

SECRET = "secret-of-both"
HASH = Argon2id.make(SECRET.encode())
CONFIG = """
[[listeners]]
type = "tcp"
port = 0
tls = {{ certificate = "{folder}/server.pem", key = "{folder}/server.key" }}
[auth]
password_file = "{folder}/users"
[limits]
receive_maximum = {receive_maximum}
{more}
"""


def certificate(folder: Path, name: str) -> bytes:
    """Put a new certificate where the broker looks for it; it as DER."""
    made, key = authority().server(name, NAME)
    (folder / "server.pem").write_bytes(made.read_bytes())
    (folder / "server.key").write_bytes(key.read_bytes())
    (folder / "server.key").chmod(0o600)
    leaf, end, _ = made.read_text().partition(ssl.PEM_FOOTER)
    return ssl.PEM_cert_to_DER_cert(leaf + end)


def users(folder: Path, *names: str) -> None:
    (folder / "users").write_text("".join(f"{User(name, HASH)}\n" for name in names))
    (folder / "users").chmod(0o600)


async def shown(port: int) -> bytes:
    """The certificate that a new connection gets, as DER."""
    plain_stream = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(plain_stream, authority().trusting(), server_hostname=NAME, https_compatible=True)
    await stream.do_handshake()
    found = stream.getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    await trio.aclose_forcefully(stream)
    return found


async def test_under_traffic(command: Command, tmp_path: Path) -> None:
    """Nothing is lost and nobody cut off; a mistake changes nothing; what is new holds for those who come next."""
    file = tmp_path / "broker.toml"
    first = certificate(tmp_path, "first.example")
    users(tmp_path, "ann")
    file.write_text(CONFIG.format(folder=tmp_path, receive_maximum=11, more=""))
    tls = Tls(ca_file=authority().ca_file)
    with Process("serve", "-c", str(file)) as process, trio.fail_after(60):
        listening = (await trio.to_thread.run_sync(process.error_lines, b'"listening"'))[-1]
        found = re.search(rb":(\d+)", listening.partition(b'"url"')[2])
        assert found is not None
        port = int(found[1])
        url = f"mqtts://{NAME}:{port}"

        def reload(*words: str) -> tuple[int, str, str]:
            done = command("reload", "-c", str(file), *words)
            return done.exit_code, done.stdout, done.stderr

        async with (
            client(url, tls=tls, user_name="ann", password=SECRET, reconnect=False) as subscriber,
            client(url, tls=tls, user_name="ann", password=SECRET, reconnect=False) as publisher,
            subscriber.subscribe("t", qos=1) as messages,
            trio.open_nursery() as nursery,
        ):
            assert publisher.connack is not None
            assert publisher.connack.properties.receive_maximum == 11
            received: list[bytes] = []
            acknowledged: list[bytes] = []
            enough = trio.Event()

            async def publish() -> None:
                while not enough.is_set():
                    payload = b"%d" % len(acknowledged)
                    await publisher.publish("t", payload, qos=1)
                    acknowledged.append(payload)
                await publisher.publish("t", b"the end", qos=1)

            async def receive() -> None:
                while (payload := (await messages.receive()).payload) != b"the end":
                    received.append(payload)

            nursery.start_soon(publish)
            nursery.start_soon(receive)

            async def bob() -> str:
                try:
                    async with client(url, tls=tls, user_name="bob", password=SECRET, reconnect=False) as one:
                        assert one.connack is not None
                        return f"in, {one.connack.properties.receive_maximum}"
                except ConnectRefused:
                    return "refused"

            certificate(tmp_path, "second.example")
            users(tmp_path, "ann", "bob")
            file.write_text(CONFIG.format(folder=tmp_path, receive_maximum=12, more="nonsense = 1"))
            before = len(received)
            code, out, err = await trio.to_thread.run_sync(reload)
            assert (code, out) == (2, "")
            assert "did you mean" in err or "unknown setting 'nonsense'" in err
            assert "was not told to reload" in err
            process.popen.send_signal(signal.SIGHUP)  # without asking anybody first
            told = await trio.to_thread.run_sync(process.error_lines, b"SIGHUP")
            assert b"the configuration is as it was" in told[-1]
            assert b"unknown setting 'nonsense'" in told[-1]
            assert await shown(port) == first
            assert await bob() == "refused"
            assert len(received) > before

            (tmp_path / "server.key").write_text("no key at all")
            file.write_text(CONFIG.format(folder=tmp_path, receive_maximum=12, more=""))
            by_pid = ("reload", "--pid", str(process.popen.pid))
            refused = await trio.to_thread.run_sync(lambda: command(*by_pid))
            assert refused.exit_code == 2
            assert "goes on as it was" in refused.stderr
            assert f"{tmp_path}/server.key holds no private key" in refused.stderr
            assert await shown(port) == first

            second = certificate(tmp_path, "third.example")
            before = len(received)
            code, out, err = await trio.to_thread.run_sync(reload)
            assert (code, out) == (0, "limits.receive_maximum: 11 -> 12\n"), err
            assert await shown(port) == second != first
            assert await bob() == "in, 12"
            assert len(received) > before
            enough.set()
        assert received == acknowledged
        process.popen.send_signal(signal.SIGTERM)
        assert process.wait()[0] == 0


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> dict[int, Told]:
    """Those that are found to run."""
    found: dict[int, Told] = {}
    monkeypatch.setattr(beacon, "running", lambda: found)
    return found


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_no_broker(command: Command, brokers: dict[int, Told], tmp_path: Path) -> None:
    for words in ((), ("--data", str(tmp_path)), ("-c", str(tmp_path / "b.toml"))):
        result = command("reload", *words)
        assert result.exit_code == 1
        assert "no running broker" in result.stderr
        assert brokers == {}


def test_a_process_that_is_no_broker_is_left_alone(command: Command) -> None:
    """SIGHUP would end it."""
    with sleeper() as process:
        try:
            result = command("reload", "--pid", str(process.pid))
            assert result.exit_code == 1
            assert f"no running broker was found with process id {process.pid}" in result.stderr.replace(
                " of this user (root sees those of others)", ""
            )
            assert process.poll() is None
        finally:
            process.kill()


def test_several_brokers(command: Command, brokers: dict[int, Told], tmp_path: Path) -> None:
    brokers[7] = Told(listeners=[{"type": "tcp", "url": "mqtt://a\x1b[2J"}], config="/a", data=str(tmp_path))
    brokers[8] = Told(config="/b")
    result = command("reload")
    assert result.exit_code == 2
    assert "--pid 7   mqtt://a\\x1b[2J\n" in result.stderr
    assert "--pid 8" in result.stderr
    brokers[9] = Told(data=str(tmp_path))
    assert command("reload", "--data", str(tmp_path)).exit_code == 2


@pytest.mark.parametrize(
    "words", [("--pid", "0"), ("--pid", "x"), ("--timeout", "0"), ("--data", __file__), ("b.toml",)]
)
def test_what_makes_no_sense(command: Command, words: tuple[str, ...]) -> None:
    assert command("reload", *words).exit_code == 2


@pytest.fixture
def lit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Beacon]:
    """We are the broker, and SIGHUP does nothing to us."""
    shown_here = Beacon()
    shown_here.show()
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    yield shown_here
    signal.signal(signal.SIGHUP, before)
    shown_here.close()


def test_a_broker_that_does_not_say(command: Command, lit: Beacon) -> None:
    result = command("reload", "--pid", str(os.getpid()), "--timeout", "0.05")
    assert result.exit_code == 27
    assert "has not said within 0.05 s" in result.stderr


def test_the_end_of_an_earlier_reload_is_not_ours(command: Command, lit: Beacon) -> None:
    """It may have read the file before it was written."""

    def heard(*_: object) -> None:
        lit.told.done = 1
        lit.show()

    lit.told.begun = 1
    lit.show()
    signal.signal(signal.SIGHUP, heard)
    assert command("reload", "--pid", str(os.getpid()), "--timeout", "0.05").exit_code == 27
    lit.told.begun = 1

    def heard_ours(*_: object) -> None:
        lit.told.begun = lit.told.done = 2
        lit.told.changes, lit.told.restart = ["a: 1 -> 2\x1b"], ["b: 1 -> 2 (needs a restart)"]
        lit.show()

    signal.signal(signal.SIGHUP, heard_ours)
    result = command("reload", "--pid", str(os.getpid()))
    assert (result.exit_code, result.stdout) == (0, "a: 1 -> 2\\x1b\nb: 1 -> 2 (needs a restart)\n")
    assert "Settings taken over: 1" in result.stderr
    assert "Settings that need a restart: 1" in result.stderr


def test_a_broker_that_ends_over_it(command: Command, lit: Beacon) -> None:
    signal.signal(signal.SIGHUP, lambda *_: lit.close())
    began = time.monotonic()
    result = command("reload", "--pid", str(os.getpid()))
    assert result.exit_code == 1
    assert "ended before it had reloaded" in result.stderr
    assert time.monotonic() - began < 10


def test_words_of_another_process_do_not_move_the_terminal() -> None:
    assert plain("a\x1b[2J\nb\r\x07é") == "a\\x1b[2J\nb\\x0d\\x07é"
