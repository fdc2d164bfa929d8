"""Chapter 4: quality of service, delivery retry, ordering and shared subscriptions, statement by statement."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_5_0,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
)
from tests.conformance.scripts import VERSIONS, Gate, Reader, again, limits, publish, two
from tests.pair import Pair, raw, string
from tests.statements import statement

# -- 4.3 Quality of Service, 4.4 delivery retry


@statement("MQTT5-4.3.2-5", "MQTT311-4.3.2-2")
@VERSIONS
def test_after_puback_the_same_identifier_is_a_new_message(version: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, 1)
    for flags in (2, 2, 10):
        publisher.send(publish(version, "a", b"x", flags, 7))
        publisher.receive(Puback)
        assert subscriber.accept().payload == b"x"


@statement("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT5-4.3.3-8", "MQTT5-4.3.3-11", "MQTT5-4.3.3-12")
@VERSIONS
@pytest.mark.parametrize("reconnect", [False, True])
def test_qos_2_delivers_once(version: int, reconnect: bool) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("a", qos=2)
    publisher = pair.connected("p", version, clean_start=False, session_expiry_interval=100)
    publisher.send(publish(version, "a", b"1", 4, 7))
    publisher.receive_bytes(raw(0x50, b"\x00\x07"))
    assert watcher.accept().payload == b"1"
    if reconnect:
        publisher.drop()
        publisher = pair.connected("p", version, clean_start=False, session_expiry_interval=100)
    publisher.send(publish(version, "a", b"1", 12, 7))
    publisher.receive_bytes(raw(0x50, b"\x00\x07"))
    watcher.nothing()
    publisher.send(Pubrel(7))
    publisher.receive_bytes(raw(0x70, b"\x00\x07"))
    publisher.send(publish(version, "a", b"2", 4, 7))
    publisher.receive(Pubrec)
    assert watcher.accept().payload == b"2"


@statement("MQTT5-4.3.3-9")
def test_after_a_refusing_pubrec_the_same_identifier_is_a_new_message() -> None:
    gate = Gate(Reader())
    pair = Pair(authenticator=gate)
    publisher = pair.connected("p")
    for _ in range(3):
        publisher.send(publish(MQTT_5_0, "a", b"x", 4, 7))
        assert publisher.receive(Pubrec).reason == ReasonCode.NOT_AUTHORIZED
    publisher.send(Pubrel(7))
    assert publisher.receive(Pubcomp).reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND


@statement("MQTT5-4.3.3-13")
def test_the_exchange_goes_on_for_a_message_that_has_expired() -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, 2)
    publisher.send(raw(0x34, string("a"), b"\x00\x07\x05\x02\x00\x00\x00\x01", b"x"))
    publisher.receive(Pubrec)
    pair.advance(100)
    publisher.send(Pubrel(7))
    publisher.receive_bytes(raw(0x70, b"\x00\x07"))
    message = subscriber.receive(Publish)
    subscriber.send(Pubrec(message.packet_identifier))
    assert subscriber.receive(Pubrel).packet_identifier == message.packet_identifier


@statement("MQTT5-4.3.3-7", "MQTT5-4.3.3-13")
@pytest.mark.parametrize("qos", [1, 2])
def test_no_expiry_once_the_publish_was_sent(qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos)
    publisher.publish("a", b"x", qos=qos, message_expiry_interval=5)
    subscriber.receive(Publish)
    subscriber.drop()
    pair.advance(100)
    new = pair.client()
    new.connect("s", clean_start=False, session_expiry_interval=1000)
    message = new.accept()
    assert (message.payload, message.dup, message.qos) == (b"x", True, qos)


@statement("MQTT5-4.3.3-4", "MQTT5-4.3.3-5", "MQTT5-4.3.3-6", "MQTT311-4.3.3-1", "MQTT5-4.4.0-1", "MQTT311-4.4.0-1")
@VERSIONS
def test_after_pubrec_only_pubrel_is_sent_again(version: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, 2)
    publisher.publish("a", b"x", qos=2)
    identifier = subscriber.receive(Publish).packet_identifier
    subscriber.send(Pubrec(identifier))
    subscriber.receive_bytes(raw(0x62, identifier.to_bytes(2, "big")))
    for _ in range(3):
        subscriber = again(pair, subscriber)
        subscriber.receive_bytes(raw(0x62, identifier.to_bytes(2, "big")))
        subscriber.nothing()
    subscriber.send(Pubcomp(identifier))
    again(pair, subscriber).nothing()


@statement("MQTT5-4.4.0-2", "MQTT5-4.3.3-4")
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reason", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99])
def test_a_refused_message_is_not_sent_again(qos: int, reason: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, MQTT_5_0, qos)
    publisher.publish("a", b"x", qos=qos)
    identifier = subscriber.receive(Publish).packet_identifier
    subscriber.send(raw(0x40 if qos == 1 else 0x50, identifier.to_bytes(2, "big"), bytes([reason])))
    subscriber.nothing()
    again(pair, subscriber).nothing()


@statement("MQTT5-4.3.2-3", "MQTT311-4.3.2-1", "MQTT5-4.3.3-5", "MQTT311-4.3.3-1")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_a_finished_exchange_is_forgotten(version: int, qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, qos)
    publisher.publish("a", b"x", qos=qos)
    subscriber.accept()
    again(pair, subscriber).nothing()


# -- 4.6 Message ordering


@statement("MQTT5-4.6.0-1", "MQTT311-4.6.0-1", "MQTT5-4.6.0-5", "MQTT5-4.6.0-6", "MQTT311-4.6.0-5", "MQTT311-4.6.0-6")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("taken", [0, 3, 10, 29])
def test_order_is_kept_over_a_reconnect(version: int, qos: int, taken: int) -> None:
    pair = Pair(limits(max_inflight=10))
    publisher, subscriber = two(pair, version, qos)
    for number in range(20):
        publisher.publish("a", b"%02d" % number, qos=qos)
    got = [subscriber.accept().payload for _ in range(min(taken, 20))]
    subscriber = again(pair, subscriber)
    for number in range(20, 30):
        publisher.publish("a", b"%02d" % number, qos=qos)
    got += [subscriber.accept().payload for _ in range(30 - len(got))]
    assert got == [b"%02d" % number for number in range(30)]
    subscriber.nothing()


@statement("MQTT5-4.6.0-5", "MQTT5-4.6.0-6", "MQTT311-4.6.0-5", "MQTT311-4.6.0-6")
@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_a_topic_are_forwarded_in_order(version: int, qos: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, qos)
    publisher.send(*[publish(version, "a", b"%d" % n, qos << 1, n + 1) for n in range(30)])
    assert [subscriber.accept().payload for _ in range(30)] == [b"%d" % n for n in range(30)]


@statement("MQTT5-4.6.0-2", "MQTT311-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-3")
@VERSIONS
def test_acknowledgements_come_in_the_order_of_the_messages(version: int) -> None:
    client = Pair().connected("c", version)
    order = [9, 3, 7, 1, 5]
    client.send(*[publish(version, "a", b"x", 2, one) for one in order])
    assert [client.receive(Puback).packet_identifier for _ in order] == order
    client.send(*[publish(version, "a", b"x", 4, one) for one in order])
    assert [client.receive(Pubrec).packet_identifier for _ in order] == order


@statement("MQTT5-4.6.0-4", "MQTT311-4.6.0-4")
@VERSIONS
def test_pubrels_come_in_the_order_of_the_pubrecs(version: int) -> None:
    pair = Pair()
    publisher, subscriber = two(pair, version, 2)
    for _ in range(5):
        publisher.publish("a", b"x", qos=2)
    order = [subscriber.receive(Publish).packet_identifier for _ in range(5)]
    order = [order[index] for index in (3, 0, 4, 1, 2)]
    subscriber.send(*[Pubrec(one) for one in order])
    assert [subscriber.receive(Pubrel).packet_identifier for _ in order] == order
    subscriber = again(pair, subscriber)
    assert [subscriber.receive(Pubrel).packet_identifier for _ in order] == order


# -- 4.8.2 Shared Subscriptions


@statement("MQTT5-4.8.2-3")
def test_shared_delivery_respects_the_qos_of_each_member() -> None:
    pair = Pair()
    members = []
    for qos in (0, 1, 2):
        members.append(pair.connected(f"m{qos}"))
        members[-1].subscribe("$share/g/a", qos=qos)
    publisher = pair.connected("p")
    for _ in range(9):
        publisher.publish("a", b"x", qos=2)
    for qos, member in enumerate(members):
        for _ in range(3):
            assert member.accept().qos == qos
        member.nothing()


@statement("MQTT5-4.8.2-3")
def test_a_shared_subscription_made_again_has_its_new_qos() -> None:
    pair = Pair()
    member, publisher = pair.connected("m"), pair.connected("p")
    for qos in (2, 0, 1):
        assert member.subscribe("$share/g/a", qos=qos) == qos
        publisher.publish("a", b"x", qos=2)
        assert member.accept().qos == qos
        member.nothing()


@statement("MQTT5-4.8.2-4", "MQTT5-4.4.0-1")
def test_a_shared_qos_2_message_begun_is_completed_with_its_client() -> None:
    pair = Pair()
    first = pair.connected("s", clean_start=False, session_expiry_interval=1000)
    first.subscribe("$share/g/a", qos=2)
    pair.connected("p").publish("a", b"x", qos=2)
    identifier = first.receive(Publish).packet_identifier
    other = pair.connected("other")
    other.subscribe("$share/g/a", qos=2)
    first = again(pair, first)
    message = first.receive(Publish)
    assert (message.packet_identifier, message.dup) == (identifier, True)
    other.nothing()


@statement("MQTT5-4.8.2-5")
def test_a_shared_qos_2_message_begun_goes_to_no_other_when_the_session_ends() -> None:
    pair = Pair()
    first, other = pair.connected("first", session_expiry_interval=10), pair.connected("other")
    first.subscribe("$share/g/a", qos=2)
    pair.connected("p").publish("a", b"x", qos=2)
    first.receive(Publish)
    other.subscribe("$share/g/a", qos=2)
    first.drop()
    pair.advance(20)
    other.nothing()


@statement("MQTT5-4.8.2-6")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_shared_message_refused_goes_to_no_other(qos: int) -> None:
    pair = Pair()
    members = [pair.connected("m1"), pair.connected("m2")]
    for member in members:
        member.subscribe("$share/g/a", qos=qos)
    pair.connected("p").publish("a", b"x", qos=qos)
    taker, other = members if members[0].next() is not None else members[::-1]
    if taker is members[1]:
        taker.receive(Publish)
    taker.send(raw(0x40 if qos == 1 else 0x50, b"\x00\x01\x83"))
    taker.nothing()
    other.nothing()
    taker.drop()
    other.nothing()


@statement("MQTT5-4.8.2-1", "MQTT5-4.8.2-2", "MQTT5-3.8.3-4")
@pytest.mark.parametrize(
    ("topic_filter", "options"),
    [
        ("$share/g/a", 0x04),
        ("$share/", 0),
        ("$share//a", 0),
        ("$share/g", 0),
        ("$share/g/", 0),
        ("$share/+/a", 0),
        ("$share/g#/a", 0),
        ("$share/#", 0),
    ],
)
def test_shared_subscriptions_that_are_none(topic_filter: str, options: int) -> None:
    client = Pair().connected("c")
    client.send(raw(0x82, b"\x00\x01\x00", string(topic_filter), bytes([options])))
    if options:
        client.ends(ReasonCode.PROTOCOL_ERROR)
    elif client.closed:
        client.ends(ReasonCode.TOPIC_FILTER_INVALID)
    else:
        assert client.receive(Suback).reasons == [ReasonCode.TOPIC_FILTER_INVALID]
