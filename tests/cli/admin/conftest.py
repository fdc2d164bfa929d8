"""Brokers in threads, with their API, and something in its place that says what a test wants."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

import broker
from broker.config import Config, ListenerConfig, TlsConfig, WebConfig
from broker.packets.encode import encode
from broker.packets.types import MQTT_5_0, Connect, Publish, Subscribe, SubscriptionRequest
from tests.secured import Papers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENS = {"viewer": "v-secret", "operator": "o-secret"}


class Site:
    """Where a broker is: `port` is that of TCP."""

    def __init__(self) -> None:
        self.url = ""
        self.secure = ""
        self.ca = ""
        self.port = 0

    def device(self, identifier: str, *filters: str) -> Device:
        return Device(self.port, identifier, filters)

    def retain(self, topic: str, payload: bytes) -> None:
        """Leave a retained message, and wait until it is there."""
        with Device(self.port, "", ()) as device:
            device.say(encode(Publish(topic, payload, qos=1, packet_identifier=1, retain=True), MQTT_5_0))


class Device:
    """A Client that is connected while the `with` lasts, and reads nothing more."""

    def __init__(self, port: int, identifier: str, filters: tuple[str, ...]) -> None:
        self._port = port
        self._identifier = identifier
        self._filters = filters

    def __enter__(self) -> Device:
        self._socket = socket.create_connection(("127.0.0.1", self._port), 10)
        self.say(encode(Connect(self._identifier, MQTT_5_0, keep_alive=60), MQTT_5_0))
        if self._filters:
            held = [SubscriptionRequest(each, 1) for each in self._filters]
            self.say(encode(Subscribe(1, held), MQTT_5_0))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, packet: bytes) -> None:
        """Send it; one packet comes back."""
        self._socket.sendall(packet)
        assert self._socket.recv(65_536)

    def ended(self) -> bool:
        """Whether the broker ends the connection."""
        self._socket.settimeout(5)
        while data := self._socket.recv(65_536):
            assert data
        return True


@contextmanager
def in_a_thread(config: Config) -> Iterator[broker.server.Server]:
    ready = threading.Event()
    stop = trio.Event()
    found: list[broker.server.Server] = []
    tokens: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        async with broker.serve(config) as server:
            found.append(server)
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        if tokens:
            tokens[0].run_sync_soon(stop.set)
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Whoever asks is an operator."""
    found = Site()
    with in_a_thread(
        Config(listeners=[ListenerConfig(type="ws", port=0), ListenerConfig(type="tcp", port=0)])
    ) as server:
        ws, tcp = server.listeners
        found.url, found.port = f"http://127.0.0.1:{ws.port}", tcp.port
        yield found


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Nobody is anything without a token."""
    folder = tmp_path_factory.mktemp("guarded")
    papers = Papers(folder)
    path = folder / "tokens"
    path.write_text("".join(f"{r} {r} {hashlib.sha256(t.encode()).hexdigest()}\n" for r, t in TOKENS.items()))
    path.chmod(0o600)
    tls = TlsConfig(certificate=papers.certificate, key=papers.key)
    config = Config(
        listeners=[ListenerConfig(type="ws", port=0), ListenerConfig(type="ws", port=0, tls=tls)],
        web=WebConfig(tokens_file=path, anonymous="none"),
    )
    found = Site()
    with in_a_thread(config) as server:
        plain, secure = server.listeners
        found.url, found.secure = f"http://127.0.0.1:{plain.port}", f"https://127.0.0.1:{secure.port}"
        found.ca = str(papers.ca)
        yield found


class Answering:
    """In the place of the API: gives these answers one after the other, a connection each; use it in a `with`.

    `asked` are the first lines of what was asked.
    """

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked: list[str] = []

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for answer in self._answers:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(10)
                self.asked.append(accepted.recv(65_536).decode().partition(" HTTP/")[0])
                accepted.sendall(answer)


def answer(status: int, said: object, *headers: str) -> bytes:
    """As the API gives it."""
    body = json.dumps(said).encode()
    head = (f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers, "", "")
    return "\r\n".join(head).encode() + body


def failure(status: int, message: str, *headers: str, **more: object) -> bytes:
    return answer(status, {"error": {"code": "x", "message": message}, **more}, *headers)


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKENS['operator']}\n")
    return str(path)
