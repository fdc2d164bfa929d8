"""Sections 3.3 to 3.7: PUBLISH and its acknowledgements, statement by statement; retained messages apart."""

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
)
from tests.conformance.scripts import VERSIONS, Gate, Reader, again, limits, publish, two
from tests.pair import Pair, length, raw, string
from tests.statements import statement


def forwarding() -> bytes:
    """Every property that a Server forwards, user properties in no order of the alphabet."""
    return b"".join(
        [
            b"\x26" + string("z") + string("1"),
            b"\x01\x01",
            b"\x08" + string("reply/to"),
            b"\x26" + string("a") + string("2"),
            b"\x09" + string(b"\x00\xff\xfe"),
            b"\x03" + string("text/plain"),
            b"\x26" + string("z") + string("1"),
            b"\x26" + string("") + string(""),
        ]
    )


# -- 3.3.1 Fixed header


@statement("MQTT5-3.3.1-1", "MQTT311-3.3.1-1", "MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-4.3.2-3", "MQTT311-4.3.2-1")
@statement("MQTT5-4.3.3-3", "MQTT311-4.3.3-1", "MQTT311-2.3.1-3")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_delivered_again_has_dup_and_its_identifier(version: int, qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, qos)
    publisher.publish("a", b"x", qos=qos)
    first = subscriber.receive(Publish)
    assert not first.dup
    for _ in range(3):
        subscriber = again(pair, subscriber)
        subscriber.receive_bytes(publish(version, "a", b"x", 8 | qos << 1, first.packet_identifier))
        subscriber.nothing()


@statement("MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-4.3.2-3")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_sent_again_on_the_same_connection(version: int, qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, qos)
    publisher.publish("a", b"x", qos=qos)
    subscriber.receive(Publish)
    pair.advance(1_000_000)
    subscriber.nothing()


@statement("MQTT5-3.3.1-2", "MQTT311-3.3.1-2")
@VERSIONS
def test_dup_at_qos_0_is_refused(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(publish(version, "a", b"x", 8))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.3.1-3", "MQTT311-3.3.1-3", "MQTT5-3.3.1-2", "MQTT311-3.3.1-2", "MQTT5-4.3.2-2", "MQTT5-4.3.3-2")
@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_dup_is_not_passed_on(version: int, granted: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, granted)
    publisher.send(publish(version, "a", b"x", 8 | 2 << 1, 5))
    publisher.receive(Pubrec)
    message = subscriber.receive(Publish)
    assert (message.qos, message.dup) == (granted, False)


@statement("MQTT5-3.3.1-4", "MQTT311-3.3.1-4")
@VERSIONS
@pytest.mark.parametrize("flags", [6, 7, 14, 15])
def test_qos_3_ends_the_connection(version: int, flags: int) -> None:
    client = Pair().connected("c", version)
    client.send(publish(version, "a", b"x", flags, 1))
    client.ends(ReasonCode.MALFORMED_PACKET)


# -- 3.3.2 Variable header and properties


@statement("MQTT5-3.3.2-1", "MQTT311-3.3.2-1")
@VERSIONS
@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05abc"])
def test_a_publish_without_a_whole_topic_name(version: int, body: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x30, body))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.3.2-3", "MQTT311-3.3.2-3")
@VERSIONS
def test_what_is_delivered_matches(version: int) -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    for topic_filter in ("a/+", "b/#", "c"):
        subscriber.subscribe(topic_filter)
    for topic in ("a", "a/b", "a/b/c", "b", "b/c/d", "c", "c/d", "d"):
        publisher.publish(topic)
    for topic in ("a/b", "b", "b/c/d", "c"):
        assert subscriber.receive(Publish).topic == topic
    subscriber.nothing()


@statement("MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17", "MQTT5-3.3.2-18", "MQTT5-3.3.2-20")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_are_forwarded_unaltered(qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos)
    late = pair.connected("late")
    publisher.publish("a", b"x", qos=qos, retain=True, forwarded=forwarding())
    identifier = b"\x00\x01" if qos else b""
    subscriber.receive_bytes(
        raw(0x30 | qos << 1, string("a"), identifier, length(len(forwarding())), forwarding(), b"x")
    )
    late.subscribe("a", qos=qos)
    late.receive_bytes(raw(0x31 | qos << 1, string("a"), identifier, length(len(forwarding())), forwarding(), b"x"))


@statement("MQTT5-3.3.2-4", "MQTT5-3.3.2-17", "MQTT5-3.3.2-18")
def test_a_3_1_1_subscriber_gets_the_message_without_properties() -> None:
    pair = Pair()
    subscriber = pair.connected("s", MQTT_3_1_1)
    subscriber.subscribe("a")
    pair.connected("p").publish("a", b"x", forwarded=forwarding())
    subscriber.receive_bytes(raw(0x30, string("a"), b"x"))


@statement("MQTT5-3.3.2-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_expired_before_delivery_is_not_delivered(qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos)
    subscriber.drop()
    publisher.publish("a", b"short", qos=qos, message_expiry_interval=10)
    publisher.publish("a", b"long", qos=qos, message_expiry_interval=100)
    pair.advance(11)
    new = pair.client()
    new.connect("s", clean_start=False)
    assert new.accept().payload == b"long"
    new.nothing()


@statement("MQTT5-3.3.2-6")
def test_the_expiry_interval_sent_is_what_is_left_of_it() -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, 1)
    publisher.publish("a", b"now", qos=1, message_expiry_interval=300)
    subscriber.receive_bytes(raw(0x32, string("a"), b"\x00\x01\x05\x02\x00\x00\x01\x2c", b"now"))
    subscriber.send(Puback(1))
    subscriber.drop()
    publisher.publish("a", b"later", qos=1, message_expiry_interval=300)
    pair.advance(44)
    new = pair.client()
    new.connect("s", clean_start=False)
    new.receive_bytes(raw(0x32, string("a"), b"\x00\x02\x05\x02\x00\x00\x01\x00", b"later"))


@statement("MQTT5-3.3.2-5", "MQTT5-3.3.2-6")
def test_the_expiry_of_a_retained_message_counts_down() -> None:
    pair = Pair()
    pair.connected("p").publish("a", b"x", retain=True, message_expiry_interval=300)
    pair.advance(44)
    subscriber = pair.connected("s")
    subscriber.subscribe("a")
    subscriber.receive_bytes(raw(0x31, string("a"), b"\x05\x02\x00\x00\x01\x00", b"x"))
    pair.advance(257)
    subscriber.subscribe("a")
    subscriber.nothing()


@statement("MQTT5-3.3.2-7")
def test_aliases_end_with_the_connection() -> None:
    pair = Pair()
    client = pair.connected("c", session_expiry_interval=100)
    client.send(raw(0x30, string("t"), b"\x03\x23\x00\x01", b"x"))
    client.nothing()
    client.drop()
    new = pair.connected("c", clean_start=False)
    new.send(raw(0x30, string(""), b"\x03\x23\x00\x01", b"x"))
    new.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.3.2-7", "MQTT5-3.1.2-26")
def test_the_servers_aliases_begin_anew_with_each_connection() -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, 1, topic_alias_maximum=5)
    for _ in range(3):
        for _ in range(3):
            publisher.publish("a", b"x", qos=1)
            assert subscriber.accept().topic == "a"
        subscriber = again(pair, subscriber, topic_alias_maximum=5)


@statement("MQTT5-3.3.2-8")
def test_alias_0_ends_the_connection() -> None:
    client = Pair().connected("c")
    client.send(raw(0x30, string("t"), b"\x03\x23\x00\x00", b"x"))
    client.ends(ReasonCode.TOPIC_ALIAS_INVALID)


@statement("MQTT5-3.3.2-8", "MQTT5-3.1.2-26")
def test_the_server_never_uses_alias_0() -> None:
    pair = Pair()
    client = pair.connected("c", topic_alias_maximum=1)
    client.subscribe("#")
    publisher = pair.connected("p")
    for number in range(20):
        publisher.publish(f"topic/{number % 3}", b"x")
        client.receive(Publish)
        assert b"\x23\x00\x00" not in client.last


@statement("MQTT5-3.3.2-12", "MQTT5-3.3.2-17")
def test_an_alias_may_be_given_another_topic() -> None:
    pair = Pair()
    watcher = pair.connected("w")
    watcher.subscribe("#")
    client = pair.connected("c")
    for topic in ("first", "", "second", "", "first", ""):
        client.send(raw(0x30, string(topic), b"\x03\x23\x00\x10", b"x"))
    topics = [watcher.receive(Publish).topic for _ in range(6)]
    assert topics == ["first", "first", "second", "second", "first", "first"]


@statement("MQTT5-3.3.2-13", "MQTT5-3.3.2-19")
@pytest.mark.parametrize("prop", [0x08, 0x03], ids=["response topic", "content type"])
@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"a\x00b"], ids=bytes.hex)
def test_ill_formed_strings_in_properties(prop: int, text: bytes) -> None:
    client = Pair().connected("c")
    values = bytes([prop]) + string(text)
    client.send(raw(0x30, string("a"), bytes([len(values)]), values))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.3.2-14")
@pytest.mark.parametrize("topic", ["#", "a/+", "a/#", "+/b"])
def test_wildcards_in_a_response_topic(topic: str) -> None:
    client = Pair().connected("c")
    values = b"\x08" + string(topic)
    client.send(raw(0x30, string("a"), bytes([len(values)]), values))
    assert client.closed


# -- 3.3.4 Actions


@statement("MQTT5-3.3.4-1", "MQTT311-3.3.4-1")
@VERSIONS
def test_each_qos_has_its_answer(version: int) -> None:
    pair = Pair()
    client, watcher = pair.connected("c", version), pair.connected("w", version)
    watcher.subscribe("a", qos=2)
    client.send(publish(version, "a"))
    client.nothing()
    client.send(publish(version, "a", b"x", 2, 1))
    assert client.receive(Puback).packet_identifier == 1
    client.send(publish(version, "a", b"x", 4, 2))
    assert client.receive(Pubrec).packet_identifier == 2
    client.nothing()


@statement("MQTT5-3.3.4-2", "MQTT311-3.3.5-1")
@VERSIONS
@pytest.mark.parametrize("published", [0, 1, 2])
def test_overlapping_subscriptions_deliver_at_the_highest_qos(version: int, published: int) -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    for topic_filter, qos in (("a/#", 0), ("a/b", 2), ("+/b", 1)):
        subscriber.subscribe(topic_filter, qos=qos)
    publisher.publish("a/b", b"x", qos=published)
    assert subscriber.accept().qos == published
    subscriber.nothing()  # one copy


@statement("MQTT5-3.3.4-3", "MQTT5-3.3.4-4")
def test_one_copy_holds_all_subscription_identifiers() -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s"), pair.connected("p")
    subscriber.subscribe("a/#", subscription_identifier=1)
    subscriber.subscribe("a/b", qos=1, subscription_identifier=268_435_455)
    subscriber.subscribe("+/b")
    subscriber.subscribe("other", subscription_identifier=3)
    publisher.publish("a/b", b"x")
    message = subscriber.receive(Publish)
    assert sorted(message.subscription_identifiers) == [1, 268_435_455]
    subscriber.nothing()
    publisher.publish("a/c", b"x")
    subscriber.receive_bytes(raw(0x30, string("a/c"), b"\x02\x0b\x01", b"x"))
    publisher.publish("c/b", b"x")
    subscriber.receive_bytes(raw(0x30, string("c/b"), b"\x00", b"x"))


@statement("MQTT5-3.3.4-3")
def test_a_subscription_identifier_is_replaced_with_its_subscription() -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s"), pair.connected("p")
    for identifier, wanted in ((5, (5,)), (6, (6,)), (0, ())):
        subscriber.subscribe("a", subscription_identifier=identifier)
        publisher.publish("a", b"x")
        assert subscriber.receive(Publish).subscription_identifiers == wanted


@statement("MQTT5-3.3.4-3", "MQTT5-3.3.4-4")
def test_a_retained_message_has_the_identifier_of_the_subscription_that_asked() -> None:
    pair = Pair()
    pair.connected("p").publish("a", b"x", retain=True)
    subscriber = pair.connected("s")
    subscriber.subscribe("a", subscription_identifier=7)
    subscriber.receive_bytes(raw(0x31, string("a"), b"\x02\x0b\x07", b"x"))


@statement("MQTT5-3.3.4-6")
def test_a_subscription_identifier_from_a_client() -> None:
    client = Pair().connected("c")
    client.send(raw(0x30, string("a"), b"\x02\x0b\x01", b"x"))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.3.4-7")
@pytest.mark.parametrize("maximum", [1, 3])
def test_more_in_flight_than_the_servers_receive_maximum(maximum: int) -> None:
    pair = Pair(limits(receive_maximum=maximum))
    client = pair.client()
    assert client.connect("c").properties.receive_maximum == maximum
    for number in range(maximum):
        client.send(publish(MQTT_5_0, "a", b"x", 4, number + 1))
        client.receive(Pubrec)
    client.send(publish(MQTT_5_0, "a", b"x", 0))
    client.nothing()
    client.send(publish(MQTT_5_0, "a", b"x", 4, 99))
    client.ends(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)


@statement("MQTT5-3.3.4-7")
def test_an_acknowledged_message_counts_no_more_against_receive_maximum() -> None:
    client = Pair(limits(receive_maximum=1)).connected("c")
    for number in range(1, 6):
        client.send(publish(MQTT_5_0, "a", b"x", 2, number) + publish(MQTT_5_0, "a", b"x", 4, number + 10))
        client.receive(Puback)
        client.receive(Pubrec)
        client.send(Pubrel(number + 10))
        client.receive(Pubcomp)


@statement("MQTT5-3.3.4-7", "MQTT5-4.9.0-1")
@pytest.mark.parametrize("again", [False, True])
def test_the_clients_quota_begins_anew_with_its_connection(again: bool) -> None:
    pair = Pair(limits(receive_maximum=2))
    client = pair.connected("c", session_expiry_interval=100)
    for identifier in (1, 2):
        client.send(publish(MQTT_5_0, "a", b"x", 4, identifier))
        client.receive(Pubrec)
    client.drop()
    client = pair.connected("c", clean_start=False, session_expiry_interval=100)
    if again:  # the PUBRECs may have been lost: what is sent again takes its place in the quota
        client.send(publish(MQTT_5_0, "a", b"x", 12, 1) + publish(MQTT_5_0, "a", b"x", 12, 2))
    else:
        client.send(publish(MQTT_5_0, "a", b"x", 4, 3) + publish(MQTT_5_0, "a", b"x", 4, 4))
    client.receive(Pubrec)
    client.receive(Pubrec)
    client.nothing()
    client.send(publish(MQTT_5_0, "a", b"x", 4, 5))
    client.ends(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)


@statement("MQTT5-3.3.4-9", "MQTT5-4.9.0-1", "MQTT5-4.9.0-2")
@pytest.mark.parametrize("maximum", [1, 2, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_the_server_keeps_to_the_clients_receive_maximum(maximum: int, qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos, receive_maximum=maximum)
    for number in range(20):
        publisher.publish("a", b"%d" % number, qos=qos)
    held = [subscriber.receive(Publish) for _ in range(maximum)]
    subscriber.nothing()
    for number in range(maximum, 20):
        oldest = held.pop(0).packet_identifier
        if qos == 1:
            subscriber.send(Puback(oldest))
        else:
            subscriber.send(Pubrec(oldest))
            subscriber.receive(Pubrel)
            subscriber.nothing()  # PUBCOMP, not PUBREC, gives the quota back
            subscriber.send(Pubcomp(oldest))
        held.append(subscriber.receive(Publish))
        assert held[-1].payload == b"%d" % number
        subscriber.nothing()


@statement("MQTT5-3.3.4-9", "MQTT5-4.4.0-2", "MQTT5-4.9.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_refusal_by_the_client_gives_the_quota_back(qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos, receive_maximum=1)
    for payload in (b"1", b"2", b"3"):
        publisher.publish("a", payload, qos=qos)
    for payload in (b"1", b"2", b"3"):
        message = subscriber.receive(Publish)
        assert message.payload == payload
        subscriber.nothing()
        subscriber.send(raw(0x40 if qos == 1 else 0x50, message.packet_identifier.to_bytes(2, "big"), b"\x83"))
    subscriber.nothing()
    again(pair, subscriber).nothing()


@statement("MQTT5-3.3.4-10", "MQTT5-4.9.0-3")
def test_only_publish_waits_for_receive_maximum() -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, 1, receive_maximum=1)
    for _ in range(3):
        publisher.publish("a", b"x", qos=1)
    subscriber.receive(Publish)
    subscriber.ping()
    assert subscriber.subscribe("b", qos=2) == 2
    assert subscriber.publish("c", b"x", qos=1) < 0x80
    assert subscriber.publish("c", b"x", qos=2) < 0x80
    subscriber.unsubscribe("b")
    subscriber.nothing()


@statement("MQTT311-3.3.5-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_3_1_1_client_that_may_not_publish_is_acknowledged_as_usual(qos: int) -> None:
    pair = Pair(authenticator=Gate(Reader()))
    watcher, client = pair.connected("w", MQTT_3_1_1), pair.connected("c", MQTT_3_1_1)
    watcher.subscribe("#")
    client.publish("a", b"x", qos=qos)
    client.nothing()
    watcher.nothing()


# -- 3.4 to 3.7 Acknowledgements


@statement("MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.7.2-1", "MQTT5-3.6.2-1")
def test_reason_codes_of_the_servers_acknowledgements() -> None:
    pair = Pair(authenticator=Gate(Reader()))
    client = pair.connected("c")
    client.send(publish(MQTT_5_0, "a", b"x", 2, 1))
    assert client.receive(Puback).reason == ReasonCode.NOT_AUTHORIZED
    client.send(publish(MQTT_5_0, "a", b"x", 4, 2))
    assert client.receive(Pubrec).reason == ReasonCode.NOT_AUTHORIZED
    client.send(Pubrel(3))
    assert client.receive(Pubcomp).reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
    client.send(Pubrec(4))
    assert client.receive(Pubrel).reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
    pair = Pair()
    client = pair.connected("c")
    assert client.publish("nobody", b"x", qos=1) == ReasonCode.NO_MATCHING_SUBSCRIBERS
    assert client.publish("nobody", b"x", qos=2) == ReasonCode.NO_MATCHING_SUBSCRIBERS


@statement("MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1")
@pytest.mark.parametrize(
    ("first_byte", "reasons"),
    [
        (0x40, [0x01, 0x11, 0x81, 0x82, 0x92, 0x93, 0xFF]),
        (0x50, [0x02, 0x18, 0x81, 0x92, 0xA0]),
        (0x62, [0x10, 0x80, 0x83, 0x91, 0x97]),
        (0x70, [0x10, 0x80, 0x83, 0x91, 0x97]),
    ],
)
def test_reason_codes_that_are_none_of_theirs(first_byte: int, reasons: list[int]) -> None:
    for reason in reasons:
        client = Pair().connected("c")
        client.send(raw(first_byte, b"\x00\x01", bytes([reason])))
        assert client.closed, hex(reason)


@statement("MQTT5-3.4.2-2", "MQTT5-3.4.2-3", "MQTT5-3.5.2-2", "MQTT5-3.5.2-3", "MQTT5-3.6.2-2", "MQTT5-3.6.2-3")
@statement("MQTT5-3.7.2-2", "MQTT5-3.7.2-3", "MQTT5-3.9.2-1", "MQTT5-3.9.2-2", "MQTT5-3.11.2-1", "MQTT5-3.11.2-2")
@statement("MQTT5-3.1.2-24")
def test_acknowledgements_keep_within_the_clients_maximum() -> None:
    client = Pair(authenticator=Gate(Reader())).connected("c", maximum_packet_size=20)
    client.send(
        publish(MQTT_5_0, "a", b"x", 2, 1),
        publish(MQTT_5_0, "a", b"x", 4, 2),
        Pubrel(3),
        Pubrec(4),
        raw(0x82, b"\x00\x05\x00", string("no"), b"\x00"),
        raw(0xA2, b"\x00\x06\x00", string("none")),
    )
    kinds: list[int] = []
    while (data := client.next()) is not None:
        assert len(data) <= 20
        kinds.append(data[0])
    assert kinds == [0x40, 0x50, 0x70, 0x62, 0x90, 0xB0]
