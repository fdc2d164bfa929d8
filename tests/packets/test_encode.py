"""Control Packets to bytes: the table's bytes exactly, and back again for any packet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.packets.encode import (
    CONNACK_3,
    PINGREQ_PACKET,
    PINGRESP_PACKET,
    acknowledgement,
    encode,
    encode_publish,
    puback,
    pubcomp,
    publish_parts,
    pubrec,
    pubrel,
)
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Auth,
    Connack,
    Connect,
    ControlPacket,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsuback,
    Unsubscribe,
    Will,
)
from tests.packets.strategies import connects, packets, publishes
from tests.packets.table import CASES, Case, decoder, fields, octets, properties
from tests.statements import statement

BY_NAME = {case.name: case for case in CASES}


@statement(
    *("MQTT5-2.1.3-1", "MQTT311-2.2.2-1", "MQTT5-2.2.2-1", "MQTT5-3.1.2-1", "MQTT5-3.1.3-1", "MQTT311-3.1.3-1"),
    *("MQTT5-3.1.3-3", "MQTT311-3.1.3-3", "MQTT5-3.3.2-1", "MQTT311-3.3.2-1", "MQTT5-3.2.2-1"),
)
@pytest.mark.parametrize("case", [case for case in CASES if case.exact], ids=lambda case: case.name)
def test_table(case: Case) -> None:
    assert encode(case.packet, case.spoken).hex() == case.data.hex()


@pytest.mark.parametrize("case", [case for case in CASES if not case.exact], ids=lambda case: case.name)
def test_other_spellings_of_a_packet_mean_the_same(case: Case) -> None:
    written = encode(case.packet, case.spoken)
    if isinstance(case.packet, Connack) and case.version == 5:
        assert written == octets("20 03 00 84 00")  # a 3.1.1 Server's words; ours are those of 5.0
    else:
        reader = decoder(case.version, case.server)
        assert fields(reader.feed(written)) == fields([case.packet])


@given(st.data(), st.sampled_from((3, 4, 5)), st.booleans())
def test_round_trip(data: st.DataObject, version: int, server: bool) -> None:
    some = data.draw(st.lists(packets(version, server), max_size=3))
    reader = decoder(version, server)
    read = reader.feed(b"".join(encode(packet, version) for packet in some))
    assert reader.error is None
    assert fields(read) == fields(some)


@given(st.data(), st.sampled_from((3, 4, 5)))
def test_round_trip_of_a_connect(data: st.DataObject, version: int) -> None:
    connect = data.draw(connects(version))
    reader = decoder(0)
    read = reader.feed(encode(connect, version))
    assert reader.error is None
    assert fields(read) == fields([connect])
    assert reader.version == version


@statement("MQTT5-1.5.5-1")
@pytest.mark.parametrize(
    ("payload", "length"),
    [(124, "7f"), (125, "8001"), (16_380, "ff7f"), (16_381, "808001"), (2_097_148, "ffff7f"), (2_097_149, "80808001")],
)
def test_remaining_length_is_minimal(payload: int, length: str) -> None:
    packet = encode_publish(b"a", bytes(payload), version=4)
    assert packet[: 1 + len(length) // 2] == bytes.fromhex("30" + length)
    assert len(packet) == 1 + len(length) // 2 + 3 + payload


@statement("MQTT5-2.2.1-2", "MQTT311-2.3.1-5")
@given(st.data(), st.sampled_from((3, 4, 5)))
def test_publish_in_parts(data: st.DataObject, version: int) -> None:
    """Head, Packet Identifier and tail are the whole; at QoS 0 there is none between them."""
    one = data.draw(publishes(version, False))
    head, tail = publish_parts(
        *(one.topic.encode(), one.payload, one.qos, one.retain, one.dup, version, one.forwarded),
        *(one.message_expiry_interval, one.topic_alias, one.subscription_identifiers),
    )
    middle = one.packet_identifier.to_bytes(2, "big") if one.qos else b""
    assert head + middle + tail == encode(one, version)
    assert tail.endswith(one.payload)


def test_publish_in_its_plainest_form() -> None:
    assert encode_publish(b"a", b"hi") == octets("30 .. \"a\" [] 'hi'")
    assert encode_publish(b"a", b"hi", version=4) == octets("30 .. \"a\" 'hi'")
    assert publish_parts(b"a", b"hi", 0, False, False, 5) == (octets('30 06 "a"'), octets("[] 'hi'"))


@pytest.mark.parametrize("packet_identifier", [1, 255, 256, 65_535])
def test_acknowledgements_in_short(packet_identifier: int) -> None:
    for write, kind, packet in (
        (puback, PUBACK, Puback(packet_identifier)),
        (pubrec, PUBREC, Pubrec(packet_identifier)),
        (pubrel, PUBREL, Pubrel(packet_identifier)),
        (pubcomp, PUBCOMP, Pubcomp(packet_identifier)),
    ):
        for version in (3, 4, 5):
            expected = encode(packet, version)
            assert write(packet_identifier) == expected
            assert acknowledgement(kind, packet_identifier, 0, version) == expected


def test_acknowledgements_with_a_reason() -> None:
    assert acknowledgement(PUBACK, 1, 0x10, 5) == octets("40 03 0001 10")
    assert acknowledgement(PUBREC, 0xFFFF, 0x97, 5) == octets("50 03 ffff 97")
    assert acknowledgement(PUBREL, 1, 0x92, 5) == octets("62 03 0001 92")
    assert acknowledgement(PUBCOMP, 256, 0x92, 5) == octets("70 03 0100 92")


@statement("MQTT5-3.6.1-1", "MQTT311-3.6.1-1")
def test_pubrel_has_its_flags() -> None:
    assert pubrel(7)[0] == encode(Pubrel(7), 4)[0] == acknowledgement(PUBREL, 7, 0x92, 5)[0] == 0x62


def test_before_5_there_are_no_reasons_and_no_properties() -> None:
    rich = properties(reason_string="r", user_properties=[("k", "v")])
    for version in (3, 4):
        assert encode(Puback(1, 0x97, rich), version) == octets("40 02 0001")
        assert acknowledgement(PUBREC, 1, 0x97, version) == octets("50 02 0001")
        assert encode(Disconnect(ReasonCode.PROTOCOL_ERROR, rich), version) == octets("e0 00")
        assert encode(Unsuback(1, [0x11], rich), version) == octets("b0 02 0001")
        assert encode(Subscribe(1, [SubscriptionRequest("a", 1, True, True, 2)], rich), version) == octets(
            '82 .. 0001 "a" 01'
        )
        message = Publish("a", b"x", forwarded=b"\1\1", message_expiry_interval=5, subscription_identifiers=(1,))
        assert encode(message, version) == octets("30 .. \"a\" 'x'")
        will = Will("w", b"", delay_interval=9, message_expiry_interval=9, forwarded=b"\1\1")
        assert encode(Connect("a", will=will), version).endswith(octets('"a" "w" ""'))


@statement("MQTT5-3.9.3-2", "MQTT311-3.9.3-2")
def test_suback_before_5_knows_one_failure() -> None:
    reasons = [0, 1, 2, 0x80, 0x87, 0x8F, 0x97, 0xA2]
    for version in (3, 4):
        assert encode(Suback(1, reasons), version) == octets("90 .. 0001 00 01 02 80 80 80 80 80")
    assert encode(Suback(1, reasons), 5) == octets("90 .. 0001 [] 00 01 02 80 87 8f 97 a2")


@statement("MQTT5-3.9.3-1", "MQTT311-3.9.3-1", "MQTT5-3.11.3-1")
def test_codes_keep_the_order_of_the_filters() -> None:
    assert encode(Suback(1, [2, 0, 1]), 5)[-3:] == bytes((2, 0, 1))
    assert encode(Suback(1, [2, 0, 1]), 4)[-3:] == bytes((2, 0, 1))
    assert encode(Unsuback(1, [0x11, 0, 0x11]), 5)[-3:] == bytes((0x11, 0, 0x11))


@statement("MQTT5-3.2.2-6", "MQTT311-3.2.2-4")
@pytest.mark.parametrize("version", [3, 4, 5])
def test_session_present_goes_with_success_only(version: int) -> None:
    assert encode(Connack(ReasonCode.NOT_AUTHORIZED, True), version)[2] == 0
    assert encode(Connack(ReasonCode.SUCCESS, True), version)[2] == (version != 3)


@statement("MQTT311-3.2.2-6")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("present", [False, True])
def test_the_connack_of_every_day(version: int, present: bool) -> None:
    assert CONNACK_3[present and version == 4] == encode(Connack(ReasonCode.SUCCESS, present), version)


def test_no_connack_where_no_return_code_fits() -> None:
    for version in (3, 4):
        assert encode(Connack(ReasonCode.MALFORMED_PACKET), version) == b""
        assert encode(Connack(ReasonCode.SERVER_BUSY), version) == octets("20 02 00 03")


def test_pings() -> None:
    assert octets("c0 00") == PINGREQ_PACKET
    assert octets("d0 00") == PINGRESP_PACKET


def not_sent(packet: ControlPacket, *versions: int) -> None:
    for version in versions or (3, 4, 5):
        with pytest.raises(ValueError, match=r"\w"):
            encode(packet, version)


@statement("MQTT5-2.2.1-3", "MQTT5-2.2.1-4", "MQTT311-2.3.1-1")
@pytest.mark.parametrize("packet_identifier", [0, -1, 65_536])
def test_packet_identifier_is_not_0(packet_identifier: int) -> None:
    not_sent(Publish("a", b"", qos=1, packet_identifier=packet_identifier))
    not_sent(Subscribe(packet_identifier, [SubscriptionRequest("a")]))
    not_sent(Unsubscribe(packet_identifier, ["a"]))
    not_sent(Puback(packet_identifier))
    not_sent(Suback(packet_identifier, [0]))
    not_sent(Unsuback(packet_identifier, [0]))


@statement("MQTT5-2.2.1-2", "MQTT311-2.3.1-5", "MQTT5-3.3.1-2", "MQTT311-3.3.1-2")
def test_qos_0_has_neither_packet_identifier_nor_dup() -> None:
    not_sent(Publish("a", b"", packet_identifier=1))
    not_sent(Publish("a", b"", dup=True))


@statement("MQTT5-3.3.1-4", "MQTT311-3.3.1-4", "MQTT5-3.1.2-12", "MQTT311-3.1.2-14")
def test_qos_3_is_not_sent() -> None:
    not_sent(Publish("a", b"", qos=3, packet_identifier=1))
    not_sent(Connect("a", will=Will("w", b"", qos=3)))
    not_sent(Subscribe(1, [SubscriptionRequest("a", 3)]))


@statement("MQTT5-3.3.2-2", "MQTT311-3.3.2-2", "MQTT5-4.7.3-1", "MQTT311-4.7.3-1")
@pytest.mark.parametrize("topic", ["", "a/#", "+", "a\0"])
def test_topic_names_are_judged(topic: str) -> None:
    not_sent(Publish(topic, b""))
    not_sent(Connect("a", will=Will(topic, b"")))


def test_a_topic_alias_stands_for_a_topic_name_in_5_only() -> None:
    aliased = Publish("", b"", topic_alias=1)
    assert encode(aliased, 5) == octets('30 .. "" [23 0001]')
    not_sent(aliased, 3, 4)
    not_sent(Publish("a/#", b"", topic_alias=1))


@statement("MQTT5-4.7.1-1", "MQTT5-4.8.2-1", "MQTT5-4.8.2-2")
@pytest.mark.parametrize("topic_filter", ["", "a#", "+a", "$share/g", "$share/+/a"])
def test_topic_filters_are_judged(topic_filter: str) -> None:
    not_sent(Subscribe(1, [SubscriptionRequest(topic_filter)]))
    not_sent(Unsubscribe(1, [topic_filter]))


@statement("MQTT5-3.8.3-2", "MQTT311-3.8.3-3", "MQTT5-3.10.3-2", "MQTT311-3.10.3-2")
def test_at_least_one_topic_filter_is_sent() -> None:
    not_sent(Subscribe(1, []))
    not_sent(Unsubscribe(1, []))


@statement("MQTT5-3.8.3-4")
def test_no_local_is_not_asked_of_a_shared_subscription() -> None:
    not_sent(Subscribe(1, [SubscriptionRequest("$share/g/a", no_local=True)]), 5)
    not_sent(Subscribe(1, [SubscriptionRequest("a", retain_handling=3)]))


@statement(
    *("MQTT5-3.2.2-8", "MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1"),
    *("MQTT5-3.9.3-2", "MQTT5-3.11.3-2", "MQTT5-3.14.2-1", "MQTT5-3.15.2-1"),
)
def test_reason_codes_belong_to_their_packets() -> None:
    for packet in (
        Connack(ReasonCode.SERVER_SHUTTING_DOWN),
        Puback(1, ReasonCode.MALFORMED_PACKET),
        Pubrec(1, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND),
        Pubrel(1, ReasonCode.NO_MATCHING_SUBSCRIBERS),
        Pubcomp(1, ReasonCode.UNSPECIFIED_ERROR),
        Suback(1, [0, ReasonCode.NO_SUBSCRIPTION_EXISTED]),
        Unsuback(1, [0, ReasonCode.GRANTED_QOS_1]),
        Disconnect(ReasonCode.BANNED),
        Auth(ReasonCode.NOT_AUTHORIZED),
    ):
        not_sent(packet, 5)


@statement("MQTT311-3.1.2-22")
def test_password_without_user_name_in_5_only() -> None:
    connect = Connect("a", password=b"p")
    not_sent(connect, 3, 4)
    assert encode(connect, 5) == octets('10 .. "MQTT" 05 42 003c [] "a" "p"')


def test_auth_in_5_only() -> None:
    not_sent(Auth(), 3, 4)


@statement("MQTT5-1.5.4-1", "MQTT5-1.5.4-2", "MQTT5-4.7.3-3")
@pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 65_536])
def test_strings_are_judged(text: str) -> None:
    not_sent(Connect(text))
    not_sent(Connect("a", user_name=text))
    not_sent(Disconnect(properties=properties(reason_string=text)), 5)


def test_every_kind_of_packet_is_in_the_table() -> None:
    kinds = {type(case.packet) for case in BY_NAME.values()}
    assert len(kinds) == 15
    assert len(BY_NAME) == len(CASES)
