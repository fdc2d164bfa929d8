"""A broker in a thread of its own, for commands that run in this process or in others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trio
from click.testing import CliRunner, Result

import broker
from broker.cli import cli
from broker.config import Config, LimitsConfig, ListenerConfig
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.types import Connect, ControlPacket
from tests.secured import Papers, Secured, secured_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Served:
    """Where the broker listens; `port` is that of TCP."""

    def __init__(self) -> None:
        self.mqtt = ""
        self.ws = ""
        self.unix = ""
        self.strict = ""  # TCP, without Shared Subscriptions
        self.port = 0
        self.ready = threading.Event()
        self.ended: BaseException | None = None


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served()
    path = tmp_path_factory.mktemp("served") / "broker.sock"
    config = Config(
        listeners=[
            ListenerConfig(type="tcp", port=0),
            ListenerConfig(type="ws", port=0),
            ListenerConfig(type="unix", path=str(path)),
            ListenerConfig(type="tcp", port=0, limits=LimitsConfig(shared_subscription_available=False)),
        ]
    )
    stop = trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        async with broker.serve(config) as server:
            tcp, ws, unix, strict = server.listeners
            found.mqtt, found.ws, found.unix, found.strict = tcp.url, ws.url, unix.url, strict.url
            found.port = tcp.port
            tokens.append(trio.lowlevel.current_trio_token())
            found.ready.set()
            await stop.wait()

    def body() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            found.ended = error
        finally:
            found.ready.set()

    thread = threading.Thread(target=body)
    thread.start()
    found.ready.wait(10)
    if found.ended is not None:
        raise found.ended
    yield found
    tokens[0].run_sync_soon(stop.set)
    thread.join(10)
    assert not thread.is_alive()
    if found.ended is not None:
        raise found.ended


@pytest.fixture(scope="session")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker that wants a certificate of its Clients."""
    papers = Papers(tmp_path_factory.mktemp("papers"))
    with secured_in_a_thread(papers, client_ca=papers.ca) as found:
        yield found


class Command:
    """Runs `broker …` in this process: its exit code, stdout and stderr."""

    def __init__(self) -> None:
        self.runner = CliRunner(catch_exceptions=False)

    def __call__(
        self, *words: str, stdin: bytes | str | None = None, env: dict[str, str | None] | None = None
    ) -> Result:
        clean: dict[str, str | None] = {name: None for name in os.environ if name.startswith("BROKER_")}
        return self.runner.invoke(cli, words, input=stdin, env=clean | (env or {}), standalone_mode=True)


@pytest.fixture
def command() -> Command:
    return Command()


class Scripted:
    """A 5.0 Server for one Network Connection at a time, whose answers the test writes; use it in a `with`.

    Each of `answers` is sent after one packet that came; behind the last one it closes. Then the next Client is met
    with the same answers again. `received` are all packets that were met with an answer.
    """

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self.port: int = self._listening.getsockname()[1]
        self.received: list[ControlPacket] = []

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(10)
                self._serve(accepted)

    def _serve(self, accepted: socket.socket) -> None:
        decoder = Decoder(DecoderLimits())
        packets: list[ControlPacket] = []
        for answer in self._answers:
            while not packets:
                data = accepted.recv(65_536)
                if not data:
                    return
                packets = decoder.feed(data)
                assert decoder.error is None, decoder.error
            packet = packets.pop(0)
            if isinstance(packet, Connect):
                decoder.accept()
                packets = decoder.feed(b"")
            self.received.append(packet)
            accepted.sendall(answer)
        accepted.shutdown(socket.SHUT_WR)
        while accepted.recv(65_536):
            pass


class Process:
    """`broker …` in a process of its own. Use it in a `with`: it is ended there, whatever happens."""

    def __init__(self, *words: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("BROKER_")}
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "broker", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean | {"PYTHONUNBUFFERED": "1"} | (env or {}),
            cwd=cwd,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def wait(self, timeout: float = 60.0) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr, once it has ended."""
        out, err = self.popen.communicate(timeout=timeout)
        return self.popen.returncode, out, err

    def error_lines(self, last: bytes) -> list[bytes]:
        """Lines of stderr up to the one that holds `last`."""
        assert self.popen.stderr is not None
        lines: list[bytes] = []
        for line in self.popen.stderr:
            lines.append(line)
            if last in line:
                return lines
        raise AssertionError(f"{last!r} was not said: {lines}")


class Manager:
    """What a service manager hears, at the other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(20)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def hear(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def silent(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self._socket.settimeout(20)
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    listening = Manager(f"@triomq-test-{os.getpid()}-{time.monotonic_ns()}")
    yield listening
    listening.close()
