"""gmqtt: an asyncio client with its own codec, MQTT 5.0 unless told otherwise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import gmqtt
import pytest
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

if TYPE_CHECKING:
    from tests.interop.brokers import Door, RunningBroker

SECONDS = 30.0


@pytest.fixture
def tcp(served: RunningBroker) -> Door:
    """The only door that gmqtt knows."""
    return served.tcp


class GmqttClient:
    """A gmqtt client whose callbacks fill queues."""

    def __init__(self, client_id: str = "", *, clean: bool = True, **options: Any) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes, int, dict[str, Any]]] = asyncio.Queue()
        self._subscribed: asyncio.Queue[tuple[int, ...]] = asyncio.Queue()
        self._client = gmqtt.Client(client_id or None, clean_session=clean, **options)
        self._client.set_config({"reconnect_retries": 0})
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe

    async def connect(self, door: Door, version: int = MQTTv50) -> None:
        await asyncio.wait_for(self._client.connect(door.host, door.port, version=version), SECONDS)

    async def disconnect(self) -> None:
        await self._client.disconnect()

    async def subscribe(self, topic_filter: str, qos: int = 0, **options: Any) -> tuple[int, ...]:
        self._client.subscribe(topic_filter, qos=qos, **options)
        return await asyncio.wait_for(self._subscribed.get(), SECONDS)

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False, **properties: Any) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain, **properties)

    async def receive(self) -> tuple[str, bytes, int, dict[str, Any]]:
        return await asyncio.wait_for(self.messages.get(), SECONDS)

    def _on_message(self, client: object, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
        self.messages.put_nowait((topic, payload, qos, properties))
        return 0

    def _on_subscribe(self, client: object, mid: int, qos: tuple[int, ...], properties: dict[str, Any]) -> None:
        self._subscribed.put_nowait(qos)


@pytest.mark.parametrize("version", [pytest.param(MQTTv311, id="3.1.1"), pytest.param(MQTTv50, id="5.0")])
def test_messages_of_every_qos(tcp: Door, version: int, root: str) -> None:
    async def run() -> list[tuple[str, bytes, int]]:
        client = GmqttClient(root)
        await client.connect(tcp, version)
        client.publish(f"{root}/state", b"kept", qos=1, retain=True)
        assert await client.subscribe(f"{root}/+", qos=2) == (2,)
        received = [await client.receive()]
        for qos in (0, 1, 2):
            client.publish(f"{root}/{qos}", str(qos).encode(), qos)
            received.append(await client.receive())
        await client.disconnect()
        return [message[:3] for message in received]

    assert asyncio.run(run()) == [(f"{root}/state", b"kept", 1)] + [
        (f"{root}/{qos}", str(qos).encode(), qos) for qos in (0, 1, 2)
    ]


def test_properties_are_forwarded(tcp: Door, root: str) -> None:
    async def run() -> dict[str, Any]:
        client = GmqttClient(root)
        await client.connect(tcp)
        await client.subscribe(root, qos=1, subscription_identifier=9)
        client.publish(
            root,
            b"{}",
            qos=1,
            content_type="application/json",
            response_topic="answers",
            correlation_data=b"\x01\x02",
            user_property=[("a", "1"), ("b", "2")],
        )
        properties = (await client.receive())[3]
        await client.disconnect()
        return properties

    properties = asyncio.run(run())
    assert properties["content_type"] == ["application/json"]
    assert properties["response_topic"] == ["answers"]
    assert properties["correlation_data"] == [b"\x01\x02"]
    assert properties["user_property"] == [("a", "1"), ("b", "2")]
    assert properties["subscription_identifier"] == [9]


def test_a_session_is_resumed(tcp: Door, root: str) -> None:
    async def run() -> list[bytes]:
        sleeper = GmqttClient(root, clean=False, session_expiry_interval=60)
        await sleeper.connect(tcp)
        await sleeper.subscribe(f"{root}/#", qos=2)
        await sleeper.disconnect()
        publisher = GmqttClient(f"{root}-publisher")
        await publisher.connect(tcp)
        await publisher.subscribe(f"{root}/end", qos=2)
        for number in range(10):
            publisher.publish(f"{root}/x", str(number).encode(), qos=2)
        publisher.publish(f"{root}/end", b"end", qos=2)
        await publisher.receive()
        await publisher.disconnect()
        woken = GmqttClient(root, clean=False, session_expiry_interval=60)
        await woken.connect(tcp)
        received = [(await woken.receive())[1] for _ in range(11)]
        await woken.disconnect()
        return received

    assert asyncio.run(run()) == [str(number).encode() for number in range(10)] + [b"end"]


def test_a_taken_over_client_publishes_its_will(tcp: Door, root: str) -> None:
    async def run() -> tuple[str, bytes, int]:
        watcher = GmqttClient(f"{root}-watcher")
        await watcher.connect(tcp)
        await watcher.subscribe(f"{root}/gone", qos=1)
        older = GmqttClient(root, will_message=gmqtt.Message(f"{root}/gone", b"taken over", qos=1))
        await older.connect(tcp)
        newer = GmqttClient(root)
        await newer.connect(tcp)
        message = await watcher.receive()
        for client in (watcher, newer, older):
            await client.disconnect()
        return message[:3]

    assert asyncio.run(run()) == (f"{root}/gone", b"taken over", 1)
