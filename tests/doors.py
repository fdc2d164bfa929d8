"""Every way into the broker, so that a scenario is written once and goes through all of them.

`door` is each of: a TCP socket, a WebSocket, both in TLS, a memory stream, and a memory stream whose bytes reach the
broker one at a time. `memory` is the memory stream alone, for scenarios in which time passes: together with the
`autojump_clock` of pytest-trio an hour takes no time. `version` is the protocol level of the Client: 3.1.1 and 5.0.

Where the run on the plain build is followed by one on the compiled build, each goes through half of the doors.

The broker starts with the first Client; settings are given before, in `door.settings`.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

import broker
from broker.config import Config
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, NO_PROPERTIES, Properties, Will
from tests.authority import NAME, authority
from tests.conftest import doors_of_this_run
from tests.scripted import Dripping, Peer, WebSocketStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.core.ports import Authenticator
    from broker.server import Server

TYPES = {"tcp": "tcp", "ws": "ws", "tls": "tcp", "wss": "ws"}  # of the listener
SECURE = ("tls", "wss")
NAMES = doors_of_this_run((*TYPES, "memory", "drip"), plain=("ws", "tls", "memory"))
SOCKETS = tuple(name for name in NAMES if name in TYPES)


class Door:
    """One embedded broker and one way to reach it."""

    def __init__(self, name: str, nursery: trio.Nursery) -> None:
        self.name = name
        self.settings: dict[str, object] = {}  # [limits] of the configuration
        self.server_settings: dict[str, object] = {}  # [server]
        self.server: Server | None = None
        self._nursery = nursery
        self._finished = trio.Event()
        self._streams: list[trio.abc.Stream] = []

    async def stream(self) -> trio.abc.Stream:
        """A new stream to the broker, ready for CONNECT."""
        server = self.server or await self.start()
        stream: trio.abc.Stream
        if self.name in ("memory", "drip"):
            stream, far = memory_stream_pair()
            self._nursery.start_soon(server.serve_stream, Dripping(far) if self.name == "drip" else far)
        else:
            listening = server.listeners[0]
            stream = await trio.open_tcp_stream(listening.host, listening.port)
            self._streams.append(stream)
            if self.name in SECURE:
                stream = trio.SSLStream(stream, authority().trusting(), server_hostname=NAME, https_compatible=True)
                await stream.do_handshake()
        self._streams.append(stream)
        if self.name in ("ws", "wss"):
            stream = WebSocketStream(stream, server.listeners[0].url)
            await stream.open()
        return stream

    async def peer(self, version: int = MQTT_5_0) -> Peer:
        """A Client that has not sent its CONNECT."""
        return Peer(await self.stream(), version)

    async def connect(
        self,
        client_identifier: str,
        version: int = MQTT_5_0,
        *,
        clean_start: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        properties: Properties = NO_PROPERTIES,
        session_present: bool | None = None,
    ) -> Peer:
        """A Client that has its CONNACK; a `session_present` given must be that of the CONNACK."""
        peer = await self.peer(version)
        connack = await peer.connect(
            client_identifier, clean_start=clean_start, keep_alive=keep_alive, will=will, properties=properties
        )
        assert session_present in (None, connack.session_present)
        return peer

    async def durable(
        self, client_identifier: str, version: int = MQTT_5_0, *, session_present: bool | None = None
    ) -> Peer:
        """A Client whose Session outlives the Network Connection, resumed when there is one."""
        properties = NO_PROPERTIES
        if version >= MQTT_5_0:
            properties = Properties()
            properties.session_expiry_interval = 3600
        return await self.connect(
            client_identifier, version, clean_start=False, properties=properties, session_present=session_present
        )

    async def start(self, authenticator: Authenticator | None = None) -> Server:
        server: Server = await self._nursery.start(self._serve, authenticator)
        self.server = server
        return server

    async def _serve(self, authenticator: Authenticator | None, *, task_status: trio.TaskStatus[Server]) -> None:
        listeners: list[dict[str, object]] = []
        if self.name in TYPES:
            listeners.append({"type": TYPES[self.name], "host": "127.0.0.1", "port": 0})
        if self.name in SECURE:
            listeners[0]["tls"] = {"certificate": authority().certificate, "key": authority().key}
        config = Config.model_validate(
            {
                "listeners": listeners,
                "limits": self.settings,
                "server": self.server_settings,
            }
        )
        async with broker.serve(config, authenticator=authenticator) as server:
            task_status.started(server)
            await self._finished.wait()

    def stop(self) -> None:
        """Stop the broker in order."""
        self._finished.set()

    async def close(self) -> None:
        """The end of every Client."""
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def _open(name: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    async with trio.open_nursery() as nursery:
        door = Door(name, nursery)
        yield door
        await door.close()
        door.stop()
    faults = [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert not faults, "the broker logged a fault of its own"


@pytest.fixture(params=NAMES)
async def door(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    async with _open(request.param, caplog) as opened:
        yield opened


@pytest.fixture(params=SOCKETS)
async def socket_door(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    """The doors with sockets, whose buffers fill."""
    async with _open(request.param, caplog) as opened:
        yield opened


@pytest.fixture
async def memory(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Door]:
    async with _open("memory", caplog) as opened:
        yield opened


@pytest.fixture(params=(MQTT_3_1_1, MQTT_5_0), ids=("3.1.1", "5.0"))
def version(request: pytest.FixtureRequest) -> int:
    value: int = request.param
    return value
