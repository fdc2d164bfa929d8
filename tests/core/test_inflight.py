"""What we have sent at QoS 1 and 2 and not seen through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.inflight import Outgoing
from broker.core.journal import Queued
from broker.core.limits import Limits
from broker.core.session import Session
from broker.core.stats import Stats
from broker.core.subscriptions import Delivery
from broker.packets.reasons import ProtocolError, ReasonCode
from tests.core.parts import connect, limits, message, new_broker, session_of
from tests.statements import statement

if TYPE_CHECKING:
    from broker.core.message import ApplicationMessage

SESSION = Session("c", Limits(), Stats(), 0)
DELIVERY = Delivery(SESSION, 2)
ONE = message(qos=1)
TWO = message(qos=2)


def queued(one: ApplicationMessage) -> Queued:
    return Queued(one, DELIVERY)


def new(maximum: int = 10) -> Outgoing:
    outgoing = Outgoing()
    assert outgoing.connected(maximum) == []
    return outgoing


def test_qos_1() -> None:
    outgoing = new(2)
    identifier = outgoing.start(queued(ONE))
    assert identifier == 1
    assert outgoing.quota == 1
    sent = outgoing.unacknowledged[identifier]
    assert outgoing.puback(identifier) is sent
    assert sent.message is ONE
    assert outgoing.quota == 2
    assert not outgoing.unacknowledged


def test_qos_2() -> None:
    outgoing = new(2)
    identifier = outgoing.start(queued(TWO))
    assert outgoing.pubrec(identifier, 0)
    assert outgoing.quota == 1, "a message counts until its PUBCOMP"
    assert not outgoing.unacknowledged
    assert outgoing.pubrec(identifier, 0), "a repeated PUBREC is answered"
    assert outgoing.pubcomp(identifier)
    assert outgoing.quota == 2
    assert not outgoing.released


@statement("MQTT5-4.4.0-2", "MQTT5-4.9.0-2")
def test_a_refusing_pubrec_ends_the_exchange() -> None:
    outgoing = new(1)
    identifier = outgoing.start(queued(TWO))
    assert outgoing.pubrec(identifier, 0x97)
    assert outgoing.quota == 1
    assert not outgoing.released
    assert outgoing.connected(1) == []
    assert not outgoing.resend


def test_unknown_identifiers_are_let_pass() -> None:
    outgoing = new(1)
    assert not outgoing.puback(9)
    assert not outgoing.pubrec(9, 0)
    assert not outgoing.pubcomp(9)
    assert outgoing.quota == 1


def test_the_wrong_packet_for_the_quality_of_service() -> None:
    outgoing = new()
    one = outgoing.start(queued(ONE))
    two = outgoing.start(queued(TWO))
    third = outgoing.start(queued(ONE))
    with pytest.raises(ProtocolError) as refused:
        outgoing.puback(two)
    assert refused.value.reason == ReasonCode.PROTOCOL_ERROR
    with pytest.raises(ProtocolError):
        outgoing.pubrec(one, 0)
    with pytest.raises(ProtocolError):
        outgoing.pubcomp(two)
    assert list(outgoing.unacknowledged) == [one, two, third], "nothing changed, nor the order"
    assert outgoing.quota == 7


def test_the_granted_qos_decides() -> None:
    outgoing = new()
    identifier = outgoing.start(Queued(TWO, Delivery(SESSION, 1)))
    assert outgoing.puback(identifier)


@statement("MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-4.3.3-6", "MQTT5-4.6.0-1", "MQTT311-4.6.0-1")
def test_a_new_connection_sees_everything_again_in_order() -> None:
    outgoing = new()
    identifiers = [outgoing.start(queued(each)) for each in (TWO, ONE, TWO, ONE, TWO)]
    outgoing.pubrec(identifiers[4], 0)
    outgoing.pubrec(identifiers[2], 0)
    outgoing.puback(identifiers[1])
    assert outgoing.connected(10) == [identifiers[4], identifiers[2]], "PUBRELs in the order of the PUBRECs"
    assert list(outgoing.resend) == [identifiers[0], identifiers[3]]
    assert outgoing.quota == 10


# -- Packet Identifiers


@statement("MQTT5-2.2.1-4", "MQTT311-2.3.1-4", "MQTT5-4.3.2-1", "MQTT5-4.3.3-1")
def test_identifiers_count_round_and_skip_those_in_use() -> None:
    outgoing = new(65535)
    held = {outgoing.start(queued(TWO)) for _ in range(100)}  # 1 .. 100
    for identifier in range(1, 51):
        outgoing.pubrec(identifier, 0)  # in use still
    outgoing.last_identifier = 65000
    more = [outgoing.start(queued(ONE)) for _ in range(600)]
    assert more == [*range(65001, 65536), *range(101, 166)]
    assert not held & set(more)


def test_a_freed_identifier_is_not_used_at_once() -> None:
    outgoing = new()
    outgoing.puback(outgoing.start(queued(ONE)))
    assert outgoing.start(queued(ONE)) == 2


def test_all_identifiers_in_use() -> None:
    outgoing = new(65535)
    for number in range(65535):
        assert not outgoing.full()
        identifier = outgoing.start(queued(TWO))
        assert identifier == number + 1
        if number % 3 == 0:
            outgoing.pubrec(identifier, 0)
    assert outgoing.full()
    assert outgoing.quota == 0
    outgoing.pubrec(40001, 0x80)
    assert not outgoing.full()
    assert outgoing.start(queued(TWO)) == 40001
    assert outgoing.full()


# -- The send quota over reconnections


def resend(outgoing: Outgoing) -> int:
    """As a Session does it."""
    assert outgoing.quota > 0
    outgoing.quota -= 1
    return outgoing.resend.popleft()


@statement("MQTT5-3.3.4-9")
def test_acknowledged_before_it_was_sent_again() -> None:
    """It was no part of this connection's quota, so that its end does not let one too many go."""
    outgoing = new(3)
    one, two, third = (outgoing.start(queued(ONE)) for _ in range(3))
    outgoing.connected(2)
    assert [resend(outgoing), resend(outgoing)] == [one, two]
    assert outgoing.puback(third)
    assert outgoing.quota == 0
    assert not outgoing.resend
    outgoing.puback(one)
    assert outgoing.quota == 1


@statement("MQTT5-3.3.4-9")
def test_a_release_from_an_older_connection_is_no_part_of_the_quota() -> None:
    outgoing = new(3)
    carried, sent = outgoing.start(queued(TWO)), outgoing.start(queued(TWO))
    outgoing.pubrec(carried, 0)
    assert outgoing.connected(2) == [carried]
    assert resend(outgoing) == sent
    outgoing.start(queued(ONE))
    assert outgoing.quota == 0
    assert outgoing.pubcomp(carried)
    assert outgoing.quota == 0
    outgoing.pubrec(sent, 0)
    assert outgoing.pubcomp(sent)
    assert outgoing.quota == 1


def test_received_before_it_was_sent_again() -> None:
    outgoing = new(2)
    identifier = outgoing.start(queued(TWO))
    outgoing.connected(1)
    assert outgoing.pubrec(identifier, 0)
    assert not outgoing.resend
    assert outgoing.quota == 1
    assert outgoing.pubcomp(identifier)
    assert outgoing.quota == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "resend", "puback", "pubrec", "refuse", "pubcomp", "connected"]), st.integers(0, 99)
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS, st.integers(1, 5))
@statement("MQTT5-4.9.0-1", "MQTT5-4.9.0-2")
def test_never_more_in_flight_than_receive_maximum(steps: list[tuple[str, int]], maximum: int) -> None:
    """What was sent on this connection and is not seen through, and the quota left, make the Receive Maximum."""
    outgoing = new(maximum)
    in_flight: set[int] = set()
    qos: dict[int, int] = {}
    for what, number in steps:
        unacknowledged, released = list(outgoing.unacknowledged), list(outgoing.released)
        if what == "connected":
            outgoing.connected(maximum)
            in_flight.clear()
        elif what == "start" and outgoing.quota > 0 and not outgoing.resend:
            one = ONE if number % 2 else TWO
            identifier = outgoing.start(queued(one))
            assert identifier not in unacknowledged
            assert identifier not in released
            qos[identifier] = one.qos
            in_flight.add(identifier)
        elif what == "resend" and outgoing.quota > 0 and outgoing.resend:
            in_flight.add(resend(outgoing))
        elif what in ("puback", "pubrec", "refuse") and unacknowledged:
            identifier = unacknowledged[number % len(unacknowledged)]
            if qos[identifier] == 1:
                outgoing.puback(identifier)
            else:
                outgoing.pubrec(identifier, 0x97 if what == "refuse" else 0)
            if qos[identifier] == 1 or what == "refuse":
                in_flight.discard(identifier)
        elif what == "pubcomp" and released:
            identifier = released[number % len(released)]
            assert outgoing.pubcomp(identifier)
            in_flight.discard(identifier)
        assert outgoing.quota == maximum - len(in_flight)
        assert set(outgoing.resend) == set(outgoing.unacknowledged) - in_flight


@statement("MQTT5-4.9.0-1")
@pytest.mark.parametrize(("asked", "own", "quota"), [(None, 32, 32), (10, 32, 10), (100, 32, 32), (1, 1, 1)])
def test_the_send_quota(asked: int | None, own: int, quota: int) -> None:
    values: dict[str, Any] = {} if asked is None else {"receive_maximum": asked}
    connection = connect(new_broker(), "c", of=limits(max_inflight=own), **values)
    assert session_of(connection).outgoing.quota == quota
