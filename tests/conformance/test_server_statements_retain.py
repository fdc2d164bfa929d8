"""Retained messages (section 3.3.1.3) and what a SUBSCRIBE asks of them, statement by statement."""

from __future__ import annotations

import pytest

from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Publish
from tests.conformance.scripts import VERSIONS, publish
from tests.pair import Client, Pair
from tests.statements import statement


def retained(pair: Pair, topic_filter: str, version: int = MQTT_5_0) -> list[tuple[str, bytes, int]]:
    """What a new subscriber gets: (topic, payload, QoS)."""
    client = pair.connected("late", version)
    client.subscribe(topic_filter, qos=2)
    found: list[tuple[str, bytes, int]] = []
    client.send(b"\xc0\x00")
    while (data := client.next()) != b"\xd0\x00":
        assert data is not None
        assert data[0] & 1, "not marked as retained"
        message = client.decode(data)
        assert isinstance(message, Publish)
        found.append((message.topic, message.payload, message.qos))
    client.drop()
    return sorted(found)


@statement("MQTT5-3.3.1-5", "MQTT311-3.3.1-5", "MQTT311-3.3.1-6", "MQTT311-3.3.1-8", "MQTT5-3.3.1-9")
@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_is_kept_with_its_qos_for_those_who_come(version: int, qos: int) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    publisher.publish("a", b"first", qos=qos, retain=True)
    assert retained(pair, "a", version) == [("a", b"first", qos)]
    publisher.publish("a", b"second", qos=qos, retain=True)
    publisher.publish("b", b"other", qos=qos, retain=True)
    assert retained(pair, "#", version) == [("a", b"second", qos), ("b", b"other", qos)]
    assert retained(pair, "c", version) == []


@statement("MQTT311-3.3.1-7", "MQTT5-3.3.1-5")
@VERSIONS
def test_a_retained_message_at_qos_0_replaces_one_of_higher_qos(version: int) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    publisher.publish("a", b"old", qos=2, retain=True)
    publisher.publish("a", b"new", qos=0, retain=True)
    assert retained(pair, "a", version) == [("a", b"new", 0)]


@statement("MQTT5-3.3.1-5")
def test_a_retained_message_that_expires_at_once_replaces_too() -> None:
    pair = Pair()
    publisher = pair.connected("p")
    publisher.publish("a", b"old", retain=True)
    publisher.publish("a", b"new", retain=True, message_expiry_interval=0)
    assert retained(pair, "a") == []


@statement("MQTT5-3.3.1-6", "MQTT311-3.3.1-10", "MQTT5-3.3.1-7", "MQTT311-3.3.1-11")
@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_empty_retained_message_clears(version: int, qos: int) -> None:
    pair = Pair()
    publisher, watcher = pair.connected("p", version), pair.connected("w", version)
    publisher.publish("a", b"x", retain=True)
    publisher.publish("b", b"y", retain=True)
    watcher.subscribe("a", qos=2, retain_handling=0)
    assert watcher.receive(Publish).payload == b"x"
    publisher.publish("a", b"", qos=qos, retain=True)
    message = watcher.accept()
    assert (message.payload, message.retain, message.qos) == (b"", False, qos)
    assert retained(pair, "#", version) == [("b", b"y", 0)]
    publisher.publish("never", b"", qos=qos, retain=True)
    assert retained(pair, "#", version) == [("b", b"y", 0)]


@statement("MQTT5-3.3.1-8", "MQTT311-3.3.1-12")
@VERSIONS
def test_a_message_without_retain_leaves_what_is_retained(version: int) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    publisher.publish("a", b"kept", retain=True)
    for payload in (b"passing", b""):
        publisher.publish("a", payload, qos=1)
        publisher.publish("b", payload, qos=1)
    assert retained(pair, "#", version) == [("a", b"kept", 0)]


@statement("MQTT311-3.1.2-7")
@VERSIONS
def test_retained_messages_outlive_the_session_of_their_publisher(version: int) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    publisher.publish("a", b"x", retain=True)
    publisher.disconnect()
    pair.connected("p", version).drop()
    pair.advance(1_000_000)
    assert retained(pair, "a", version) == [("a", b"x", 0)]


def subscribed_again(retain_handling: int, version: int = MQTT_5_0) -> tuple[Client, int, int]:
    """A subscriber, and how many retained messages it got for a new Subscription and for the same once more."""
    pair = Pair()
    publisher = pair.connected("p", version)
    publisher.publish("a/1", b"x", retain=True)
    publisher.publish("a/2", b"x", retain=True)
    client = pair.connected("s", version)
    counts: list[int] = []
    for _ in range(2):
        client.subscribe("a/+", retain_handling=retain_handling)
        count = 0
        while client.next() is not None:
            count += 1
        counts.append(count)
    return client, counts[0], counts[1]


@statement("MQTT5-3.3.1-9", "MQTT311-3.3.1-6", "MQTT5-3.8.4-4", "MQTT311-3.8.4-3")
@VERSIONS
def test_retain_handling_0_sends_at_every_subscribe(version: int) -> None:
    assert subscribed_again(0, version)[1:] == (2, 2)


@statement("MQTT5-3.3.1-10")
def test_retain_handling_1_sends_to_new_subscriptions() -> None:
    client, first, second = subscribed_again(1)
    assert (first, second) == (2, 0)
    client.unsubscribe("a/+")
    client.subscribe("a/+", retain_handling=1)
    assert client.receive(Publish).topic in ("a/1", "a/2")


@statement("MQTT5-3.3.1-11")
def test_retain_handling_2_sends_none() -> None:
    assert subscribed_again(2)[1:] == (0, 0)


@statement("MQTT5-3.3.1-12", "MQTT311-3.3.1-9")
@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_an_established_subscription_sees_no_retain_flag(version: int, granted: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("s", version), pair.connected("p", version)
    client.subscribe("a", qos=granted)
    for published in (0, 1, 2):
        publisher.publish("a", b"x", qos=published, retain=True)
        message = client.accept()
        assert (message.qos, message.retain) == (min(granted, published), False)


@statement("MQTT5-3.3.1-12")
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic_alias_maximum", [0, 5])
@pytest.mark.parametrize("subscription_identifier", [0, 9])
def test_the_retain_flag_is_taken_off_whatever_else_is_put_on(
    qos: int, topic_alias_maximum: int, subscription_identifier: int
) -> None:
    pair = Pair()
    client, publisher = pair.connected("s", topic_alias_maximum=topic_alias_maximum), pair.connected("p")
    client.subscribe("a", qos=qos, subscription_identifier=subscription_identifier)
    for _ in range(3):
        publisher.publish("a", b"x", qos=qos, retain=True)
        assert not client.accept().retain


@statement("MQTT5-3.3.1-13")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retain_as_published_forwards_the_flag(qos: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("s"), pair.connected("p")
    client.subscribe("a", qos=qos, retain_as_published=True)
    for retain in (True, False, True):
        publisher.publish("a", b"x", qos=qos, retain=retain)
        assert client.accept().retain == retain


@statement("MQTT5-3.3.1-12", "MQTT5-3.3.1-13")
def test_retain_as_published_does_not_concern_what_was_retained() -> None:
    pair = Pair()
    pair.connected("p").publish("a", b"x", retain=True)
    for retain_as_published in (False, True):
        client = pair.connected("s")
        client.subscribe("a", retain_as_published=retain_as_published)
        assert client.receive(Publish).retain
        client.drop()


@statement("MQTT5-3.3.1-9", "MQTT311-3.3.1-6", "MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@VERSIONS
def test_retained_messages_are_matched_like_others(version: int) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    for topic in ("a", "a/b", "a/b/c", "/a", "$x/a"):
        publisher.publish(topic, b"x", retain=True)

    def topics(topic_filter: str) -> list[str]:
        return [topic for topic, _, _ in retained(pair, topic_filter, version)]

    assert topics("#") == ["/a", "a", "a/b", "a/b/c"]
    assert topics("a/#") == ["a", "a/b", "a/b/c"]
    assert topics("a/+") == ["a/b"]
    assert topics("+/a") == ["/a"]
    assert topics("$x/#") == ["$x/a"]
    assert topics("+/b/+") == ["a/b/c"]


@statement("MQTT311-3.3.1-8")
def test_the_bytes_of_a_retained_message() -> None:
    pair = Pair()
    pair.connected("p", MQTT_3_1_1).send(publish(MQTT_3_1_1, "a", b"x", 1))
    client = pair.connected("s", MQTT_3_1_1)
    client.subscribe("a")
    client.receive_bytes(bytes.fromhex("31 04 00 01 61 78"))
    client.nothing()
