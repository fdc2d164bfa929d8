"""Topic Aliases, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Publish
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.3.2-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_client_sets_and_uses_aliases(door: Door, qos: int) -> None:
    door.settings["topic_alias_maximum"] = 3
    publisher, subscriber = await door.connect("p"), await door.connect("s")
    await subscriber.subscribe("#", qos=2)
    for alias in (1, 2, 3):
        await publisher.publish(f"topic/{alias}", b"set", qos, topic_alias=alias)
    for alias in (3, 1, 2, 1):
        await publisher.publish("", b"use", qos, topic_alias=alias)
    await publisher.publish("other", b"set anew", qos, topic_alias=2)
    await publisher.publish("", b"use anew", qos, topic_alias=2)
    messages = await subscriber.messages(9)
    assert texts(messages) == [
        ("topic/1", b"set"),
        ("topic/2", b"set"),
        ("topic/3", b"set"),
        ("topic/3", b"use"),
        ("topic/1", b"use"),
        ("topic/2", b"use"),
        ("topic/1", b"use"),
        ("other", b"set anew"),
        ("other", b"use anew"),
    ]
    assert {message.topic_alias for message in messages} == {0}, "the publisher's alias is its own"


async def test_a_retained_message_has_its_topic(door: Door) -> None:
    publisher = await door.connect("p")
    await publisher.publish("topic", b"1", topic_alias=1)
    await publisher.publish("", b"2", topic_alias=1, retain=True)
    subscriber = await door.connect("s")
    await subscriber.subscribe("topic")
    assert texts([await subscriber.message()]) == [("topic", b"2")]


@statement("MQTT5-3.3.2-8")
async def test_alias_zero(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(b"\x30\x07\x00\x01a\x03\x23\x00\x00")
    await peer.disconnected(ReasonCode.TOPIC_ALIAS_INVALID)


@statement("MQTT5-3.3.2-9", "MQTT5-3.2.2-17")
async def test_an_alias_beyond_the_maximum(door: Door) -> None:
    door.settings["topic_alias_maximum"] = 3
    peer = await door.connect("c")
    await peer.send(Publish("a", b"x", topic_alias=4))
    await peer.disconnected(ReasonCode.TOPIC_ALIAS_INVALID)


@statement("MQTT5-3.2.2-18")
async def test_aliases_switched_off(door: Door) -> None:
    door.settings["topic_alias_maximum"] = 0
    peer = await door.peer()
    assert (await peer.connect("c")).properties.topic_alias_maximum in (None, 0)
    await peer.send(Publish("a", b"x", topic_alias=1))
    await peer.disconnected(ReasonCode.TOPIC_ALIAS_INVALID)


async def test_an_alias_never_set(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(Publish("", b"x", topic_alias=1))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


async def test_neither_topic_nor_alias(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(b"\x30\x03\x00\x00\x00")
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.3.2-7")
async def test_aliases_end_with_the_connection(door: Door) -> None:
    peer = await door.durable("c")
    await peer.publish("a", b"x", topic_alias=1)
    await peer.lose()
    peer = await door.durable("c", session_present=True)
    await peer.send(Publish("", b"x", topic_alias=1))
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.1.2-26", "MQTT5-3.3.2-11")
@pytest.mark.parametrize("qos", [0, 1])
async def test_the_server_saves_bytes_with_aliases(door: Door, qos: int) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=properties(topic_alias_maximum=2))
    await subscriber.subscribe("#", qos=1)
    expected, received, known = [], [], {}
    saved = 0
    for number in range(40):
        topic = f"a/long/topic/name/{number % 4 if number < 20 else number % 2}"
        await publisher.publish(topic, b"%d" % number, qos)
        expected.append((topic, b"%d" % number))
        message = await subscriber.message()
        assert 0 <= message.topic_alias <= 2
        if message.topic and message.topic_alias:
            known[message.topic_alias] = message.topic
        saved += not message.topic
        received.append((message.topic or known[message.topic_alias], message.payload))
    assert received == expected
    assert saved >= 16


@statement("MQTT5-3.1.2-27")
async def test_without_a_maximum_the_server_sets_none(door: Door, version: int) -> None:
    publisher = await door.connect("p", MQTT_5_0)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("#")
    for _ in range(5):
        await publisher.publish("a/long/topic", b"x", topic_alias=1)
        message = await subscriber.message()
        assert (message.topic, message.topic_alias) == ("a/long/topic", 0)


@statement("MQTT5-3.3.2-7")
async def test_the_servers_aliases_end_with_the_connection(door: Door) -> None:
    taken = properties(topic_alias_maximum=5, session_expiry_interval=60)
    publisher = await door.connect("p")
    subscriber = await door.connect("s", properties=taken)
    await subscriber.subscribe("a", qos=1)
    for _ in range(3):
        await publisher.publish("a", b"x", qos=1)
    last = (await subscriber.expect(Publish), await subscriber.expect(Publish), await subscriber.expect(Publish))[-1]
    assert (last.topic, last.topic_alias) == ("", 1)
    await subscriber.lose()
    subscriber = await door.connect("s", clean_start=False, properties=taken, session_present=True)
    known: dict[int, str] = {}
    for _ in range(3):
        message = await subscriber.message()
        if message.topic_alias and message.topic:
            known[message.topic_alias] = message.topic
        assert (message.topic or known[message.topic_alias]) == "a"
