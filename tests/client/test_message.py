"""Messages and Wills."""

from __future__ import annotations

import pytest

from broker.client.message import Acknowledgement, Message, Will, message_expiry, payload_bytes
from broker.packets.properties import forwarded_properties
from broker.packets.reasons import ReasonCode
from broker.packets.types import NO_PROPERTIES, Properties, Publish


def test_payloads() -> None:
    assert payload_bytes("é") == b"\xc3\xa9"
    assert payload_bytes(b"a") == payload_bytes(bytearray(b"a")) == payload_bytes(memoryview(b"a")) == b"a"


def test_a_message_tells_its_packet() -> None:
    given = Properties()
    given.content_type = "text/plain"
    given.user_properties = [("a", "b")]
    publish = Publish(
        "",
        b"payload",
        qos=1,
        retain=True,
        dup=True,
        packet_identifier=7,
        forwarded=forwarded_properties(given),
        message_expiry_interval=30,
        subscription_identifiers=(4, 5),
    )
    message = Message(publish, "a/b")
    assert (message.topic, message.payload, message.qos, message.retain, message.dup) == (
        "a/b",
        b"payload",
        1,
        True,
        True,
    )
    assert (message.packet_identifier, message.subscription_identifiers) == (7, (4, 5))
    properties = message.properties
    assert (properties.content_type, properties.user_properties) == ("text/plain", [("a", "b")])
    assert (properties.message_expiry_interval, properties.subscription_identifiers) == (30, [4, 5])
    assert message.properties is properties
    assert repr(message) == "Message('a/b', b'payload', qos=1, retain=True)"


def test_a_message_without_properties() -> None:
    assert Message(Publish("a", b""), "a").properties is NO_PROPERTIES


def test_expiry_alone() -> None:
    assert Message(Publish("a", b"", message_expiry_interval=0), "a").properties.message_expiry_interval == 0
    assert NO_PROPERTIES.message_expiry_interval is None
    assert message_expiry(NO_PROPERTIES) == -1


def test_a_will_as_connect_carries_it() -> None:
    properties = Properties()
    properties.message_expiry_interval = 60
    properties.content_type = "x"
    packet = Will("a/will", "gone", qos=1, retain=True, delay_interval=5, properties=properties).packet()
    assert (packet.topic, packet.payload, packet.qos, packet.retain) == ("a/will", b"gone", 1, True)
    assert (packet.delay_interval, packet.message_expiry_interval) == (5, 60)
    assert packet.forwarded == forwarded_properties(properties)


@pytest.mark.parametrize("reason", [ReasonCode.SUCCESS, ReasonCode.NO_MATCHING_SUBSCRIBERS])
def test_an_acknowledgement_shows_its_reason(reason: ReasonCode) -> None:
    assert reason.name in repr(Acknowledgement(reason))
