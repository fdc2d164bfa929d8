"""Keep Alive: the Server notices that a Client is gone. Here time passes, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Pingreq, Pingresp, Publish
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_a_silent_client_is_cut_after_one_and_a_half_keep_alives(
    memory: Door, version: int, autojump_clock: MockClock
) -> None:
    peer = await memory.connect("c", version, keep_alive=10)
    start = trio.current_time()
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=60)
    assert 15 <= trio.current_time() - start <= 16.5


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
async def test_over_a_socket_too(socket_door: Door) -> None:
    peer = await socket_door.connect("c", keep_alive=1)
    start = trio.current_time()
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT)
    assert 1.4 <= trio.current_time() - start <= 4


@statement("MQTT5-3.12.4-1", "MQTT311-3.12.4-1")
async def test_pingreq_keeps_the_connection(memory: Door, version: int, autojump_clock: MockClock) -> None:
    peer = await memory.connect("c", version, keep_alive=10)
    for _ in range(20):
        await peer.nothing(14)
        await peer.send(Pingreq())
        await peer.expect(Pingresp)


async def test_any_packet_keeps_the_connection(memory: Door, version: int, autojump_clock: MockClock) -> None:
    peer = await memory.connect("c", version, keep_alive=10)
    for _ in range(20):
        await peer.nothing(14)
        await peer.send(Publish("a", b"x"))
    await peer.quiet()


async def test_what_the_server_sends_does_not_keep_the_connection(
    memory: Door, version: int, autojump_clock: MockClock
) -> None:
    publisher = await memory.connect("p")
    subscriber = await memory.connect("s", version, keep_alive=10)
    await subscriber.subscribe("a")
    for _ in range(2):
        await trio.sleep(7)
        await publisher.publish("a", b"x")
    assert [publish.payload for publish in await subscriber.messages(2)] == [b"x", b"x"]
    await subscriber.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=3)


async def test_a_packet_in_parts_counts_when_it_is_whole(memory: Door, autojump_clock: MockClock) -> None:
    """[MQTT-3.1.2-22] asks for a Control Packet: a peer that drips bytes of one does not live for ever."""
    peer = await memory.connect("c", keep_alive=10)
    start = trio.current_time()
    await peer.send(b"\x30\x7f\x00\x01a")
    with trio.move_on_after(60):
        while not peer.ended:
            with trio.move_on_after(3):
                await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT)
                break
            await peer.send(b"x")
    assert 15 <= trio.current_time() - start <= 16.5


@statement("MQTT5-3.2.2-22")
async def test_keep_alive_zero_is_no_keep_alive(memory: Door, version: int, autojump_clock: MockClock) -> None:
    memory.settings["server_keep_alive_maximum"] = 0
    peer = await memory.peer(version)
    connack = await peer.connect("c", keep_alive=0)
    assert connack.properties.server_keep_alive is None
    await peer.nothing(1000)
    await peer.quiet()


async def test_a_3_1_1_client_cannot_be_told_of_a_cap_and_is_not_held_to_it(
    memory: Door, autojump_clock: MockClock
) -> None:
    memory.settings["server_keep_alive_maximum"] = 20
    peer = await memory.connect("c", MQTT_3_1_1, keep_alive=100)
    await peer.nothing(149)
    await peer.closed(within=3)


@pytest.mark.parametrize("asked", [0, 60, 65_535])
async def test_server_keep_alive_caps_what_a_client_asks_for(
    memory: Door, asked: int, autojump_clock: MockClock
) -> None:
    memory.settings["server_keep_alive_maximum"] = 20
    peer = await memory.peer(MQTT_5_0)
    connack = await peer.connect("c", keep_alive=asked)
    assert connack.properties.server_keep_alive == 20
    await peer.nothing(29)
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=3)


@statement("MQTT5-3.2.2-22")
async def test_a_keep_alive_below_the_cap_is_the_clients_own(memory: Door, autojump_clock: MockClock) -> None:
    memory.settings["server_keep_alive_maximum"] = 20
    peer = await memory.peer(MQTT_5_0)
    connack = await peer.connect("c", keep_alive=4)
    assert connack.properties.server_keep_alive is None
    await peer.nothing(5.5)
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=3)


async def test_the_grace_is_a_setting(memory: Door, autojump_clock: MockClock) -> None:
    memory.settings["keep_alive_grace"] = 3.0
    peer = await memory.connect("c", keep_alive=10)
    await peer.nothing(29)
    await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=3)


@pytest.mark.parametrize("keep_alive", ["strict", "lenient"])
async def test_a_websocket_that_answers_pings_lives_where_that_is_said(socket_door: Door, keep_alive: str) -> None:
    socket_door.settings.update(keep_alive=keep_alive, websocket_ping_interval=0.3)
    peer = await socket_door.connect("c", keep_alive=1)
    if keep_alive == "lenient" and socket_door.name in ("ws", "wss"):
        await peer.nothing(2.2)
    else:
        await peer.disconnected(ReasonCode.KEEP_ALIVE_TIMEOUT, within=4)
