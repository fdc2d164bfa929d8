"""What a publisher says about its message reaches the subscriber unaltered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.types import MQTT_3_1_1
from tests.scripted import forwarded, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door

EVERYTHING = forwarded(
    payload_format_indicator=1,
    content_type="application/json; charset=utf-8",
    response_topic="answers/€/1",
    correlation_data=bytes(range(256)),
    user_properties=[("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("ключ", "значение")],
)


@statement("MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17", "MQTT5-3.3.2-18", "MQTT5-3.3.2-20")
@pytest.mark.parametrize(
    "data",
    [
        EVERYTHING,
        forwarded(payload_format_indicator=0),
        forwarded(correlation_data=b""),
        forwarded(content_type=""),
        forwarded(user_properties=[("z", str(number)) for number in range(64)]),
        b"",
    ],
    ids=["everything", "indicator 0", "empty correlation", "empty type", "64 user properties", "nothing"],
)
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_properties_are_forwarded_unaltered(door: Door, qos: int, data: bytes) -> None:
    publisher, subscriber = await door.connect("p"), await door.connect("s")
    await subscriber.subscribe("a", qos=qos)
    await publisher.publish("a", b"x", qos, forwarded=data)
    message = await subscriber.message()
    assert message.forwarded == data
    assert (message.topic, message.payload) == ("a", b"x")


@statement("MQTT5-3.3.2-17", "MQTT5-3.3.2-18")
async def test_beside_alias_expiry_and_identifier(door: Door) -> None:
    publisher, subscriber = await door.connect("p"), await door.connect("s")
    await subscriber.subscribe("a", identifier=9)
    await publisher.publish("a", b"x", topic_alias=1, message_expiry_interval=77, forwarded=EVERYTHING)
    message = await subscriber.message()
    assert message.forwarded == EVERYTHING
    assert message.message_expiry_interval == 77
    assert message.subscription_identifiers == (9,)


async def test_they_wait_with_the_message(door: Door) -> None:
    publisher, subscriber = await door.connect("p"), await door.durable("s")
    await subscriber.subscribe("a", qos=1)
    await subscriber.lose()
    await publisher.publish("a", b"x", 1, forwarded=EVERYTHING)
    subscriber = await door.durable("s", session_present=True)
    assert (await subscriber.message()).forwarded == EVERYTHING


async def test_an_earlier_version_gets_the_message_without_them(door: Door) -> None:
    publisher, subscriber = await door.connect("p"), await door.connect("s", MQTT_3_1_1)
    await subscriber.subscribe("a", qos=1)
    for qos in (0, 1):
        await publisher.publish("a", b"x", qos, forwarded=EVERYTHING, message_expiry_interval=10, topic_alias=1)
    assert texts(await subscriber.messages(2)) == [("a", b"x")] * 2
    await subscriber.quiet()
