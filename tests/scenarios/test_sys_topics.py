"""`$SYS/broker/#`: the broker's figures, and who may see and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Publish
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door
    from tests.scripted import Peer

MOSQUITTOS = (
    "version",
    "uptime",
    "clients/total",
    "clients/connected",
    "clients/disconnected",
    "clients/maximum",
    "clients/expired",
    "messages/received",
    "messages/sent",
    "messages/stored",
    "publish/messages/received",
    "publish/messages/sent",
    "publish/messages/dropped",
    "publish/bytes/received",
    "publish/bytes/sent",
    "bytes/received",
    "bytes/sent",
    "subscriptions/count",
    "shared_subscriptions/count",
    "retained messages/count",
    "store/messages/count",
    "store/messages/bytes",
    "load/messages/received/1min",
    "load/messages/sent/5min",
    "load/publish/received/15min",
    "load/publish/sent/1min",
    "load/bytes/received/1min",
    "load/bytes/sent/1min",
    "load/sockets/1min",
    "load/connections/1min",
)


async def figures(door: Door) -> dict[str, str]:
    """All that is retained below `$SYS/broker/`."""
    reader = await door.connect("reader")
    await reader.subscribe("$SYS/broker/#")
    found = {}
    await reader.send(b"\xc0\x00")
    while isinstance(packet := await reader.next(), Publish):
        assert packet.retain
        found[packet.topic.removeprefix("$SYS/broker/")] = packet.payload.decode()
    await reader.leave()
    return found


async def test_mosquittos_names(door: Door) -> None:
    found = await figures(door)
    assert set(MOSQUITTOS) <= set(found)
    assert found["version"].startswith("TrioMQ version ")
    assert found["uptime"].endswith(" seconds")


async def test_they_are_kept_up_to_date(memory: Door, autojump_clock: MockClock) -> None:
    await figures(memory)
    peers = [await memory.durable(f"c{number}") for number in range(5)]
    await peers[0].subscribe("a/#", "b", "$share/g/a", qos=1)
    await peers[4].lose()
    for _ in range(30):
        await peers[1].publish("a/b", b"12345", qos=1)
    await peers[1].publish("retained", b"x", retain=True)
    await trio.sleep(21)
    found = await figures(memory)
    assert found["clients/connected"] == "4"
    assert found["clients/total"] == "5"
    assert found["clients/disconnected"] == "1"
    assert found["subscriptions/count"] == "3"
    assert found["shared_subscriptions/count"] == "1"
    assert found["publish/messages/received"] == "31"
    assert found["publish/bytes/received"] == "151"
    assert float(found["load/publish/received/1min"]) > 0
    assert found["transport/memory/connections"] == "4"
    assert found["transport/memory/publish/messages/received"] == "31"
    assert int(found["uptime"].split()[0]) >= 10


async def test_changes_are_told_to_who_listens(memory: Door, autojump_clock: MockClock) -> None:
    listener = await memory.connect("listener")
    await listener.subscribe("$SYS/broker/clients/connected")
    first = await listener.message()
    assert first.retain
    await memory.connect("another")
    seen = []
    for _ in range(2):
        with trio.move_on_after(11):
            message = await listener.message(within=60)
            assert not message.retain
            seen.append(message.payload)
    assert seen[-1] == b"2"


@statement("MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@pytest.mark.parametrize("topic_filter", ["#", "+/broker/uptime", "+/#"])
async def test_wildcards_do_not_find_them(door: Door, version: int, topic_filter: str) -> None:
    peer = await door.connect("c", version)
    await peer.subscribe(topic_filter)
    await peer.quiet()
    await peer.subscribe("$SYS/broker/uptime")
    assert (await peer.message()).topic == "$SYS/broker/uptime"


async def test_clients_do_not_write_them(door: Door, version: int) -> None:
    before = await figures(door)
    liar: Peer = await door.connect("liar", version)
    reason = await liar.publish("$SYS/broker/version", b"a lie", qos=1, retain=True)
    assert reason == (ReasonCode.NOT_AUTHORIZED if version == MQTT_5_0 else 0)
    await liar.publish("$SYS/broker/made up", b"a lie", qos=0, retain=True)
    after = await figures(door)
    assert after["version"] == before["version"]
    assert "made up" not in after


async def test_they_can_be_switched_off(memory: Door) -> None:
    memory.server_settings["sys_interval"] = 0
    assert await figures(memory) == {}
