"""What has ended is forgotten at once: nothing of a connection waits for the collector."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

from broker.core.connection import Connection
from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish, Will
from tests.scripted import properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doors import Door


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connections() -> int:
    """How many are in memory, reachable or not."""
    return sum(isinstance(each, Connection) for each in gc.get_objects())


async def visit(door: Door) -> None:
    """Everything by which a connection comes to its end."""
    for version in (MQTT_3_1_1, MQTT_5_0):
        subscriber = await door.connect("s", version)
        await subscriber.subscribe("a/#", qos=2)
        good = await door.connect("good", version, keep_alive=60, will=Will("a/w", b""))
        for qos in (0, 1, 2):
            await good.publish("a/b", b"x", qos)
            await subscriber.message()
        await good.leave()
        lost = await door.connect("lost", version, will=Will("a/w", b""))
        await lost.lose()
        await subscriber.message()
        older = await door.connect("twice", version)
        newer = await door.connect("twice", version)
        await older.disconnected(ReasonCode.SESSION_TAKEN_OVER)
        await older.lose()
        await newer.send(b"\x00\x00")
        await newer.disconnected(ReasonCode.MALFORMED_PACKET)
        await newer.lose()
        stranger = await door.peer(version)
        await stranger.send(Publish("a", b"x"))
        await stranger.closed()
        await stranger.lose()
        silent = await door.peer(version)
        await silent.lose()
        await subscriber.leave()
    refused = await door.peer()
    await refused.connect(
        "c", properties=properties(authentication_method="x"), reason=ReasonCode.BAD_AUTHENTICATION_METHOD
    )
    await refused.closed()
    await refused.lose()


@pytest.mark.usefixtures("without_collector")
async def test_connections_do_not_wait_for_the_collector(door: Door) -> None:
    door.settings.update(handshake_timeout=1.0, websocket_ping_interval=0)
    await door.start()
    before = connections()
    await visit(door)
    for _ in range(200):  # deadlines hold on to what has ended until they are due
        if connections() == before:
            break
        await trio.sleep(0.1)
    assert connections() == before
    assert door.server is not None
    core = door.server.broker
    assert not core.sessions
    assert not core.connections
    assert not core.dirty
    assert core.stats.clients_connected == 0
    assert core.stats.subscriptions == 0
    assert core.stats.queued_messages == 0
    assert core.stats.queued_bytes == 0
    assert all(each.connections == 0 for each in core.stats.by_transport.values())
