"""Clients that come and go too often, and those that end each other's connections, through every door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0
from tests.scripted import texts

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

    from tests.doors import Door


async def test_a_client_that_flaps_is_banned_and_nobody_else(door: Door, version: int) -> None:
    door.server_settings["flapping_connects"] = 2
    for _ in range(2):
        peer = await door.connect("c", version)
        await peer.leave()
    banned = await door.peer(version)
    await banned.connect("c", reason=ReasonCode.BANNED if version == MQTT_5_0 else ReasonCode.NOT_AUTHORIZED)
    await banned.closed()
    other = await door.connect("d", version)
    await other.quiet()


async def test_a_ban_ends(memory: Door, version: int, autojump_clock: MockClock) -> None:
    memory.server_settings.update(flapping_connects=1, flapping_ban=100)
    peer = await memory.connect("c", version)
    await peer.leave()
    banned = await memory.peer(version)
    await banned.connect("c", reason=ReasonCode.BANNED if version == MQTT_5_0 else ReasonCode.NOT_AUTHORIZED)
    await other_time(memory, 101)
    await memory.connect("c", version)


async def other_time(memory: Door, seconds: float) -> None:
    bystander = await memory.connect("bystander")
    await bystander.nothing(seconds)


async def test_a_takeover_storm_is_named(
    memory: Door, version: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    memory.server_settings.update(takeover_storm=5, sys_interval=10)
    for _ in range(7):
        await memory.connect("twin", version)
    await other_time(memory, 80)
    (line,) = [each for each in caplog.messages if "taken over" in each]
    assert line.startswith("client id 'twin' taken over 6 times a minute from memory")
    reader = await memory.connect("reader", version)
    await reader.subscribe("$SYS/broker/clients/takeover storm")
    ((_, payload),) = texts([await reader.message()])
    assert payload == b"client id 'twin' taken over 6 times a minute from memory"
