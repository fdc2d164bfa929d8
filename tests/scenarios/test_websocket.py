"""What is special to a WebSocket: pings on a silent connection, and the closing handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import memory_stream_pair

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Disconnect, Publish
from tests.scripted import Peer, WebSocketStream, texts
from tests.statements import statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.doors import Door


@pytest.fixture
async def nursery() -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as opened:
        yield opened
        opened.cancel_scope.cancel()


async def upgraded(memory: Door, nursery: trio.Nursery, version: int = MQTT_5_0) -> tuple[Peer, WebSocketStream]:
    """A Client, not yet connected, whose WebSocket runs over a memory stream."""
    near, far = memory_stream_pair()
    server = memory.server or await memory.start()

    async def serve() -> None:
        await server.serve_stream(far, websocket=True)

    nursery.start_soon(serve)
    stream = WebSocketStream(near, "ws://localhost/mqtt")
    await stream.open()
    return Peer(stream, version), stream


async def test_any_stream_can_carry_one(memory: Door, version: int, nursery: trio.Nursery) -> None:
    peer, _ = await upgraded(memory, nursery, version)
    await peer.connect("c")
    await peer.subscribe("a", qos=2)
    await peer.send(Publish("a", b"x"), Publish("a", b"y"))
    assert texts(await peer.messages(2)) == [("a", b"x"), ("a", b"y")]


async def test_a_silent_connection_is_pinged(
    memory: Door, version: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A proxy that cuts idle sockets after a minute sees traffic; Keep Alive is another matter."""
    peer, stream = await upgraded(memory, nursery, version)
    await peer.connect("c", keep_alive=1000)
    await peer.nothing(110)
    assert 3 <= stream.pings <= 4
    await peer.quiet()


async def test_a_busy_connection_is_not_pinged(memory: Door, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    peer, stream = await upgraded(memory, nursery)
    await peer.connect("c", keep_alive=1000)
    for _ in range(10):
        await peer.nothing(20)
        await peer.quiet()
    assert stream.pings == 0


async def test_pings_can_be_switched_off(memory: Door, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    memory.settings["websocket_ping_interval"] = 0
    peer, stream = await upgraded(memory, nursery)
    await peer.connect("c", keep_alive=1000)
    await peer.nothing(900)
    assert stream.pings == 0


async def test_pongs_do_not_stand_for_keep_alive(
    memory: Door, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    peer, stream = await upgraded(memory, nursery)
    await peer.connect("c", keep_alive=60)
    await peer.nothing(89)
    assert stream.pings >= 2
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=3)


@statement("MQTT5-3.14.4-2", "MQTT311-3.14.4-1")
async def test_the_websocket_is_closed_in_order(memory: Door, version: int, nursery: trio.Nursery) -> None:
    peer, stream = await upgraded(memory, nursery, version)
    await peer.connect("c")
    await peer.send(Disconnect())
    await peer.closed()
    assert stream.close_code == 1000
    peer, stream = await upgraded(memory, nursery, version)
    await peer.connect("c")
    await peer.send(b"\x00\x00")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)
    assert stream.close_code in (1002, 1008)
    peer, stream = await upgraded(memory, nursery, version)
    await peer.connect("c")
    memory.stop()
    await peer.disconnected(ReasonCode.SERVER_SHUTTING_DOWN)
    assert stream.close_code == 1001
