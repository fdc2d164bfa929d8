"""The receiving half of the exchanges, packet by packet."""

from __future__ import annotations

import pytest

from broker.client.deliveries import Deliveries, Delivery
from broker.packets.reasons import ProtocolError, ReasonCode
from broker.packets.types import Puback, Pubrec, Pubrel
from tests.client.server import message
from tests.statements import statement


def received(deliveries: Deliveries, packet_identifier: int, qos: int, dup: bool = False) -> Delivery:
    """A message that one iterator holds."""
    delivery = deliveries.publish(message("a", qos=qos, packet_identifier=packet_identifier, dup=dup))
    assert delivery is not None
    delivery.holders = 1
    return delivery


def repeated(deliveries: Deliveries, packet_identifier: int, qos: int, dup: bool = True) -> None:
    assert deliveries.publish(message("a", qos=qos, packet_identifier=packet_identifier, dup=dup)) is None


def due(deliveries: Deliveries) -> list[tuple[type[Puback] | type[Pubrec], int]]:
    return [(type(packet), packet.packet_identifier) for packet in deliveries.due()]


@statement("MQTT5-4.3.2-4", "MQTT5-4.3.2-5", "MQTT311-4.3.2-2")
def test_qos_1() -> None:
    deliveries = Deliveries()
    delivery = received(deliveries, 7, 1)
    assert due(deliveries) == []
    delivery.holders = 0
    assert due(deliveries) == [(Puback, 7)]
    assert due(deliveries) == []
    assert received(deliveries, 7, 1, dup=True) is not delivery  # a new message, whatever DUP says


@statement("MQTT5-4.3.3-8", "MQTT5-4.3.3-10", "MQTT5-4.3.3-11", "MQTT5-4.3.3-12", "MQTT311-4.3.3-2")
def test_qos_2() -> None:
    deliveries = Deliveries()
    delivery = received(deliveries, 7, 2)
    assert due(deliveries) == []
    delivery.holders = 0
    assert due(deliveries) == [(Pubrec, 7)]
    repeated(deliveries, 7, 2, dup=False)
    assert due(deliveries) == [(Pubrec, 7)]
    pubcomp = deliveries.pubrel(Pubrel(7))
    assert (pubcomp.packet_identifier, pubcomp.reason) == (7, 0)
    received(deliveries, 7, 2)


def test_pubrel_of_nothing() -> None:
    assert Deliveries().pubrel(Pubrel(3)).reason == ReasonCode.PACKET_IDENTIFIER_NOT_FOUND


@statement("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3")
def test_acknowledgements_keep_the_order_of_the_messages() -> None:
    deliveries = Deliveries()
    first, second, third = (received(deliveries, number, 1 + number % 2) for number in (1, 2, 3))
    third.holders = 0
    second.holders = 0
    assert due(deliveries) == []
    first.holders = 0
    assert due(deliveries) == [(Pubrec, 1), (Puback, 2), (Pubrec, 3)]


@statement("MQTT5-4.3.3-10")
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_held_survives_and_its_repeat_is_not_handed_out(qos: int) -> None:
    deliveries = Deliveries()
    done, held = received(deliveries, 1, qos), received(deliveries, 2, qos)
    deliveries.connected(True)
    done.holders = 0
    assert due(deliveries) == []  # the Server has not sent it again: it may have been given up
    repeated(deliveries, 1, qos)
    repeated(deliveries, 2, qos)
    assert [identifier for _, identifier in due(deliveries)] == [1]
    held.holders = 0
    assert [identifier for _, identifier in due(deliveries)] == [2]


@statement("MQTT5-4.3.3-10")
def test_a_recorded_identifier_survives() -> None:
    deliveries = Deliveries()
    received(deliveries, 5, 2).holders = 0
    assert due(deliveries) == [(Pubrec, 5)]
    deliveries.connected(True)
    repeated(deliveries, 5, 2)
    assert due(deliveries) == [(Pubrec, 5)]
    assert deliveries.pubrel(Pubrel(5)).reason == 0


@statement("MQTT5-3.2.2-5")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_lost_session_forgets(qos: int) -> None:
    deliveries = Deliveries()
    old = received(deliveries, 1, qos)
    deliveries.connected(False)
    fresh = received(deliveries, 1, qos, dup=True)
    old.holders = 0
    assert due(deliveries) == []
    fresh.holders = 0
    assert len(due(deliveries)) == 1


def test_a_new_message_under_an_identifier_that_was_held() -> None:
    deliveries = Deliveries()
    old = received(deliveries, 1, 1)
    deliveries.connected(True)
    fresh = received(deliveries, 1, 1, dup=False)
    old.holders = 0
    assert due(deliveries) == []
    fresh.holders = 0
    assert due(deliveries) == [(Puback, 1)]


def test_a_repeat_on_the_same_network_connection() -> None:
    """3.1 allows it."""
    deliveries = Deliveries()
    delivery = received(deliveries, 1, 1)
    repeated(deliveries, 1, 1)
    delivery.holders = 0
    assert due(deliveries) == [(Puback, 1)]


@statement("MQTT5-3.3.4-9")
def test_our_receive_maximum() -> None:
    deliveries = Deliveries(2)
    first = received(deliveries, 1, 1)
    received(deliveries, 2, 2).holders = 0
    first.holders = 0
    assert due(deliveries) == [(Puback, 1), (Pubrec, 2)]
    received(deliveries, 3, 1)
    with pytest.raises(ProtocolError) as caught:
        received(deliveries, 4, 1)
    assert caught.value.reason == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_the_window_is_that_of_the_network_connection() -> None:
    deliveries = Deliveries(1)
    received(deliveries, 1, 2).holders = 0
    assert due(deliveries) == [(Pubrec, 1)]
    deliveries.connected(True)
    received(deliveries, 2, 2)
    assert deliveries.pubrel(Pubrel(1)).reason == 0
