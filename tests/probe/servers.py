"""Servers for the probe to be put to the test with, on loopback.

`Tampered` is our own broker behind somebody who alters what passes: each test names the one thing that is done wrong,
and everything else is right. `scripted` is a socket and a function that says each byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from trio.testing import memory_stream_pair

import broker
from broker.client import parse
from broker.config import Config
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import PINGREQ_PACKET, encode
from broker.packets.types import Connect, ControlPacket
from broker.probe.checks import CHECKS, choose
from broker.probe.machine import Result, probe
from broker.probe.subject import Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.client import Endpoint
    from broker.probe.verdict import Verdict
    from broker.server import Server

PATIENCE: Final = 1.5  # seconds that a check of a test has
BROKEN: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

# What becomes of a packet for a Client of this version; None ends the Network Connection
Alter = Callable[[ControlPacket, int], list[ControlPacket | bytes] | None]
# What becomes of the bytes of one read from a Client, the first ones of it (True) or later ones
Admit = Callable[[bytes, bool], bytes]


def same(packet: ControlPacket, _: int) -> list[ControlPacket | bytes] | None:
    return [packet]


def everything(data: bytes, _: bool) -> bytes:
    return data


def forgiving(data: bytes, first: bool) -> bytes:
    """What no Client may send is taken out, so that the broker seems to bear it."""
    if data[:2] == b"\xc5\x00":
        return PINGREQ_PACKET
    if (data[0] == 0x10) is not first:
        return b""
    decoder = Decoder(wide(), 0 if first else 5)
    packets = decoder.feed(data)
    return data if decoder.error is None and packets else b""


def wide() -> DecoderLimits:
    made = DecoderLimits()
    made.maximum_packet_size = made.connect_packet_size = 268_435_460
    made.properties_bytes = 1024 * 1024
    return made


class Tampered:
    """`settings` are [limits] of the broker. At its `last` Network Connection it ends altogether."""

    def __init__(self, alter: Alter = same, admit: Admit = everything, *, last: int = 0, **settings: object) -> None:
        self.alter = alter
        self.admit = admit
        self.accepted = 0  # Network Connections
        self._last = last
        self._settings = settings
        self._scope = trio.CancelScope()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Endpoint]:
        async with trio.open_nursery() as nursery:
            endpoint: Endpoint = await nursery.start(self._serve)
            yield endpoint
            nursery.cancel_scope.cancel()

    async def _serve(self, task_status: trio.TaskStatus[Endpoint]) -> None:
        config = Config.model_validate({"listeners": [], "limits": self._settings})
        with self._scope:
            async with broker.serve(config) as server:
                (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

                async def one(stream: trio.SocketStream) -> None:
                    await self._connection(stream, server)

                port = listener.socket.getsockname()[1]
                task_status.started(parse(f"mqtt://127.0.0.1:{port}"))
                await trio.serve_listeners(one, [listener])

    async def _connection(self, stream: trio.SocketStream, server: Server) -> None:
        self.accepted += 1
        if self.accepted == self._last:
            self._scope.cancel()
        ours, theirs = memory_stream_pair()
        connection = _Connection(self, stream, ours)
        with suppress(*BROKEN):
            async with stream, ours, trio.open_nursery() as nursery:
                nursery.start_soon(server.serve_stream, theirs)
                nursery.start_soon(connection.upwards, nursery.cancel_scope)
                nursery.start_soon(connection.downwards, nursery.cancel_scope)


class _Connection:
    """One Client's two ways: upwards to the broker, downwards from it."""

    def __init__(self, tampered: Tampered, client: trio.SocketStream, server: trio.abc.Stream) -> None:
        self._tampered = tampered
        self._client = client
        self._server = server
        self._down: Decoder | None = None

    async def upwards(self, scope: trio.CancelScope) -> None:
        first = True
        with suppress(*BROKEN):
            while data := bytes(await self._client.receive_some()):
                admitted = self._tampered.admit(data, first)
                if first and admitted:
                    for connect in Decoder(wide()).feed(admitted):
                        assert isinstance(connect, Connect)
                        self._down = Decoder(wide(), connect.version, server=False)
                    first = False
                await self._server.send_all(admitted)
        scope.cancel()

    async def downwards(self, scope: trio.CancelScope) -> None:
        with suppress(*BROKEN):
            while data := bytes(await self._server.receive_some()):
                decoder = self._down
                if decoder is None:  # there was no CONNECT
                    await self._client.send_all(data)
                    continue
                for packet in decoder.feed(data):
                    altered = self._tampered.alter(packet, decoder.version)
                    if altered is None:
                        scope.cancel()
                        return
                    for one in altered:
                        await self._client.send_all(one if isinstance(one, bytes) else encode(one, decoder.version))
        scope.cancel()


@asynccontextmanager
async def scripted(
    serve: Callable[[trio.SocketStream], Awaitable[None]], scheme: str = "mqtt", path: str = ""
) -> AsyncIterator[Endpoint]:
    """A Server that does to each Network Connection what `serve` says, and closes it then."""

    async def one(stream: trio.SocketStream) -> None:
        with suppress(*BROKEN):
            async with stream:
                await serve(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, one, [listener])
        yield parse(f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}{path}")
        nursery.cancel_scope.cancel()


def answering(answer: bytes) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """For `scripted`: the same bytes behind whatever came first."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.receive_some()

    return serve


async def ask(
    endpoint: Endpoint, *names: str, patience: float = PATIENCE, subject: Subject | None = None
) -> tuple[dict[str, Verdict], Result]:
    """The verdicts of these checks, or of all, by name; those shown although not asked for included."""
    reported: list[Verdict] = []
    result = await probe(
        subject or Subject(endpoint), CHECKS, choice=choose(names), patience=patience, report=reported.append
    )
    assert [verdict.name for verdict in reported] == [verdict.name for verdict in result.verdicts]
    return {verdict.name: verdict for verdict in result.verdicts}, result


async def only(endpoint: Endpoint, name: str, patience: float = PATIENCE) -> Verdict:
    """The verdict of one check."""
    verdicts, _ = await ask(endpoint, name, patience=patience)
    return verdicts[name]
