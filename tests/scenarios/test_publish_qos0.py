"""PUBLISH at QoS 0: at most once, to everybody whose Topic Filter matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.types import MQTT_3_1, MQTT_3_1_1, MQTT_5_0, Publish
from tests.scripted import texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-4.3.1-1", "MQTT5-3.3.1-2", "MQTT5-2.2.1-2", "MQTT311-4.3.1-1", "MQTT311-3.3.1-2", "MQTT311-2.3.1-5")
async def test_a_message_arrives_once(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a/b", qos=2)
    await publisher.publish("a/b", b"payload")
    message = await subscriber.message()
    assert (message.topic, message.payload) == ("a/b", b"payload")
    assert (message.qos, message.dup, message.retain, message.packet_identifier) == (0, False, False, 0)
    await subscriber.quiet()


@statement("MQTT5-4.6.0-5", "MQTT311-4.6.0-6")
async def test_messages_arrive_in_order(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a/#")
    sent = [Publish(f"a/{number % 3}", b"%d" % number) for number in range(200)]
    await publisher.send(*sent)
    assert texts(await subscriber.messages(200)) == texts(sent)
    await subscriber.quiet()


async def test_every_subscriber_gets_its_copy_in_its_version(door: Door) -> None:
    versions = (MQTT_3_1, MQTT_3_1_1, MQTT_5_0)
    subscribers = [await door.connect(f"s{number}", versions[number % 3]) for number in range(9)]
    for subscriber in subscribers:
        await subscriber.subscribe("a")
    for number, version in enumerate(versions):
        publisher = await door.connect("p", version)
        await publisher.publish("a", b"%d" % number)
        for subscriber in subscribers:
            assert texts([await subscriber.message()]) == [("a", b"%d" % number)]
    for subscriber in subscribers:
        await subscriber.quiet()


async def test_a_client_gets_what_it_publishes_itself(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.subscribe("a")
    await peer.send(Publish("a", b"x"))
    assert (await peer.message()).payload == b"x"
    await peer.quiet()


@pytest.mark.parametrize("size", [0, 1, 117, 118, 127, 128, 1000])
async def test_payloads_of_every_size(door: Door, version: int, size: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a")
    payload = bytes(number % 251 for number in range(size))
    await publisher.send(Publish("a", payload), Publish("a", b"after"))
    assert texts(await subscriber.messages(2)) == [("a", payload), ("a", b"after")]


@pytest.mark.parametrize("size", [16_374, 16_381, 16_384, 65_530, 65_536, 1_000_000])
async def test_large_payloads(socket_door: Door, version: int, size: int) -> None:
    publisher = await socket_door.connect("p", version)
    subscriber = await socket_door.connect("s", version)
    await subscriber.subscribe("a")
    payload = (bytes(range(251)) * 4000)[:size]
    await publisher.send(Publish("a", payload), Publish("a", b"after"))
    assert texts(await subscriber.messages(2)) == [("a", payload), ("a", b"after")]


@statement("MQTT5-4.7.3-4", "MQTT5-1.5.4-3", "MQTT311-4.7.3-4", "MQTT311-1.5.3-3")
@pytest.mark.parametrize("topic", ["/", "//", "/a//B/", "A", "Ä", "A\u0308", "\ufeffa", "a b", "𝄞/\u2028"])
async def test_topics_are_taken_as_they_are(door: Door, version: int, topic: str) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe(topic)
    for other in ("/", "//", "/a//B/", "/a/B/", "A", "a", "Ä", "A\u0308", "\ufeffa", "a b", "𝄞/\u2028"):
        await publisher.publish(other, other.encode())
    assert texts([await subscriber.message()]) == [(topic, topic.encode())]
    await subscriber.quiet()


async def test_without_subscribers_nothing_happens(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    await publisher.publish("a", b"x")
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a")
    await subscriber.quiet()
    await publisher.quiet()
