"""SUBSCRIBE, SUBACK, Subscription Options and the matching of Topic Filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish, Suback, Subscribe, SubscriptionRequest
from tests.scripted import properties, texts
from tests.statements import statement

if TYPE_CHECKING:
    from tests.doors import Door


@statement("MQTT5-3.8.4-1", "MQTT5-3.8.4-2", "MQTT5-3.8.4-5", "MQTT5-3.8.4-6", "MQTT5-3.8.4-7", "MQTT5-3.9.3-1")
@statement("MQTT5-2.2.1-6", "MQTT311-3.8.4-1", "MQTT311-3.8.4-2", "MQTT311-3.8.4-4", "MQTT311-3.8.4-5")
@statement("MQTT311-3.9.3-1", "MQTT311-2.3.1-7")
async def test_each_filter_has_its_answer_in_order(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    requests = [SubscriptionRequest("a", 2), SubscriptionRequest("b/+", 0), SubscriptionRequest("c/#", 1)]
    await peer.send(Subscribe(777, requests))
    suback = await peer.expect(Suback)
    assert (suback.packet_identifier, suback.reasons) == (777, [2, 0, 1])


MATCHES = {
    "a/b": ["a/b"],
    "a/+": ["a/b", "a/"],
    "a/#": ["a", "a/b", "a/", "a/b/c", "a//c"],
    "+": ["a", "b"],
    "+/+": ["a/b", "a/", "/", "/b"],
    "/+": ["/", "/b"],
    "/#": ["/", "/b", "//"],
    "+/#": ["a", "b", "a/b", "a/", "a/b/c", "a//c", "/", "/b", "//"],
    "#": ["a", "b", "a/b", "a/", "a/b/c", "a//c", "/", "/b", "//"],
    "a/+/c": ["a/b/c", "a//c"],
    "+/b/#": ["a/b", "a/b/c", "/b"],
    "$x/+": ["$x/y"],
    "$x/#": ["$x/y", "$x/y/z", "$x"],
    "$x/y": ["$x/y"],
    "//": ["//"],
}
TOPICS = ["a", "b", "a/b", "a/", "a/b/c", "a//c", "/", "/b", "//", "$x", "$x/y", "$x/y/z"]


@statement("MQTT5-4.7.2-1", "MQTT5-4.7.1-1", "MQTT5-4.7.1-2", "MQTT5-3.3.2-3")
@statement("MQTT311-4.7.2-1", "MQTT311-4.7.1-2", "MQTT311-4.7.1-3", "MQTT311-3.3.2-3")
@pytest.mark.parametrize("topic_filter", list(MATCHES))
async def test_wildcards(door: Door, version: int, topic_filter: str) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    await subscriber.subscribe(topic_filter)
    await publisher.send(*(Publish(topic, b"x") for topic in TOPICS))
    await publisher.quiet()
    expected = sorted(MATCHES[topic_filter])
    assert sorted(publish.topic for publish in await subscriber.messages(len(expected))) == expected
    await subscriber.quiet()


@statement("MQTT5-3.8.4-3", "MQTT311-3.8.4-3")
async def test_the_same_filter_again_replaces_the_subscription(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    for qos in (0, 2, 1):
        await subscriber.subscribe("a/+", qos=qos)
        await publisher.publish("a/b", b"x", qos=2)
        assert (await subscriber.message()).qos == qos
        await subscriber.quiet()


@statement("MQTT5-3.8.4-3")
async def test_a_replaced_subscription_has_the_new_options(door: Door) -> None:
    subscriber = await door.connect("s")
    publisher = await door.connect("p")
    await subscriber.subscribe("a", identifier=1)
    await subscriber.subscribe("a", identifier=2)
    await publisher.publish("a")
    assert (await subscriber.message()).subscription_identifiers == (2,)
    await subscriber.subscribe("a")
    await publisher.publish("a")
    assert (await subscriber.message()).subscription_identifiers == ()
    await subscriber.subscribe(SubscriptionRequest("a", no_local=True))
    await subscriber.publish("a", b"not to myself")
    await subscriber.subscribe("a")
    await subscriber.send(Publish("a", b"own"))
    assert (await subscriber.message()).payload == b"own"


@statement("MQTT5-3.3.4-2", "MQTT311-3.3.5-1")
async def test_overlapping_subscriptions_give_one_copy_at_the_highest_qos(door: Door, version: int) -> None:
    publisher = await door.connect("p", version)
    subscriber = await door.connect("s", version)
    requests = [SubscriptionRequest("a/#", 0), SubscriptionRequest("a/+", 2), SubscriptionRequest("a/b", 1)]
    await subscriber.subscribe(*requests)
    for qos in (0, 1, 2):
        await publisher.publish("a/b", b"x", qos=qos)
        assert (await subscriber.message()).qos == qos
        await subscriber.quiet()


@statement("MQTT5-3.3.4-3", "MQTT5-3.3.4-4")
async def test_one_copy_carries_the_identifiers_of_all_that_match(door: Door) -> None:
    publisher = await door.connect("p")
    subscriber = await door.connect("s")
    await subscriber.subscribe("a/#", identifier=1)
    await subscriber.subscribe("a/+", identifier=268_435_455)
    await subscriber.subscribe("a/b")
    await subscriber.subscribe("+/b", identifier=1)
    await subscriber.subscribe("c", identifier=4)
    await publisher.publish("a/b")
    assert set((await subscriber.message()).subscription_identifiers) == {1, 268_435_455}
    await publisher.publish("c")
    assert (await subscriber.message()).subscription_identifiers == (4,)
    await publisher.publish("x/b")
    assert (await subscriber.message()).subscription_identifiers == (1,)
    await subscriber.quiet()


async def test_subscription_identifiers_reach_retained_and_queued_messages(door: Door) -> None:
    publisher = await door.connect("p")
    await publisher.publish("a/b", b"retained", retain=True)
    subscriber = await door.durable("s")
    await subscriber.subscribe("a/+", qos=1, identifier=5)
    assert (await subscriber.message()).subscription_identifiers == (5,)
    await subscriber.lose()
    await publisher.publish("a/c", b"queued", qos=1)
    subscriber = await door.durable("s", session_present=True)
    assert (await subscriber.message()).subscription_identifiers == (5,)


@statement("MQTT5-3.8.3-3")
async def test_no_local(door: Door) -> None:
    peer, other = await door.connect("c"), await door.connect("other")
    await peer.subscribe(SubscriptionRequest("a", 1, no_local=True))
    await other.subscribe(SubscriptionRequest("a", 1, no_local=True))
    await peer.publish("a", b"mine", qos=1)
    assert (await other.message()).payload == b"mine"
    await other.publish("a", b"theirs", qos=1)
    assert (await peer.message()).payload == b"theirs"
    await peer.quiet()
    await other.quiet()


async def test_no_local_of_one_subscription_leaves_the_others(door: Door) -> None:
    peer = await door.connect("c")
    await peer.subscribe(SubscriptionRequest("a/+", no_local=True), SubscriptionRequest("a/#", no_local=False))
    await peer.send(Publish("a/b", b"x"))
    assert (await peer.message()).payload == b"x"
    await peer.quiet()


@statement("MQTT5-3.8.3-2", "MQTT311-3.8.3-3")
async def test_a_subscribe_without_filters_is_a_protocol_error(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\x82\x03\x00\x01\x00" if version == MQTT_5_0 else b"\x82\x02\x00\x01")
    await peer.disconnected(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.8.1-1", "MQTT311-3.8.1-1", "MQTT5-2.1.3-1", "MQTT311-2.2.2-2")
async def test_the_reserved_flags_of_subscribe(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\x80\x07\x00\x01\x00\x00\x01a\x00" if version == MQTT_5_0 else b"\x80\x06\x00\x01\x00\x01a\x00")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.8.3-5", "MQTT311-3-8.3-4")
async def test_the_reserved_bits_of_the_options(door: Door, version: int) -> None:
    peer = await door.connect("c", version)
    await peer.send(b"\x82\x07\x00\x01\x00\x00\x01a\xc0" if version == MQTT_5_0 else b"\x82\x06\x00\x01\x00\x01a\x04")
    await peer.disconnected(ReasonCode.MALFORMED_PACKET)


@statement("MQTT311-3.8.3-2")
async def test_wildcards_switched_off(door: Door) -> None:
    door.settings["wildcard_subscription_available"] = False
    new = await door.peer(MQTT_5_0)
    assert (await new.connect("new")).properties.wildcard_subscription_available == 0
    assert await new.subscribe("a", qos=1) == [1]
    old = await door.connect("old", MQTT_3_1_1)
    assert await old.subscribe("a", "a/+", "#", qos=1) == [1, 0x80, 0x80]
    await new.send(Publish("a", b"x"))
    for peer in (old, new):
        assert texts([await peer.message()]) == [("a", b"x")]
    await new.send(Subscribe(9, [SubscriptionRequest("a/+")]))
    await new.disconnected(ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)


async def test_subscription_identifiers_switched_off(door: Door) -> None:
    door.settings["subscription_identifier_available"] = False
    peer = await door.peer()
    assert (await peer.connect("c")).properties.subscription_identifier_available == 0
    assert await peer.subscribe("a") == [0]
    await peer.send(Subscribe(9, [SubscriptionRequest("a")], properties(subscription_identifiers=[3])))
    await peer.disconnected(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED)
