"""Sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, statement by statement."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Unsuback,
)
from tests.conformance.scripts import VERSIONS, Gate, Reader, limits, none
from tests.pair import Pair, raw, string
from tests.statements import statement


def subscribe(version: int, *filters: tuple[str, int]) -> bytes:
    """SUBSCRIBE 1 of these Topic Filters with their Subscription Options bytes."""
    return raw(0x82, b"\x00\x01", none(version), *[string(name) + bytes([options]) for name, options in filters])


# -- 3.8 SUBSCRIBE


@statement("MQTT5-3.8.3-2", "MQTT311-3.8.3-3")
@VERSIONS
def test_a_subscribe_without_topic_filter(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(subscribe(version))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.8.3-1", "MQTT311-3.8.3-1", "MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
@VERSIONS
@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x01", b"\x00\x05abc", b"\x00\x01a"], ids=bytes.hex)
def test_a_subscribe_cut_short(version: int, rest: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x82, b"\x00\x01", none(version), rest))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.8.3-3")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local(qos: int) -> None:
    pair = Pair()
    client, other = pair.connected("c"), pair.connected("o")
    client.subscribe("a", qos=qos, no_local=True)
    client.publish("a", b"mine", qos=qos)
    client.nothing()
    other.publish("a", b"theirs", qos=qos)
    assert client.accept().payload == b"theirs"
    client.subscribe("a", qos=qos, no_local=False)
    client.publish("a", b"mine", qos=0)
    assert client.accept().payload == b"mine"


@statement("MQTT5-3.8.3-3", "MQTT5-3.3.4-2")
def test_no_local_counts_for_its_own_subscription_only() -> None:
    client = Pair().connected("c")
    client.subscribe("a/#", no_local=True, subscription_identifier=1)
    client.subscribe("a/b", subscription_identifier=2)
    client.publish("a/b", b"x")
    assert client.receive(Publish).subscription_identifiers == (2,)
    client.nothing()


@statement("MQTT5-3.8.3-3")
def test_no_local_holds_for_the_client_identifier_over_connections() -> None:
    pair = Pair()
    client = pair.connected("c", session_expiry_interval=100)
    client.subscribe("a", qos=1, no_local=True)
    client.drop()
    client = pair.connected("c", clean_start=False, session_expiry_interval=100)
    client.publish("a", b"mine", qos=1)
    client.nothing()


@statement("MQTT5-3.8.3-4")
def test_no_local_on_a_shared_subscription() -> None:
    client = Pair().connected("c")
    client.send(subscribe(MQTT_5_0, ("$share/g/a", 0x04)))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.8.3-5")
@pytest.mark.parametrize("options", [0x40, 0x80, 0xC0])
def test_reserved_bits_of_subscription_options(options: int) -> None:
    client = Pair().connected("c")
    client.send(subscribe(MQTT_5_0, ("a", 0), ("b", options)))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT311-3.8.3-4")
@pytest.mark.parametrize("options", [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80])
def test_reserved_bits_of_requested_qos(options: int) -> None:
    client = Pair().connected("c", MQTT_3_1_1)
    client.send(subscribe(MQTT_3_1_1, ("a", 0), ("b", options)))
    client.ends()


@statement("MQTT5-4.13.1-1")
@pytest.mark.parametrize("options", [0x03, 0x30])
def test_qos_3_and_retain_handling_3_are_protocol_errors(options: int) -> None:
    client = Pair().connected("c")
    client.send(subscribe(MQTT_5_0, ("a", options)))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.8.4-5", "MQTT311-3.8.4-4", "MQTT5-3.8.4-6", "MQTT311-3.8.4-5", "MQTT5-3.8.4-7", "MQTT5-3.9.3-1")
@statement("MQTT311-3.9.3-1", "MQTT5-3.9.3-2", "MQTT311-3.9.3-2")
@VERSIONS
def test_suback_has_a_reason_for_each_filter_in_order(version: int) -> None:
    pair = Pair(authenticator=Gate(Reader()))
    client = pair.connected("c", version)
    client.send(subscribe(version, ("a", 2), ("no", 1), ("b", 0), ("c", 1), ("a", 0)))
    failure = 0x87 if version == MQTT_5_0 else 0x80
    client.receive_bytes(raw(0x90, b"\x00\x01", none(version), bytes([2, failure, 0, 1, 0])))
    client.nothing()


@statement("MQTT5-3.8.4-5", "MQTT311-3.8.4-4")
@VERSIONS
def test_all_filters_of_a_subscribe_count(version: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("c", version), pair.connected("p", version)
    client.send(subscribe(version, ("a", 0), ("b", 1), ("b", 2)))
    client.receive(Suback)
    for topic, qos in (("a", 0), ("b", 2)):
        publisher.publish(topic, b"x", qos=2)
        assert client.accept().qos == qos
        client.nothing()


@statement("MQTT5-3.8.4-8", "MQTT311-3.8.4-6", "MQTT5-3.8.4-7", "MQTT311-3.8.4-5")
@VERSIONS
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_delivered_at_the_lesser_qos(version: int, published: int, granted: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("c", version), pair.connected("p", version)
    assert client.subscribe("a", qos=granted) == granted
    publisher.publish("a", b"x", qos=published)
    assert client.accept().qos == min(published, granted)
    client.nothing()


@statement("MQTT5-3.8.4-8", "MQTT311-3.8.4-6")
@VERSIONS
def test_the_qos_granted_counts_and_not_the_qos_asked_for(version: int) -> None:
    pair = Pair()
    low = limits(maximum_qos=1)
    client = pair.client(version, low)
    client.connect("c")
    assert client.subscribe("a", qos=2) == 1
    pair.connected("p", version).publish("a", b"x", qos=2)
    assert client.accept().qos == 1


@statement("MQTT5-3.8.4-3", "MQTT311-3.8.4-3")
@VERSIONS
def test_the_same_filter_replaces_the_subscription(version: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("c", version), pair.connected("p", version)
    for qos in (0, 2, 1):
        assert client.subscribe("a", qos=qos) == qos
        publisher.publish("a", b"x", qos=2)
        assert client.accept().qos == qos
        client.nothing()  # one Subscription, one copy
    client.unsubscribe("a")
    publisher.publish("a", b"x", qos=2)
    client.nothing()


@statement("MQTT5-3.8.4-4", "MQTT311-3.8.4-3")
@VERSIONS
def test_nothing_is_lost_when_a_subscription_is_replaced(version: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("c", version), pair.connected("p", version)
    client.subscribe("a", qos=1)
    for number in range(100):
        publisher.publish("a", b"%d" % number, qos=1)
        if number % 10 == 5:
            client.send(subscribe(version, ("a", 1)))
    got: list[bytes] = []
    while (data := client.next()) is not None:
        if data[0] == 0x90:
            continue
        message = client.decode(data)
        assert isinstance(message, Publish)
        got.append(message.payload)
        client.send(Puback(message.packet_identifier))
    assert got == [b"%d" % number for number in range(100)]


@statement("MQTT311-3.8.3-2")
@VERSIONS
def test_a_server_without_wildcards(version: int) -> None:
    pair = Pair(limits(wildcard_subscription_available=False))
    client = pair.client(version)
    connack = client.connect("c")
    assert client.subscribe("a/b") == 0
    client.send(subscribe(version, ("a/+", 0)))
    if version == MQTT_5_0:
        assert connack.properties.wildcard_subscription_available == 0
        client.ends(ReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)
    else:
        client.receive_bytes(bytes.fromhex("90 03 00 01 80"))
        pair.connected("p", version).publish("a/c", b"x")
        client.nothing()


@statement("MQTT5-3.2.2-8")
def test_what_is_not_available_is_announced_and_refused() -> None:
    pair = Pair(limits(shared_subscription_available=False, subscription_identifier_available=False))
    client = pair.client()
    connack = client.connect("c")
    assert connack.properties.shared_subscription_available == 0
    assert connack.properties.subscription_identifier_available == 0
    client.send(subscribe(MQTT_5_0, ("$share/g/a", 0)))
    client.ends(ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
    client = pair.connected("c")
    client.send(raw(0x82, b"\x00\x01\x02\x0b\x01", string("a"), b"\x00"))
    client.ends(ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED)


@statement("MQTT5-3.9.3-2", "MQTT311-3.9.3-2")
@VERSIONS
def test_more_subscriptions_than_a_session_may_have(version: int) -> None:
    client = Pair(limits(subscriptions_per_session=1)).connected("c", version)
    client.send(subscribe(version, ("a", 1), ("b", 1), ("a", 0)))
    failure = 0x97 if version == MQTT_5_0 else 0x80
    assert client.next() == raw(0x90, b"\x00\x01", none(version), bytes([1, failure, 0]))


# -- 3.10 UNSUBSCRIBE


@statement("MQTT5-3.10.3-2", "MQTT311-3.10.3-2")
@VERSIONS
def test_an_unsubscribe_without_topic_filter(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xA2, b"\x00\x01", none(version)))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.10.3-1", "MQTT311-3.10.3-1")
@VERSIONS
@pytest.mark.parametrize("rest", [b"\x00", b"\x00\x05abc", string("a") + b"\x00"], ids=bytes.hex)
def test_an_unsubscribe_not_packed(version: int, rest: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xA2, b"\x00\x01", none(version), rest))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.10.4-1", "MQTT311-3.10.4-1", "MQTT5-3.10.4-5", "MQTT311-3.10.4-5", "MQTT5-3.11.3-1")
@statement("MQTT5-3.11.3-2", "MQTT5-3.10.4-6", "MQTT311-3.10.4-6", "MQTT5-3.10.4-2", "MQTT311-3.10.4-2")
@VERSIONS
def test_unsubscribe_takes_out_what_is_the_same_character_by_character(version: int) -> None:
    pair = Pair()
    client, publisher = pair.connected("c", version), pair.connected("p", version)
    client.send(subscribe(version, ("a/+", 0), ("a/#", 0), ("b", 0), ("B", 0)))
    client.receive(Suback)
    client.send(raw(0xA2, b"\x00\x02", none(version), *map(string, ["a/+", "a/b", "#", "b", "b"])))
    if version == MQTT_5_0:
        client.receive_bytes(raw(0xB0, b"\x00\x02\x00", bytes([0x00, 0x11, 0x11, 0x00, 0x11])))
    else:
        client.receive_bytes(bytes.fromhex("b0 02 00 02"))
    client.nothing()
    for topic in ("a/b", "b", "B"):
        publisher.publish(topic, b"x")
    assert client.receive(Publish).topic == "a/b"  # a/# is still there
    assert client.receive(Publish).topic == "B"
    client.nothing()


@statement("MQTT5-3.10.4-2", "MQTT311-3.10.4-2", "MQTT5-3.10.4-3", "MQTT311-3.10.4-3")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reconnect", [False, True])
def test_deliveries_begun_are_completed_after_unsubscribe(version: int, qos: int, reconnect: bool) -> None:
    pair = Pair()
    publisher = pair.connected("p", version)
    client = pair.connected("c", version, clean_start=False, session_expiry_interval=100)
    client.subscribe("a", qos=qos)
    publisher.publish("a", b"x", qos=qos)
    message = client.receive(Publish)
    client.unsubscribe("a")
    publisher.publish("a", b"y", qos=qos)
    client.nothing()
    if reconnect:
        client.drop()
        client = pair.connected("c", version, clean_start=False, session_expiry_interval=100)
        again = client.receive(Publish)
        assert (again.packet_identifier, again.payload, again.dup) == (message.packet_identifier, b"x", True)
    if qos == 1:
        client.send(Puback(message.packet_identifier))
    else:
        client.send(Pubrec(message.packet_identifier))
        client.receive(Pubrel)
        client.send(Pubcomp(message.packet_identifier))
    client.nothing()


@statement("MQTT5-3.10.4-4", "MQTT5-3.10.4-5", "MQTT311-3.10.4-5")
@VERSIONS
def test_unsubscribe_of_nothing_is_answered(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xA2, b"\x00\x09", none(version), string("nothing")))
    assert client.receive(Unsuback).packet_identifier == 9
    client.nothing()
