"""Sections 3.1.3, 3.1.4 and 3.2: the payload of CONNECT, its handling, and CONNACK."""

from __future__ import annotations

import pytest

from broker.core.grants import Grant
from broker.core.ports import Refusal
from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Connect,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from tests.conformance.scripts import VERSIONS, Gate, connect, limits, none
from tests.pair import Pair, properties, raw, string
from tests.statements import statement

# -- 3.1.3 Payload


@statement("MQTT5-3.1.3-3", "MQTT311-3.1.3-3")
@VERSIONS
def test_a_connect_without_client_identifier(version: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.3-2", "MQTT311-3.1.3-2", "MQTT5-4.7.3-4")
@VERSIONS
def test_client_identifiers_are_told_apart_by_every_character(version: int) -> None:
    pair = Pair()
    clients = {}
    for name in ("c", "C", "c ", " c", "\u00e9", "e\u0301"):
        clients[name] = pair.connected(name, version)
        clients[name].subscribe(f"to/{len(clients)}")
    for name, client in clients.items():
        assert not client.closed, name


@statement("MQTT5-3.1.3-5", "MQTT311-3.1.3-5")
@VERSIONS
@pytest.mark.parametrize("name", ["0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ", "Zz9"])
def test_plain_client_identifiers_are_accepted(version: int, name: str) -> None:
    Pair().connected(name, version)


@statement("MQTT5-3.1.3-6", "MQTT5-3.1.3-7", "MQTT5-3.2.2-16")
def test_an_empty_client_identifier_gets_one_assigned() -> None:
    pair = Pair()
    names: set[str | None] = set()
    for _ in range(10):
        client = pair.client()
        names.add(client.connect("", session_expiry_interval=100).properties.assigned_client_identifier)
        client.subscribe("a", qos=1)
    assert len(names) == 10
    assert None not in names
    name = names.pop()
    assert name
    again = pair.client()
    assert again.connect(name, clean_start=False).session_present


@statement("MQTT311-3.1.3-6", "MQTT311-3.1.3-7")
def test_empty_client_identifiers_of_3_1_1_are_different_clients() -> None:
    pair = Pair()
    first, second = pair.connected("", MQTT_3_1_1), pair.connected("", MQTT_3_1_1)
    first.subscribe("a")
    second.publish("a", b"x")
    assert first.receive(Publish).payload == b"x"
    second.nothing()


@statement("MQTT5-3.1.3-6")
def test_an_assigned_client_identifier_is_not_one_in_use() -> None:
    pair = Pair()
    first = pair.client().connect("").properties.assigned_client_identifier
    assert first is not None
    second = pair.connected(first)
    assert pair.client().connect("").properties.assigned_client_identifier != first
    second.nothing()


@statement("MQTT311-3.1.3-8", "MQTT311-3.1.3-7", "MQTT311-3.2.2-4", "MQTT311-3.2.2-5")
def test_an_empty_client_identifier_without_clean_session() -> None:
    client = Pair().client(MQTT_3_1_1)
    client.send(connect(MQTT_3_1_1, 0, string("")))
    client.receive_bytes(bytes.fromhex("20 02 00 02"))
    client.ends()


@statement("MQTT5-3.1.3-8", "MQTT311-3.1.3-9", "MQTT5-3.2.2-6", "MQTT5-3.2.2-7", "MQTT5-3.2.2-8", "MQTT311-3.2.2-5")
@VERSIONS
@pytest.mark.parametrize("name", ["", "x" * 257, "\u20ac" * 86])
def test_a_client_identifier_that_is_not_taken(version: int, name: str) -> None:
    client = Pair(limits(zero_length_client_identifiers=False)).client(version)
    client.send(connect(version, 2, string(name)))
    connack = client.receive(Connack)
    assert connack.reason == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    assert not connack.session_present
    assert version == MQTT_5_0 or client.last == bytes.fromhex("20 02 00 02")
    client.ends()


# -- 3.1.4 Actions


@statement("MQTT5-3.1.4-1", "MQTT311-3.1.4-1")
@VERSIONS
def test_a_connect_of_wrong_format(version: int) -> None:
    good = connect(version, 2, string("c"))
    for packet in (raw(0x10, good[2:], b"\x00"), raw(0x10, good[2:-1]), raw(0x10, good[2:9]), raw(0x10)):
        client = Pair().client(version)
        client.send(packet)
        assert client.closed, packet.hex()
        client.refused()


@statement("MQTT5-3.1.4-2", "MQTT5-3.2.2-7", "MQTT5-3.2.2-8", "MQTT5-4.13.2-1", "MQTT311-3.2.2-4", "MQTT311-3.2.2-5")
@VERSIONS
@pytest.mark.parametrize(
    ("reason", "return_code"),
    [
        (ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode.NOT_AUTHORIZED, 5),
        (ReasonCode.SERVER_UNAVAILABLE, 3),
        (ReasonCode.SERVER_BUSY, 3),
        (ReasonCode.BANNED, 5),
    ],
)
def test_a_refusal_is_told_and_ends_the_connection(version: int, reason: ReasonCode, return_code: int) -> None:
    client = Pair(authenticator=Gate(Refusal(reason))).client(version)
    client.send(connect(version, 0, string("c")))
    if version == MQTT_5_0:
        client.receive_bytes(raw(0x20, b"\x00", bytes([reason]), b"\x00"))
    else:
        client.receive_bytes(raw(0x20, b"\x00", bytes([return_code])))
    client.ends()


@statement("MQTT311-3.2.2-6")
def test_a_refusal_without_a_return_code_is_a_close() -> None:
    client = Pair(authenticator=Gate(Refusal(ReasonCode.USE_ANOTHER_SERVER))).client(MQTT_3_1_1)
    client.send(connect(MQTT_3_1_1, 2, string("c")))
    client.ends()


@statement("MQTT5-3.2.2-8")
@pytest.mark.parametrize("reason", [ReasonCode.TOPIC_FILTER_INVALID, ReasonCode.SESSION_TAKEN_OVER])
def test_a_reason_that_no_connack_may_have_is_not_sent(reason: ReasonCode) -> None:
    client = Pair(authenticator=Gate(Refusal(reason))).client()
    assert client.connect("c").reason == ReasonCode.UNSPECIFIED_ERROR
    client.ends()


@statement("MQTT5-3.1.4-3", "MQTT311-3.1.4-2", "MQTT5-3.14.4-1", "MQTT5-3.14.4-2")
@VERSIONS
@pytest.mark.parametrize("clean_start", [True, False])
def test_a_second_connection_of_a_client_ends_the_first(version: int, clean_start: bool) -> None:
    pair = Pair()
    first = pair.connected("c", version, session_expiry_interval=100)
    first.subscribe("a")
    second = pair.connected("c", version, clean_start=clean_start, session_expiry_interval=100)
    first.ends(ReasonCode.SESSION_TAKEN_OVER)
    second.subscribe("b")
    pair.connected("p", version).publish("b", b"x")
    assert second.receive(Publish).payload == b"x"


@statement("MQTT5-3.1.4-5", "MQTT311-3.1.4-4", "MQTT5-3.2.2-1", "MQTT5-3.2.2-2", "MQTT311-3.2.2-1")
@VERSIONS
def test_an_accepted_connect_is_acknowledged(version: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2, string("c")))
    connack = client.receive(Connack)
    assert connack.reason == ReasonCode.SUCCESS
    flags_at = 3 if len(client.last) > 129 else 2
    assert client.last[0] == 0x20
    assert client.last[flags_at] == 0
    if version == MQTT_3_1_1:
        assert client.last == bytes.fromhex("20 02 00 00")
    client.nothing()


@statement("MQTT5-3.2.2-1", "MQTT311-3.2.2-2")
@VERSIONS
def test_session_present_is_bit_0_alone(version: int) -> None:
    pair = Pair()
    pair.connected("c", version, clean_start=False, session_expiry_interval=100).drop()
    client = pair.client(version)
    client.send(connect(version, 0, string("c")))
    client.receive(Connack)
    assert client.last[2:4] == b"\x01\x00"


@statement("MQTT5-3.1.4-6", "MQTT311-3.1.4-5")
@VERSIONS
def test_nothing_behind_a_refused_connect_is_processed(version: int) -> None:
    gate = Gate()
    pair = Pair(authenticator=gate)
    watcher = pair.connected("w", version)
    watcher.subscribe("#")
    gate.answer = Refusal(ReasonCode.NOT_AUTHORIZED)
    client = pair.client(version)
    client.send(connect(version, 2, string("c")) + raw(0x31, string("a"), none(version), b"x") + raw(0xC0))
    assert client.receive(Connack).reason == ReasonCode.NOT_AUTHORIZED
    client.ends()
    watcher.nothing()
    gate.answer = Grant()
    late = pair.connected("late", version)
    late.subscribe("#")
    late.nothing()


@statement("MQTT5-3.1.4-5", "MQTT311-3.1.4-4", "MQTT5-3.2.0-1", "MQTT311-3.2.0-1")
@VERSIONS
@pytest.mark.parametrize("cuts", [None, 1, 7])
def test_what_follows_the_connect_at_once_is_processed_behind_it(version: int, cuts: int | None) -> None:
    client = Pair(cuts=cuts).client(version)
    client.send(
        connect(version, 2, string("c"))
        + raw(0x82, b"\x00\x01", none(version), string("a"), b"\x00")
        + raw(0x30, string("a"), none(version), b"x")
        + raw(0xC0)
    )
    assert client.receive(Connack).reason == ReasonCode.SUCCESS
    assert client.receive(Suback).reasons == [0]
    assert client.receive(Publish).payload == b"x"
    client.receive_bytes(b"\xd0\x00")
    client.nothing()


# -- 3.2 CONNACK


@statement("MQTT5-3.2.0-1", "MQTT311-3.2.0-1")
@VERSIONS
def test_connack_comes_before_what_waited(version: int) -> None:
    pair = Pair()
    client = pair.connected("c", version, clean_start=False, session_expiry_interval=100)
    client.subscribe("a", qos=1)
    client.drop()
    pair.connected("p", version).publish("a", b"x", qos=1)
    again = pair.client(version)
    assert again.connect("c", clean_start=False).session_present
    assert again.receive(Publish).payload == b"x"


@statement("MQTT5-3.2.0-1", "MQTT5-3.14.0-1", "MQTT311-3.2.0-1")
def test_silence_before_connect_is_ended_without_a_word() -> None:
    pair = Pair()
    client = pair.client()
    pair.advance(4.5)
    client.nothing()
    pair.advance(1.5)
    assert client.closed
    assert client.next() is None


@statement("MQTT5-3.2.2-9", "MQTT5-3.2.2-10", "MQTT5-3.2.2-11", "MQTT5-3.2.2-12")
@pytest.mark.parametrize("maximum", [0, 1])
def test_a_server_with_less_than_qos_2(maximum: int) -> None:
    pair = Pair(limits(maximum_qos=maximum))
    client = pair.client()
    assert client.connect("c").properties.maximum_qos == maximum
    requests = [SubscriptionRequest("a", 0), SubscriptionRequest("b", 1), SubscriptionRequest("c", 2)]
    client.send(Subscribe(1, requests))
    assert client.receive(Suback).reasons == [0, min(1, maximum), min(2, maximum)]
    for qos in range(maximum + 1):
        client.publish("x", b"", qos=qos)
    client.send(raw(0x30 | (maximum + 1) << 1, string("a"), b"\x00\x09\x00"))
    client.ends(ReasonCode.QOS_NOT_SUPPORTED)
    refused = pair.client()
    assert refused.connect("r", will=Will("w", b"", maximum + 1)).reason == ReasonCode.QOS_NOT_SUPPORTED
    refused.ends()


@statement("MQTT5-3.2.2-9")
def test_a_server_with_qos_2_does_not_mention_it() -> None:
    assert Pair().client().connect("c").properties.maximum_qos is None


@statement("MQTT5-3.2.2-13", "MQTT5-3.2.2-14")
def test_a_server_without_retained_messages() -> None:
    pair = Pair(limits(retain_available=False))
    client = pair.client()
    assert client.connect("c").properties.retain_available == 0
    client.send(raw(0x31, string("a"), b"\x00x"))
    client.ends(ReasonCode.RETAIN_NOT_SUPPORTED)
    refused = pair.client()
    assert refused.connect("r", will=Will("w", b"", 0, True)).reason == ReasonCode.RETAIN_NOT_SUPPORTED
    refused.ends()


@statement("MQTT5-3.2.2-15")
def test_a_packet_above_the_servers_maximum() -> None:
    pair = Pair(limits(maximum_packet_size=200))
    client = pair.client()
    assert client.connect("c").properties.maximum_packet_size == 200
    client.send(raw(0x30, string("a"), b"\x00", bytes(193)))  # 200 bytes with its three of fixed header
    client.nothing()
    client.send(raw(0x30, string("a"), b"\x00", bytes(194)))
    client.ends(ReasonCode.PACKET_TOO_LARGE)


@statement("MQTT5-3.2.2-17", "MQTT5-3.3.2-9", "MQTT5-3.3.2-12")
def test_aliases_up_to_the_servers_maximum() -> None:
    pair = Pair(limits(topic_alias_maximum=3))
    watcher = pair.connected("w")
    watcher.subscribe("#")
    client = pair.client()
    assert client.connect("c").properties.topic_alias_maximum == 3
    for alias in (1, 2, 3):
        client.send(raw(0x30, string(f"t{alias}"), b"\x03\x23\x00", bytes([alias]), b"x"))
        assert watcher.receive(Publish).topic == f"t{alias}"
    for alias in (3, 1, 2):
        client.send(raw(0x30, string(""), b"\x03\x23\x00", bytes([alias]), b"y"))
        assert watcher.receive(Publish).topic == f"t{alias}"
    client.send(raw(0x30, string("t4"), b"\x03\x23\x00\x04", b"x"))
    client.ends(ReasonCode.TOPIC_ALIAS_INVALID)
    watcher.nothing()


@statement("MQTT5-3.2.2-18", "MQTT5-3.3.2-9")
def test_an_alias_to_a_server_that_takes_none() -> None:
    client = Pair(limits(topic_alias_maximum=0)).client()
    assert client.connect("c").properties.topic_alias_maximum in (None, 0)
    client.send(raw(0x30, string("t"), b"\x03\x23\x00\x01", b"x"))
    client.ends(ReasonCode.TOPIC_ALIAS_INVALID)


@statement("MQTT5-3.2.2-19", "MQTT5-3.2.2-20", "MQTT5-3.1.2-24")
def test_a_connack_keeps_within_the_clients_maximum() -> None:
    client = Pair(authenticator=Gate(Refusal(ReasonCode.NOT_AUTHORIZED, "why " * 50))).client()
    assert client.connect("c", maximum_packet_size=60).reason == ReasonCode.NOT_AUTHORIZED
    assert len(client.last) <= 60
    client.ends()


@statement("MQTT5-3.14.2-3", "MQTT5-3.14.2-4", "MQTT5-3.1.2-24")
@pytest.mark.parametrize("maximum", [3, 10, 1000])
def test_a_disconnect_keeps_within_the_clients_maximum(maximum: int) -> None:
    client = Pair().client()
    client.send(Connect("c", properties=properties(maximum_packet_size=maximum)))
    while (data := client.next()) is not None:
        assert len(data) <= maximum
    client.send(raw(0x3E))
    while (data := client.next()) is not None:
        assert len(data) <= maximum
    assert client.closed


@statement("MQTT5-3.14.2-2", "MQTT5-3.14.2-1")
def test_a_disconnect_of_the_server_has_no_session_expiry_interval() -> None:
    pair = Pair()
    client = pair.connected("c", session_expiry_interval=100)
    pair.connected("c")
    disconnect = client.receive(Disconnect)
    assert disconnect.reason == ReasonCode.SESSION_TAKEN_OVER
    assert disconnect.properties.session_expiry_interval is None
