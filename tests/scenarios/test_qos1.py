"""QoS 1: at least once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Puback, Publish
from tests.scripted import texts
from tests.statements import statement

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.doors import Door


@statement("MQTT5-4.3.2-4", "MQTT5-2.2.1-5", "MQTT5-3.3.4-1", "MQTT5-4.3.2-2")
@statement("MQTT311-4.3.2-2", "MQTT311-2.3.1-6", "MQTT311-3.3.4-1")
async def test_a_message_is_acknowledged_and_delivered(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    await publisher.send(Publish("a", b"x", qos=1, packet_identifier=54_321))
    puback = await publisher.expect(Puback)
    assert (puback.packet_identifier, puback.reason) == (54_321, 0)
    message = await subscriber.message()
    assert (message.topic, message.payload, message.qos, message.dup) == ("a", b"x", 1, False)
    assert message.packet_identifier
    await subscriber.quiet()


async def test_puback_says_whether_anybody_listens(door: Door) -> None:
    publisher = await door.connect("p")
    assert await publisher.publish("a", b"x", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    subscriber = await door.connect("s")
    await subscriber.subscribe("a")
    assert await publisher.publish("a", b"x", qos=1) == ReasonCode.SUCCESS
    await subscriber.expect(Publish)
    await subscriber.unsubscribe("a")
    assert await publisher.publish("a", b"x", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS


@statement("MQTT5-3.8.4-8", "MQTT311-3.8.4-6")
@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_the_lower_qos_counts(door: Door, version: int, granted: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    assert await subscriber.subscribe("a", qos=granted) == [granted]
    for qos in (0, 1, 2):
        await publisher.publish("a", b"x", qos=qos)
        assert (await subscriber.message()).qos == min(qos, granted)
    await subscriber.quiet()


@statement("MQTT5-3.3.1-3", "MQTT311-3.3.1-3")
async def test_dup_of_the_publisher_stays_with_the_publisher(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    await publisher.publish("a", b"x", qos=1, dup=True)
    assert (await subscriber.message()).dup is False


@statement("MQTT5-4.3.2-5")
async def test_a_packet_identifier_acknowledged_may_be_used_again(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    for payload in (b"1", b"2", b"3"):
        await publisher.send(Publish("a", payload, qos=1, packet_identifier=9, dup=payload == b"2"))
        assert (await publisher.expect(Puback)).packet_identifier == 9
    assert texts(await subscriber.messages(3)) == [("a", b"1"), ("a", b"2"), ("a", b"3")]


@statement("MQTT5-4.3.2-1", "MQTT5-2.2.1-4", "MQTT311-2.3.1-4", "MQTT311-4.3.2-1")
async def test_packet_identifiers_in_flight_are_unique(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    await publisher.send(*(Publish("a", b"%d" % n, qos=1, packet_identifier=n) for n in range(1, 21)))
    for number in range(1, 21):
        assert (await publisher.expect(Puback)).packet_identifier == number
    unacknowledged = [await subscriber.expect(Publish) for _ in range(20)]
    identifiers = {publish.packet_identifier for publish in unacknowledged}
    assert len(identifiers) == 20
    assert 0 not in identifiers


@statement("MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
async def test_a_message_is_not_sent_again_while_the_connection_lasts(
    memory: Door, version: int, autojump_clock: MockClock
) -> None:
    publisher = await memory.connect("p", version)
    subscriber = await memory.durable("s", version)
    await subscriber.subscribe("a", qos=1)
    await publisher.publish("a", b"x", qos=1)
    await subscriber.expect(Publish)
    await subscriber.nothing(300)


@statement("MQTT5-4.4.0-1", "MQTT5-3.3.1-1", "MQTT5-4.5.0-1", "MQTT311-4.4.0-1", "MQTT311-3.3.1-1", "MQTT311-4.6.0-1")
async def test_what_was_not_acknowledged_is_sent_again_after_a_reconnect(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=1)
    for number in range(5):
        await publisher.publish("a", b"%d" % number, qos=1)
    first = [await subscriber.expect(Publish) for _ in range(5)]
    await subscriber.send(Puback(first[1].packet_identifier), Puback(first[3].packet_identifier))
    await subscriber.quiet()
    await subscriber.lose()
    await publisher.publish("a", b"5", qos=1)
    subscriber = await door.durable("s", version, session_present=True)
    again = await subscriber.messages(4)
    assert [(publish.payload, publish.dup) for publish in again] == [
        (b"0", True),
        (b"2", True),
        (b"4", True),
        (b"5", False),
    ]
    assert [publish.packet_identifier for publish in again[:3]] == [first[n].packet_identifier for n in (0, 2, 4)]
    await subscriber.quiet()


@statement("MQTT5-4.4.0-2")
async def test_a_puback_that_refuses_is_an_acknowledgement(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.durable("s")
    await subscriber.subscribe("a", qos=1)
    await publisher.publish("a", b"x", qos=1)
    publish = await subscriber.expect(Publish)
    await subscriber.send(Puback(publish.packet_identifier, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR))
    await subscriber.quiet()
    await subscriber.lose()
    subscriber = await door.durable("s", session_present=True)
    await subscriber.quiet()


async def test_a_puback_for_nothing_does_no_harm(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(Puback(17))
    await peer.quiet()


@statement("MQTT5-4.6.0-5", "MQTT5-4.6.0-2", "MQTT311-4.6.0-6", "MQTT311-4.6.0-2")
async def test_order_is_kept_at_each_qos(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=1)
    sent = [Publish("a", b"%d" % n, qos=n % 2, packet_identifier=n if n % 2 else 0) for n in range(1, 60)]
    await publisher.send(*sent)
    for number in range(1, 60, 2):
        assert (await publisher.expect(Puback)).packet_identifier == number
    received = await subscriber.messages(59)
    for qos in (0, 1):
        assert [p.payload for p in received if p.qos == qos] == [p.payload for p in sent if p.qos == qos]


async def test_the_versions_meet(door: Door) -> None:
    old, new = await door.connect("old", MQTT_3_1_1), await door.connect("new", MQTT_5_0)
    await old.subscribe("to/old", qos=1)
    await new.subscribe("to/new", qos=1)
    await old.publish("to/new", b"hello", qos=1)
    assert texts([await new.message()]) == [("to/new", b"hello")]
    await new.publish("to/old", b"hello too", qos=1)
    assert texts([await old.message()]) == [("to/old", b"hello too")]
