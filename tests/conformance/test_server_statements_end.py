"""Sections 3.12 to 3.15, 4.12 and 4.13: PINGREQ, DISCONNECT, AUTH and the handling of errors."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import MQTT_3_1_1, MQTT_5_0, Connack, Disconnect, Publish
from tests.conformance.scripts import VERSIONS, limits, publish
from tests.pair import Pair, raw, string
from tests.statements import statement


@statement("MQTT5-3.12.4-1", "MQTT311-3.12.4-1")
@VERSIONS
def test_pingreq_is_answered(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(bytes.fromhex("c0 00 c0 00"))
    client.receive_bytes(bytes.fromhex("d0 00"))
    client.receive_bytes(bytes.fromhex("d0 00"))
    client.nothing()


@statement("MQTT5-3.14.4-1", "MQTT5-3.14.4-2", "MQTT311-3.14.4-1", "MQTT311-3.14.4-2")
@VERSIONS
def test_nothing_behind_a_disconnect_is_processed(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("#")
    client = pair.connected("c", version)
    client.send(raw(0xE0) + publish(version, "a") + raw(0xC0))
    assert client.closed
    assert client.next() is None
    watcher.nothing()


@statement("MQTT5-3.14.4-1", "MQTT5-3.14.4-2", "MQTT5-4.13.2-1", "MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
@VERSIONS
def test_the_server_sends_nothing_behind_its_disconnect(version: int) -> None:
    pair = Pair()
    client = pair.connected("c", version)
    client.subscribe("a")
    client.send(raw(0xC0) + publish(version, "a", b"x", 6, 1) + raw(0xC0))
    client.receive_bytes(bytes.fromhex("d0 00"))
    client.ends(ReasonCode.MALFORMED_PACKET)
    pair.connected("p", version).publish("a", b"x")
    assert client.next() is None


@statement("MQTT5-3.14.2-1")
@pytest.mark.parametrize("reason", [0x01, 0x10, 0x84, 0x8D, 0x8E, 0xFF])
def test_a_disconnect_with_a_reason_that_no_client_has(reason: int) -> None:
    client = Pair().connected("c")
    client.send(raw(0xE0, bytes([reason])))
    assert client.closed


@statement("MQTT5-3.14.2-1", "MQTT5-3.14.2-2")
def test_shutting_down_is_told() -> None:
    pair = Pair()
    new, old = pair.connected("n"), pair.connected("o", MQTT_3_1_1)
    pair.broker.shut_down(pair.now)
    pair.settle()
    disconnect = new.receive(Disconnect)
    assert disconnect.reason == ReasonCode.SERVER_SHUTTING_DOWN
    assert disconnect.properties.session_expiry_interval is None
    new.ends()
    old.ends()


@statement("MQTT5-4.1.0-2", "MQTT5-3.1.2-23")
def test_a_disconnect_may_change_the_session_expiry_interval() -> None:
    pair = Pair()
    pair.connected("c", session_expiry_interval=1000).disconnect(session_expiry_interval=10)
    pair.advance(11)
    assert not pair.client().connect("c", clean_start=False).session_present
    pair.connected("d", session_expiry_interval=1000).disconnect(session_expiry_interval=0)
    assert not pair.client().connect("d", clean_start=False).session_present
    client = pair.connected("e")
    client.send(bytes.fromhex("e0 07 00 05 11 00 00 00 0a"))
    client.ends(ReasonCode.PROTOCOL_ERROR)  # it was 0 in CONNECT: section 3.14.2.2.2


# -- Enhanced authentication, which no Server must have


@statement("MQTT5-4.12.0-1", "MQTT5-4.12.0-4")
def test_an_authentication_method_is_refused() -> None:
    client = Pair().client()
    client.send(raw(0x10, string("MQTT"), b"\x05\x02\x00\x00", b"\x08\x15" + string("SCRAM"), string("c")))
    connack = client.receive(Connack)
    assert connack.reason == ReasonCode.BAD_AUTHENTICATION_METHOD
    assert connack.properties.authentication_method is None
    client.ends()


@statement("MQTT5-4.12.0-6")
def test_without_an_authentication_method_none_is_answered() -> None:
    client = Pair().client()
    connack = client.connect("c")
    assert connack.properties.authentication_method is None
    assert connack.properties.authentication_data is None
    client.nothing()


@statement("MQTT5-4.12.0-7", "MQTT5-4.12.1-1", "MQTT5-4.12.1-2", "MQTT5-3.15.2-1")
@pytest.mark.parametrize(
    "packet",
    [
        raw(0xF0),
        raw(0xF0, b"\x18\x00"),
        raw(0xF0, b"\x19\x00"),
        raw(0xF0, b"\x19\x08\x15" + string("SCRAM")),
        raw(0xF0, b"\x01\x00"),
        raw(0xF0, b"\x80\x00"),
    ],
    ids=bytes.hex,
)
def test_auth_ends_the_connection(packet: bytes) -> None:
    client = Pair().connected("c")
    client.send(packet)
    assert client.receive(Disconnect).reason in (ReasonCode.PROTOCOL_ERROR, ReasonCode.MALFORMED_PACKET)
    client.ends()


@statement("MQTT311-4.8.0-1", "MQTT311-2.2.2-2")
def test_auth_is_no_packet_of_3_1_1() -> None:
    client = Pair().connected("c", MQTT_3_1_1)
    client.send(raw(0xF0))
    client.ends()


# -- Errors


@statement("MQTT5-4.13.1-1", "MQTT5-4.13.2-1", "MQTT311-4.8.0-1")
@VERSIONS
@pytest.mark.parametrize(
    "packet",
    [raw(0x20, b"\x00\x00"), raw(0x90, b"\x00\x01\x00"), raw(0xB0, b"\x00\x01"), raw(0xD0), raw(0x00)],
    ids=bytes.hex,
)
def test_packets_that_no_client_sends(version: int, packet: bytes) -> None:
    client = Pair().connected("c", version)
    client.send(packet)
    assert client.closed
    if version == MQTT_5_0:
        assert client.receive(Disconnect).reason in (ReasonCode.PROTOCOL_ERROR, ReasonCode.MALFORMED_PACKET)
    client.ends()


@statement("MQTT5-4.13.1-1", "MQTT5-4.13.2-1")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("twice", b"\x01\x00\x01\x00"),
        ("of another packet", b"\x11\x00\x00\x00\x01"),
        ("unknown", b"\x7f\x00"),
        ("cut short", b"\x02\x00\x00"),
        ("flag of 2", b"\x01\x02"),
    ],
)
def test_wrong_properties_end_the_connection(name: str, data: bytes) -> None:
    client = Pair().connected("c")
    client.send(raw(0x30, string("a"), bytes([len(data)]), data, b"x"))
    reason = ReasonCode.PROTOCOL_ERROR if name in ("twice", "flag of 2") else ReasonCode.MALFORMED_PACKET
    client.ends(reason)


@statement("MQTT5-4.13.1-1", "MQTT311-4.8.0-1")
@VERSIONS
def test_a_fault_of_one_client_is_no_others(version: int) -> None:
    pair = Pair()
    good, bad = pair.connected("good", version), pair.connected("bad", version)
    good.subscribe("a")
    bad.send(raw(0x00))
    bad.ends(ReasonCode.MALFORMED_PACKET)
    good.publish("a", b"x")
    assert good.receive(Publish).payload == b"x"


@statement("MQTT5-4.13.1-1")
def test_a_packet_of_more_than_the_limits_ends_the_connection() -> None:
    pair = Pair(limits(user_properties=2))
    client = pair.connected("c")
    one = b"\x26" + string("k") + string("v")
    client.send(raw(0x30, string("a"), bytes([2 * len(one)]), one * 2, b"x"))
    client.nothing()
    client.send(raw(0x30, string("a"), bytes([3 * len(one)]), one * 3, b"x"))
    assert client.receive(Disconnect).reason >= 0x80
    client.ends()
