"""Wires: streams, with WebSocket frames and without."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from broker.client.errors import CannotConnect
from broker.client.transport import FRAME_BYTES, Wire, connect_stream, upgrade
from broker.client.url import parse
from broker.packets.types import MQTT_3_1, MQTT_5_0
from broker.websocket.frames import (
    FrameDecoder,
    binary_frames,
    close_frame,
    message_frame,
    ping_frame,
)
from broker.websocket.handshake import UPGRADED, HttpDoor
from tests.statements import statement

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = parse("ws://broker:8080/mqtt?a=b")


async def accept(stream: trio.abc.Stream, more: bytes = b"") -> bytes:
    """The Server's half of the handshake, with `more` in the same write; the request's bytes."""
    door = HttpDoor()
    request = b""
    while door.outcome != UPGRADED:
        data = bytes(await stream.receive_some())
        assert data
        request += data
        door.feed(data)
    await stream.send_all(door.response + more)
    return request


async def opened(more: bytes = b"") -> tuple[Wire, trio.abc.Stream]:
    """A Wire with its WebSocket open, and the Server's end of the stream."""
    ours, theirs = memory_stream_pair()
    wires: list[Wire] = []

    async def client() -> None:
        wires.append(await upgrade(ours, ENDPOINT, MQTT_5_0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client)
        await accept(theirs, more)
    return wires[0], theirs


async def test_a_bare_stream() -> None:
    ours, theirs = memory_stream_pair()
    wire = Wire(ours)
    await wire.send(b"out")
    assert await theirs.receive_some() == b"out"
    await theirs.send_all(b"in")
    assert await wire.receive() == b"in"
    wire.close_frame()
    assert wire.replies == b""
    await theirs.aclose()
    assert await wire.receive() is None


@statement("MQTT5-6.0.0-3", "MQTT311-6.0.0-3")
@pytest.mark.parametrize(("version", "subprotocol"), [(MQTT_5_0, b"mqtt"), (MQTT_3_1, b"mqttv3.1")])
async def test_the_request(version: int, subprotocol: bytes) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upgrade, ours, ENDPOINT, version)
        request = await accept(theirs)
    head = request.split(b"\r\n")
    assert head[0] == b"GET /mqtt?a=b HTTP/1.1"
    fields = {name.lower(): value for name, value in (line.split(b": ", 1) for line in head[1:] if line)}
    assert fields[b"host"] == b"broker:8080"
    assert fields[b"sec-websocket-protocol"] == subprotocol


@statement("MQTT5-6.0.0-1", "MQTT5-6.0.0-2")
async def test_bytes_travel_in_binary_frames() -> None:
    wire, theirs = await opened(binary_frames(b"first", 100))
    assert await wire.receive() == b"first"
    frames = FrameDecoder(1 << 20)
    await wire.send(b"x" * 10 + b"y" * FRAME_BYTES)
    sent = bytes(await theirs.receive_some())
    assert sent[0] == 0x82
    assert frames.feed(sent) == b"x" * 10 + b"y" * FRAME_BYTES
    assert not frames.violation
    await theirs.send_all(message_frame(0x2, b"a")[:1])
    assert await wire.receive() == b""
    await theirs.send_all(message_frame(0x2, b"a")[1:])
    assert await wire.receive() == b"a"


async def test_a_ping_is_answered_with_the_next_write() -> None:
    wire, theirs = await opened()
    await theirs.send_all(ping_frame(b"?"))
    assert await wire.receive() == b""
    assert wire.replies
    await wire.send(b"mqtt")
    assert wire.replies == b""
    frames = FrameDecoder(100)
    assert frames.feed(bytes(await theirs.receive_some())) == b"mqtt"
    assert frames.pongs_received == 1


async def test_the_closing_handshake_from_the_server() -> None:
    wire, theirs = await opened()
    await theirs.send_all(binary_frames(b"last", 100) + close_frame(1001))
    assert await wire.receive() == b"last"
    assert await wire.receive() is None
    wire.close_frame()
    await wire.send(b"")
    frames = FrameDecoder(100)
    frames.feed(bytes(await theirs.receive_some()))
    assert (frames.closed, frames.close_code) == (True, 1001)


async def test_the_closing_handshake_from_us() -> None:
    wire, theirs = await opened()
    wire.close_frame()
    wire.close_frame()
    await wire.send(b"")
    frames = FrameDecoder(100)
    assert frames.feed(bytes(await theirs.receive_some())) == b""
    assert (frames.closed, frames.close_code) == (True, 1000)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", "404"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "Accept"),
        (b"\x20\x02\x00\x00\r\n\r\n", "not HTTP"),
        (b"", "closed"),
    ],
)
async def test_no_websocket(answer: bytes, why: str) -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_eof()
    with pytest.raises(CannotConnect, match=why):
        await upgrade(ours, ENDPOINT, MQTT_5_0)


async def test_a_stream_that_breaks_during_the_upgrade() -> None:
    ours, theirs = memory_stream_pair()
    await trio.aclose_forcefully(theirs)
    with pytest.raises(CannotConnect):
        await upgrade(ours, ENDPOINT, MQTT_5_0)


async def test_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    unix = socket.socket(socket.AF_UNIX)
    tcp = socket.socket()
    with unix, tcp:
        unix.bind(path)
        unix.listen()
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        for url in (f"unix:{path}", f"mqtt://127.0.0.1:{tcp.getsockname()[1]}"):
            stream = await connect_stream(parse(url))
            await stream.aclose()
    with pytest.raises(OSError, match="connect"):
        await connect_stream(parse(f"mqtt://127.0.0.1:{1}"))
