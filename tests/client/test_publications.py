"""The sending half of the exchanges, packet by packet."""

from __future__ import annotations

import pytest

from broker.client.errors import Disconnected, PublishRefused
from broker.client.publications import Publication, Publications
from broker.client.requests import PacketIdentifiers
from broker.packets.decode import Decoder, DecoderLimits
from broker.packets.encode import publish_parts
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import MQTT_5_0, Properties, Puback, Pubcomp, Publish, Pubrec
from tests.statements import statement


def publication(qos: int, payload: bytes = b"x") -> Publication:
    head, tail = publish_parts(b"a", payload, qos, False, False, MQTT_5_0)
    return Publication(head, tail, qos, False)


def publications(*added: Publication, receive_maximum: int = 65_535) -> Publications:
    found = Publications(PacketIdentifiers())
    for one in added:
        found.add(one)
    found.connected(False, receive_maximum)
    return found


def sent(found: Publications) -> list[Publication]:
    """All that may be sent now."""
    given: list[Publication] = []
    while (one := found.next()) is not None:
        given.append(one)
    return given


def decoded(one: Publication) -> Publish:
    decoder = Decoder(DecoderLimits(), MQTT_5_0)
    (packet,) = decoder.feed(one.packet())
    assert isinstance(packet, Publish)
    assert len(one.packet()) == one.size
    return packet


@statement("MQTT5-4.3.1-1", "MQTT5-2.2.1-2", "MQTT5-3.3.1-2")
def test_qos_0_has_no_exchange() -> None:
    one = publication(0)
    found = publications(one, receive_maximum=1)
    assert sent(found) == [one]
    packet = decoded(one)
    assert (packet.qos, packet.dup, packet.packet_identifier, packet.payload) == (0, False, 0, b"x")
    assert found.connected(True, 1) == []
    assert sent(found) == []


@statement("MQTT5-4.3.2-1", "MQTT5-4.3.2-2", "MQTT5-4.3.2-3", "MQTT5-2.2.1-3")
def test_qos_1() -> None:
    one, two = publication(1, b"1"), publication(1, b"2")
    found = publications(one, two)
    assert sent(found) == [one, two]
    packets = [decoded(one), decoded(two)]
    assert [(p.qos, p.dup, p.payload) for p in packets] == [(1, False, b"1"), (1, False, b"2")]
    assert one.packet_identifier != two.packet_identifier
    assert 0 not in (one.packet_identifier, two.packet_identifier)
    properties = Properties()
    found.puback(Puback(two.packet_identifier, ReasonCode.NO_MATCHING_SUBSCRIBERS, properties))
    assert (one.done, two.done, two.reason, two.error) == (False, True, ReasonCode.NO_MATCHING_SUBSCRIBERS, None)
    assert two.properties is properties
    found.puback(Puback(one.packet_identifier))
    assert one.done


@statement("MQTT5-4.3.3-1", "MQTT5-4.3.3-2", "MQTT5-4.3.3-3", "MQTT5-4.3.3-4", "MQTT5-4.3.3-5")
def test_qos_2() -> None:
    one = publication(2)
    found = publications(one)
    assert sent(found) == [one]
    identifier = one.packet_identifier
    released = found.pubrec(Pubrec(identifier, ReasonCode.NO_MATCHING_SUBSCRIBERS))
    assert released is not None
    assert (released.packet_identifier, released.reason) == (identifier, 0)
    assert not one.done
    found.pubcomp(Pubcomp(identifier))
    assert (one.done, one.reason, one.error) == (True, ReasonCode.NO_MATCHING_SUBSCRIBERS, None)


@statement("MQTT5-4.4.0-2")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_refused_one_is_done(qos: int) -> None:
    one = publication(qos)
    found = publications(one)
    sent(found)
    properties = Properties()
    properties.reason_string = "full"
    if qos == 1:
        found.puback(Puback(one.packet_identifier, ReasonCode.QUOTA_EXCEEDED, properties))
    else:
        assert found.pubrec(Pubrec(one.packet_identifier, ReasonCode.QUOTA_EXCEEDED, properties)) is None
    assert isinstance(one.error, PublishRefused)
    assert (one.error.reason, one.error.detail) == (ReasonCode.QUOTA_EXCEEDED, "full")
    assert found.connected(True, 10) == []
    assert sent(found) == []


@statement("MQTT5-3.3.4-7", "MQTT5-4.9.0-1", "MQTT5-4.9.0-2")
def test_the_quota_is_obeyed() -> None:
    ones = [publication(1 + number % 2) for number in range(5)]
    found = publications(*ones, receive_maximum=2)
    assert sent(found) == ones[:2]
    found.puback(Puback(ones[0].packet_identifier))
    assert sent(found) == [ones[2]]
    identifier = ones[1].packet_identifier
    assert found.pubrec(Pubrec(identifier)) is not None
    assert sent(found) == []  # the exchange of QoS 2 counts until PUBCOMP
    found.pubcomp(Pubcomp(identifier))
    assert sent(found) == [ones[3]]
    assert found.pubrec(Pubrec(ones[3].packet_identifier, ReasonCode.NOT_AUTHORIZED)) is None
    assert sent(found) == [ones[4]]


@statement("MQTT5-4.4.0-1", "MQTT5-4.6.0-1", "MQTT5-3.3.1-1", "MQTT311-4.4.0-1", "MQTT311-2.3.1-3")
def test_a_resumed_session_gets_the_unacknowledged_again_in_order() -> None:
    ones = [publication(1 + number % 2, bytes([number])) for number in range(4)]
    found = publications(*ones)
    sent(found)
    identifiers = [one.packet_identifier for one in ones]
    found.puback(Puback(identifiers[2]))
    late = publication(1)
    found.add(late)
    assert found.connected(True, 65_535) == []
    assert sent(found) == [ones[0], ones[1], ones[3], late]
    again = [decoded(one) for one in (ones[0], ones[1], ones[3])]
    assert [packet.packet_identifier for packet in again] == [identifiers[0], identifiers[1], identifiers[3]]
    assert all(packet.dup for packet in again)
    assert not decoded(late).dup


@statement("MQTT5-4.3.3-6", "MQTT5-4.6.0-4", "MQTT5-4.4.0-1")
def test_a_resumed_session_gets_pubrel_again_and_not_publish() -> None:
    ones = [publication(2) for _ in range(3)]
    found = publications(*ones)
    sent(found)
    for one in (ones[1], ones[0]):
        assert found.pubrec(Pubrec(one.packet_identifier)) is not None
    again = [packet.packet_identifier for packet in found.connected(True, 65_535)]
    assert again == [ones[1].packet_identifier, ones[0].packet_identifier]
    assert sent(found) == [ones[2]]
    found.pubcomp(Pubcomp(ones[1].packet_identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    assert (ones[1].done, ones[1].error) == (True, None)


def test_a_smaller_quota_after_reconnecting() -> None:
    ones = [publication(1) for _ in range(4)]
    found = publications(*ones)
    sent(found)
    found.connected(True, 2)
    assert sent(found) == ones[:2]
    found.connected(True, 1)
    assert sent(found) == ones[:1]
    found.puback(Puback(ones[0].packet_identifier))
    assert sent(found) == [ones[1]]


def test_the_quota_never_grows_above_its_beginning() -> None:
    old = publication(2)
    found = publications(old)
    sent(found)
    assert found.pubrec(Pubrec(old.packet_identifier)) is not None
    ones = [publication(1) for _ in range(3)]
    for one in ones:
        found.add(one)
    assert len(found.connected(True, 1)) == 1
    assert sent(found) == ones[:1]
    found.pubcomp(Pubcomp(old.packet_identifier))  # its PUBLISH was not of this Network Connection
    assert sent(found) == []


@statement("MQTT5-3.2.2-5")
def test_a_lost_session() -> None:
    first, second, third = publication(1), publication(2), publication(2)
    found = publications(first, second, third)
    sent(found)
    assert found.pubrec(Pubrec(third.packet_identifier)) is not None
    assert found.connected(False, 65_535) == []
    assert (third.done, third.error) == (True, None)  # the Server had it
    assert sent(found) == [first, second]
    assert not decoded(first).dup
    assert not decoded(second).dup
    assert first.packet_identifier != second.packet_identifier


def test_repeats_and_strangers() -> None:
    one = publication(2)
    found = publications(one)
    sent(found)
    for _ in range(2):
        answer = found.pubrec(Pubrec(one.packet_identifier))
        assert answer is not None
        assert answer.reason == 0
    stranger = found.pubrec(Pubrec(999))
    assert stranger is not None
    assert stranger.reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
    found.pubcomp(Pubcomp(999))
    found.puback(Puback(999))
    assert not one.done


def test_an_answer_of_the_other_qos_is_an_error() -> None:
    first, second = publication(1), publication(2)
    found = publications(first, second)
    sent(found)
    with pytest.raises(ProtocolError):
        found.pubrec(Pubrec(first.packet_identifier))
    with pytest.raises(ProtocolError):
        found.puback(Puback(second.packet_identifier))


def test_cancelled() -> None:
    before, after = publication(1), publication(1)
    found = publications(before, after, receive_maximum=1)
    assert sent(found) == [before]
    found.cancel(before)
    found.cancel(after)
    assert not before.done
    found.puback(Puback(before.packet_identifier))
    assert before.done
    assert sent(found) == []


def test_refused_before_sending_gives_the_quota_back() -> None:
    first, second = publication(1), publication(1)
    found = publications(first, second, receive_maximum=1)
    assert found.next() is first
    found.refuse(first, PublishRefused(ReasonCode.PACKET_TOO_LARGE))
    assert first.done
    assert found.next() is second


def test_failed() -> None:
    sent_one, released, waiting = publication(1), publication(2), publication(0)
    found = publications(sent_one, released)
    sent(found)
    assert found.pubrec(Pubrec(released.packet_identifier)) is not None
    found.add(waiting)
    error = Disconnected(None, "over")
    found.fail(error)
    assert [one.error for one in (sent_one, released, waiting)] == [error, error, error]
    assert sent(found) == []


def test_put_back() -> None:
    ones = [publication(0) for _ in range(3)]
    found = publications(*ones)
    assert found.next() is ones[0]
    assert found.next() is ones[1]
    found.put_back(ones[:2])
    assert sent(found) == ones
