"""Sections 3.1.0 to 3.1.2: the head of CONNECT and what it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    MQTT_3_1_1,
    MQTT_5_0,
    Connack,
    Publish,
    Will,
)
from tests.conformance.scripts import VERSIONS, Gate, Reader, connect, limits, none
from tests.pair import Pair, raw, string
from tests.statements import statement

# -- 3.1.0


@statement("MQTT5-3.1.0-1", "MQTT311-3.1.0-1", "MQTT5-3.14.0-1", "MQTT5-3.2.0-1", "MQTT311-3.2.0-1")
@pytest.mark.parametrize(
    "packet",
    [
        raw(0x30, string("a"), b"x"),
        raw(0x40, b"\x00\x01"),
        raw(0x62, b"\x00\x01"),
        raw(0x82, b"\x00\x01", string("a"), b"\x00"),
        raw(0xA2, b"\x00\x01", string("a")),
        raw(0xC0),
        raw(0xE0),
        raw(0xF0),
        raw(0x20, b"\x00\x00"),
        b"\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=bytes.hex,
)
def test_a_first_packet_that_is_no_connect_ends_the_connection(packet: bytes) -> None:
    client = Pair().client()
    client.send(packet)
    assert client.closed
    assert client.next() is None


@statement("MQTT5-3.1.0-2", "MQTT311-3.1.0-2", "MQTT5-3.2.0-2")
@VERSIONS
def test_a_second_connect_is_a_protocol_error(version: int) -> None:
    client = Pair().connected("c", version)
    client.send(connect(version, 2, string("c")))
    client.ends(ReasonCode.PROTOCOL_ERROR)


@statement("MQTT5-3.1.0-2", "MQTT311-3.1.0-2", "MQTT5-3.2.0-2")
@VERSIONS
def test_two_connects_at_once_get_one_connack(version: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2, string("c")) * 2)
    assert client.receive(Connack).reason == ReasonCode.SUCCESS
    client.ends(ReasonCode.PROTOCOL_ERROR)


# -- 3.1.2 Variable header


@statement("MQTT5-3.1.2-1", "MQTT311-3.1.2-1")
@VERSIONS
@pytest.mark.parametrize("name", ["MQTX", "mqtt", "", "MQTTT", "HTTP", "MQIsdq"])
def test_a_wrong_protocol_name_is_not_served(version: int, name: str) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2, string("c"), name=name))
    assert client.closed
    data = client.next()
    assert data is None or data in (raw(0x20, b"\x00\x84\x00"), raw(0x20, b"\x00\x01"))
    assert client.next() is None


@statement("MQTT5-3.1.2-2", "MQTT311-3.1.2-2")
@pytest.mark.parametrize("level", [0, 1, 2, 6, 127, 255])
def test_an_unknown_protocol_level_is_not_served(level: int) -> None:
    client = Pair().client(MQTT_3_1_1)
    client.send(raw(0x10, string("MQTT"), bytes([level, 2, 0, 0]), string("c")))
    assert client.closed
    data = client.next()
    assert data is None or data[0] == 0x20
    assert data is None or data[2:4] in (b"\x00\x01", b"\x00\x84")
    assert client.next() is None


@statement("MQTT311-3.1.2-2", "MQTT311-3.2.2-4", "MQTT311-3.2.2-5")
@pytest.mark.parametrize("level", [3, 4])
def test_a_level_that_the_listener_does_not_serve_gets_return_code_1(level: int) -> None:
    client = Pair(limits(versions=(5,))).client(MQTT_3_1_1)
    client.send(raw(0x10, string("MQIsdp" if level == 3 else "MQTT"), bytes([level, 2, 0, 0]), string("c")))
    client.receive_bytes(bytes.fromhex("20 02 00 01"))
    client.ends()


@statement("MQTT5-3.1.2-2", "MQTT5-3.2.2-6", "MQTT5-3.2.2-7")
def test_a_listener_without_5_0_says_so() -> None:
    client = Pair(limits(versions=(3, 4))).client(MQTT_5_0)
    client.send(connect(MQTT_5_0, 2, string("c")))
    assert client.receive(Connack).reason == ReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    client.ends()


@statement("MQTT5-3.1.2-3", "MQTT311-3.1.2-3", "MQTT311-3.1.4-1")
@VERSIONS
def test_the_reserved_connect_flag_is_checked(version: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 3, string("c")))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT5-3.1.2-4", "MQTT311-3.1.2-6", "MQTT5-3.2.2-2", "MQTT311-3.2.2-1", "MQTT5-3.1.4-4", "MQTT311-3.1.4-3")
@VERSIONS
def test_clean_start_discards_the_old_session(version: int) -> None:
    pair = Pair()
    old = pair.connected("c", version, clean_start=False, session_expiry_interval=1000)
    old.subscribe("a", qos=1)
    old.drop()
    pair.connected("p", version).publish("a", b"queued", qos=1)
    new = pair.client(version)
    connack = new.connect("c", clean_start=True)
    assert connack.reason == ReasonCode.SUCCESS
    assert not connack.session_present
    pair.connected("p", version).publish("a", b"later", qos=1)
    new.nothing()
    new.drop()
    # nor did anything of the discarded Session come back
    assert not pair.client(version).connect("c", clean_start=False).session_present


@statement("MQTT311-3.1.2-6")
def test_a_clean_session_ends_with_its_connection() -> None:
    pair = Pair()
    pair.connected("c", MQTT_3_1_1).subscribe("a")
    pair.connected("c", MQTT_3_1_1).drop()
    connack = pair.client(MQTT_3_1_1).connect("c", clean_start=False)
    assert not connack.session_present


@statement("MQTT5-3.1.2-5", "MQTT311-3.1.2-4", "MQTT5-3.2.2-3", "MQTT311-3.2.2-2", "MQTT5-3.1.2-23", "MQTT311-3.1.2-5")
@statement("MQTT5-3.1.3-2", "MQTT311-3.1.3-2", "MQTT5-4.5.0-1", "MQTT311-4.5.0-1", "MQTT5-4.1.0-1", "MQTT311-4.1.0-1")
@VERSIONS
@pytest.mark.parametrize("lost", [True, False])
def test_a_session_is_resumed_with_what_came_meanwhile(version: int, lost: bool) -> None:
    pair = Pair()
    client = pair.connected("c", version, clean_start=False, session_expiry_interval=1000)
    client.subscribe("a", qos=2)
    if lost:
        client.drop()
    else:
        client.disconnect()
    publisher = pair.connected("p", version)
    publisher.publish("a", b"zero")
    publisher.publish("a", b"one", qos=1)
    publisher.publish("a", b"two", qos=2)
    other = pair.client(version)
    assert not other.connect("other", clean_start=False, session_expiry_interval=1000).session_present
    other.nothing()
    again = pair.client(version)
    assert again.connect("c", clean_start=False, session_expiry_interval=1000).session_present
    messages = [again.accept(), again.accept()]
    assert [(message.payload, message.qos, message.dup) for message in messages] == [
        (b"one", 1, False),
        (b"two", 2, False),
    ]
    publisher.publish("a", b"three", qos=1)
    assert again.accept().payload == b"three"


@statement("MQTT5-3.1.2-6", "MQTT311-3.1.2-4", "MQTT5-3.2.2-3", "MQTT311-3.2.2-3")
@VERSIONS
def test_without_a_session_one_is_created(version: int) -> None:
    pair = Pair()
    client = pair.client(version)
    client.send(connect(version, 0, string("c")))
    connack = client.receive(Connack)
    assert connack.reason == ReasonCode.SUCCESS
    assert not connack.session_present
    assert client.subscribe("a") == 0
    client.publish("a", b"x")
    assert client.receive(Publish).payload == b"x"


@statement("MQTT5-3.1.2-16", "MQTT311-3.1.2-18", "MQTT5-3.1.2-17", "MQTT311-3.1.2-19", "MQTT5-3.1.2-18")
@statement("MQTT311-3.1.2-20", "MQTT5-3.1.2-19", "MQTT311-3.1.2-21")
@VERSIONS
@pytest.mark.parametrize(
    ("flags", "fields"),
    [(0x00, 1), (0x80, 0), (0x80, 2), (0xC0, 0), (0xC0, 1), (0xC0, 3)],
    ids=lambda value: str(value),
)
def test_user_name_and_password_are_there_as_the_flags_say(version: int, flags: int, fields: int) -> None:
    client = Pair().client(version)
    client.send(connect(version, 2 | flags, string("c"), *[string("x")] * fields))
    client.refused(ReasonCode.MALFORMED_PACKET)


@statement("MQTT311-3.1.2-22")
def test_a_password_without_user_name() -> None:
    client = Pair().client(MQTT_3_1_1)
    client.send(connect(MQTT_3_1_1, 0x42, string("c"), string("secret")))
    client.refused()
    client = Pair().client(MQTT_5_0)  # which allows it: section 3.1.2.9
    client.send(connect(MQTT_5_0, 0x42, string("c"), string("secret")))
    assert client.receive(Connack).reason == ReasonCode.SUCCESS


@statement("MQTT5-3.1.3-1", "MQTT311-3.1.3-1", "MQTT5-3.1.2-17", "MQTT311-3.1.2-19", "MQTT5-3.1.2-19")
@statement("MQTT311-3.1.2-21", "MQTT5-3.1.2-9", "MQTT311-3.1.2-9", "MQTT5-3.1.3-3", "MQTT311-3.1.3-3")
@VERSIONS
def test_fields_are_read_in_their_order(version: int) -> None:
    gate = Gate()
    pair = Pair(authenticator=gate)
    watcher = pair.connected("w", version)
    watcher.subscribe("will")
    client = pair.client(version)
    fields = [string("id"), none(version), string("will"), string("gone"), string("user"), string(b"\x00\xffpw")]
    client.send(connect(version, 0xC6, *fields))
    assert client.receive(Connack).reason == ReasonCode.SUCCESS
    asked = gate.asked[-1]
    assert (asked.client_identifier, asked.user_name, asked.password) == ("id", "user", b"\x00\xffpw")
    client.drop()
    will = watcher.receive(Publish)
    assert (will.topic, will.payload) == ("will", b"gone")


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24", "MQTT5-3.2.2-22")
@VERSIONS
def test_silence_of_one_and_a_half_keep_alive_ends_the_connection(version: int) -> None:
    pair = Pair()
    watcher = pair.connected("w", version)
    watcher.subscribe("will")
    client = pair.connected("c", version, keep_alive=10, will=Will("will", b"gone"))
    pair.advance(14.5)
    client.nothing()
    client.ping()
    pair.advance(14.5)
    client.nothing()
    watcher.nothing()
    pair.advance(2)  # ended within a second of the due time
    client.ends(ReasonCode.KEEP_ALIVE_TIMEOUT)
    assert watcher.receive(Publish).payload == b"gone"


@statement("MQTT5-3.1.2-22", "MQTT311-3.1.2-24")
@VERSIONS
def test_keep_alive_0_is_for_ever(version: int) -> None:
    pair = Pair()
    client = pair.connected("c", version, keep_alive=0)
    pair.advance(1_000_000)
    client.ping()


@statement("MQTT5-3.1.2-22", "MQTT5-3.2.2-21")
@pytest.mark.parametrize("asked", [0, 21, 60_000])
def test_a_server_keep_alive_holds_instead(asked: int) -> None:
    pair = Pair(limits(server_keep_alive_maximum=20))
    client = pair.client()
    connack = client.connect("c", keep_alive=asked)
    assert connack.properties.server_keep_alive == 20
    pair.advance(29)
    client.nothing()
    pair.advance(3)
    client.ends(ReasonCode.KEEP_ALIVE_TIMEOUT)


@statement("MQTT5-3.2.2-22")
def test_no_server_keep_alive_where_the_clients_own_is_taken() -> None:
    pair = Pair(limits(server_keep_alive_maximum=20))
    client = pair.client()
    assert client.connect("c", keep_alive=20).properties.server_keep_alive is None


@statement("MQTT5-3.1.2-23", "MQTT5-4.1.0-2")
def test_a_session_lives_as_long_as_its_expiry_interval() -> None:
    pair = Pair()
    for seconds, present in ((99.0, True), (101.0, False)):
        client = pair.connected("c", session_expiry_interval=100)
        client.subscribe("a")
        client.drop()
        pair.advance(seconds)
        assert pair.client().connect("c", clean_start=False).session_present == present


@statement("MQTT5-3.1.2-23", "MQTT5-4.1.0-2")
def test_a_session_without_expiry_interval_ends_with_the_connection() -> None:
    pair = Pair()
    pair.connected("c").drop()
    assert not pair.client().connect("c", clean_start=False).session_present


@statement("MQTT5-4.1.0-1", "MQTT311-4.1.0-2", "MQTT311-4.1.0-1")
@VERSIONS
def test_a_session_does_not_expire_while_connected(version: int) -> None:
    pair = Pair()
    client = pair.connected("c", version, session_expiry_interval=10)
    client.subscribe("a")
    pair.advance(1_000_000_000)
    pair.connected("p", version).publish("a", b"x")
    assert client.receive(Publish).payload == b"x"


@statement("MQTT5-3.1.2-24", "MQTT5-3.1.2-25")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_too_large_for_the_client_is_as_if_sent(qos: int) -> None:
    pair = Pair()
    client = pair.connected("c", maximum_packet_size=30, receive_maximum=1)
    client.subscribe("a", qos=qos)
    publisher = pair.connected("p")
    room = 30 - len(raw(0x30 | qos << 1, string("a"), b"\x00\x01" if qos else b"", b"\x00"))
    for payload in (bytes(100), b"small", bytes(room + 1), bytes(room), b"end"):
        assert publisher.publish("a", payload, qos=qos) < 0x80
    assert [client.accept().payload for _ in range(3)] == [b"small", bytes(room), b"end"]
    client.ping()


@statement("MQTT5-3.1.2-24", "MQTT5-3.1.2-25", "MQTT5-3.3.1-9")
def test_a_retained_message_too_large_is_not_sent() -> None:
    pair = Pair()
    publisher = pair.connected("p")
    publisher.publish("a/large", bytes(100), retain=True)
    publisher.publish("a/small", b"x", retain=True)
    client = pair.connected("c", maximum_packet_size=30)
    client.subscribe("a/#")
    assert client.receive(Publish).topic == "a/small"
    client.nothing()


@statement("MQTT5-3.1.2-26", "MQTT5-3.3.2-11", "MQTT5-3.3.2-10")
def test_aliases_to_the_client_stay_within_its_maximum() -> None:
    pair = Pair()
    client = pair.connected("c", topic_alias_maximum=2)
    client.subscribe("#")
    publisher = pair.connected("p")
    for turn in range(4):
        for topic in ("a/long/topic", "b/long/topic", "c/long/topic", "d/long/topic"):
            publisher.publish(topic, b"%d" % turn)
            message = client.receive(Publish)
            assert message.topic == topic
            assert 0 <= message.topic_alias <= 2
    client.nothing()


@statement("MQTT5-3.1.2-27", "MQTT5-3.1.2-26")
@pytest.mark.parametrize("values", [{}, {"topic_alias_maximum": 0}], ids=["absent", "0"])
def test_no_aliases_to_a_client_that_takes_none(values: dict[str, Any]) -> None:
    pair = Pair()
    client = pair.connected("c", **values)
    client.subscribe("a", qos=1)
    publisher = pair.connected("p")
    for _ in range(5):
        publisher.send(raw(0x30, string("a"), b"\x00x"))
        client.receive_bytes(raw(0x30, string("a"), b"\x00x"))


@statement("MQTT5-3.1.2-28")
@pytest.mark.parametrize(("asked", "told"), [(None, None), (0, None), (1, "reply/here")])
def test_response_information(asked: int | None, told: str | None) -> None:
    pair = Pair(limits(response_information="reply/here"))
    values: dict[str, Any] = {} if asked is None else {"request_response_information": asked}
    assert pair.client().connect("c", **values).properties.response_information == told


@statement("MQTT5-3.1.2-29")
def test_without_problem_information_acknowledgements_are_bare() -> None:
    pair = Pair(authenticator=Gate(Reader()))
    client = pair.connected("c", request_problem_information=0)
    client.send(raw(0x32, string("a"), b"\x00\x01\x00", b"x"))
    client.receive_bytes(raw(0x40, b"\x00\x01\x87"))
    client.send(raw(0x34, string("a"), b"\x00\x02\x00", b"x"))
    client.receive_bytes(raw(0x50, b"\x00\x02\x87"))
    client.send(raw(0x62, b"\x00\x03"))
    client.receive_bytes(raw(0x70, b"\x00\x03\x92"))
    client.send(raw(0x50, b"\x00\x04"))
    client.receive_bytes(raw(0x62, b"\x00\x04\x92"))
    client.send(raw(0x82, b"\x00\x05\x00", string("no"), b"\x00"))
    client.receive_bytes(raw(0x90, b"\x00\x05\x00\x87"))
    client.send(raw(0xA2, b"\x00\x06\x00", string("none")))
    client.receive_bytes(raw(0xB0, b"\x00\x06\x00\x11"))
