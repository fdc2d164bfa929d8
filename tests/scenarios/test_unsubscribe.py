"""UNSUBSCRIBE and UNSUBACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Puback, Publish, Unsuback, Unsubscribe
from tests.scripted import texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.10.4-1", "MQTT5-3.10.4-2", "MQTT311-3.10.4-1", "MQTT311-3.10.4-2")
async def test_nothing_comes_any_more(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a/+", "b", qos=1)
    await publisher.publish("a/x", b"1", qos=1)
    assert (await subscriber.message()).payload == b"1"
    await subscriber.unsubscribe("a/+")
    await publisher.publish("a/x", b"2", qos=1)
    await publisher.publish("b", b"3", qos=1)
    assert texts([await subscriber.message()]) == [("b", b"3")]
    await subscriber.quiet()


@statement("MQTT5-3.10.4-4", "MQTT5-3.10.4-5", "MQTT5-3.10.4-6", "MQTT5-3.11.3-1", "MQTT5-3.11.3-2")
@statement("MQTT311-3.10.4-4", "MQTT311-3.10.4-5", "MQTT311-3.10.4-6", "MQTT311-2.3.1-7")
async def test_each_filter_has_its_answer_in_order(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.subscribe("a/+", "b/#")
    await peer.send(Unsubscribe(888, ["never", "a/+", "a/b", "b/#", "b/#"]))
    unsuback = await peer.expect(Unsuback)
    assert unsuback.packet_identifier == 888
    none = ReasonCode.NO_SUBSCRIPTION_EXISTED
    assert unsuback.reasons == ([none, 0, none, 0, none] if version == MQTT_5_0 else [])
    await peer.quiet()


@statement("MQTT5-3.10.4-1", "MQTT311-3.10.4-1")
async def test_filters_are_compared_by_their_characters(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a/+")
    await subscriber.unsubscribe("a/b", "a/#", "#", "+/+", "a/+/", "A/+")
    await publisher.publish("a/b", b"x")
    assert (await subscriber.message()).payload == b"x"


@statement("MQTT5-3.10.4-3", "MQTT311-3.10.4-3")
async def test_messages_on_their_way_are_brought_to_their_end(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=2)
    await publisher.publish("a", b"1", qos=1)
    await publisher.publish("a", b"2", qos=2)
    first, second = [await subscriber.expect(Publish) for _ in range(2)]
    await subscriber.unsubscribe("a")
    await subscriber.lose()
    subscriber = await door.durable("s", version, session_present=True)
    again = [await subscriber.expect(Publish) for _ in range(2)]
    assert [(p.packet_identifier, p.payload, p.dup) for p in again] == [
        (first.packet_identifier, b"1", True),
        (second.packet_identifier, b"2", True),
    ]
    await subscriber.send(Puback(first.packet_identifier))
    await subscriber.acknowledge(second)
    await subscriber.quiet()


@statement("MQTT5-3.10.3-2", "MQTT311-3.10.3-2")
async def test_an_unsubscribe_without_filters_is_a_protocol_error(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\xa2\x03\x00\x01\x00" if version == MQTT_5_0 else b"\xa2\x02\x00\x01")
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.10.1-1", "MQTT311-3.10.1-1")
async def test_the_reserved_flags_of_unsubscribe(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\xa0\x06\x00\x01\x00\x00\x01a" if version == MQTT_5_0 else b"\xa0\x05\x00\x01\x00\x01a")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)


async def test_an_unsubscribe_survives_a_reconnect(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", "b", qos=1)
    await subscriber.unsubscribe("a")
    await subscriber.lose()
    subscriber = await door.durable("s", version, session_present=True)
    await publisher.publish("a", b"1", qos=1)
    await publisher.publish("b", b"2", qos=1)
    assert texts([await subscriber.message()]) == [("b", b"2")]
    await subscriber.quiet()
