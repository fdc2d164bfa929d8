"""QoS 2: exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_5_0, Pubcomp, Publish, Pubrec, Pubrel
from tests.scripted import texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-4.3.3-8", "MQTT5-4.3.3-11", "MQTT5-4.3.3-2", "MQTT5-4.3.3-4", "MQTT5-2.2.1-5")
@statement("MQTT311-4.3.3-1", "MQTT311-4.3.3-2", "MQTT311-2.3.1-6")
async def test_the_four_packets_each_way(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=2)

    await publisher.send(Publish("a", b"x", qos=2, packet_identifier=333))
    pubrec = await publisher.expect(Pubrec)
    assert (pubrec.packet_identifier, pubrec.reason) == (333, 0)
    await publisher.send(Pubrel(333))
    pubcomp = await publisher.expect(Pubcomp)
    assert (pubcomp.packet_identifier, pubcomp.reason) == (333, 0)

    message = await subscriber.expect(Publish)
    assert (message.payload, message.qos, message.dup) == (b"x", 2, False)
    await subscriber.quiet()
    await subscriber.send(Pubrec(message.packet_identifier))
    pubrel = await subscriber.expect(Pubrel)
    assert (pubrel.packet_identifier, pubrel.reason) == (message.packet_identifier, 0)
    await subscriber.quiet()
    await subscriber.send(Pubcomp(message.packet_identifier))
    await subscriber.quiet()


async def test_pubrec_says_whether_anybody_listens(door: Door) -> None:
    publisher = await door.connect("p")
    assert await publisher.publish("a", b"x", qos=2) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    subscriber = await door.connect("s")
    await subscriber.subscribe("a")
    assert await publisher.publish("a", b"x", qos=2) == ReasonCode.SUCCESS


@statement("MQTT5-4.3.3-10", "MQTT311-4.3.3-2")
async def test_a_message_sent_twice_before_pubrel_is_delivered_once(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=2)
    for dup in (False, True, True):
        await publisher.send(Publish("a", b"x", qos=2, packet_identifier=1, dup=dup))
        assert (await publisher.expect(Pubrec)).packet_identifier == 1
    await publisher.send(Pubrel(1))
    await publisher.expect(Pubcomp)
    assert (await subscriber.message()).payload == b"x"
    await subscriber.quiet()


@statement("MQTT5-4.3.3-12")
async def test_after_pubcomp_the_packet_identifier_is_free(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=2)
    for payload in (b"1", b"2"):
        await publisher.send(Publish("a", payload, qos=2, packet_identifier=1))
        await publisher.expect(Pubrec)
        await publisher.send(Pubrel(1))
        await publisher.expect(Pubcomp)
    assert texts(await subscriber.messages(2)) == [("a", b"1"), ("a", b"2")]


@statement("MQTT5-4.3.3-10", "MQTT5-4.3.3-11")
async def test_a_publisher_that_reconnects_is_remembered(door: Door, version: int) -> None:
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=2)
    publisher = await door.durable("p", version)
    await publisher.send(Publish("a", b"x", qos=2, packet_identifier=5))
    await publisher.expect(Pubrec)
    await publisher.lose()
    publisher = await door.durable("p", version, session_present=True)
    await publisher.send(Publish("a", b"x", qos=2, packet_identifier=5, dup=True))
    assert (await publisher.expect(Pubrec)).packet_identifier == 5
    await publisher.lose()
    publisher = await door.durable("p", version, session_present=True)
    await publisher.send(Pubrel(5))
    pubcomp = await publisher.expect(Pubcomp)
    assert (pubcomp.packet_identifier, pubcomp.reason) == (5, 0)
    assert (await subscriber.message()).payload == b"x"
    await subscriber.quiet()


async def test_a_pubrel_for_nothing_is_completed(door: Door, version: int) -> None:
    """A Client that lost the PUBCOMP sends its PUBREL again and must come to an end."""
    peer = await door.connect("c", version)
    await peer.send(Pubrel(7))
    pubcomp = await peer.expect(Pubcomp)
    assert pubcomp.packet_identifier == 7
    if version == MQTT_5_0:
        assert pubcomp.reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND


async def test_a_pubrec_for_nothing_is_answered(door: Door) -> None:
    peer = await door.connect("c")
    await peer.send(Pubrec(7))
    pubrel = await peer.expect(Pubrel)
    assert (pubrel.packet_identifier, pubrel.reason) == (7, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)


async def test_a_pubcomp_for_nothing_does_no_harm(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(Pubcomp(7))
    await peer.quiet()


@statement("MQTT5-4.3.3-3", "MQTT5-4.3.3-5", "MQTT5-4.3.3-6", "MQTT5-4.4.0-1", "MQTT5-3.3.1-1")
@statement("MQTT311-4.4.0-1", "MQTT311-3.3.1-1", "MQTT311-4.3.3-1")
async def test_a_reconnect_goes_on_where_the_exchange_stopped(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.durable("s", version)
    await subscriber.subscribe("a", qos=2)
    for number in range(3):
        await publisher.publish("a", b"%d" % number, qos=2)
    sent = [await subscriber.expect(Publish) for _ in range(3)]
    await subscriber.send(Pubrec(sent[0].packet_identifier))
    assert (await subscriber.expect(Pubrel)).packet_identifier == sent[0].packet_identifier
    await subscriber.lose()

    subscriber = await door.durable("s", version, session_present=True)
    seen: list[tuple[str, int, bool]] = []
    for _ in range(3):
        packet = await subscriber.next()
        assert isinstance(packet, Publish | Pubrel)
        dup = isinstance(packet, Publish) and packet.dup
        seen.append((type(packet).__name__, packet.packet_identifier, dup))
        if isinstance(packet, Publish):
            assert packet.payload == b"%d" % [p.packet_identifier for p in sent].index(packet.packet_identifier)
    assert seen == [
        ("Pubrel", sent[0].packet_identifier, False),
        ("Publish", sent[1].packet_identifier, True),
        ("Publish", sent[2].packet_identifier, True),
    ]
    await subscriber.quiet()


@statement("MQTT5-4.4.0-2")
async def test_a_pubrec_that_refuses_ends_the_exchange(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.durable("s")
    await subscriber.subscribe("a", qos=2)
    await publisher.publish("a", b"x", qos=2)
    publish = await subscriber.expect(Publish)
    await subscriber.send(Pubrec(publish.packet_identifier, ReasonCode.QUOTA_EXCEEDED))
    await subscriber.quiet()
    await subscriber.lose()
    subscriber = await door.durable("s", session_present=True)
    await subscriber.quiet()


@statement("MQTT5-4.6.0-5", "MQTT5-4.6.0-3", "MQTT311-4.6.0-6", "MQTT311-4.6.0-3")
async def test_order_is_kept(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe("a", qos=2)
    await publisher.send(*(Publish("a", b"%d" % n, qos=2, packet_identifier=n) for n in range(1, 21)))
    for number in range(1, 21):
        assert (await publisher.expect(Pubrec)).packet_identifier == number
    await publisher.send(*(Pubrel(n) for n in range(1, 21)))
    for number in range(1, 21):
        assert (await publisher.expect(Pubcomp)).packet_identifier == number
    received = [await subscriber.expect(Publish) for _ in range(20)]
    assert [publish.payload for publish in received] == [b"%d" % n for n in range(1, 21)]
    await subscriber.send(*(Pubrec(publish.packet_identifier) for publish in received))
    for publish in received:
        assert (await subscriber.expect(Pubrel)).packet_identifier == publish.packet_identifier
