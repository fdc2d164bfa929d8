"""What a Server's CONNACK rules out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.client import connect
from broker.client.announced import NO_MAXIMUM, Announced
from broker.client.errors import PublishRefused, SubscribeRefused
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Properties, Publish, Subscribe
from tests.client.line import Line, kinds
from tests.client.server import Peer, Server
from tests.statements import statement

if TYPE_CHECKING:
    import trio
    from trio.testing import MockClock


def test_what_is_not_mentioned_is_there() -> None:
    announced = Announced(NO_PROPERTIES)
    assert (announced.receive_maximum, announced.maximum_packet_size, announced.maximum_qos) == (65_535, NO_MAXIMUM, 2)
    assert announced.retain_available
    assert announced.wildcard_subscription_available
    assert announced.shared_subscription_available
    assert announced.subscription_identifier_available


@statement("MQTT5-3.2.2-11", "MQTT5-3.2.2-14", "MQTT5-3.2.2-15")
def test_what_the_connack_rules_out_is_not_sent() -> None:
    line = Line()
    line.connect(maximum_qos=1, retain_available=0, maximum_packet_size=20)
    refused = [line.publish(2), line.publish(0, retain=True), line.publish(1, b"x" * 15)]
    allowed = line.publish(1, b"x" * 12)
    assert [one.error.reason for one in refused if isinstance(one.error, PublishRefused)] == [
        ReasonCode.QOS_NOT_SUPPORTED,
        ReasonCode.RETAIN_NOT_SUPPORTED,
        ReasonCode.PACKET_TOO_LARGE,
    ]
    (sent,) = line.out()
    assert isinstance(sent, Publish)
    assert allowed.size == 20
    line.lose()
    line.connect()  # this one rules nothing out
    bigger = line.publish(2, b"x" * 100)
    assert kinds(line.out()) == [Publish]
    assert bigger.error is None


def test_what_the_connack_rules_out_is_not_asked_for() -> None:
    line = Line()
    line.connect(
        wildcard_subscription_available=0,
        shared_subscription_available=0,
        subscription_identifier_available=0,
        maximum_packet_size=30,
    )
    wild, shared, long = line.subscribe("a/+"), line.subscribe("$share/g/a"), line.subscribe("a" * 30)
    reasons = [one.error.reasons for one in (wild, shared, long) if isinstance(one.error, SubscribeRefused)]
    assert reasons == [
        {"a/+": ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED},
        {"$share/g/a": ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED},
        {"a" * 30: ReasonCode.PACKET_TOO_LARGE},
    ]
    plain = line.subscribe("a")
    (packet,) = line.out()
    assert isinstance(packet, Subscribe)
    assert packet.properties is NO_PROPERTIES
    assert plain.error is None


@statement("MQTT5-3.2.2-17", "MQTT5-3.2.2-18", "MQTT5-3.3.2-7")
async def test_topic_aliases(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    server = Server()
    three, one = Properties(), Properties()
    three.topic_alias_maximum, one.topic_alias = 3, 1
    peers: list[Peer] = []

    async def serve() -> None:
        peers.append(await server.accept(properties=three))

    nursery.start_soon(serve)
    async with connect(stream=server.open) as client:
        for topic, qos in (("a/é", 0), ("a/é", 1), ("b", 0), ("b", 2), ("a/é", 0)):
            client.publish_nowait(topic, "x", qos, properties=one)
        packets = [await peers[0].expect(Publish) for _ in range(5)]
        assert [(packet.topic, packet.topic_alias) for packet in packets] == [
            *[("a/é", 1), ("", 1), ("b", 1)],
            *[("", 1), ("a/é", 1)],
        ]
        assert {packet.payload for packet in packets} == {b"x"}
        await peers[0].cut()
        peer = await server.accept(session_present=True, properties=three)
        again = [await peer.expect(Publish) for _ in range(2)]
        assert [(packet.topic, packet.topic_alias, packet.dup) for packet in again] == [
            ("a/é", 1, True),
            ("b", 1, True),
        ]
        above = Properties()
        above.topic_alias = 4
        with pytest.raises(PublishRefused, match="Topic Alias Maximum is 3"):
            await client.publish("a", properties=above)
        await peer.cut()
        peer = await server.accept(session_present=True)
        with pytest.raises(PublishRefused, match="Topic Alias Maximum is 0"):
            await client.publish("a", properties=one)
        nursery.start_soon(peer.leave)
