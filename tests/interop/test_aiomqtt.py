"""aiomqtt: asyncio over paho-mqtt, as its users write it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiomqtt
import pytest

if TYPE_CHECKING:
    from tests.interop.brokers import Door

SECONDS = 20.0

both_versions = pytest.mark.parametrize(
    "version",
    [pytest.param(aiomqtt.ProtocolVersion.V311, id="3.1.1"), pytest.param(aiomqtt.ProtocolVersion.V5, id="5.0")],
)


def client(door: Door, version: aiomqtt.ProtocolVersion, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
    return aiomqtt.Client(
        door.host,
        door.port,
        protocol=version,
        transport=door.transport,
        websocket_path=door.path or None,
        will=will,
    )


@both_versions
def test_publish_and_iterate(door: Door, version: aiomqtt.ProtocolVersion, root: str) -> None:
    async def run() -> list[tuple[str, object, int, bool]]:
        async with client(door, version) as publisher, client(door, version) as subscriber:
            await publisher.publish(f"{root}/state", "kept", qos=1, retain=True)
            await subscriber.subscribe(f"{root}/+", qos=2)
            for qos in (0, 1, 2):
                await publisher.publish(f"{root}/{qos}", str(qos), qos=qos)
            await publisher.publish(f"{root}/end", qos=2)
            received: list[tuple[str, object, int, bool]] = []
            async for message in subscriber.messages:
                if message.topic.value == f"{root}/end":
                    break
                received.append((message.topic.value, message.payload, message.qos, message.retain))
            return received

    received = asyncio.run(asyncio.wait_for(run(), SECONDS))
    assert received[0] == (f"{root}/state", b"kept", 1, True)
    assert sorted(received[1:]) == [(f"{root}/{qos}", str(qos).encode(), qos, False) for qos in (0, 1, 2)]


@both_versions
def test_many_publishers_at_once(door: Door, version: aiomqtt.ProtocolVersion, root: str) -> None:
    async def publish(number: int) -> None:
        async with client(door, version) as publisher:
            for count in range(5):
                await publisher.publish(f"{root}/{number}", str(count), qos=1)

    async def run() -> dict[str, list[object]]:
        received: dict[str, list[object]] = {}
        async with client(door, version) as subscriber:
            await subscriber.subscribe(f"{root}/#", qos=1)
            await asyncio.gather(*(publish(number) for number in range(5)))
            async for message in subscriber.messages:
                received.setdefault(message.topic.value, []).append(message.payload)
                if sum(len(payloads) for payloads in received.values()) == 25:
                    return received
        raise AssertionError("unreachable: messages has no end")

    received = asyncio.run(asyncio.wait_for(run(), SECONDS))
    assert received == {f"{root}/{number}": [b"0", b"1", b"2", b"3", b"4"] for number in range(5)}
