"""The Application Message and its wire forms."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.message import NEVER, ApplicationMessage, expiry, from_publish, from_will
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import encode
from broker.packets.types import Publish, Will
from tests.core.parts import decoded, message
from tests.pair import raw, string
from tests.statements import statement

FORWARDED = b"\x01\x01" + b"\x26" + string("name") + string("value")  # Payload Format Indicator, a User Property


def received(version: int, **fields: Any) -> Publish:
    """A Publish as the decoder makes it."""
    data = encode(Publish("a/b", b"payload", **fields), version)
    (packet,) = Decoder(DecoderLimits(), version).feed(data)
    assert isinstance(packet, Publish)
    return packet


def of_wire(data: bytes, version: int) -> Publish:
    (packet,) = decoded(data, version)
    assert isinstance(packet, Publish)
    return packet


@pytest.mark.parametrize("version", [3, 4, 5])
def test_at_qos_0_the_very_packet_goes_on(version: int) -> None:
    publish = received(version)
    one = from_publish(publish, 0.0, 0)
    assert one.plain(version, 0.0) is publish.packet
    other = 5 if version < 5 else 4
    assert one.plain(other, 0.0) == encode(Publish("a/b", b"payload"), other)
    assert one.plain(other, 9.0) is one.plain(other, 0.0)


def test_3_1_and_3_1_1_share_a_form() -> None:
    one = message("a", b"x")
    assert one.plain(3, 0.0) is one.plain(4, 0.0)


def test_forwarded_properties_go_on_as_they_came() -> None:
    publish = received(5, forwarded=FORWARDED)
    one = from_publish(publish, 0.0, 0)
    assert one.plain(5, 0.0) is publish.packet
    assert of_wire(one.wire(5, 1, False, 0.0, 7), 5).forwarded == FORWARDED
    assert one.plain(4, 0.0) == raw(0x30, string("a/b"), b"payload")


@pytest.mark.parametrize(
    "fields",
    [{"topic_alias": 3}, {"message_expiry_interval": 9}, {"retain": True}, {"qos": 1, "packet_identifier": 5}],
)
def test_what_belongs_to_one_connection_does_not_go_on(fields: dict[str, object]) -> None:
    publish = received(5, **fields)
    one = from_publish(publish, 0.0, 0)
    forwarded = of_wire(one.plain(5, 0.0), 5)
    assert (forwarded.qos, forwarded.retain, forwarded.topic_alias, forwarded.packet_identifier) == (0, False, 0, 0)
    assert forwarded.payload == b"payload"
    assert one.plain(5, 0.0) is not publish.packet


def test_a_publish_made_here_is_written_first() -> None:
    publish = Publish("a", b"payload")
    assert from_publish(publish, 0.0, 0).plain(4, 0.0) == raw(0x30, string("a"), b"payload")


@statement("MQTT5-3.3.1-3", "MQTT311-3.3.1-3")
def test_dup_is_not_propagated() -> None:
    publish = received(4, qos=1, dup=True, packet_identifier=9)
    head, tail = from_publish(publish, 0.0, 0).head_and_tail(4, 1, False, 0.0)
    assert not of_wire(head + b"\x00\x01" + tail, 4).dup


def same(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> bool:
    """Whether they are the same two objects; compiled code makes the pair around them anew."""
    return one[0] is other[0] and one[1] is other[1]


def test_heads_and_tails_are_made_once_a_form() -> None:
    one = message("a/b", b"payload", 2)
    forms = [(version, qos, retain) for version in (3, 5) for qos in (1, 2) for retain in (False, True)]
    first = {form: one.head_and_tail(*form, 0.0) for form in forms}
    for (version, qos, retain), parts in first.items():
        assert same(one.head_and_tail(version, qos, retain, 5.0), parts)
        publish = of_wire(parts[0] + b"\x12\x34" + parts[1], version)
        assert (publish.qos, publish.retain, publish.dup) == (qos, retain, False)
        assert publish.packet_identifier == 0x1234
        assert publish.payload == b"payload"
    assert same(one.head_and_tail(4, 1, False, 0.0), first[3, 1, False])
    assert len({id(head) for head, _ in first.values()}) == len(forms)


@statement("MQTT5-3.3.2-6")
def test_the_expiry_interval_counts_down() -> None:
    one = message(qos=1, expires_at=100.0)
    for now, left in ((90.0, 10), (90.4, 10), (91.0, 9), (99.9, 1), (100.0, 0), (200.0, 0)):
        assert one.remaining(now) == left
        assert of_wire(one.plain(5, now), 5).message_expiry_interval == left
        head, tail = one.head_and_tail(5, 1, False, now)
        assert of_wire(head + b"\x00\x01" + tail, 5).message_expiry_interval == left
    assert one.plain_5 is None
    assert one.plain(4, 90.0) is one.plain(4, 95.0)
    assert same(one.head_and_tail(4, 1, False, 90.0), one.head_and_tail(4, 1, False, 95.0))


def test_rounding_never_makes_an_interval_longer() -> None:
    for now in [number / 10 for number in range(1000, 3000)]:
        one = from_publish(received(5, message_expiry_interval=60), now, 0)
        assert one.remaining(now) == 60


def test_without_an_interval_there_is_none() -> None:
    one = message()
    assert one.remaining(1e9) == -1
    assert of_wire(one.plain(5, 0.0), 5).message_expiry_interval == -1


@pytest.mark.parametrize(
    ("interval", "maximum", "expected"),
    [(-1, 0, NEVER), (-1, 30, 130.0), (10, 0, 110.0), (10, 30, 110.0), (50, 30, 130.0), (0, 0, 100.0)],
)
def test_expiry_under_a_cap(interval: int, maximum: int, expected: float) -> None:
    assert expiry(interval, 100.0, maximum) == expected
    publish = received(5, message_expiry_interval=interval)
    assert from_publish(publish, 100.0, maximum).expires_at == expected
    assert from_will(Will("w", b"", message_expiry_interval=interval), 100.0, maximum).expires_at == expected


def test_a_cap_gives_every_message_an_interval() -> None:
    one = from_publish(received(5), 100.0, 30)
    assert of_wire(one.plain(5, 110.0), 5).message_expiry_interval == 20


def test_payload_and_sizes() -> None:
    publish = received(5, forwarded=FORWARDED)
    one = from_publish(publish, 0.0, 0)
    assert publish.payload_start > 0
    assert one.payload == b"payload"
    assert one.payload_bytes == 7
    assert one.size >= len(publish.packet) + len("a/b")
    assert message(payload=b"12345").payload == b"12345"
    assert message(payload=b"12345").payload_bytes == 5


def test_what_differs_from_receiver_to_receiver() -> None:
    one = ApplicationMessage("a/b", b"x", forwarded=FORWARDED)
    publish = of_wire(one.wire(5, 2, True, 0.0, 9, True, (4, 300), 5, True), 5)
    assert (publish.qos, publish.retain, publish.dup, publish.packet_identifier) == (2, True, True, 9)
    assert publish.subscription_identifiers == (4, 300)
    assert (publish.topic, publish.topic_alias) == ("a/b", 5)
    assert of_wire(one.wire(5, 0, False, 0.0, topic_alias=5, with_topic=False), 5).topic == ""


def test_a_will_becomes_a_message() -> None:
    one = from_will(Will("w", b"bye", 2, True, 7, 60, FORWARDED), 10.0, 0)
    assert (one.topic, one.payload, one.qos, one.retain, one.forwarded) == ("w", b"bye", 2, True, FORWARDED)
    assert one.expires_at == 70.0
    assert of_wire(one.wire(5, 0, False, 15.0), 5).message_expiry_interval == 55
