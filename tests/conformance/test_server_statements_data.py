"""Chapters 1 and 2, and the rules of 4.7 about what a Topic Name or Filter may hold: data representation, fixed header.

Each test sends bytes to the core broker and looks at what a Server must do about them.
"""

from __future__ import annotations

from typing import Final

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback, Unsuback
from tests.conformance.scripts import VERSIONS, connect, none, publish
from tests.pair import Client, Pair, length, raw, string
from tests.statements import statement

# What is no UTF-8: surrogates, overlong forms, a lone continuation, an end in the middle, beyond U+10FFFF
ILL_FORMED: Final = [
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"a\xed\xa0\x80\xed\xb0\x80",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\x80",
    b"\xff",
    b"a\xe2\x82",
    b"\xf4\x90\x80\x80",
]


# -- 1.5 Data representation


@statement("MQTT5-1.5.4-1", "MQTT311-1.5.3-1", "MQTT5-3.3.2-1", "MQTT311-3.3.2-1", "MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
@VERSIONS
@pytest.mark.parametrize("text", ILL_FORMED, ids=bytes.hex)
def test_ill_formed_utf8_in_a_topic_name_ends_the_connection(version: int, text: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(publish(version, text))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-1.5.4-1", "MQTT311-1.5.3-1", "MQTT5-3.8.3-1", "MQTT311-3.8.3-1")
@VERSIONS
@pytest.mark.parametrize("text", ILL_FORMED, ids=bytes.hex)
def test_ill_formed_utf8_in_a_topic_filter_ends_the_connection(version: int, text: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x82, b"\x00\x01", none(version), string(text), b"\x00"))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.10.3-1", "MQTT311-3.10.3-1")
@VERSIONS
@pytest.mark.parametrize("text", [*ILL_FORMED, b"a\x00"], ids=bytes.hex)
def test_ill_formed_utf8_in_unsubscribe_ends_the_connection(version: int, text: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xA2, b"\x00\x01", none(version), string(text)))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.3-4", "MQTT311-3.1.3-4")
@VERSIONS
@pytest.mark.parametrize("text", [*ILL_FORMED, b"a\x00"], ids=bytes.hex)
def test_ill_formed_utf8_in_a_client_identifier_is_refused(version: int, text: bytes) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2, string(text)))
    client.refused()


@statement("MQTT5-3.1.3-11", "MQTT311-3.1.3-10")
@VERSIONS
@pytest.mark.parametrize("text", [*ILL_FORMED, b"a\x00"], ids=bytes.hex)
def test_ill_formed_utf8_in_a_will_topic_is_refused(version: int, text: bytes) -> None:
    client = Pair().client(version)
    client.send(connect(version, 6, string("c"), none(version), string(text), string("gone")))
    client.refused()


@statement("MQTT5-3.1.3-12", "MQTT311-3.1.3-11")
@VERSIONS
@pytest.mark.parametrize("text", [*ILL_FORMED, b"a\x00"], ids=bytes.hex)
def test_ill_formed_utf8_in_a_user_name_is_refused(version: int, text: bytes) -> None:
    client = Pair().client(version)
    client.send(connect(version, 0x82, string("c"), string(text)))
    client.refused()


@statement("MQTT5-1.5.4-2", "MQTT311-1.5.3-2", "MQTT5-4.7.3-2", "MQTT311-4.7.3-2")
@VERSIONS
@pytest.mark.parametrize("text", [b"\x00", b"a\x00", b"\x00b", b"a/\x00/b"], ids=bytes.hex)
def test_a_null_character_ends_the_connection(version: int, text: bytes) -> None:
    for packet in (publish(version, text), raw(0x82, b"\x00\x01", none(version), string(text), b"\x00")):
        client = Pair().connected("c", version)
        client.send(packet)
        client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-1.5.4-3", "MQTT311-1.5.3-3", "MQTT5-4.7.3-4", "MQTT311-4.7.3-4")
@VERSIONS
def test_a_byte_order_mark_is_a_character_like_any_other(version: int) -> None:
    pair = Pair()
    with_mark, without = pair.connected("with", version), pair.connected("without", version)
    with_mark.subscribe("\ufeffa")
    without.subscribe("a")
    pair.connected("p", version).send(publish(version, b"\xef\xbb\xbfa"))
    with_mark.receive_bytes(publish(version, b"\xef\xbb\xbfa"))
    without.nothing()


@statement("MQTT5-1.5.5-1")
@pytest.mark.parametrize("size", [0, 1, 120, 127, 128, 129, 16_383, 16_384, 16_385, 2_097_151, 2_097_152])
def test_lengths_are_sent_in_the_fewest_bytes(size: int) -> None:
    pair = Pair()
    pair.limits.maximum_packet_size = 4 * 1024 * 1024
    pair.limits.outbox_soft_bytes = pair.limits.outbox_hard_bytes = 8 * 1024 * 1024
    subscriber, publisher = pair.connected("s"), pair.connected("p", MQTT_3_1_1)
    subscriber.subscribe("a")
    head = raw(0x30, string("a"), b"\x00")[2:]
    payload = bytes(max(0, size - len(head)))
    publisher.send(raw(0x30, string("a"), payload))
    subscriber.receive_bytes(b"\x30" + length(len(head) + len(payload)) + head + payload)


@statement("MQTT5-1.5.5-1")
@pytest.mark.parametrize("packet", [b"\xc0\x80\x00", b"\xc0\xff\xff\xff\xff\x01", b"\xc0\x80\x80\x80\x80\x00"])
def test_a_length_in_more_bytes_than_needed_ends_the_connection(packet: bytes) -> None:
    client = Pair().connected("c")
    client.send(packet)
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-1.5.7-1")
@pytest.mark.parametrize("bad", [*ILL_FORMED, b"a\x00"], ids=bytes.hex)
def test_ill_formed_utf8_in_a_user_property_ends_the_connection(bad: bytes) -> None:
    for pair_of_strings in (string(bad) + string("v"), string("k") + string(bad)):
        client = Pair().connected("c")
        client.send(raw(0x30, string("a"), length(1 + len(pair_of_strings)), b"\x26", pair_of_strings))
        client.ends(ReasonCode.MALFORMED_PACKET)


# -- 2.1 Fixed header


WRONG_FLAGS: Final = [
    *(raw(0x40 | flags, b"\x00\x01") for flags in (1, 2, 4, 8, 15)),
    *(raw(0x50 | flags, b"\x00\x01") for flags in (1, 2, 4, 8, 15)),
    *(raw(0x70 | flags, b"\x00\x01") for flags in (1, 2, 4, 8, 15)),
    *(raw(0xC0 | flags) for flags in (1, 2, 4, 8, 15)),
]


@statement("MQTT5-2.1.3-1", "MQTT311-2.2.2-1", "MQTT311-2.2.2-2")
@VERSIONS
@pytest.mark.parametrize("packet", WRONG_FLAGS, ids=bytes.hex)
def test_reserved_flags_end_the_connection(version: int, packet: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(packet)
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-2.1.3-1", "MQTT311-2.2.2-2")
@VERSIONS
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_reserved_flags_of_connect_are_refused(version: int, flags: int) -> None:
    client = Pair().client(version)
    packet = connect(version, 2, string("c"))
    client.send(bytes([0x10 | flags]) + packet[1:])
    client.refused()


@statement("MQTT5-3.6.1-1", "MQTT311-3.6.1-1")
@VERSIONS
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 8, 10, 15])
def test_flags_of_pubrel(version: int, flags: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x34, string("a"), b"\x00\x07", none(version)))
    client.receive(Pubrec)
    client.send(raw(0x60 | flags, b"\x00\x07"))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.8.1-1", "MQTT311-3.8.1-1")
@VERSIONS
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 8, 10, 15])
def test_flags_of_subscribe(version: int, flags: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x80 | flags, b"\x00\x01", none(version), string("a"), b"\x00"))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.10.1-1", "MQTT311-3.10.1-1")
@VERSIONS
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 8, 10, 15])
def test_flags_of_unsubscribe(version: int, flags: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xA0 | flags, b"\x00\x01", none(version), string("a")))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.14.1-1", "MQTT311-3.14.1-1")
@VERSIONS
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_flags_of_disconnect(version: int, flags: int) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0xE0 | flags))
    client.ends(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.15.1-1")
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_flags_of_auth(flags: int) -> None:
    client = Pair().connected("c")
    client.send(raw(0xF0 | flags))
    client.ends(ReasonCode.MALFORMED_PACKET)


# -- 2.2 Packet Identifiers and Property Length


@statement("MQTT5-2.2.1-2", "MQTT311-2.3.1-5", "MQTT5-2.2.2-1", "MQTT5-4.3.1-1", "MQTT311-4.3.1-1")
@VERSIONS
def test_a_publish_at_qos_0_has_no_packet_identifier(version: int) -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    subscriber.subscribe("a", qos=2)
    publisher.send(raw(0x30, string("a"), none(version), b"\x00\x01\x02"))
    subscriber.receive_bytes(raw(0x30, string("a"), none(version), b"\x00\x01\x02"))


@statement("MQTT5-2.2.1-2", "MQTT5-4.3.1-1", "MQTT311-2.3.1-5", "MQTT311-4.3.1-1")
@VERSIONS
def test_a_publish_lowered_to_qos_0_has_no_packet_identifier(version: int) -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    subscriber.subscribe("a", qos=0)
    publisher.publish("a", b"x", qos=2)
    subscriber.receive_bytes(raw(0x30, string("a"), none(version), b"x"))


@statement("MQTT5-2.2.1-3", "MQTT311-2.3.1-1")
@VERSIONS
def test_packet_identifier_0_ends_the_connection(version: int) -> None:
    for packet in (
        raw(0x32, string("a"), b"\x00\x00", none(version)),
        raw(0x34, string("a"), b"\x00\x00", none(version)),
        raw(0x82, b"\x00\x00", none(version), string("a"), b"\x00"),
        raw(0xA2, b"\x00\x00", none(version), string("a")),
    ):
        client = Pair().connected("c", version)
        client.send(packet)
        assert client.closed, packet.hex()
        if version == MQTT_3_1_1:
            client.ends()


def flood(version: int, qos: int, count: int) -> tuple[Client, Client]:
    pair = Pair()
    pair.limits.max_inflight = 10
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    subscriber.subscribe("a", qos=qos)
    for number in range(count):
        publisher.publish("a", b"%d" % number, qos=qos)
    return subscriber, publisher


@statement("MQTT5-2.2.1-4", "MQTT311-2.3.1-1", "MQTT311-2.3.1-4", "MQTT5-4.3.2-1", "MQTT5-4.3.3-1")
@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_the_server_gives_identifiers_that_are_not_in_use(version: int, qos: int) -> None:
    subscriber, _ = flood(version, qos, 40)
    in_use: list[int] = []
    payloads: list[bytes] = []
    while len(payloads) < 40:
        message = subscriber.receive(Publish)
        assert 0 < message.packet_identifier < 65536
        assert message.packet_identifier not in in_use
        in_use.append(message.packet_identifier)
        payloads.append(message.payload)
        if len(in_use) == 10:
            done = in_use.pop(5)
            if qos == 1:
                subscriber.send(Puback(done))
            else:
                subscriber.send(Pubrec(done))
                subscriber.receive(Pubrel)
                subscriber.send(Pubcomp(done))
    assert payloads == [b"%d" % number for number in range(40)]


@statement("MQTT5-2.2.1-4", "MQTT311-2.3.1-4")
def test_an_identifier_in_use_is_skipped_when_they_come_round() -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s"), pair.connected("p")
    subscriber.subscribe("a", qos=2)
    publisher.publish("a", b"unacknowledged", qos=1)
    held = {subscriber.receive(Publish).packet_identifier}
    publisher.publish("a", b"released", qos=2)
    released = subscriber.receive(Publish).packet_identifier
    subscriber.send(Pubrec(released))
    subscriber.receive(Pubrel)
    held.add(released)
    assert held == {1, 2}
    pair.broker.sessions["s"].outgoing.last_identifier = 65_533  # as after so many messages
    seen: list[int] = []
    for _ in range(4):
        publisher.publish("a", b"x", qos=1)
        seen.append(subscriber.accept().packet_identifier)
    assert seen == [65_534, 65_535, 3, 4]


@statement("MQTT5-2.2.1-5", "MQTT311-2.3.1-6", "MQTT5-3.3.4-1", "MQTT311-3.3.4-1", "MQTT5-4.3.2-4", "MQTT5-4.3.3-8")
@statement("MQTT5-4.3.3-11", "MQTT311-4.3.2-2")
@VERSIONS
@pytest.mark.parametrize("identifier", [1, 0x1234, 0xFFFF])
def test_acknowledgements_repeat_the_packet_identifier(version: int, identifier: int) -> None:
    two = identifier.to_bytes(2, "big")
    pair = Pair()
    subscriber, client = pair.connected("s", version), pair.connected("c", version)
    subscriber.subscribe("a")
    client.send(raw(0x32, string("a"), two, none(version)))
    client.receive_bytes(raw(0x40, two))
    client.send(raw(0x34, string("a"), two, none(version)))
    client.receive_bytes(raw(0x50, two))
    client.send(raw(0x62, two))
    client.receive_bytes(raw(0x70, two))
    client.nothing()


@statement("MQTT5-2.2.1-6", "MQTT311-2.3.1-7", "MQTT5-3.8.4-2", "MQTT311-3.8.4-2", "MQTT5-3.10.4-5", "MQTT311-3.10.4-4")
@statement("MQTT5-3.8.4-1", "MQTT311-3.8.4-1", "MQTT5-3.10.4-4")
@VERSIONS
@pytest.mark.parametrize("identifier", [1, 0x1234, 0xFFFF])
def test_suback_and_unsuback_repeat_the_packet_identifier(version: int, identifier: int) -> None:
    two = identifier.to_bytes(2, "big")
    client = Pair().connected("c", version)
    client.send(raw(0x82, two, none(version), string("a"), b"\x01"))
    assert client.receive(Suback).packet_identifier == identifier
    assert client.last == raw(0x90, two, none(version), b"\x01")
    client.send(raw(0xA2, two, none(version), string("a")))
    assert client.receive(Unsuback).packet_identifier == identifier
    assert client.last == raw(0xB0, two, b"\x00\x00" if version == MQTT_5_0 else b"")


@statement("MQTT5-2.2.2-1")
@pytest.mark.parametrize("packet", [raw(0x30, string("a")), raw(0x32, string("a"), b"\x00\x01")], ids=bytes.hex)
def test_a_publish_without_property_length_ends_the_connection(packet: bytes) -> None:
    client = Pair().connected("c")
    client.send(packet)
    client.ends(ReasonCode.MALFORMED_PACKET)


# -- 4.7 Topic Names and Topic Filters


@statement("MQTT5-4.7.3-1", "MQTT311-4.7.3-1", "MQTT5-4.7.0-1", "MQTT311-4.7.1-1", "MQTT5-3.3.2-2", "MQTT311-3.3.2-2")
@VERSIONS
@pytest.mark.parametrize("topic", ["", "#", "+", "a/#", "a/+/b", "a+", "a#b"])
def test_a_topic_name_that_is_none_ends_the_connection(version: int, topic: str) -> None:
    client = Pair().connected("c", version)
    client.send(publish(version, topic.encode()))
    if version == MQTT_5_0 and not topic:
        client.ends(ReasonCode.PROTOCOL_ERROR)  # no Topic Alias either: section 3.3.2.1
    else:
        assert client.closed
        client.ends(ReasonCode.TOPIC_NAME_INVALID)


@statement("MQTT5-4.7.1-1", "MQTT311-4.7.1-2", "MQTT5-4.7.1-2", "MQTT311-4.7.1-3", "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
@VERSIONS
@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/#/b", "##", "a/b#", "a+", "+a", "a/b+/c", "++"])
def test_a_topic_filter_that_is_none_is_not_subscribed(version: int, topic_filter: str) -> None:
    client = Pair().connected("c", version)
    client.send(raw(0x82, b"\x00\x01", none(version), string(topic_filter), b"\x00"))
    client.ends(ReasonCode.TOPIC_FILTER_INVALID)


@statement("MQTT5-4.7.1-1", "MQTT311-4.7.1-2", "MQTT5-4.7.1-2", "MQTT311-4.7.1-3", "MQTT5-4.7.3-4", "MQTT311-4.7.3-4")
@statement("MQTT5-3.3.2-3", "MQTT311-3.3.2-3", "MQTT5-4.7.2-1", "MQTT311-4.7.2-1")
@VERSIONS
@pytest.mark.parametrize(
    ("topic_filter", "matching", "others"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1 sport/tennis/player1/ranking sport/tennis/player1/", "sport"),
        ("sport/#", "sport sport/ sport/x/y", "sports sport1/x"),
        ("#", "a /a a/b/c / //", "$SYS/x $a $ $/a"),
        ("+", "a finance", "/a a/ / $SYS a/b"),
        ("sport/tennis/+", "sport/tennis/player1 sport/tennis/", "sport/tennis sport/tennis/player1/ranking"),
        ("sport/+", "sport/ sport/x", "sport sport/x/"),
        ("+/+", "/finance / a/b", "finance a/b/c $SYS/x"),
        ("/+", "/finance /", "finance //"),
        ("+/monitor/Clients", "a/monitor/Clients /monitor/Clients", "$SYS/monitor/Clients a/Monitor/Clients"),
        ("+/tennis/#", "sport/tennis /tennis/x", "tennis $x/tennis"),
        ("$data/#", "$data $data/a", "data $DATA/a"),
        ("$data/+/b", "$data/a/b $data//b", "$data/b"),
        ("ACCOUNTS", "ACCOUNTS", "Accounts accounts"),
        ("a//b", "a//b", "a/b a/b/"),
        ("a/", "a/", "a /a"),
        ("\u00e5", "\u00e5", "a\u030a \u212b"),  # one character, its decomposition, its compatibility twin
        ("a b", "", "ab a"),
    ],
)
def test_which_topic_names_match(version: int, topic_filter: str, matching: str, others: str) -> None:
    pair = Pair()
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    subscriber.subscribe(topic_filter)
    for topic in others.split():
        if not topic.startswith("$SYS"):
            publisher.publish(topic, b"no")
        subscriber.nothing()
    for topic in matching.split():
        publisher.publish(topic, b"yes")
        assert subscriber.receive(Publish).topic == topic
        subscriber.nothing()


@statement("MQTT5-4.7.3-3", "MQTT311-4.7.3-3")
@VERSIONS
def test_the_longest_topic_that_a_length_can_tell(version: int) -> None:
    pair = Pair()
    pair.limits.topic_bytes = 65_535
    subscriber, publisher = pair.connected("s", version), pair.connected("p", version)
    topic = "t" * 65_535
    assert subscriber.subscribe(topic) == 0
    publisher.publish(topic, b"x")
    assert subscriber.receive(Publish).topic == topic
