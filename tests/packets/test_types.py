"""The packets as objects."""

from __future__ import annotations

import pytest

from broker.packets.reasons import ReasonCode
from broker.packets.types import (
    NO_PROPERTIES,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Properties,
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


def test_payload_of_a_received_publish_is_the_end_of_its_packet() -> None:
    assert Publish("a", b"\x30\x05\x00\x01ahi", 5).payload == b"hi"
    assert Publish("a", b"\x30\x03\x00\x01a", 5).payload == b""


def test_payload_of_a_new_publish_is_its_packet() -> None:
    payload = b"hi"
    assert Publish("a", payload).payload is payload


def test_what_a_publish_leaves_out() -> None:
    publish = Publish("a", b"")
    assert (publish.qos, publish.retain, publish.dup, publish.packet_identifier) == (0, False, False, 0)
    assert (publish.forwarded, publish.message_expiry_interval, publish.topic_alias) == (b"", -1, 0)
    assert publish.subscription_identifiers == ()
    assert publish.version == 0


@pytest.mark.parametrize("kind", [Puback, Pubrec, Pubrel, Pubcomp])
def test_acknowledgements(kind: type[Puback | Pubrec | Pubrel | Pubcomp]) -> None:
    short = kind(7)
    assert (short.packet_identifier, short.reason) == (7, 0)
    assert short.properties is NO_PROPERTIES
    assert repr(kind(7, 0x97)) == f"{kind.__name__}(7, 0x97)"


def test_packets_without_properties_share_them() -> None:
    for packet in (
        Connect("a"),
        Connack(ReasonCode.SUCCESS),
        Subscribe(1, [SubscriptionRequest("a")]),
        Suback(1, [0]),
        Unsubscribe(1, ["a"]),
        Unsuback(1, [0]),
        Disconnect(),
        Auth(),
    ):
        assert packet.properties is NO_PROPERTIES
    assert Properties() == NO_PROPERTIES


def test_properties_are_equal_by_value() -> None:
    some, other = Properties(), Properties()
    some.user_properties.append(("k", "v"))
    assert some != other
    other.user_properties.append(("k", "v"))
    assert some == other
    other.receive_maximum = 1
    assert some != other
    assert some != "Properties"


def test_properties_say_what_is_given() -> None:
    some = Properties()
    some.maximum_qos = 0
    some.subscription_identifiers.append(3)
    assert repr(some) == "Properties(maximum_qos=0, subscription_identifiers=[3])"


def test_representation_of_a_publish_is_short() -> None:
    assert len(repr(Publish("a", b"x" * 10_000))) < 200
    assert repr(Publish("a/b", b"hi", qos=1, packet_identifier=3)).startswith("Publish('a/b', b'hi', qos=1")


def test_a_will_leaves_out() -> None:
    will = Will("a", b"")
    assert (will.qos, will.retain, will.delay_interval, will.message_expiry_interval) == (0, False, 0, -1)
    assert will.forwarded == b""


def test_subscription_request_leaves_out() -> None:
    request = SubscriptionRequest("a")
    assert (request.maximum_qos, request.no_local, request.retain_as_published, request.retain_handling) == (
        *(0, False),
        *(False, 0),
    )
